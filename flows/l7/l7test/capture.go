package l7test

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/capture"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/packet"
)

// Captures returns the conversations of all captures in testdata by the name of
// the file.
func Captures(t testing.TB) map[string][][]Chunk {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.pcap")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no captures in testdata: %v", err)
	}
	all := map[string][][]Chunk{}
	for _, path := range paths {
		all[path] = Capture(t, path)
	}
	return all
}

// Capture reads the TCP connections that begin with their SYN, and the exchanges over
// UDP, of a capture file, in the order they begin, without those that carry nothing.
// Segments sent twice count once; a segment that is missing is an error of the
// capture. Who sends the first datagram is the client.
func Capture(t testing.TB, path string) [][]Chunk {
	t.Helper()
	f, err := capture.OpenFile(path, capture.DefaultFileConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a := assembler{open: map[flows.Key]*exchange{}}
	for batch := make([]capture.Packet, 16); err == nil; {
		var n int
		n, err = f.ReadBatch(t.Context(), batch)
		for i := range batch[:n] {
			a.take(t, &batch[i])
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	var all [][]Chunk
	for _, e := range a.all {
		if len(e.early) > 0 {
			t.Fatalf("%s: what is before octet %d is missing", path, e.early[0].seq)
		}
		if len(e.chunks) > 0 {
			all = append(all, e.chunks)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s holds no payload", path)
	}
	return all
}

// assembler sorts packets by what they belong to.
type assembler struct {
	info packet.Info
	open map[flows.Key]*exchange // by the client's key
	all  []*exchange
}

// exchange is a connection, or what two sockets send each other.
type exchange struct {
	chunks []Chunk
	next   [2]uint32
	early  []segment
}

// segment is payload that was captured before what comes before it, as happens on
// loopback with two CPUs.
type segment struct {
	Chunk
	seq uint32
}

func (a *assembler) take(t testing.TB, p *capture.Packet) {
	t.Helper()
	i := &a.info
	if err := i.Decode(p.Data, p.Link); err != nil {
		t.Fatalf("decode a packet: %v", err)
	}
	i.Account(p.Time, p.Wire, p.Segment)
	begins := i.Flags&(flows.SYN|flows.ACK) == flows.SYN
	e, d := a.exchange(begins)
	if e == nil {
		return
	}
	c := Chunk{Chunk: l7.Chunk{Dir: d, Time: p.Time, Data: slices.Clone(i.PayloadOf(p.Data))}}
	switch {
	case i.Key.Proto == flows.UDP:
		c.Turn = true
		e.chunks = append(e.chunks, c)
	case i.Flags&flows.SYN != 0:
		e.next[d] = i.Seq + 1
	case len(c.Data) > 0:
		e.early = append(e.early, segment{c, i.Seq})
		for e.resume() {
		}
	}
}

// exchange finds what the decoded packet belongs to, and in which direction; nil for
// a connection of which the beginning was not seen.
func (a *assembler) exchange(begins bool) (*exchange, l7.Dir) {
	key := a.info.Key
	if !begins {
		if e := a.open[key]; e != nil {
			return e, l7.ToServer
		}
		if e := a.open[key.Reverse()]; e != nil || key.Proto != flows.UDP {
			return e, l7.ToClient
		}
	}
	e := new(exchange)
	a.open[key] = e
	a.all = append(a.all, e)
	return e, l7.ToServer
}

// resume appends a segment that is next in its direction, and says whether there was
// one.
func (e *exchange) resume() bool {
	for i, s := range e.early {
		ahead := int32(s.seq - e.next[s.Dir])
		if ahead > 0 {
			continue
		}
		e.early = slices.Delete(e.early, i, i+1)
		if int(-ahead) < len(s.Data) { // else it was sent again
			s.Data = s.Data[-ahead:]
			e.next[s.Dir] += uint32(len(s.Data))
			s.Turn = len(e.chunks) == 0 || e.chunks[len(e.chunks)-1].Dir != s.Dir
			e.chunks = append(e.chunks, s.Chunk)
		}
		return true
	}
	return false
}
