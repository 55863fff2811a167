package tls

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// The header of a Go program's function table (runtime.pcHeader). debug/gosym reads
// it, too, but makes an object of every function, as many as the file claims to have.
const (
	magic118   = 0xfffffff0
	magic120   = 0xfffffff1 // since 1.20
	headerSize = 8 + 8*8
	maxTable   = 1 << 28 // octets of the table
)

// span is a function's code, relative to the beginning of Go's.
type span struct{ start, end uint64 }

// table finds functions of a Go program by their names.
type table struct {
	names, lines []byte // of the section: names, and the functions with their index
	funcs        uint64
	text         uint64 // address of Go's first function (runtime.text)
}

// openTable reads the table of a Go program.
func openTable(f *elf.File) (*table, error) {
	s := f.Section(".gopclntab")
	if s == nil {
		s = f.Section(".data.rel.ro.gopclntab") // position independent
	}
	if s == nil || s.Size > maxTable {
		return nil, fmt.Errorf("no function table of Go: %w", errNothing)
	}
	b, err := s.Data()
	if err != nil {
		return nil, err
	}
	t, header, err := parseTable(b)
	if err != nil {
		return nil, err
	}
	return t, t.locate(f, header)
}

// parseTable reads the header; textStart is what it says of Go's first function: 0
// since 1.26, and where the loader fills it in.
func parseTable(b []byte) (t *table, textStart uint64, err error) {
	if len(b) < headerSize {
		return nil, 0, errors.New("function table of Go: no header")
	}
	if m := binary.LittleEndian.Uint32(b); m != magic118 && m != magic120 || b[7] != 8 {
		return nil, 0, fmt.Errorf("function table of Go: magic %#x with pointers of %d: older than 1.18, or newer than known here", m, b[7])
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8+8*i:]) }
	names, lines, size := word(3), word(7), uint64(len(b))
	t = &table{funcs: word(0)}
	if names > size || lines > size || t.funcs > (size-lines)/8 {
		return nil, 0, errors.New("function table of Go: its parts are not in it")
	}
	t.names, t.lines = b[names:], b[lines:]
	return t, word(2), nil
}

// entry returns the i'th function and the offset of its name.
func (t *table) entry(i uint64) (r span, name uint64, ok bool) {
	at := 8 * i
	if at+12 > uint64(len(t.lines)) {
		return span{}, 0, false
	}
	e := t.lines[at:]
	r = span{uint64(binary.LittleEndian.Uint32(e)), uint64(binary.LittleEndian.Uint32(e[8:]))}
	f := uint64(binary.LittleEndian.Uint32(e[4:]))
	if f+8 > uint64(len(t.lines)) {
		return span{}, 0, false
	}
	return r, uint64(binary.LittleEndian.Uint32(t.lines[f+4:])), true
}

// each calls yield with every function whose name begins with prefix, and the rest
// of that name, until it returns false.
func (t *table) each(prefix string, yield func(rest []byte, r span) bool) {
	for i := range t.funcs {
		r, name, ok := t.entry(i)
		if !ok || name > uint64(len(t.names)) {
			continue
		}
		rest, ok := bytes.CutPrefix(t.names[name:], []byte(prefix))
		if ok && !yield(rest, r) {
			return
		}
	}
}

// find returns the function of that name.
func (t *table) find(name string) (r span, ok bool) {
	t.each(name, func(rest []byte, at span) bool {
		if len(rest) > 0 && rest[0] == 0 {
			r, ok = at, true
		}
		return !ok
	})
	return r, ok
}
