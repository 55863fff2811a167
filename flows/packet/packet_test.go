package packet

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/weir-probe/weir/flows"
)

// frames calls f with every frame of the pcap files that capture tests with.
func frames(t testing.TB, f func(data []byte, wire int, link LinkType)) {
	t.Helper()
	files, err := filepath.Glob("../capture/testdata/*.pcap")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures in ../capture/testdata: %v", err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := pcapgo.NewReader(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for {
			data, ci, err := r.ReadPacketData()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			f(data, ci.Length, LinkType(r.LinkType()))
		}
		file.Close()
	}
}

var linkLayers = map[LinkType]gopacket.Decoder{
	LinkEthernet: layers.LinkTypeEthernet,
	LinkNull:     layers.LinkTypeNull,
	LinkSLL:      layers.LinkTypeLinuxSLL,
	LinkSLL2:     layers.LinkTypeLinuxSLL2,
	LinkRaw:      layers.LinkTypeRaw,
}

// compare decodes data with gopacket and compares field by field. It returns
// false when gopacket found nothing to compare with.
func compare(t *testing.T, i *Info, data []byte, link LinkType) bool {
	t.Helper()
	p := gopacket.NewPacket(data, linkLayers[link], gopacket.DecodeOptions{NoCopy: true})
	fail := func(field string, got, want any) {
		t.Helper()
		t.Errorf("%s = %v, gopacket says %v in\n%s", field, got, want, hex.Dump(data))
	}
	network := p.NetworkLayer()
	if network == nil {
		return false
	}
	rest, fragmented := 0, false
	switch ip := network.(type) {
	case *layers.IPv4:
		src, _ := netip.AddrFromSlice(ip.SrcIP)
		dst, _ := netip.AddrFromSlice(ip.DstIP)
		if i.Key.Src.Netip() != src || i.Key.Dst.Netip() != dst {
			fail("addresses", i.Key, ip.NetworkFlow())
		}
		rest = int(ip.Length) - int(ip.IHL)*4
		fragmented = ip.FragOffset != 0 || ip.Flags&layers.IPv4MoreFragments != 0
		if fragmented && i.FragmentID != uint32(ip.Id) {
			fail("fragment id", i.FragmentID, ip.Id)
		}
		if ip.TTL != i.TTL {
			fail("TTL", i.TTL, ip.TTL)
		}
	case *layers.IPv6:
		src, _ := netip.AddrFromSlice(ip.SrcIP)
		dst, _ := netip.AddrFromSlice(ip.DstIP)
		if i.Key.Src.Netip() != src || i.Key.Dst.Netip() != dst {
			fail("addresses", i.Key, ip.NetworkFlow())
		}
		rest = int(ip.Length) - (i.TransportOffset - i.NetworkOffset - 40)
		if f, ok := p.Layer(layers.LayerTypeIPv6Fragment).(*layers.IPv6Fragment); ok {
			fragmented = f.FragmentOffset != 0 || f.MoreFragments
			if fragmented && i.FragmentID != f.Identification {
				fail("fragment id", i.FragmentID, f.Identification)
			}
		}
	}
	if fragmented != (i.Fragment != flows.FragmentNone) {
		fail("fragment", i.Fragment, fragmented)
	}
	if i.Fragment == flows.FragmentLater {
		if i.Payload != uint64(rest) || i.Key.SrcPort != 0 {
			fail("later fragment's payload", i.Payload, rest)
		}
		return true
	}
	if tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok {
		flags := flows.TCPFlags(0)
		for bit, set := range []bool{tcp.FIN, tcp.SYN, tcp.RST, tcp.PSH, tcp.ACK, tcp.URG, tcp.ECE, tcp.CWR} {
			if set {
				flags |= 1 << bit
			}
		}
		if i.Key.Proto != flows.TCP || i.Key.SrcPort != uint16(tcp.SrcPort) || i.Key.DstPort != uint16(tcp.DstPort) ||
			i.Seq != tcp.Seq || i.Ack != tcp.Ack || i.Flags != flags || i.Window != tcp.Window {
			fail("tcp", i.Packet, *tcp)
		}
		rest -= int(tcp.DataOffset) * 4
	} else if udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok {
		if i.Key.Proto != flows.UDP || i.Key.SrcPort != uint16(udp.SrcPort) || i.Key.DstPort != uint16(udp.DstPort) {
			fail("udp", i.Key, *udp)
		}
		rest -= 8
	} else if sctp, ok := p.Layer(layers.LayerTypeSCTP).(*layers.SCTP); ok {
		if i.Key.Proto != flows.SCTP || i.Key.SrcPort != uint16(sctp.SrcPort) || i.Key.DstPort != uint16(sctp.DstPort) {
			fail("sctp", i.Key, *sctp)
		}
		rest -= 12
	} else if icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		echo := icmp.TypeCode.Type() == 0 || icmp.TypeCode.Type() == 8
		if i.ICMPType != icmp.TypeCode.Type() || i.ICMPCode != icmp.TypeCode.Code() || (echo && i.Key.SrcPort != icmp.Id) || (!echo && i.Key.SrcPort != 0) {
			fail("icmp", i.Key, *icmp)
		}
		rest -= 8
	} else if icmp, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok {
		if i.ICMPType != icmp.TypeCode.Type() || i.ICMPCode != icmp.TypeCode.Code() {
			fail("icmpv6", i.Key, *icmp)
		}
		rest -= 8
	} else {
		return false
	}
	if i.Payload != uint64(rest) {
		fail("payload", i.Payload, rest)
	}
	return true
}

func TestDecodeAgreesWithGopacket(t *testing.T) {
	compared := 0
	var i Info
	frames(t, func(data []byte, _ int, link LinkType) {
		if i.Decode(data, link) == nil && compare(t, &i, data, link) {
			compared++
		}
	})
	if compared < 200 {
		t.Errorf("%d packets compared, want more than 200", compared)
	}
}

// Random packets: real ones with fields changed, as far as both decoders accept them.
func TestDecodeRandomAgreesWithGopacket(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	compared, refused := 0, 0
	var i Info
	frames(t, func(data []byte, _ int, link LinkType) {
		for range 30 {
			b := append([]byte(nil), data...)
			// Addresses, ports, flags, windows, identifiers: what keeps lengths as they are.
			if i.Decode(b, link) != nil || i.NetworkOffset+20 > len(b) {
				return
			}
			ip := b[i.NetworkOffset:]
			switch i.IPVersion {
			case 4:
				random(r, ip[12:20])
				ip[8] = byte(r.Uint32())
			case 6:
				random(r, ip[8:40])
			}
			if i.Fragment == flows.FragmentNone && i.Key.Proto == flows.TCP {
				tcp := b[i.TransportOffset:]
				random(r, tcp[:12])
				random(r, tcp[13:16])
			}
			if r.IntN(4) == 0 {
				b = b[:r.IntN(len(b)+1)]
			}
			switch err := i.Decode(b, link); {
			case err != nil:
				refused++
			case compare(t, &i, b, link):
				compared++
			}
			if t.Failed() {
				t.FailNow()
			}
		}
	})
	if compared < 1000 || refused < 100 {
		t.Errorf("%d packets compared and %d refused, want more than 1000 and 100", compared, refused)
	}
}

func random(r *rand.Rand, b []byte) {
	for n := range b {
		b[n] = byte(r.Uint32())
	}
}

// udp4 is an Ethernet frame with an IPv4 UDP datagram of 4 octets.
func udp4() []byte {
	b := make([]byte, 14+20+8+4)
	b[12] = 0x08
	ip := b[14:]
	ip[0], ip[3], ip[9] = 0x45, 32, 17
	copy(ip[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(ip[20:], 1000)
	binary.BigEndian.PutUint16(ip[22:], 2000)
	binary.BigEndian.PutUint16(ip[24:], 12)
	return b
}

func TestDecodeErrors(t *testing.T) {
	f := func(name string, want error, link LinkType, change func(b []byte) []byte) {
		t.Helper()
		var i Info
		if err := i.Decode(change(udp4()), link); !errors.Is(err, want) || (want == nil && err != nil) {
			t.Errorf("%s: error %v, want %v", name, err, want)
		}
	}
	set := func(at int, value ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], value); return b }
	}
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

	f("sound", nil, LinkEthernet, set(0))
	f("payload not captured", nil, LinkEthernet, cut(14+20+8))
	f("cut in UDP", ErrTruncated, LinkEthernet, cut(14+20+7))
	f("cut in IP", ErrTruncated, LinkEthernet, cut(14+19))
	f("cut in Ethernet", ErrTruncated, LinkEthernet, cut(13))
	f("nothing", ErrTruncated, LinkRaw, cut(0))
	f("link type", ErrLinkType, 147, set(0))
	f("ARP", ErrNonIP, LinkEthernet, set(12, 8, 6))
	f("802.3 length", ErrNonIP, LinkEthernet, set(12, 0, 38))
	f("version", ErrMalformed, LinkEthernet, set(14, 0x65))
	f("header length", ErrMalformed, LinkEthernet, set(14, 0x44))
	f("options beyond the capture", ErrTruncated, LinkEthernet, func(b []byte) []byte { b[14], b[17] = 0x4f, 72; return b })
	f("total length", ErrMalformed, LinkEthernet, set(16, 0, 19))
	f("no room for UDP", ErrMalformed, LinkEthernet, set(16, 0, 27))
	f("TCP too short", ErrMalformed, LinkEthernet, set(23, 6))
	f("not IP in raw", ErrNonIP, LinkRaw, set(0, 0xf0))
}

func TestVLANs(t *testing.T) {
	tagged := func(n int) []byte {
		b := udp4()
		out := append([]byte(nil), b[:12]...)
		for id := range n {
			out = append(out, 0x81, 0, 0, byte(id+5))
		}
		return append(out, b[12:]...)
	}
	var i Info
	for n := range MaxVLANs + 1 {
		if err := i.Decode(tagged(n), LinkEthernet); err != nil {
			t.Fatalf("%d tags: %v", n, err)
		}
		if int(i.VLANs) != n || (n > 0 && (i.VLAN[0] != 5 || i.VLAN[n-1] != uint16(n+4))) || i.Key.SrcPort != 1000 {
			t.Errorf("%d tags: %+v", n, i)
		}
	}
	if err := i.Decode(tagged(MaxVLANs+1), LinkEthernet); err != ErrMalformed {
		t.Errorf("%d tags: error %v, want ErrMalformed", MaxVLANs+1, err)
	}
}

func TestAccount(t *testing.T) {
	f := func(name string, change func(b []byte), wire, segment int, packets, octets, payload uint64) {
		t.Helper()
		b := udp4()
		change(b)
		var i Info
		if err := i.Decode(b, LinkEthernet); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		i.Account(42, wire, segment)
		if i.Time != 42 || i.Packets != packets || i.Octets != octets || i.Payload != payload {
			t.Errorf("%s: %d packets, %d octets, %d payload; want %d, %d, %d", name, i.Packets, i.Octets, i.Payload, packets, octets, payload)
		}
	}
	length := func(n int) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint16(b[16:], uint16(n)) }
	}
	f("plain", length(32), 46, 0, 1, 46, 4)
	f("padded frame", length(32), 60, 0, 1, 60, 4)
	f("length left to the device", length(0), 14+28+5000, 0, 1, 14+28+5000, 5000)
	f("recorded super-packet", length(28+3000), 14+28+3000, 0, 1, 14+28+3000, 3000)
	f("segments known", length(28+3000), 14+28+3000, 1400, 3, 14+28+3000+2*42, 3000)
	f("one segment", length(28+1400), 14+28+1400, 1400, 1, 14+28+1400, 1400)
	f("header lies", length(60000), 100, 0, 1, 100, 58)
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	var all [][]byte
	var links []LinkType
	frames(t, func(data []byte, _ int, link LinkType) {
		all, links = append(all, data), append(links, link)
	})
	var i Info
	n := testing.AllocsPerRun(10, func() {
		for k, data := range all {
			if i.Decode(data, links[k]) == nil {
				i.Account(1, len(data), 0)
			}
		}
	})
	if n > 0 {
		t.Errorf("%v allocations for %d packets, want none", n, len(all))
	}
}

func FuzzDecode(f *testing.F) {
	frames(f, func(data []byte, _ int, link LinkType) { f.Add(data, uint32(link), len(data), 0) })
	f.Fuzz(func(t *testing.T, data []byte, link uint32, wire, segment int) {
		var i Info
		err := i.Decode(data, LinkType(link))
		switch err {
		case nil, ErrTruncated, ErrLinkType, ErrMalformed, ErrNonIP:
		default:
			t.Fatalf("undocumented error %v", err)
		}
		if err != nil {
			return
		}
		if i.PayloadOffset < i.TransportOffset || i.TransportOffset < i.NetworkOffset+20 || i.TransportOffset > len(data)+40 {
			t.Fatalf("offsets out of order: %+v", i)
		}
		wire = max(min(wire, 1<<30), len(data))
		i.Account(0, wire, segment)
		if i.Payload > uint64(wire) || i.Packets == 0 || i.Packets > uint64(wire)+1 {
			t.Fatalf("%d payload in %d packets of %d octets", i.Payload, i.Packets, wire)
		}
		if i.Fragment == flows.FragmentLater && (i.Key.SrcPort != 0 || i.Key.DstPort != 0) {
			t.Fatalf("a later fragment with ports: %+v", i.Key)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, kind := range []struct {
		name string
		link LinkType
		data []byte
	}{{"udp4", LinkEthernet, udp4()}, {"tcp4", LinkEthernet, firstTCP(b)}} {
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			var i Info
			for b.Loop() {
				if err := i.Decode(kind.data, kind.link); err != nil {
					b.Fatal(err)
				}
				i.Account(1, 1500, 0)
			}
		})
	}
}

func firstTCP(t testing.TB) (out []byte) {
	frames(t, func(data []byte, _ int, link LinkType) {
		var i Info
		if out == nil && link == LinkEthernet && i.Decode(data, link) == nil && i.Key.Proto == flows.TCP {
			out = data
		}
	})
	return out
}
