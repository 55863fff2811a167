package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/weir-probe/weir/sink"
)

// FORMAT.md describes what is encoded here.
const (
	segmentMagic      = "WEIRJRN1"
	segmentHeaderSize = 64
	recordMagic       = 0x52524557 // "WERR"
	recordHeaderSize  = 56
	sealMagic         = 0x53524557 // "WERS"
	sealSize          = 72

	codecStored = 0
	codecZstd   = 1

	recordBytes = 1 << 20  // a batch is cut at lines into records of about this much text …
	maxRaw      = 16 << 20 // … and a single line longer than this is refused
	maxPayload  = maxRaw + 1<<16
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian

	errDamaged = errors.New("damaged record")
)

// count is how many rows and octets of line protocol a stream had so far, since
// the journal was begun. It only grows.
type count struct{ rows, bytes uint64 }

type counts [sink.Streams]count

// header of a record.
type header struct {
	payloadCRC uint32
	payload    uint32 // octets that follow the header
	raw        uint32 // octets of lines they stand for
	rows       uint32
	stream     sink.Stream
	codec      uint8
	time       int64 // unix ns of the newest row
	base       count // of the stream, before this record
}

func (h header) end() count {
	return count{h.base.rows + uint64(h.rows), h.base.bytes + uint64(h.raw)}
}

func (h header) size() int64 { return recordHeaderSize + int64(h.payload) }

// sum is seeded with the segment's number: a record in a file that it was not
// written to is no record.
func sum(segment uint64, b []byte) uint32 {
	var seed [8]byte
	le.PutUint64(seed[:], segment)
	return crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, b)
}

func (h header) put(b []byte, segment uint64) {
	_ = b[recordHeaderSize-1]
	clear(b[:recordHeaderSize])
	le.PutUint32(b[0:], recordMagic)
	le.PutUint32(b[8:], h.payloadCRC)
	le.PutUint32(b[12:], h.payload)
	le.PutUint32(b[16:], h.raw)
	le.PutUint32(b[20:], h.rows)
	b[24] = uint8(h.stream)
	b[25] = h.codec
	le.PutUint64(b[32:], uint64(h.time))
	le.PutUint64(b[40:], h.base.rows)
	le.PutUint64(b[48:], h.base.bytes)
	le.PutUint32(b[4:], sum(segment, b[8:recordHeaderSize]))
}

// parseHeader reports false unless b holds a header that was written to this
// segment. All sizes it lets through are bounded.
func parseHeader(b []byte, segment uint64) (header, bool) {
	if len(b) < recordHeaderSize || le.Uint32(b) != recordMagic ||
		le.Uint32(b[4:]) != sum(segment, b[8:recordHeaderSize]) {
		return header{}, false
	}
	h := header{
		payloadCRC: le.Uint32(b[8:]),
		payload:    le.Uint32(b[12:]),
		raw:        le.Uint32(b[16:]),
		rows:       le.Uint32(b[20:]),
		stream:     sink.Stream(b[24]),
		codec:      b[25],
		time:       int64(le.Uint64(b[32:])),
		base:       count{le.Uint64(b[40:]), le.Uint64(b[48:])},
	}
	ok := h.payload <= maxPayload && h.raw <= maxRaw && h.rows <= h.raw &&
		h.stream < sink.Streams && h.codec <= codecZstd
	return h, ok
}

// encoder turns lines into records, in one buffer that it keeps.
type encoder struct {
	zstd *zstd.Encoder
	buf  []byte
}

func newEncoder() (*encoder, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	return &encoder{zstd: z}, nil
}

// record returns the octets of a record, valid until the next call.
func (e *encoder) record(h header, lines []byte, segment uint64) []byte {
	if cap(e.buf) < recordHeaderSize {
		e.buf = make([]byte, recordHeaderSize, recordHeaderSize+recordBytes/4)
	}
	e.buf = e.zstd.EncodeAll(lines, e.buf[:recordHeaderSize])
	h.codec = codecZstd
	if len(e.buf) >= recordHeaderSize+len(lines) {
		e.buf = append(e.buf[:recordHeaderSize], lines...)
		h.codec = codecStored
	}
	payload := e.buf[recordHeaderSize:]
	h.payload = uint32(len(payload))
	h.raw = uint32(len(lines))
	h.payloadCRC = sum(segment, payload)
	h.put(e.buf, segment)
	return e.buf
}

// scanner walks over the records of one segment, stepping over what is damaged.
type scanner struct {
	r       io.ReaderAt
	segment uint64
	off     int64 // where the next record should begin
	end     int64 // of the data
	skipped int64 // octets stepped over so far that are no record

	head    [recordHeaderSize]byte
	window  []byte
	payload []byte
	zstd    *zstd.Decoder
}

// next returns the header of the next record and its place, and leaves the
// record in place: the caller goes on with pass. io.EOF: no record follows.
func (s *scanner) next() (header, error) {
	for s.off+recordHeaderSize <= s.end {
		if _, err := s.r.ReadAt(s.head[:], s.off); err != nil {
			return header{}, noEOF(err)
		}
		if h, ok := parseHeader(s.head[:], s.segment); ok && s.off+h.size() <= s.end {
			return h, nil
		}
		if le.Uint32(s.head[:]) == sealMagic && s.end-s.off == sealSize {
			if _, ok := readSeal(s.r, s.segment, s.end); ok {
				return header{}, io.EOF
			}
		}
		if err := s.resync(); err != nil {
			return header{}, err
		}
	}
	s.skipped += s.end - s.off // less than a header: torn
	s.off = s.end
	return header{}, io.EOF
}

func (s *scanner) pass(h header) { s.off += h.size() }

// resync moves to the next place where a record may begin, at least one further.
func (s *scanner) resync() error {
	if s.window == nil {
		s.window = make([]byte, 64<<10)
	}
	magic := le.AppendUint32(nil, recordMagic)
	from := s.off
	for s.off++; s.off+recordHeaderSize <= s.end; {
		w := s.window[:min(int64(len(s.window)), s.end-s.off)]
		if _, err := s.r.ReadAt(w, s.off); err != nil {
			return noEOF(err)
		}
		if i := bytes.Index(w, magic); i >= 0 {
			s.off += int64(i)
			s.skipped += s.off - from
			return nil
		}
		s.off += max(int64(len(w)-len(magic)+1), 1)
	}
	s.off = s.end
	s.skipped += s.off - from
	if seal, ok := readSeal(s.r, s.segment, s.end); ok { // the search ran into it
		s.skipped -= min(seal.size(), s.skipped)
	}
	return nil
}

// noEOF: a file shorter than we were told is not the end of the records.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendLines appends the lines of the record at s.off to dst. errDamaged: the
// payload is not what was written.
func (s *scanner) appendLines(dst []byte, h header) ([]byte, error) {
	if cap(s.payload) < int(h.payload) {
		s.payload = make([]byte, h.payload)
	}
	s.payload = s.payload[:h.payload]
	if _, err := s.r.ReadAt(s.payload, s.off+recordHeaderSize); err != nil {
		return dst, noEOF(err)
	}
	if sum(s.segment, s.payload) != h.payloadCRC {
		return dst, errDamaged
	}
	n := len(dst)
	switch h.codec {
	case codecStored:
		dst = append(dst, s.payload...)
	case codecZstd:
		if s.zstd == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRaw))
			if err != nil {
				return dst, fmt.Errorf("set up zstd: %w", err)
			}
			s.zstd = z
		}
		out, err := s.zstd.DecodeAll(s.payload, dst)
		if err != nil {
			return dst[:n], errDamaged
		}
		dst = out
	}
	if len(dst)-n != int(h.raw) {
		return dst[:n], errDamaged
	}
	return dst, nil
}

// valid reads the record at s.off through and says whether it is whole.
func (s *scanner) valid(h header) bool {
	if cap(s.payload) < int(h.payload) {
		s.payload = make([]byte, h.payload)
	}
	s.payload = s.payload[:h.payload]
	_, err := s.r.ReadAt(s.payload, s.off+recordHeaderSize)
	return err == nil && sum(s.segment, s.payload) == h.payloadCRC
}

func (s *scanner) close() {
	if s.zstd != nil {
		s.zstd.Close()
	}
}
