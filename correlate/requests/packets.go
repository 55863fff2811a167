package requests

import (
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/kprobes"
)

// packets is what a flow in a file needs beside its conversation: what the kernel
// tells of a socket.
type packets struct {
	turns l7.Turns
	isn   uint32
	syn   bool // isn is valid
}

// Packet takes one packet of a capture, in the order of time; data is what was
// captured of its payload. Only one observation point may tell of a flow.
func (t *Tracker) Packet(p *flows.Packet, data []byte) {
	proto := p.Key.Proto
	if proto != flows.TCP && proto != flows.UDP || p.Fragment == flows.FragmentLater {
		return
	}
	begins := proto == flows.TCP && p.Flags&flows.SYN != 0
	if p.Payload == 0 && !begins {
		return
	}
	t.release()
	t.stats.Events++
	canonical, way := p.Key.Canonical()
	d := l7.Dir(way)
	s := t.stream(streamKey{peer: peerOf(canonical)}, proto, p.Time)
	if s.packets == nil {
		s.packets = new(packets)
	}
	if begins {
		t.syn(s, p, d)
		return
	}
	if opener, guessed := p.Opener(); proto == flows.UDP && !s.open && !guessed {
		s.learn(roleOf(opener))
	}
	t.seg = l7.Segment{Dir: d, Time: p.Time, Turn: true, Seq: p.Seq, Len: uint32(min(p.Payload, 1<<31)), Data: data}
	var first int64
	if proto == flows.TCP {
		t.seg.Turn = false
		first = s.packets.turns.Mark(&t.seg)
	}
	t.hear(s, first)
}

// syn begins a connection.
func (t *Tracker) syn(s *stream, p *flows.Packet, d l7.Dir) {
	k := s.packets
	if p.Flags&flows.ACK == 0 {
		if k.syn && k.isn != p.Seq || !k.syn && s.open { // the ports are used again
			t.end(s, p.Time)
			s.open, s.spoken, s.known, s.messages, s.role = false, false, false, false, kprobes.RoleUnknown
			*k = packets{}
		}
		k.isn, k.syn = p.Seq, true
	}
	if (p.Flags&flows.ACK == 0) == (d == Out) {
		s.learn(kprobes.RoleClient)
	} else {
		s.learn(kprobes.RoleServer)
	}
	if s.open || t.begin(s) {
		s.conv.Expect(d, p.Seq+1)
	}
}

// roleOf is the role of the socket at the canonical source of a flow.
func roleOf(opener flows.Initiator) kprobes.Role {
	switch opener {
	case flows.InitiatorSrc:
		return kprobes.RoleClient
	case flows.InitiatorDst:
		return kprobes.RoleServer
	}
	return kprobes.RoleUnknown
}

// packetStream is the stream of a record that only packets showed.
func (t *Tracker) packetStream(r *correlate.Record) *stream {
	k := flows.Key{Src: r.Client.Addr, SrcPort: r.Client.Port, Dst: r.Server.Addr, DstPort: r.Server.Port, Proto: r.Proto}
	canonical, way := k.Canonical()
	s := t.streams[streamKey{peer: canonical}]
	if s != nil {
		role := kprobes.RoleClient
		if way == flows.Reverse {
			role = kprobes.RoleServer
		}
		s.learn(role)
	}
	return s
}
