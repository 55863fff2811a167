package journal

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
)

// FuzzSegment: whatever a file holds, reading it ends, does not allocate more
// than a record may need, and gives only records with the right checksum.
func FuzzSegment(f *testing.F) {
	enc, err := newEncoder()
	if err != nil {
		f.Fatal(err)
	}
	lines := bytes.Repeat([]byte("m,a=b v=1i 1\n"), 40)
	good := putSegmentHeader(1, time.Unix(0, 0), counts{})
	for i := range 3 {
		rec := enc.record(header{rows: 40, stream: sink.Stream(i % 2), time: int64(i), base: count{uint64(40 * i), 0}}, lines, 1)
		good = append(good, rec...)
	}
	f.Add(bytes.Clone(good))
	f.Add(append(bytes.Clone(good), seal{}.put(1)...))
	f.Add(good[:len(good)-7])
	f.Add([]byte("WERRWERRWERR"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g := &segment{seq: 1, size: int64(len(data))}
		var d damage
		if err := g.scan(bytes.NewReader(data), &d); err != nil {
			t.Fatal(err)
		}
		if g.size+d.torn != int64(len(data)) || d.corrupt < 0 {
			t.Fatalf("size %d, torn %d, corrupt %d of %d", g.size, d.torn, d.corrupt, len(data))
		}
		s := scanner{r: bytes.NewReader(data), segment: 1, off: segmentHeaderSize, end: int64(len(data))}
		defer s.close()
		var buf []byte
		for {
			h, err := s.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if buf, err = s.appendLines(buf[:0], h); err == nil && len(buf) != int(h.raw) {
				t.Fatalf("%d bytes, header says %d", len(buf), h.raw)
			}
			s.pass(h)
		}
	})
}
