package sink

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
)

// Place is one series that holds a place in a budget.
type Place struct {
	Hash uint64 // of its tags
	Used int64  // when it was last, unix ns
}

func (p Place) place() Place { return p }

// Standing are the places taken, by measurement. The next run is told of them (Restore), or
// each start would admit a budget of its own, and a flood of names after it take the places
// of what stays.
type Standing map[string][]Place

// standingMagic begins an encoded Standing: magic, length and text of whose it is, then
// per measurement length and text of its name, number and places; CRC-32C of all before it.
// Numbers are little-endian, 32 bits where they are no place's.
const standingMagic = "weirplc1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append appends s to b. of says whose it is: what makes tags, and so hashes.
func (s Standing) Append(b []byte, of string) []byte {
	at := len(b)
	text := func(s string) {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	b = append(b, standingMagic...)
	text(of)
	for _, m := range slices.Sorted(maps.Keys(s)) {
		text(m)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s[m])))
		for _, p := range s[m] {
			b = binary.LittleEndian.AppendUint64(b, p.Hash)
			b = binary.LittleEndian.AppendUint64(b, uint64(p.Used))
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

var errStanding = errors.New("it is damaged")

// ReadStanding reads what Append wrote; nil if it is of somebody else.
func ReadStanding(b []byte, of string) (Standing, error) {
	end := len(b) - 4
	if end < len(standingMagic) || string(b[:len(standingMagic)]) != standingMagic || binary.LittleEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return nil, errStanding
	}
	b = b[len(standingMagic):end]
	number := func() (n int) {
		if len(b) < 4 {
			return -1
		}
		n = int(binary.LittleEndian.Uint32(b))
		b = b[4:]
		return n
	}
	text := func() (s string, ok bool) {
		n := number()
		if n < 0 || n > len(b) {
			return "", false
		}
		s, b = string(b[:n]), b[n:]
		return s, true
	}
	if whose, ok := text(); !ok || whose != of {
		return nil, map[bool]error{false: errStanding}[ok]
	}
	s := Standing{}
	for len(b) > 0 {
		m, ok := text()
		n := number()
		if !ok || n < 0 || n > len(b)/16 {
			return nil, errStanding
		}
		places := make([]Place, n)
		for i := range places {
			places[i] = Place{binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint64(b[8:]))}
			b = b[16:]
		}
		s[m] = places
	}
	return s, nil
}
