package flows

// reorderWindow is how soon after a gap its missing segment may come and still
// count as reordered, not as retransmitted (the rule and value of Wireshark).
const reorderWindow = 3e6 // ns

// tcpSide is what one sender of a TCP flow has sent so far. Sequence numbers
// compare modulo 2^32.
type tcpSide struct {
	next  uint32 // one past the highest octet sent
	top   uint32 // first octet of the segment that reached next
	isn   uint32 // valid with sideSYN
	acked uint32 // acknowledgment of the SYN-ACK, valid with sideSYNACK
	state sideState
	// One gap [holeStart, holeEnd) below top, opened at holeTime: not seen here yet.
	holeStart, holeEnd uint32
	holeTime           int64
}

type sideState uint8

const (
	sideSeen   sideState = 1 << iota // next and top are valid
	sideSYN                          // sent a SYN without ACK
	sideSYNACK                       // sent a SYN with ACK
	sideFIN
	sideAccepted // sent an ACK without SYN: the connection is established
	sideZero     // its last segment announced a closed window
)

func before(a, b uint32) bool { return int32(a-b) < 0 }

// established says whether a TCP connection stands, as far as its packets tell.
func (f *flow) established() bool {
	return f.key.Proto == TCP && (f.tcp[0].state|f.tcp[1].state)&sideAccepted != 0
}

// toSelf is a socket connected to itself (simultaneous open): both directions
// are one, and each packet is its own answer.
func (f *flow) toSelf() bool {
	return f.key.SrcPort == f.key.DstPort && f.key.Src == f.key.Dst
}

// reusedBy says whether p opens a new connection on the ports of f.
func (f *flow) reusedBy(p *Packet, dir Direction) bool {
	if p.Key.Proto != TCP || p.Fragment == FragmentLater || p.Flags&(SYN|ACK|RST) != SYN || f.toSelf() {
		return false
	}
	mine, peer := &f.tcp[dir], &f.tcp[dir^1]
	switch {
	case mine.state&sideSYN != 0:
		return mine.isn != p.Seq // else sent again
	case f.closed:
		return true
	case peer.state&sideSYNACK != 0:
		return peer.acked != p.Seq+1 // else the SYN-ACK was captured before the SYN
	case peer.state&sideSYN != 0:
		return mine.state&sideAccepted != 0 // else simultaneous open
	case mine.state&sideSeen != 0:
		return mine.next-p.Seq > 1<<16 // else the first data was captured before the SYN
	}
	return f.established()
}

// guess sets who opened f from its first packet, for want of a SYN.
func (f *flow) guess(p *Packet) { f.initiator, f.guessed = p.Opener() }

// Opener is who opened the flow, as far as its first packet seen tells without TCP
// flags: the end of its canonical key, and whether only ports tell.
func (p *Packet) Opener() (opener Initiator, guessed bool) {
	sender, receiver := InitiatorSrc, InitiatorDst
	if _, dir := p.Key.Canonical(); dir == Reverse {
		sender, receiver = receiver, sender
	}
	if p.Reply {
		return receiver, false
	}
	src, dst := p.Key.SrcPort, p.Key.DstPort
	switch p.Key.Proto {
	case TCP:
		switch ServerPort(src, dst) {
		case 0:
			return InitiatorUnknown, false
		case src:
			return receiver, true
		}
		return sender, true
	case UDP, SCTP:
		if src < wellKnown && dst >= wellKnown && !p.Key.Dst.IsMulticast() {
			return receiver, true // an answer whose question was not seen
		}
	}
	return sender, false
}

const (
	wellKnown = 1024  // RFC 6335 system ports end below
	ephemeral = 32768 // where Linux's ip_local_port_range begins
)

// ServerPort returns the one of two ports that a server would have, 0 when they
// do not tell.
func ServerPort(a, b uint16) uint16 {
	if low := min(a, b); a != b && low < ephemeral {
		return low
	}
	return 0
}

// countTCP follows the state of both ends and counts retransmissions.
func (f *flow) countTCP(p *Packet, dir Direction) {
	mine, peer := &f.tcp[dir], &f.tcp[dir^1]
	flags := p.Flags
	switch flags & (SYN | ACK | RST | FIN) {
	case SYN:
		flags |= SYNOnly
		if mine.state&sideSYN == 0 {
			mine.isn = p.Seq
			mine.state |= sideSYN
		}
		if f.syn == 0 {
			f.syn = p.Time
			f.opened(dir)
		}
	case SYN | ACK:
		flags |= SYNACK
		mine.acked = p.Ack
		mine.state |= sideSYNACK
		if f.syn == 0 {
			f.opened(dir.Opposite())
		} else if !f.connected && p.Time > f.syn {
			f.synAck, f.connected = p.Time-f.syn, true
		}
	case ACK, ACK | FIN:
		mine.state |= sideAccepted
	}
	f.counters[dir].Flags |= flags

	if !f.toSelf() && mine.sent(p, peer.state&sideZero) {
		f.counters[dir].Retransmits += p.Packets
	}
	if flags&RST == 0 {
		mine.state &^= sideZero
		if p.Window == 0 && flags&SYN == 0 {
			mine.state |= sideZero
			f.counters[dir].ZeroWindows += p.Packets
		}
	}
	if flags&FIN != 0 {
		mine.state |= sideFIN
	}
	bothFIN := mine.state&sideFIN != 0 && (peer.state&sideFIN != 0 || f.toSelf())
	f.closed = f.closed || bothFIN || flags&RST != 0
}

// firstISN returns the initial sequence number of the one who opened the connection.
func (f *flow) firstISN() (isn uint32, ok bool) {
	dir := Forward
	switch f.initiator {
	case InitiatorUnknown:
		return 0, false
	case InitiatorDst:
		dir = Reverse
	}
	switch mine, peer := &f.tcp[dir], &f.tcp[dir.Opposite()]; {
	case mine.state&sideSYN != 0:
		return mine.isn, true
	case peer.state&sideSYNACK != 0:
		return peer.acked - 1, true
	}
	return 0, false
}

// opened records on the evidence of a SYN that the sender of direction dir
// opened the flow. The first evidence stays (simultaneous open).
func (f *flow) opened(dir Direction) {
	f.guessed = false
	f.initiator = InitiatorSrc
	if dir == Reverse {
		f.initiator = InitiatorDst
	}
}

// sent follows the sequence numbers of one sender and says whether p sends
// again what was sent before. Keep-alives and probes of a closed window (peer
// is sideZero) look like that and are not. RST carries no sequence space.
func (s *tcpSide) sent(p *Packet, peer sideState) bool {
	length := uint32(p.Payload)
	if p.Flags&SYN != 0 {
		length++
	}
	if p.Flags&FIN != 0 {
		length++
	}
	if p.Flags&RST != 0 {
		return false
	}
	end := p.Seq + length
	if s.state&sideSeen == 0 {
		s.state |= sideSeen
		s.next, s.top = end, p.Seq
		s.holeStart, s.holeEnd = end, end
		return false
	}
	if length == 0 {
		return false // an ACK, or a keep-alive of no octets
	}
	if p.Payload == 1 && length == 1 {
		if peer&sideZero != 0 {
			return false // a probe; the octet counts when it is accepted and sent on
		}
		if p.Seq == s.next-1 && p.Seq != s.top {
			return false // a keep-alive of one octet
		}
	}
	if !before(p.Seq, s.next) {
		if p.Seq != s.next {
			s.holeStart, s.holeEnd, s.holeTime = s.next, p.Seq, p.Time
		}
		s.next, s.top = end, p.Seq
		return false
	}
	if before(s.next, end) { // overlaps and goes beyond
		s.next, s.top = end, p.Seq
	}
	if s.fills(p, end) {
		return p.Time-s.holeTime > reorderWindow
	}
	return true
}

// fills says whether p carries octets of the gap only, and takes them off it.
func (s *tcpSide) fills(p *Packet, end uint32) bool {
	if before(p.Seq, s.holeStart) || before(s.holeEnd, end) {
		return false
	}
	if p.Seq == s.holeStart {
		s.holeStart = end
	} else {
		s.holeEnd = p.Seq // the rest behind it is given up: one gap is remembered
	}
	return true
}
