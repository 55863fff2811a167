package flows

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	second = int64(time.Second)
	milli  = int64(time.Millisecond)
	epoch  = 1_800_000_000 * second
)

func testKey(proto Proto, src, dst uint16) Key {
	return Key{
		Src: AddrFrom(netip.MustParseAddr("10.0.0.1")), Dst: AddrFrom(netip.MustParseAddr("10.0.0.2")),
		SrcPort: src, DstPort: dst, Proto: proto,
	}
}

// tcp is a segment of a connection from port 40000 to port 80; times are
// relative to epoch.
func tcp(at int64, dir Direction, flags TCPFlags, seq, ack uint32, payload int) *Packet {
	p := &Packet{
		Key: testKey(TCP, 40000, 80), Time: epoch + at, Packets: 1, Octets: 54 + uint64(payload), Payload: uint64(payload),
		Flags: flags, Seq: seq, Ack: ack, Window: 100,
	}
	if dir == Reverse {
		p.Key = p.Key.Reverse()
	}
	return p
}

func udp(at int64, src, dst uint16) *Packet {
	return &Packet{Key: testKey(UDP, src, dst), Time: epoch + at, Packets: 1, Octets: 100, Payload: 58}
}

func collect(m *Meter, now int64) []Record {
	var out []Record
	m.Collect(epoch+now, func(r *Record) { out = append(out, *r) })
	return out
}

func flush(m *Meter) []Record {
	var out []Record
	m.Flush(func(r *Record) { out = append(out, *r) })
	return out
}

func observe(m *Meter, packets ...*Packet) {
	for _, p := range packets {
		m.Observe(p)
	}
}

func handshake(isn uint32) []*Packet {
	return []*Packet{
		tcp(0, Forward, SYN, isn, 0, 0),
		tcp(5*milli, Reverse, SYN|ACK, 7000, isn+1, 0),
		tcp(6*milli, Forward, ACK, isn+1, 7001, 0),
	}
}

func TestMeterReportsDeltas(t *testing.T) {
	m := NewMeter(MeterConfig{})
	observe(m, handshake(100)...)
	first := collect(m, second)
	want := []Record{{
		Key: testKey(TCP, 40000, 80), Start: epoch, End: epoch + 6*milli, SynAck: 5 * milli, Initiator: InitiatorSrc, ISN: 100, HasISN: true,
		Dir: [2]Counters{{Packets: 2, Octets: 108, Flags: SYN | ACK | SYNOnly}, {Packets: 1, Octets: 54, Flags: SYN | ACK | SYNACK}},
	}}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Error(diff)
	}
	if again := collect(m, 2*second); len(again) != 0 {
		t.Errorf("an unchanged flow was reported: %+v", again)
	}
	observe(m, tcp(3*second, Forward, ACK|PSH, 101, 7001, 10))
	delta := collect(m, 4*second)
	if len(delta) != 1 || delta[0].SynAck != 0 || delta[0].Dir[Forward].Payload != 10 || delta[0].Dir[Reverse].Packets != 0 ||
		delta[0].Start != epoch || delta[0].End != epoch+3*second {
		t.Errorf("second record = %+v", delta)
	}
	observe(m, tcp(5*second, Forward, FIN|ACK, 111, 7001, 0), tcp(5*second, Reverse, FIN|ACK, 7001, 112, 0))
	if r := collect(m, 5*second+milli); len(r) != 1 || r[0].EndReason != EndNone {
		t.Errorf("before the linger: %+v, want the delta and no end", r)
	}
	observe(m, tcp(5*second+2*milli, Forward, ACK, 112, 7002, 0))
	if r := collect(m, 8*second); len(r) != 1 || r[0].EndReason != EndOfFlow || r[0].Dir[Forward].Packets != 1 {
		t.Errorf("after the linger: %+v, want one end with the late packet", r)
	}
	if s := m.Stats(); s.Flows != 0 || s.Packets != 7 || s.Records != 4 {
		t.Errorf("stats = %+v", s)
	}
}

// The SYN tells the initial sequence number, and so does its answer.
func TestMeterISN(t *testing.T) {
	backwards := []*Packet{tcp(0, Reverse, SYN, 900, 0, 0)}
	for name, c := range map[string]struct {
		packets []*Packet
		isn     uint32
		known   bool
	}{
		"a SYN":            {handshake(100)[:1], 100, true},
		"from the greater": {backwards, 900, true},
		"its answer":       {handshake(100)[1:], 100, true},
		"neither":          {handshake(100)[2:], 0, false},
	} {
		m := NewMeter(MeterConfig{})
		observe(m, c.packets...)
		if r := collect(m, second)[0]; r.ISN != c.isn || r.HasISN != c.known {
			t.Errorf("%s: %d %t", name, r.ISN, r.HasISN)
		}
	}
}

func TestMeterEndReasons(t *testing.T) {
	f := func(name string, c MeterConfig, packets []*Packet, now int64, want ...EndReason) {
		t.Helper()
		m := NewMeter(c)
		observe(m, packets...)
		var got []EndReason
		for _, r := range collect(m, now) {
			got = append(got, r.EndReason)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	rst := append(handshake(1), tcp(7*milli, Reverse, RST, 7001, 0, 0))
	f("UDP idle", MeterConfig{}, []*Packet{udp(0, 1, 2)}, 60*second, EndIdle)
	f("UDP not yet idle", MeterConfig{}, []*Packet{udp(0, 1, 2)}, 59*second, EndNone)
	f("connection idle", MeterConfig{}, handshake(1), 3601*second, EndIdle)
	f("connection not yet idle", MeterConfig{}, handshake(1), 600*second, EndNone)
	f("SYN without answer", MeterConfig{}, handshake(1)[:1], 60*second, EndIdle)
	f("reset", MeterConfig{}, rst, 3*second, EndOfFlow)
	f("one FIN", MeterConfig{}, append(handshake(1), tcp(7*milli, Forward, FIN|ACK, 2, 7001, 0)), 30*second, EndNone)
	f("active", MeterConfig{ActiveTimeout: 5 * time.Second}, handshake(1), 6*second, EndActive)
	f("not yet active", MeterConfig{ActiveTimeout: 5 * time.Second}, handshake(1), 4*second)
	f("full", MeterConfig{MaxFlows: 1}, []*Packet{udp(0, 1, 2), udp(1, 3, 4)}, second, EndLackOfResources, EndNone)
}

func TestMeterFlush(t *testing.T) {
	m := NewMeter(MeterConfig{})
	observe(m, udp(0, 1, 2), tcp(0, Forward, SYN, 1, 0, 0), tcp(1, Reverse, RST|ACK, 0, 2, 0))
	r := flush(m)
	if len(r) != 2 || r[0].EndReason != EndOfFlow || r[1].EndReason != EndForced {
		t.Errorf("flushed %+v", r)
	}
	if r := flush(m); len(r) != 0 || m.Stats().Flows != 0 {
		t.Errorf("second flush gave %+v", r)
	}
	observe(m, udp(2, 1, 2))
	if r := collect(m, second); len(r) != 1 || r[0].Dir[Forward].Packets != 1 {
		t.Errorf("after a flush: %+v", r)
	}
}

func TestMeterActiveTimeoutKeepsTotals(t *testing.T) {
	m := NewMeter(MeterConfig{ActiveTimeout: 10 * time.Second})
	var packets uint64
	for n := range int64(100) {
		observe(m, udp(n*second, 1, 2))
		for _, r := range collect(m, n*second) {
			packets += r.Dir[Forward].Packets
		}
	}
	records := m.Stats().Records
	for _, r := range flush(m) {
		packets += r.Dir[Forward].Packets
	}
	if packets != 100 || records != 9 {
		t.Errorf("%d packets in %d records, want 100 in 9", packets, records)
	}
}

// A full cache gives up flows that are over first, then the longest idle one;
// what it could not report is counted.
func TestMeterBounded(t *testing.T) {
	m := NewMeter(MeterConfig{MaxFlows: 100})
	for n := range 1000 {
		observe(m, udp(int64(n), uint16(n), 5000))
	}
	s := m.Stats()
	if s.Flows != 100 || s.FlowsEvicted != 900 || s.LostPackets != 800 || s.LostOctets != 80_000 {
		t.Errorf("stats = %+v", s)
	}
	if len(m.slots) != 100 || len(m.dirty) != 100 || len(m.ended) != 100 {
		t.Errorf("%d slots, %d dirty, %d ended; want 100 each", len(m.slots), len(m.dirty), len(m.ended))
	}
	r := collect(m, milli)
	if len(r) != 200 || r[0].EndReason != EndLackOfResources || r[199].EndReason != EndNone {
		t.Errorf("%d records, want the ends of 100 and the deltas of 100", len(r))
	}

	m = NewMeter(MeterConfig{MaxFlows: 2})
	observe(m, udp(0, 1, 2), tcp(1, Forward, SYN, 1, 0, 0), tcp(2, Reverse, RST|ACK, 0, 2, 0), udp(3, 3, 4))
	if r := collect(m, milli); r[0].Key.Proto != TCP {
		t.Errorf("given up: %v, want the connection that is over", r[0].Key)
	}
}

func TestCaseE6_Fragments(t *testing.T) {
	m := NewMeter(MeterConfig{MaxFragments: 2})
	fragment := func(at int64, kind Fragment, id uint32, proto Proto) *Packet {
		p := udp(at, 40000, 5000)
		p.Fragment, p.FragmentID, p.Key.Proto = kind, id, proto
		if kind == FragmentLater {
			p.Key.SrcPort, p.Key.DstPort = 0, 0
		}
		return p
	}
	observe(m,
		fragment(0, FragmentFirst, 1, UDP), fragment(1, FragmentLater, 1, UDP), fragment(2, FragmentLater, 1, UDP),
		fragment(3, FragmentLater, 9, UDP), // unknown
		fragment(4, FragmentLater, 1, TCP), // another datagram
	)
	s := m.Stats()
	r := collect(m, second)
	if len(r) != 1 || r[0].Key != testKey(UDP, 40000, 5000) || r[0].Dir[Forward].Packets != 3 {
		t.Errorf("%+v, want one flow with three packets", r)
	}
	if s.UnknownFragmentPackets != 2 || s.UnknownFragmentOctets != 200 || s.Packets != 5 {
		t.Errorf("stats = %+v", s)
	}
	// The table forgets the oldest datagram, and old ones.
	observe(m, fragment(second, FragmentFirst, 2, UDP), fragment(second, FragmentFirst, 3, UDP))
	observe(m, fragment(second, FragmentLater, 1, UDP), fragment(second, FragmentLater, 3, UDP), fragment(40*second, FragmentLater, 3, UDP))
	if got := m.Stats().UnknownFragmentPackets; got != 4 {
		t.Errorf("%d unknown fragments, want 4", got)
	}
	if len(m.fragments.index) != 2 || len(m.fragments.ring) != 2 {
		t.Errorf("the table holds %d datagrams, want 2", len(m.fragments.index))
	}

	// IPv6: later fragments may name another protocol (an extension header).
	v6 := func(kind Fragment, proto Proto) *Packet {
		p := fragment(0, kind, 5, proto)
		p.Key.Src, p.Key.Dst = Addr{0: 0xfd, 15: 1}, Addr{0: 0xfd, 15: 2}
		return p
	}
	m = NewMeter(MeterConfig{})
	observe(m, v6(FragmentFirst, UDP), v6(FragmentLater, 60))
	if r := collect(m, second); len(r) != 1 || r[0].Dir[Forward].Packets != 2 {
		t.Errorf("IPv6: %+v, want one flow with two packets", r)
	}
}

func TestCaseE1_ObservationPoints(t *testing.T) {
	m := NewMeter(MeterConfig{})
	at := func(point uint64, time int64) *Packet {
		p := udp(time, 40000, 5000)
		p.Point = point
		return p
	}
	observe(m, at(1, 0), at(2, 1), at(3, 2), at(1, second), at(2, second+1))
	back := at(2, second+2)
	back.Key = back.Key.Reverse()
	observe(m, back) // the other direction may belong to another point
	observe(m, at(2, 4*second), at(1, 4*second+1))
	s := m.Stats()
	r := collect(m, 5*second)
	if len(r) != 1 || r[0].Dir[Forward].Packets != 3 || r[0].Dir[Reverse].Packets != 1 {
		t.Errorf("%+v, want 3 packets there, 1 back", r)
	}
	if s.DuplicatePackets != 4 || s.DuplicateOctets != 400 || s.Packets != 8 {
		t.Errorf("stats = %+v", s)
	}
}

func TestMeterConfig(t *testing.T) {
	if err := DefaultMeterConfig().Validate(); err != nil {
		t.Error(err)
	}
	if got := (MeterConfig{}).withDefaults(); got != DefaultMeterConfig() {
		t.Errorf("zero means %+v, want the default", got)
	}
	for _, c := range []MeterConfig{{MaxFlows: -1}, {MaxFragments: -1}, {Linger: -1}, {IdleTimeout: -1}} {
		if c.Validate() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestMeterDoesNotAllocate(t *testing.T) {
	m := NewMeter(MeterConfig{MaxFlows: 256})
	packets := make([]*Packet, 0, 1024)
	for n := range 512 {
		p := tcp(int64(n), Forward, ACK, uint32(n), 1, 10)
		p.Key.SrcPort = uint16(n % 200)
		packets = append(packets, p)
	}
	emit := func(*Record) {}
	run := func() {
		for _, p := range packets {
			m.Observe(p)
		}
		m.Collect(epoch, emit)
	}
	run()
	if n := testing.AllocsPerRun(50, run); n > 0 {
		t.Errorf("%v allocations for %d packets and a Collect, want none", n, len(packets))
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, flows := range []int{1, 1000, 50_000} {
		b.Run(strconv.Itoa(flows)+"flows", func(b *testing.B) {
			m := NewMeter(MeterConfig{})
			packets := make([]Packet, flows)
			for n := range packets {
				packets[n] = *tcp(0, Forward, ACK, 1, 1, 100)
				packets[n].Key.SrcPort = uint16(n)
				m.Observe(&packets[n])
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				p := &packets[n]
				p.Seq += 100
				m.Observe(p)
				if n++; n == flows {
					n = 0
				}
			}
		})
	}
}
