package l7test

import (
	"errors"
	"io"
	"testing"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/capture"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/packet"
)

// Pcap reads the connections (TCP) and exchanges (UDP) of a capture file, in the
// order they began. Payload of TCP is put in order by its sequence numbers as far
// as it goes: what was seen twice is dropped, what is missing (or cut by the
// snapshot length) is a hole. The client is who sent the SYN, or the first
// datagram, else who has the higher port.
func Pcap(t testing.TB, path string) [][]Piece {
	t.Helper()
	f, err := capture.OpenFile(path, capture.DefaultFileConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a := assembler{streams: make(map[flows.Key]*stream)}
	batch := make([]capture.Packet, 1)
	for {
		n, err := f.ReadBatch(t.Context(), batch)
		for i := range batch[:n] {
			a.take(&batch[i])
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var all [][]Piece
	for _, s := range a.order {
		if len(s.pieces) > 0 {
			all = append(all, s.pieces)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s holds no payload", path)
	}
	return all
}

type assembler struct {
	info    packet.Info
	streams map[flows.Key]*stream // under the client's key
	order   []*stream
}

type stream struct {
	pieces []Piece
	known  [2]bool
	next   [2]uint32
}

func (a *assembler) take(p *capture.Packet) {
	i := &a.info
	if i.Decode(p.Data, p.Link) != nil || (i.Key.Proto != flows.TCP && i.Key.Proto != flows.UDP) {
		return
	}
	i.Account(p.Time, p.Wire, p.Segment)
	s, dir := a.stream()
	data := p.Data[min(i.PayloadOffset, len(p.Data)):]
	data = data[:min(uint64(len(data)), i.Payload)]
	if i.Key.Proto == flows.UDP {
		s.pieces = append(s.pieces, Piece{Dir: dir, Time: p.Time, Data: append([]byte{}, data...)})
		return
	}
	s.segment(dir, p.Time, i, data)
}

// stream finds whose packet the decoded one is.
func (a *assembler) stream() (*stream, l7.Dir) {
	i := &a.info
	syn, ack := i.Flags&0x02 != 0, i.Flags&0x10 != 0
	if i.Key.Proto == flows.TCP && syn && !ack {
		delete(a.streams, i.Key)
	}
	if s := a.streams[i.Key]; s != nil {
		return s, l7.ToServer
	}
	if s := a.streams[i.Key.Reverse()]; s != nil {
		return s, l7.ToClient
	}
	s := new(stream)
	a.order = append(a.order, s)
	fromServer := i.Key.Proto == flows.TCP && (syn && ack || !syn && i.Key.SrcPort < i.Key.DstPort)
	if fromServer {
		a.streams[i.Key.Reverse()] = s
		return s, l7.ToClient
	}
	a.streams[i.Key] = s
	return s, l7.ToServer
}

func (s *stream) segment(dir l7.Dir, time int64, i *packet.Info, data []byte) {
	if i.Flags&0x02 != 0 {
		s.known[dir], s.next[dir] = true, i.Seq+1
		return
	}
	if i.Payload == 0 {
		return
	}
	if !s.known[dir] {
		s.known[dir], s.next[dir] = true, i.Seq
	}
	missing := int64(i.Payload) - int64(len(data))
	switch ahead := int32(i.Seq - s.next[dir]); {
	case ahead > 0:
		s.pieces = append(s.pieces, Piece{Dir: dir, Time: time, Gap: int64(ahead)})
	case uint64(-ahead) >= i.Payload:
		return
	default:
		data = data[min(int(-ahead), len(data)):]
	}
	if len(data) > 0 {
		s.pieces = append(s.pieces, Piece{Dir: dir, Time: time, Data: append([]byte{}, data...)})
	}
	if missing > 0 {
		s.pieces = append(s.pieces, Piece{Dir: dir, Time: time, Gap: missing})
	}
	s.next[dir] = i.Seq + uint32(i.Payload)
}
