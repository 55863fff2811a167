package tcx

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/packet"
)

// bench is a loaded but not attached meter whose programs are run on crafted
// frames (BPF_PROG_TEST_RUN), as if they had come to lo.
type bench struct {
	t testing.TB
	*Meter
}

func newBench(t testing.TB, cfg Config, tune func(*ebpf.CollectionSpec)) *bench {
	t.Helper()
	needRoot(t)
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.tune = tune
	if err := m.load(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.coll.Close)
	if err := m.openLedger(1); err != nil {
		t.Fatal(err)
	}
	return &bench{t, m}
}

// skb is struct __sk_buff up to gso_size, which a test run takes as input.
type skb struct {
	_       [40]byte
	Ifindex uint32
	_       [120]byte
	GsoSegs uint32
	_       [8]byte
	GsoSize uint32
	_       [12]byte
}

func (b *bench) run(hook int, frame []byte, ctx *skb) {
	b.t.Helper()
	if ctx == nil {
		ctx = &skb{}
	}
	ret, err := b.progs[hook][0].Run(&ebpf.RunOptions{Data: frame, Context: ctx})
	if err != nil {
		b.t.Fatalf("run: %v", err)
	}
	if int32(ret) != -1 {
		b.t.Fatalf("returned %d: the packet would not go its way", int32(ret))
	}
}

func (b *bench) ledger(hook int) Ledger {
	b.t.Helper()
	v, err := b.readLedger(1, hook)
	if err != nil {
		b.t.Fatal(err)
	}
	return v.ledger()
}

func frame(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

var (
	macA, macB = net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	ipA, ipB   = net.IP{10, 0, 0, 1}, net.IP{10, 0, 0, 2}
	ip6A, ip6B = net.ParseIP("2001:db8::1"), net.ParseIP("2001:db8::2")
)

func eth(next layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: macA, DstMAC: macB, EthernetType: next}
}

func ip4(p layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: p, SrcIP: ipA, DstIP: ipB, Id: 7}
}

func ip6(p layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: p, SrcIP: ip6A, DstIP: ip6B}
}

func udp() *layers.UDP { return &layers.UDP{SrcPort: 4000, DstPort: 53} }

func body(n int) gopacket.Payload { return make([]byte, n) }

func key(proto flows.Proto, src string, dst string) flows.Key {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	return flows.Key{Src: flows.AddrFrom(s.Addr()), Dst: flows.AddrFrom(d.Addr()), SrcPort: s.Port(), DstPort: d.Port(), Proto: proto}
}

// One frame, one flow: what stands in the headers is what is in the record.
func TestParseFlow(t *testing.T) {
	v4udp := key(flows.UDP, "10.0.0.1:4000", "10.0.0.2:53")
	v6udp := key(flows.UDP, "[2001:db8::1]:4000", "[2001:db8::2]:53")
	vlan := func(id uint16, next layers.EthernetType) *layers.Dot1Q {
		return &layers.Dot1Q{VLANIdentifier: id, Type: next}
	}
	options := ip4(layers.IPProtocolUDP)
	options.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	reversed := ip4(layers.IPProtocolUDP)
	reversed.SrcIP, reversed.DstIP = ipB, ipA
	ext := func(first layers.IPProtocol, headers ...byte) gopacket.Payload {
		return append(headers, frame(t, udp(), body(10))...)
	}
	tests := []struct {
		name    string
		frame   []byte
		key     flows.Key
		dir     flows.Direction
		payload uint64
		flags   flows.TCPFlags
	}{
		{"v4 udp", frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(), body(10)), v4udp, 0, 10, 0},
		{"v4 reversed", frame(t, eth(layers.EthernetTypeIPv4), reversed, &layers.UDP{SrcPort: 53, DstPort: 4000}, body(3)), v4udp, 1, 3, 0},
		{"v4 options", frame(t, eth(layers.EthernetTypeIPv4), options, udp(), body(10)), v4udp, 0, 10, 0},
		{"v4 padded to 60", append(frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(), body(1)), make([]byte, 17)...), v4udp, 0, 1, 0},
		{"vlan", frame(t, eth(layers.EthernetTypeDot1Q), vlan(5, layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(), body(10)), v4udp, 0, 10, 0},
		{"qinq", frame(t, eth(layers.EthernetTypeQinQ), vlan(5, layers.EthernetTypeDot1Q), vlan(6, layers.EthernetTypeIPv6), ip6(layers.IPProtocolUDP), udp(), body(10)), v6udp, 0, 10, 0},
		{"v6 udp", frame(t, eth(layers.EthernetTypeIPv6), ip6(layers.IPProtocolUDP), udp(), body(10)), v6udp, 0, 10, 0},
		{"v6 hop-by-hop, routing, destination", frame(t, eth(layers.EthernetTypeIPv6), ip6(0),
			ext(0, 43, 0, 1, 4, 0, 0, 0, 0, // hop-by-hop, next routing
				60, 2, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // routing of 24, next destination
				17, 0, 1, 4, 0, 0, 0, 0)), v6udp, 0, 10, 0},
		{"v6 authentication header", frame(t, eth(layers.EthernetTypeIPv6), ip6(51),
			ext(51, 17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2)), v6udp, 0, 10, 0},
		{"v6 atomic fragment", frame(t, eth(layers.EthernetTypeIPv6), ip6(44),
			ext(44, 17, 0, 0, 0, 0, 0, 0, 9)), v6udp, 0, 10, 0},
		{"tcp syn", frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 4000, DstPort: 80, SYN: true}),
			key(flows.TCP, "10.0.0.1:4000", "10.0.0.2:80"), 0, 0, flows.SYN | flows.SYNOnly},
		{"tcp syn-ack with options", frame(t, eth(layers.EthernetTypeIPv6), ip6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 80, DstPort: 4000, SYN: true, ACK: true,
			Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}}}}, body(7)),
			key(flows.TCP, "[2001:db8::1]:80", "[2001:db8::2]:4000"), 0, 7, flows.SYN | flows.ACK | flows.SYNACK},
		{"tcp fin psh ack", frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 4000, DstPort: 80, FIN: true, PSH: true, ACK: true, ECE: true, CWR: true, URG: true, Window: 1}, body(9)),
			key(flows.TCP, "10.0.0.1:4000", "10.0.0.2:80"), 0, 9, flows.FIN | flows.PSH | flows.ACK | flows.ECE | flows.CWR | flows.URG},
		{"icmp echo request", frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 77}, body(56)),
			key(flows.ICMP, "10.0.0.1:77", "10.0.0.2:77"), 0, 56, 0},
		{"icmp unreachable", frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 3), Id: 77}, body(28)),
			key(flows.ICMP, "10.0.0.1:0", "10.0.0.2:0"), 0, 28, 0},
		{"icmpv6 echo reply", frame(t, eth(layers.EthernetTypeIPv6), ip6(layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(129, 0)}, body(0), gopacket.Payload{0, 78, 0, 1, 1, 2, 3}),
			key(flows.ICMPv6, "[2001:db8::1]:78", "[2001:db8::2]:78"), 0, 3, 0},
		{"sctp", frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolSCTP), gopacket.Payload{0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4}),
			key(flows.SCTP, "10.0.0.1:4000", "10.0.0.2:80"), 0, 4, 0},
		{"gre", frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolGRE), body(40)), key(47, "10.0.0.1:0", "10.0.0.2:0"), 0, 40, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{}, nil)
			b.run(hookIngress, tt.frame, nil)
			var s sink
			collect(t, b.Meter, &s)
			if len(s.records) != 1 {
				t.Fatalf("%d records, ledger %+v", len(s.records), b.ledger(hookIngress))
			}
			r := s.records[0]
			r.Key.NetNS = 0
			want := [2]flows.Counters{}
			want[tt.dir] = flows.Counters{Packets: 1, Octets: uint64(len(tt.frame)), Payload: tt.payload, Flags: tt.flags}
			if r.Key != tt.key || r.Dir != want {
				t.Errorf("got %v %+v\nwant %v %+v", r.Key, r.Dir, tt.key, want)
			}
		})
	}
}

// What is no flow is in its line of the ledger, and in no flow.
func TestParseOther(t *testing.T) {
	long := ip6(0)
	var chain []byte
	for range 12 {
		chain = append(chain, 0, 0, 1, 4, 0, 0, 0, 0)
	}
	badIHL := frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(), body(10))
	badIHL[14] = 0x44
	badVersion := frame(t, eth(layers.EthernetTypeIPv6), ip6(layers.IPProtocolUDP), udp(), body(10))
	badVersion[14] = 0x40
	badOff := frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 2})
	badOff[14+20+12] = 0x30
	tcp := frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 2})
	tagged := frame(t, eth(layers.EthernetTypeDot1Q), &layers.Dot1Q{Type: layers.EthernetTypeIPv4}, ip4(layers.IPProtocolUDP), udp(), body(10))
	later := ip4(layers.IPProtocolUDP)
	later.FragOffset = 100
	malformed := func(l *Ledger) *Sum { return &l.Malformed }
	tests := []struct {
		name  string
		frame []byte
		line  func(*Ledger) *Sum
	}{
		{"arp", frame(t, eth(layers.EthernetTypeARP), body(28)), func(l *Ledger) *Sum { return &l.NonFlow }},
		{"802.3 length", frame(t, &layers.Ethernet{SrcMAC: macA, DstMAC: macB, Length: 38}, body(60)), func(l *Ledger) *Sum { return &l.NonFlow }},
		{"ethernet only", frame(t, eth(layers.EthernetTypeIPv4)), malformed},
		{"v4 header cut", tagged[:14+4+16], malformed},
		{"tcp header cut", tcp[:14+20+9], malformed},
		{"ihl 4", badIHL, malformed},
		{"version", badVersion, malformed},
		{"tcp offset 3", badOff, malformed},
		{"vlan cut", tagged[:16], malformed},
		{"endless extension headers", frame(t, eth(layers.EthernetTypeIPv6), long, gopacket.Payload(chain)), malformed},
		{"later fragment", frame(t, eth(layers.EthernetTypeIPv4), later, body(100)), func(l *Ledger) *Sum { return &l.FragUnknown }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{}, nil)
			b.run(hookIngress, tt.frame, nil)
			one := Sum{1, uint64(len(tt.frame))}
			want := Ledger{SKBs: 1, SKBOctets: one.Octets, Seen: one}
			*tt.line(&want) = one
			if diff := cmp.Diff(want, b.ledger(hookIngress)); diff != "" {
				t.Error(diff)
			}
			var s sink
			if collect(t, b.Meter, &s); len(s.records) != 0 {
				t.Errorf("records %+v", s.records)
			}
		})
	}
}

// Later fragments are charged to the flow of the first.
func TestFragments(t *testing.T) {
	v4 := func(off uint16, more bool, id uint16, ls ...gopacket.SerializableLayer) []byte {
		h := ip4(layers.IPProtocolUDP)
		h.FragOffset, h.Id = off, id
		if more {
			h.Flags = layers.IPv4MoreFragments
		}
		return frame(t, append([]gopacket.SerializableLayer{eth(layers.EthernetTypeIPv4), h}, ls...)...)
	}
	v6 := func(next byte, off uint16, more byte, data []byte) []byte {
		h := []byte{next, 0, byte(off >> 5), byte(off<<3) | more, 0, 0, 0, 5}
		return frame(t, eth(layers.EthernetTypeIPv6), ip6(44), gopacket.Payload(append(h, data...)))
	}
	u := frame(t, udp(), body(192))
	dest := append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, u[:192]...) // the first one has the destination options
	for name, frames := range map[string][][]byte{
		"v4":                 {v4(0, true, 1, gopacket.Payload(u)), v4(25, true, 1, body(200)), v4(50, false, 1, body(33))},
		"v6":                 {v6(17, 0, 1, u), v6(17, 25, 1, body(200)), v6(17, 50, 0, body(33))},
		"v6 with an options": {v6(60, 0, 1, dest), v6(60, 25, 1, body(200)), v6(60, 50, 0, body(33))},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{}, nil)
			var octets uint64
			for _, f := range frames {
				b.run(hookEgress, f, nil)
				octets += uint64(len(f))
			}
			b.run(hookEgress, v4(25, false, 99, body(200)), nil) // of another datagram
			var s sink
			collect(t, b.Meter, &s)
			if len(s.records) != 1 {
				t.Fatalf("%d records: %+v", len(s.records), s.records)
			}
			r := s.records[0]
			payload := uint64(192 + 200 + 33)
			if len(frames[0]) == len(dest)+14+40+8 && name == "v6 with an options" {
				payload -= 8
			}
			want := flows.Counters{Packets: 3, Octets: octets, Payload: payload}
			if r.Dir[0] != want || r.Key.SrcPort != 4000 || r.Key.DstPort != 53 || r.Key.Proto != flows.UDP {
				t.Errorf("%v %+v, want %+v", r.Key, r.Dir[0], want)
			}
			if got := b.ledger(hookEgress).FragUnknown.Packets; got != 1 {
				t.Errorf("unknown fragments %d, want 1", got)
			}
		})
	}
}

// A super-packet stands for its segments, each with its headers.
func TestSegments(t *testing.T) {
	f := frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 2, ACK: true}, body(3000))
	for _, ctx := range []skb{{GsoSegs: 3, GsoSize: 1448}, {GsoSize: 1448}} {
		t.Run(fmt.Sprint(ctx.GsoSegs), func(t *testing.T) {
			b := newBench(t, Config{}, nil)
			b.run(hookEgress, f, &ctx)
			var s sink
			collect(t, b.Meter, &s)
			want := flows.Counters{Packets: 3, Octets: 3000 + 3*54, Payload: 3000, ZeroWindows: 3, Flags: flows.ACK}
			if len(s.records) != 1 || s.records[0].Dir[0] != want {
				t.Fatalf("got %+v, want %+v", s.records, want)
			}
			l := b.ledger(hookEgress)
			if l.SKBs != 1 || l.SKBOctets != 3054 || l.Seen != (Sum{3, want.Octets}) || l.Flow != l.Seen {
				t.Errorf("ledger %+v", l)
			}
		})
	}
}

// Both meters count the same segments as closing a window.
// The SYN-ACK is timed from the SYN that began the entry, not from anything else.
func TestSynAck(t *testing.T) {
	for _, x := range []struct {
		name    string
		packets []layers.TCP // those with ACK go back
		timed   bool
	}{
		{"handshake", []layers.TCP{{SYN: true}, {SYN: true, ACK: true}}, true},
		{"SYN and SYN-ACK sent again", []layers.TCP{{SYN: true}, {SYN: true}, {SYN: true, ACK: true}, {SYN: true, ACK: true}}, true},
		{"no SYN", []layers.TCP{{SYN: true, ACK: true}, {SYN: true, ACK: true}}, false},
		{"refused", []layers.TCP{{SYN: true}, {RST: true, ACK: true}}, false},
		{"not from its beginning", []layers.TCP{{PSH: true}, {SYN: true}, {SYN: true, ACK: true}}, false},
	} {
		b := newBench(t, Config{}, nil)
		var at []time.Time
		for _, tcp := range x.packets {
			ip := ip4(layers.IPProtocolTCP)
			tcp.SrcPort, tcp.DstPort = 40000, 80
			if tcp.ACK {
				tcp.SrcPort, tcp.DstPort, ip.SrcIP, ip.DstIP = tcp.DstPort, tcp.SrcPort, ip.DstIP, ip.SrcIP
			}
			at = append(at, time.Now())
			b.run(hookEgress, frame(t, eth(layers.EthernetTypeIPv4), ip, &tcp), nil)
		}
		end := time.Now()
		var s sink
		collect(t, b.Meter, &s)
		if len(s.records) != 1 {
			t.Fatalf("%s: %+v", x.name, s.records)
		}
		got := time.Duration(s.records[0].SynAck)
		if (got > 0) != x.timed || got > end.Sub(at[0]) {
			t.Errorf("%s: %v of %v", x.name, got, end.Sub(at[0]))
		}
	}
}

func TestZeroWindows(t *testing.T) {
	b, user := newBench(t, Config{}, nil), flows.NewMeter(flows.MeterConfig{})
	var info packet.Info
	for _, s := range []struct {
		back   bool
		window uint16
		set    string
		body   int
	}{{false, 0, "S", 0}, {true, 0, "SA", 0}, {false, 10, "A", 0}, {true, 0, "A", 0}, {true, 256, "A", 0}, {true, 0, "AP", 100}, {false, 0, "FA", 0}, {true, 0, "RA", 0}} {
		tcp := &layers.TCP{SrcPort: 40000, DstPort: 80, Window: s.window}
		ip := ip4(layers.IPProtocolTCP)
		if s.back {
			tcp.SrcPort, tcp.DstPort, ip.SrcIP, ip.DstIP = tcp.DstPort, tcp.SrcPort, ip.DstIP, ip.SrcIP
		}
		for flag, to := range map[string]*bool{"S": &tcp.SYN, "A": &tcp.ACK, "F": &tcp.FIN, "R": &tcp.RST, "P": &tcp.PSH} {
			*to = strings.Contains(s.set, flag)
		}
		f := frame(t, eth(layers.EthernetTypeIPv4), ip, tcp, body(s.body))
		b.run(hookEgress, f, nil)
		if err := info.Decode(f, packet.LinkEthernet); err != nil {
			t.Fatal(err)
		}
		info.Packet.Packets = 1
		user.Observe(&info.Packet)
	}
	var s sink
	collect(t, b.Meter, &s)
	user.Flush(func(r *flows.Record) {
		kernel := s.total(func(*flows.Record) bool { return true })
		for d := range kernel {
			if kernel[d].ZeroWindows != r.Dir[d].ZeroWindows {
				t.Errorf("%d zero windows in direction %d, the user-space meter counts %d", kernel[d].ZeroWindows, d, r.Dir[d].ZeroWindows)
			}
		}
		if forward, back := r.Dir[to(r, 80)].ZeroWindows, r.Dir[to(r, 80).Opposite()].ZeroWindows; forward != 1 || back != 2 {
			t.Errorf("%d and %d zero windows, want 1 and 2", forward, back)
		}
	})
}

// The outside of a tunnel repeats the headers inside in each segment, too.
func TestSegmentsInTunnel(t *testing.T) {
	const inside = 8 + 14 + 20 + 32 // VXLAN, Ethernet, IPv4, TCP with timestamps
	for _, c := range []struct{ payload, headers int }{
		{4 * 700, 42 + inside},
		{4*700 - 60, 42 + inside - 60}, // the last segment is not full: less is known
		{3*700 + 1, 42},
	} {
		b := newBench(t, Config{}, nil)
		f := frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), &layers.UDP{SrcPort: 40000, DstPort: 4789}, body(inside+c.payload))
		b.run(hookEgress, f, &skb{GsoSegs: 4, GsoSize: 700})
		want := uint64(len(f) + 3*c.headers)
		if l := b.ledger(hookEgress); l.Seen != (Sum{4, want}) {
			t.Errorf("%d octets of payload: %+v, want %d octets in 4 packets", c.payload, l.Seen, want)
		}
	}
}
