package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
)

const segmentSuffix = ".weirj"

// span is the time index of a segment: of each stream the oldest and newest
// Batch.Time in it. Zero: nothing of that stream.
type span [sink.Streams]struct{ from, to int64 }

func (s *span) add(stream sink.Stream, t int64) {
	p := &s[stream]
	if p.from == 0 || t < p.from {
		p.from = t
	}
	p.to = max(p.to, t)
}

func (s *span) overlaps(stream sink.Stream, from, to int64) bool {
	p := s[stream]
	return p.from != 0 && p.from <= to && p.to >= from
}

// segment is one file of the journal.
type segment struct {
	seq   uint64
	path  string
	size  int64 // where the next record goes; of a sealed one the size of the file
	base  counts
	end   counts
	span  span
	wrote time.Time // when it was last written to, by this host's clock
	began time.Time
}

func segmentPath(dir string, seq uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", seq, segmentSuffix))
}

func putSegmentHeader(seq uint64, created time.Time, base counts) []byte {
	b := make([]byte, segmentHeaderSize)
	copy(b, segmentMagic)
	le.PutUint64(b[16:], seq)
	le.PutUint64(b[24:], uint64(created.UnixNano()))
	putCounts(b[32:], base)
	le.PutUint32(b[8:], sum(seq, b[12:]))
	return b
}

func readSegmentHeader(r io.ReaderAt, seq uint64) (counts, bool) {
	b := make([]byte, segmentHeaderSize)
	if _, err := r.ReadAt(b, 0); err != nil || string(b[:8]) != segmentMagic || le.Uint32(b[8:]) != sum(seq, b[12:]) {
		return counts{}, false
	}
	return getCounts(b[32:]), true
}

func putCounts(b []byte, c counts) {
	for i, n := range c {
		le.PutUint64(b[16*i:], n.rows)
		le.PutUint64(b[16*i+8:], n.bytes)
	}
}

func getCounts(b []byte) (c counts) {
	for i := range c {
		c[i] = count{le.Uint64(b[16*i:]), le.Uint64(b[16*i+8:])}
	}
	return c
}

// seal is the last thing written to a segment: what is in it.
type seal struct {
	end  counts
	span span
}

func (seal) size() int64 { return sealSize }

func (s seal) put(seq uint64) []byte {
	b := make([]byte, sealSize)
	le.PutUint32(b, sealMagic)
	for i, p := range s.span {
		le.PutUint64(b[8+16*i:], uint64(p.from))
		le.PutUint64(b[16+16*i:], uint64(p.to))
	}
	putCounts(b[40:], s.end)
	le.PutUint32(b[4:], sum(seq, b[8:]))
	return b
}

func readSeal(r io.ReaderAt, seq uint64, size int64) (s seal, ok bool) {
	b := make([]byte, sealSize)
	if size < segmentHeaderSize+sealSize {
		return s, false
	}
	if _, err := r.ReadAt(b, size-sealSize); err != nil || le.Uint32(b) != sealMagic || le.Uint32(b[4:]) != sum(seq, b[8:]) {
		return s, false
	}
	for i := range s.span {
		s.span[i].from = int64(le.Uint64(b[8+16*i:]))
		s.span[i].to = int64(le.Uint64(b[16+16*i:]))
	}
	s.end = getCounts(b[40:])
	return s, true
}

// damage is what a look at a segment found wrong.
type damage struct {
	torn    int64 // octets after the last whole record
	corrupt int64 // octets before it that are no record
	records int   // whose payload is not what was written
}

// list returns the segments of dir in order, by name alone.
func list(dir string) ([]*segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	var segs []*segment
	for _, e := range entries {
		hex, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		seq, err := strconv.ParseUint(hex, 16, 64)
		if !ok || err != nil || seq == 0 || e.Name() != filepath.Base(segmentPath(dir, seq)) || !e.Type().IsRegular() {
			continue
		}
		segs = append(segs, &segment{seq: seq, path: filepath.Join(dir, e.Name())})
	}
	slices.SortFunc(segs, func(a, b *segment) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	return segs, nil
}

// inspect fills in what a segment holds: from its seal, or, where a process
// ended before it wrote one, by reading it through. before is where the segment
// before it ended.
func (g *segment) inspect(before counts) (sealed bool, d damage, err error) {
	f, err := os.Open(g.path)
	if err != nil {
		return false, d, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false, d, fmt.Errorf("open segment: %w", err)
	}
	g.size, g.wrote, g.began = st.Size(), st.ModTime(), st.ModTime()
	base, ok := readSegmentHeader(f, g.seq)
	if !ok {
		base = before
		d.corrupt += min(g.size, segmentHeaderSize)
	}
	g.base, g.end = base, base
	if s, ok := readSeal(f, g.seq, g.size); ok {
		g.end, g.span = s.end, s.span
		return true, d, nil
	}
	err = g.scan(f, &d)
	return false, d, err
}

// scan reads an unsealed segment and ends it after its last whole record.
func (g *segment) scan(r io.ReaderAt, d *damage) error {
	s := scanner{r: r, segment: g.seq, off: segmentHeaderSize, end: g.size}
	defer s.close()
	good, corrupt, bad, n := min(int64(segmentHeaderSize), g.size), int64(0), 0, 0
	for {
		h, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read segment %s at %d: %w", g.path, s.off, err)
		}
		whole := s.valid(h)
		s.pass(h)
		if !whole {
			n++
			continue
		}
		// What was wrong before a whole record is damage, not a torn end.
		good, corrupt, bad = s.off, s.skipped, n
		g.end[h.stream] = h.end()
		g.span.add(h.stream, h.time)
	}
	d.corrupt += corrupt
	d.records += bad
	d.torn = g.size - good
	g.size = good
	return nil
}
