package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/weir-probe/weir/sink"
)

// History reads a journal that another process may be writing.
type History struct{ dir string }

// OpenHistory opens the journal in dir for reading.
func OpenHistory(dir string) (*History, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if !st.IsDir() {
		return nil, fmt.Errorf("open journal: %s is not a folder", dir)
	}
	return &History{dir: dir}, nil
}

// Query calls fn for each batch of a stream whose Time lies in [from, to], in
// the order they were written; a batch is valid during the call. What is damaged
// is left out. An error of fn ends it and is returned.
func (h *History) Query(from, to time.Time, stream sink.Stream, fn func(*sink.Batch) error) error {
	segs, err := list(h.dir)
	if err != nil {
		return err
	}
	var before counts
	for _, g := range segs {
		if _, _, err := g.inspect(before); errors.Is(err, os.ErrNotExist) {
			continue // removed for its age meanwhile
		} else if err != nil {
			return err
		}
		before = g.end
	}
	return query(segs, from.UnixNano(), to.UnixNano(), stream, fn)
}

// Query is History.Query on an open journal; what waits in memory comes last.
func (j *Journal) Query(from, to time.Time, stream sink.Stream, fn func(*sink.Batch) error) error {
	j.mu.Lock()
	var segs []*segment
	for _, g := range j.segs {
		c := *g
		segs = append(segs, &c)
	}
	mem := append([]waiting(nil), j.mem[stream]...)
	j.mu.Unlock()
	if err := query(segs, from.UnixNano(), to.UnixNano(), stream, fn); err != nil {
		return err
	}
	for i := range mem {
		b := &mem[i].batch
		if b.Time < from.UnixNano() || b.Time > to.UnixNano() {
			continue
		}
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}

func query(segs []*segment, from, to int64, stream sink.Stream, fn func(*sink.Batch) error) error {
	s := &scanner{}
	defer s.close()
	b := sink.Batch{Stream: stream}
	for _, g := range segs {
		if !g.span.overlaps(stream, from, to) {
			continue
		}
		if err := g.query(s, &b, from, to, fn); err != nil {
			return err
		}
	}
	return nil
}

func (g *segment) query(s *scanner, b *sink.Batch, from, to int64, fn func(*sink.Batch) error) error {
	f, err := os.Open(g.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	s.r, s.segment, s.off, s.end = f, g.seq, segmentHeaderSize, g.size
	for {
		h, err := s.next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read segment %s at %d: %w", g.path, s.off, err)
		}
		if h.stream == b.Stream && h.time >= from && h.time <= to {
			b.Lines, err = s.appendLines(b.Lines[:0], h)
			if err == nil {
				b.Rows, b.Time = int(h.rows), h.time
				err = fn(b)
			}
			if err != nil && !errors.Is(err, errDamaged) {
				return err
			}
		}
		s.pass(h)
	}
}
