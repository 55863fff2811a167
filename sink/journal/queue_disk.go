package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	atRecord = iota
	atEnd
)

// peek finds the next record of any stream on disk at or after pos, and lets
// q.scan stand on it.
func (q *Queue) peek(pos *place) (header, int, error) {
	for {
		seq, size, next := q.j.segmentFor(pos.segment)
		if seq == 0 {
			return header{}, atEnd, nil
		}
		if seq != pos.segment || pos.offset < segmentHeaderSize {
			pos.segment, pos.offset = seq, segmentHeaderSize
		}
		if pos.offset < size {
			if err := q.open(seq); errors.Is(err, os.ErrNotExist) {
				q.j.forget(seq) // somebody else removed it; the gap is counted at the next record
				continue
			} else if err != nil {
				return header{}, atEnd, err
			}
			q.scan.off, q.scan.end = pos.offset, size
			before := q.scan.skipped
			h, err := q.scan.next()
			q.stepped(pos, q.scan.skipped-before)
			pos.offset = q.scan.off
			if err == nil {
				return h, atRecord, nil
			}
			if !errors.Is(err, io.EOF) {
				// A file that somebody cut, a bad sector: the rest of this segment
				// is out of reach, and is counted at the next record that is not.
				q.j.log.Error("journal: cannot read on in a segment", "file", segmentPath(q.j.cfg.Dir, seq), "offset", q.scan.off, "err", err)
				pos.offset = size
			}
		}
		if next == 0 {
			return header{}, atEnd, nil
		}
		pos.segment, pos.offset = next, segmentHeaderSize
	}
}

// stepped reports octets in the middle of a segment that are no record. Rows are
// counted where the next record tells how many there were.
func (q *Queue) stepped(pos *place, n int64) {
	if n == 0 {
		return
	}
	q.j.mu.Lock()
	q.j.stats.CorruptBytes += uint64(n)
	q.j.mu.Unlock()
	q.j.log.Error("journal: segment is damaged, stepping over it", "file", segmentPath(q.j.cfg.Dir, pos.segment),
		"offset", pos.offset, "bytes", n)
}

// segmentFor returns the first segment from seq on, how much of it can be read,
// and the one after it. 0: none.
func (j *Journal) segmentFor(seq uint64) (found uint64, size int64, next uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, g := range j.segs {
		if g.seq < seq {
			continue
		}
		if i+1 < len(j.segs) {
			next = j.segs[i+1].seq
		}
		return g.seq, g.size, next
	}
	return 0, 0, 0
}

// forget takes a segment out of the list whose file is gone.
func (j *Journal) forget(seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, g := range j.segs {
		if g.seq == seq {
			j.segs = append(j.segs[:i:i], j.segs[i+1:]...)
			j.log.Error("journal: a segment is gone, somebody removed it", "file", g.path)
			return
		}
	}
}

func (q *Queue) open(seq uint64) error {
	if q.file != nil && q.scan.segment == seq {
		return nil
	}
	f, err := os.Open(segmentPath(q.j.cfg.Dir, seq))
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	if q.file != nil {
		q.file.Close()
	}
	q.file, q.scan.r, q.scan.segment = f, f, seq
	return nil
}
