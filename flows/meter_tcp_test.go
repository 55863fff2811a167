package flows

import "testing"

func TestCaseC1_PortReuse(t *testing.T) {
	m := NewMeter(MeterConfig{})
	observe(m, handshake(100)...)
	observe(m, tcp(7*milli, Forward, FIN|ACK, 101, 7001, 0), tcp(8*milli, Reverse, FIN|ACK, 7001, 102, 0))
	observe(m, tcp(9*milli, Forward, SYN, 9000, 0, 0))
	// Not ended: the client gave up waiting and tries again.
	observe(m, tcp(10*milli, Forward, SYN, 12_000, 0, 0))
	// The same SYN again is a retransmission.
	observe(m, tcp(11*milli, Forward, SYN, 12_000, 0, 0))
	r := collect(m, 20*milli)
	if len(r) != 3 || m.Stats().FlowsReused != 2 {
		t.Fatalf("%d records, want three instances: %+v", len(r), r)
	}
	for n, want := range []struct {
		start   int64
		packets uint64
		reason  EndReason
	}{{0, 3, EndOfFlow}, {9 * milli, 1, EndOfFlow}, {10 * milli, 2, EndNone}} {
		if r[n].Start != epoch+want.start || r[n].Dir[Forward].Packets != want.packets || r[n].EndReason != want.reason {
			t.Errorf("instance %d = %+v, want %+v", n, r[n], want)
		}
	}
	if r[2].Dir[Forward].Retransmits != 1 {
		t.Errorf("retransmits = %d, want the SYN", r[2].Dir[Forward].Retransmits)
	}
}

// What only looks like a new connection.
func TestNotReused(t *testing.T) {
	f := func(name string, instances uint64, packets ...*Packet) {
		t.Helper()
		m := NewMeter(MeterConfig{})
		observe(m, packets...)
		if got := m.Stats().FlowsCreated; got != instances {
			t.Errorf("%s: %d instances, want %d", name, got, instances)
		}
	}
	f("SYN-ACK captured before SYN", 1, tcp(0, Reverse, SYN|ACK, 7000, 101, 0), tcp(1, Forward, SYN, 100, 0, 0))
	f("data captured before SYN", 1, tcp(0, Forward, ACK, 101, 7001, 50), tcp(1, Forward, SYN, 100, 0, 0))
	f("simultaneous open", 1, tcp(0, Forward, SYN, 100, 0, 0), tcp(1, Reverse, SYN, 900, 0, 0), tcp(2, Reverse, SYN|ACK, 900, 101, 0), tcp(2, Forward, SYN|ACK, 100, 901, 0))
	f("SYN in an old connection", 2, tcp(0, Forward, ACK, 5_000_000, 1, 50), tcp(second, Forward, SYN, 77, 0, 0))
	f("SYN from the other side of an ended one", 2, tcp(0, Forward, SYN, 100, 0, 0), tcp(1, Reverse, RST|ACK, 0, 101, 0), tcp(2, Reverse, SYN, 5, 0, 0))
}

func TestInitiator(t *testing.T) {
	f := func(name string, want Initiator, guessed bool, p ...*Packet) {
		t.Helper()
		m := NewMeter(MeterConfig{})
		observe(m, p...)
		r := collect(m, second)
		if len(r) != 1 || r[0].Initiator != want || r[0].Guessed != guessed {
			t.Errorf("%s: %+v, want %d, guessed %v", name, r, want, guessed)
		}
	}
	ports := func(p *Packet, src, dst uint16) *Packet {
		p.Key.SrcPort, p.Key.DstPort = src, dst
		return p
	}
	ack := func(src, dst uint16) *Packet { return ports(tcp(0, Forward, ACK, 1, 1, 0), src, dst) }
	f("SYN", InitiatorSrc, false, tcp(0, Forward, SYN, 1, 0, 0))
	f("SYN from a well-known port", InitiatorSrc, false, ports(tcp(0, Forward, SYN, 1, 0, 0), 20, 50000)) // G5
	f("SYN-ACK only", InitiatorSrc, false, tcp(0, Reverse, SYN|ACK, 1, 2, 0))
	f("ACK is no SYN-ACK", InitiatorSrc, true, tcp(0, Reverse, ACK, 1, 2, 0)) // G3: by port 80
	f("mid-stream to a service", InitiatorSrc, true, ack(50000, 5432))        // G1
	f("mid-stream from a service", InitiatorDst, true, ack(5432, 50000))
	f("mid-stream, two service ports", InitiatorDst, true, ack(5432, 9000))
	f("mid-stream, ephemeral", InitiatorUnknown, false, ack(50000, 40000)) // G2
	f("mid-stream, equal ports", InitiatorUnknown, false, ack(179, 179))
	f("ephemeral, then SYN-ACK", InitiatorDst, false, ack(50000, 40000), ports(tcp(1, Forward, SYN|ACK, 1, 2, 0), 50000, 40000))
	f("UDP", InitiatorSrc, false, udp(0, 40000, 30000))
	f("UDP answer first", InitiatorDst, true, udp(0, 53, 40000))
	echo := &Packet{Key: testKey(ICMP, 7, 7), Time: epoch, Packets: 1, Octets: 98}
	f("echo request", InitiatorSrc, false, echo)
	reply := *echo
	reply.Reply = true
	f("echo reply", InitiatorDst, false, &reply)
}

// G2: unknown stays unknown from interval to interval.
func TestInitiatorStable(t *testing.T) {
	m := NewMeter(MeterConfig{})
	for n := range int64(5) {
		p := tcp(n*second, Direction(n%2), ACK, 1, 1, 0)
		if n%2 == 0 {
			p.Key.SrcPort, p.Key.DstPort = 40000, 50000
		} else {
			p.Key.SrcPort, p.Key.DstPort = 50000, 40000
		}
		observe(m, p)
		if r := collect(m, n*second); len(r) != 1 || r[0].Initiator != InitiatorUnknown || r[0].Guessed {
			t.Errorf("interval %d: %+v", n, r)
		}
	}
}

func TestCaseG4_SimultaneousOpen(t *testing.T) {
	m := NewMeter(MeterConfig{})
	observe(m, tcp(0, Reverse, SYN, 1, 0, 0), tcp(1, Forward, SYN, 2, 0, 0), tcp(2, Forward, SYN|ACK, 2, 2, 0), tcp(3, Reverse, SYN|ACK, 1, 3, 0))
	if r := collect(m, second); len(r) != 1 || r[0].Initiator != InitiatorDst || r[0].Guessed {
		t.Errorf("%+v, want one flow opened by the first SYN", r)
	}
}

func TestCaseC7_ConnectionToSelf(t *testing.T) {
	m := NewMeter(MeterConfig{})
	for n, flags := range []TCPFlags{SYN, SYN | ACK, ACK, ACK | PSH, ACK, FIN | ACK, ACK} {
		p := tcp(int64(n), Forward, flags, 1, 2, 0)
		p.Key.Dst, p.Key.DstPort = p.Key.Src, p.Key.SrcPort
		observe(m, p)
	}
	r := collect(m, 3*second)
	if len(r) != 1 || r[0].Dir[Forward].Packets != 7 || r[0].Dir[Reverse].Packets != 0 || r[0].EndReason != EndOfFlow || r[0].Dir[Forward].Retransmits != 0 {
		t.Errorf("%+v, want one ended flow with all packets in one direction", r)
	}
}

func TestRetransmits(t *testing.T) {
	f := func(name string, want uint64, p ...*Packet) {
		t.Helper()
		m := NewMeter(MeterConfig{})
		observe(m, handshake(0)...)
		observe(m, p...)
		r := collect(m, second)
		if len(r) != 1 || r[0].Dir[Forward].Retransmits != want || r[0].Dir[Reverse].Retransmits != 0 {
			t.Errorf("%s: %+v, want %d retransmits", name, r, want)
		}
	}
	data := func(at int64, seq uint32, n int) *Packet { return tcp(at*milli, Forward, ACK, seq, 7001, n) }
	closed := tcp(20*milli, Reverse, ACK, 7001, 101, 0)
	closed.Window = 0
	f("in order", 0, data(10, 1, 100), data(11, 101, 100))
	f("sent again", 1, data(10, 1, 100), data(11, 101, 100), data(50, 1, 100))
	f("last one sent again", 2, data(10, 1, 100), data(50, 1, 100), data(150, 1, 100))
	f("sent again in part", 1, data(10, 1, 100), data(50, 51, 100), data(51, 151, 10))
	f("keep-alive", 0, data(10, 1, 100), data(50, 100, 0))
	f("keep-alive of one octet", 0, data(10, 1, 100), data(50, 100, 1))
	f("one octet sent again", 1, data(10, 1, 100), data(11, 101, 1), data(50, 101, 1))
	f("zero window probes", 0, data(10, 1, 100), closed, data(30, 101, 1), data(60, 101, 1), data(90, 100, 0))
	f("reordered", 0, data(10, 1, 100), data(11, 201, 100), data(12, 101, 100), data(13, 301, 100))
	f("lost before us", 1, data(10, 1, 100), data(11, 201, 100), data(60, 101, 100))
	f("FIN sent again", 1, tcp(10*milli, Forward, FIN|ACK, 1, 7001, 0), tcp(300*milli, Forward, FIN|ACK, 1, 7001, 0))
	f("SYN sent again", 1, tcp(10*milli, Forward, SYN, 0, 0, 0))
	f("ACKs repeat", 0, data(10, 1, 0), data(11, 1, 0), data(12, 1, 0))
	f("reset", 0, data(10, 1, 100), tcp(11*milli, Forward, RST, 1, 0, 0))

	m := NewMeter(MeterConfig{}) // sequence numbers wrap
	observe(m, tcp(0, Forward, ACK, 0xffffff00, 1, 200), tcp(1, Forward, ACK, 0xffffffc8, 1, 200), tcp(2, Forward, ACK, 144, 1, 200), tcp(3, Forward, ACK, 0xffffffc8, 1, 200))
	if r := collect(m, second); r[0].Dir[Forward].Retransmits != 1 {
		t.Errorf("across the wrap: %d retransmits, want 1", r[0].Dir[Forward].Retransmits)
	}
}

func TestZeroWindows(t *testing.T) {
	segment := func(dir Direction, flags TCPFlags, payload int) *Packet {
		p := tcp(10*milli, dir, flags, 7001, 101, payload)
		p.Window = 0
		return p
	}
	again := segment(Reverse, ACK, 100)
	again.Packets = 3 // a super-packet
	later := segment(Forward, ACK, 100)
	later.Fragment = FragmentLater // has no TCP header
	m := NewMeter(MeterConfig{})
	observe(m, handshake(0)...)
	observe(m, segment(Reverse, ACK, 0), segment(Reverse, SYN|ACK, 0), segment(Reverse, ACK, 0), again, segment(Forward, ACK|FIN, 0), later)
	observe(m, segment(Forward, RST, 0))
	r := collect(m, second)
	if len(r) != 1 || r[0].Dir[Reverse].ZeroWindows != 5 || r[0].Dir[Forward].ZeroWindows != 1 {
		t.Errorf("%+v, want 5 zero windows back and 1 there", r)
	}
}
