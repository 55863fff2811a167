package conversation

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/capture"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/packet"
)

// Captured is a connection of a capture.
type Captured struct {
	Key    flows.Key // from the client
	Chunks []Chunk
	next   [2]uint32
	early  []segment
}

// segment is payload that was captured before what comes before it, as happens on
// loopback with two CPUs.
type segment struct {
	dir  l7.Dir
	seq  uint32
	time int64
	data []byte
}

// Capture reads the TCP connections of a capture file that begin with their SYN, in
// the order they begin. Segments sent twice count once; a segment that is missing
// is an error of the capture.
func Capture(t testing.TB, path string) []*Captured {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	source, err := capture.NewFile(f, path, capture.FileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var all []*Captured
	batch := make([]capture.Packet, 16)
	for {
		n, err := source.ReadBatch(context.Background(), batch)
		for i := range batch[:n] {
			all = add(t, all, &batch[i])
		}
		if errors.Is(err, io.EOF) {
			for _, c := range all {
				if len(c.early) > 0 {
					t.Fatalf("%s: %v: what is before octet %d is missing", path, c.Key, c.early[0].seq)
				}
			}
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func add(t testing.TB, all []*Captured, p *capture.Packet) []*Captured {
	t.Helper()
	var info packet.Info
	if err := info.Decode(p.Data, p.Link); err != nil {
		t.Fatalf("decode a packet: %v", err)
	}
	if info.Flags&(flows.SYN|flows.ACK) == flows.SYN {
		c := &Captured{Key: info.Key}
		c.next[l7.ToServer] = info.Seq + 1
		return append(all, c)
	}
	var c *Captured
	d := l7.ToServer
	for i := len(all) - 1; i >= 0 && c == nil; i-- {
		switch all[i].Key {
		case info.Key:
			c = all[i]
		case info.Key.Reverse():
			c, d = all[i], l7.ToClient
		}
	}
	if c == nil {
		return all
	}
	if info.Flags&flows.SYN != 0 {
		c.next[d] = info.Seq + 1
		return all
	}
	data := p.Data[info.PayloadOffset:]
	data = data[:min(len(data), int(info.Payload))]
	if len(data) == 0 {
		return all
	}
	c.early = append(c.early, segment{d, info.Seq, p.Time, append([]byte(nil), data...)})
	for c.take() {
	}
	return all
}

// take appends the segment that is next in its direction, and says whether there
// was one.
func (c *Captured) take() bool {
	for i, s := range c.early {
		ahead := int32(s.seq - c.next[s.dir])
		if ahead > 0 {
			continue
		}
		c.early = slices.Delete(c.early, i, i+1)
		if int(-ahead) >= len(s.data) {
			return true // sent again
		}
		data := s.data[-ahead:]
		c.next[s.dir] += uint32(len(data))
		turn := len(c.Chunks) == 0 || c.Chunks[len(c.Chunks)-1].Dir != s.dir
		c.Chunks = append(c.Chunks, Chunk{Chunk: l7.Chunk{Dir: s.dir, Time: s.time, Turn: turn, Data: data}})
		return true
	}
	return false
}
