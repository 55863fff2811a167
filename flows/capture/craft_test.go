package capture

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// The captures that are made here rather than recorded: situations that real
// traffic does not show on demand. `go test -run TestGolden -update` writes them
// to testdata before the golden files.

var crafted = map[string]func(t testing.TB) []byte{
	"craft_port_reuse.pcap":        craftPortReuse,
	"craft_midstream.pcap":         craftMidstream,
	"craft_vlan.pcap":              craftVLAN,
	"craft_headers.pcap":           craftHeaders,
	"craft_fragments.pcap":         craftFragments,
	"craft_dns.pcap":               craftDNS,
	"craft_lo_twice_cooked.pcap":   craftLoTwice,
	"craft_null.pcap":              craftNull,
	"craft_multi_interface.pcapng": craftMultiInterface,
	"craft_out_of_order.pcap":      craftOutOfOrder,
	"craft_not_flows.pcap":         craftNotFlows,
}

var craftStart = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// frame is one packet of a crafted capture.
type frame struct {
	at   time.Duration
	data []byte
}

func writePcap(t testing.TB, link layers.LinkType, frames []frame) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriterNanos(&b)
	must(t, w.WriteFileHeader(65535, link))
	for _, f := range frames {
		must(t, w.WritePacket(gopacket.CaptureInfo{
			Timestamp: craftStart.Add(f.at), CaptureLength: len(f.data), Length: len(f.data),
		}, f.data))
	}
	return b.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func serialize(t testing.TB, stack ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	must(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, stack...))
	return slices.Clone(b.Bytes())
}

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

func eth(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: macA, DstMAC: macB, EthernetType: t}
}

func ip4(src, dst string, p layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Id: 7, Protocol: p, SrcIP: net.ParseIP(src).To4(), DstIP: net.ParseIP(dst).To4()}
}

func ip6(src, dst string, p layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: p, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
}

func udp(src, dst int) *layers.UDP {
	return &layers.UDP{SrcPort: layers.UDPPort(src), DstPort: layers.UDPPort(dst)}
}

// segment is a TCP segment between a fixed client 10.0.0.1 and server 10.0.0.2.
type segment struct {
	at       time.Duration
	reply    bool // from the server
	flags    string
	seq, ack uint32
	length   int
}

// conversation turns segments into Ethernet frames.
func conversation(t testing.TB, client, server int, segments []segment) []frame {
	t.Helper()
	var frames []frame
	for _, s := range segments {
		src, dst, from, to := "10.0.0.1", "10.0.0.2", client, server
		if s.reply {
			src, dst, from, to = dst, src, to, from
		}
		tcp := &layers.TCP{SrcPort: layers.TCPPort(from), DstPort: layers.TCPPort(to), Seq: s.seq, Ack: s.ack, Window: 1000}
		for _, f := range s.flags {
			switch f {
			case 'S':
				tcp.SYN = true
			case 'A':
				tcp.ACK = true
			case 'F':
				tcp.FIN = true
			case 'R':
				tcp.RST = true
			case 'P':
				tcp.PSH = true
			}
		}
		data := serialize(t, eth(layers.EthernetTypeIPv4), ip4(src, dst, layers.IPProtocolTCP), tcp, gopacket.Payload(make([]byte, s.length)))
		frames = append(frames, frame{s.at, data})
	}
	return frames
}

// exchange is a whole connection of 100 octets there and 200 back.
func exchange(at time.Duration, isn uint32) []segment {
	ms := func(n int) time.Duration { return at + time.Duration(n)*time.Millisecond }
	return []segment{
		{ms(0), false, "S", isn, 0, 0},
		{ms(2), true, "SA", isn * 2, isn + 1, 0},
		{ms(3), false, "A", isn + 1, isn*2 + 1, 0},
		{ms(4), false, "PA", isn + 1, isn*2 + 1, 100},
		{ms(6), true, "PA", isn*2 + 1, isn + 101, 200},
		{ms(7), false, "FA", isn + 101, isn*2 + 201, 0},
		{ms(9), true, "FA", isn*2 + 201, isn + 102, 0},
		{ms(10), false, "A", isn + 102, isn*2 + 202, 0},
	}
}

func craftPortReuse(t testing.TB) []byte {
	s := exchange(0, 1000)
	s = append(s, exchange(100*time.Millisecond, 50_000)...)
	// The third one is refused, the fourth has its SYN sent twice.
	third := 200 * time.Millisecond
	s = append(s, segment{third, false, "S", 90_000, 0, 0}, segment{third + time.Millisecond, true, "RA", 0, 90_001, 0})
	fourth := exchange(300*time.Millisecond, 130_000)
	again := fourth[0]
	again.at += time.Millisecond
	s = append(s, fourth[0], again)
	s = append(s, fourth[1:]...)
	return writePcap(t, layers.LinkTypeEthernet, conversation(t, 40000, 80, s))
}

func craftMidstream(t testing.TB) []byte {
	data := []segment{
		{0, true, "PA", 500, 900, 300},
		{time.Millisecond, false, "A", 900, 800, 0},
		{12 * time.Second, true, "PA", 800, 900, 300},
		{12*time.Second + time.Millisecond, false, "A", 900, 1100, 0},
	}
	frames := conversation(t, 45678, 5432, data)                       // the server's port tells
	frames = append(frames, conversation(t, 45000, 50000, data)...)    // nothing tells
	frames = append(frames, conversation(t, 20000, 8080, data[:1])...) // the lower one
	return writePcap(t, layers.LinkTypeEthernet, frames)
}

func craftVLAN(t testing.TB) []byte {
	tag := func(id uint16, next layers.EthernetType) *layers.Dot1Q {
		return &layers.Dot1Q{VLANIdentifier: id, Type: next}
	}
	body := gopacket.Payload("0123456789")
	frames := []frame{
		{0, serialize(t, eth(layers.EthernetTypeDot1Q), tag(10, layers.EthernetTypeIPv4),
			ip4("10.0.0.1", "10.0.0.2", layers.IPProtocolUDP), udp(40000, 5000), body)},
		{time.Millisecond, serialize(t, eth(layers.EthernetTypeQinQ), tag(100, layers.EthernetTypeDot1Q), tag(20, layers.EthernetTypeIPv4),
			ip4("10.0.0.1", "10.0.0.2", layers.IPProtocolUDP), udp(40001, 5000), body)},
		{2 * time.Millisecond, serialize(t, eth(layers.EthernetTypeQinQ), tag(100, layers.EthernetTypeDot1Q), tag(20, layers.EthernetTypeIPv6),
			ip6("fd00::1", "fd00::2", layers.IPProtocolUDP), udp(40002, 5000), body)},
	}
	return writePcap(t, layers.LinkTypeEthernet, frames)
}

// ext is an IPv6 extension header of 8·(n+1) octets of padding.
func ext(next layers.IPProtocol, n int) gopacket.Payload {
	b := make([]byte, 8*(n+1))
	b[0], b[1] = byte(next), byte(n)
	b[2], b[3] = 1, byte(len(b)-4) // PadN
	return b
}

func craftHeaders(t testing.TB) []byte {
	body := gopacket.Payload(make([]byte, 40))
	options := ip4("10.0.0.1", "10.0.0.2", layers.IPProtocolTCP)
	options.Options = []layers.IPv4Option{{OptionType: 1}, {OptionType: 1}, {OptionType: 1}, {OptionType: 0}}
	tcpOptions := &layers.TCP{SrcPort: 40000, DstPort: 443, Seq: 1, ACK: true, Window: 10, Options: []layers.TCPOption{
		{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}, {OptionType: 1}, {OptionType: 1},
	}}
	datagram := serialize(t, udp(40001, 5001), body)
	frames := []frame{
		{0, serialize(t, eth(layers.EthernetTypeIPv4), options, tcpOptions, body)},
		{1, serialize(t, eth(layers.EthernetTypeIPv6), ip6("fd00::1", "fd00::2", 0), // hop by hop
			ext(60, 0), ext(43, 2), ext(layers.IPProtocolUDP, 0), gopacket.Payload(datagram))},
		{2, serialize(t, eth(layers.EthernetTypeIPv4), ip4("10.0.0.1", "10.0.0.2", layers.IPProtocolSCTP),
			gopacket.Payload(append([]byte{0x9c, 0x40, 0x13, 0x89}, make([]byte, 28)...)))},
		{3, serialize(t, eth(layers.EthernetTypeIPv4), ip4("10.0.0.1", "10.0.0.2", layers.IPProtocolGRE), body)},
		// Padded to the least Ethernet frame: the padding is no payload.
		{4, append(serialize(t, eth(layers.EthernetTypeIPv4), ip4("10.0.0.1", "10.0.0.2", layers.IPProtocolUDP), udp(40003, 5003), gopacket.Payload("x")), make([]byte, 17)...)},
	}
	return writePcap(t, layers.LinkTypeEthernet, frames)
}

// fragments4 cuts a datagram into IPv4 fragments of size octets.
func fragments4(t testing.TB, id uint16, p layers.IPProtocol, datagram []byte, size int) [][]byte {
	var out [][]byte
	for off := 0; off < len(datagram); off += size {
		end := min(off+size, len(datagram))
		ip := ip4("10.0.0.1", "10.0.0.2", p)
		ip.Id, ip.FragOffset = id, uint16(off/8)
		if end < len(datagram) {
			ip.Flags = layers.IPv4MoreFragments
		}
		out = append(out, serialize(t, eth(layers.EthernetTypeIPv4), ip, gopacket.Payload(datagram[off:end])))
	}
	return out
}

// fragments6 does the same for IPv6.
func fragments6(t testing.TB, id uint32, p layers.IPProtocol, datagram []byte, size int) [][]byte {
	var out [][]byte
	for off := 0; off < len(datagram); off += size {
		end := min(off+size, len(datagram))
		h := make([]byte, 8)
		h[0] = byte(p)
		bits := uint16(off)
		if end < len(datagram) {
			bits |= 1
		}
		binary.BigEndian.PutUint16(h[2:], bits)
		binary.BigEndian.PutUint32(h[4:], id)
		out = append(out, serialize(t, eth(layers.EthernetTypeIPv6), ip6("fd00::1", "fd00::2", layers.IPProtocolIPv6Fragment),
			gopacket.Payload(h), gopacket.Payload(datagram[off:end])))
	}
	return out
}

func craftFragments(t testing.TB) []byte {
	datagram := serialize(t, udp(40000, 5000), gopacket.Payload(make([]byte, 3000)))
	var frames []frame
	add := func(data ...[]byte) {
		for _, d := range data {
			frames = append(frames, frame{time.Duration(len(frames)) * time.Millisecond, d})
		}
	}
	add(fragments4(t, 1, layers.IPProtocolUDP, datagram, 1480)...)
	add(fragments6(t, 2, layers.IPProtocolUDP, datagram, 1448)...)
	add(fragments4(t, 3, layers.IPProtocolUDP, datagram, 1480)[1:]...) // the first one is missing
	// An atomic fragment is a whole datagram.
	add(fragments6(t, 4, layers.IPProtocolUDP, datagram[:108], 1448)...)
	return writePcap(t, layers.LinkTypeEthernet, frames)
}

func craftDNS(t testing.TB) []byte {
	query := func(at time.Duration, port int, reply bool) frame {
		d := &layers.DNS{ID: uint16(port), RD: true, QR: reply, Questions: []layers.DNSQuestion{{Name: []byte("weir.example"), Type: layers.DNSTypeA, Class: layers.DNSClassIN}}}
		ip, u := ip4("10.0.0.1", "10.0.0.53", layers.IPProtocolUDP), udp(port, 53)
		if reply {
			ip, u = ip4("10.0.0.53", "10.0.0.1", layers.IPProtocolUDP), udp(53, port)
		}
		return frame{at, serialize(t, eth(layers.EthernetTypeIPv4), ip, u, d)}
	}
	return writePcap(t, layers.LinkTypeEthernet, []frame{
		query(0, 50001, false), query(3*time.Millisecond, 50001, true),
		query(70*time.Second, 50001, false), query(70*time.Second+time.Millisecond, 50001, true), // idle between
		query(80*time.Second, 50002, true), // the query was not seen
	})
}

// craftLoTwice is loopback as a naive AF_PACKET socket shows it: sent and received.
func craftLoTwice(t testing.TB) []byte {
	var frames []frame
	for n, reply := range []bool{false, true, false} {
		src, dst := 40000, 5000
		if reply {
			src, dst = dst, src
		}
		datagram := serialize(t, ip4("127.0.0.1", "127.0.0.1", layers.IPProtocolUDP), udp(src, dst), gopacket.Payload("twelve bytes"))
		for copy, packetType := range []byte{4, 0} {
			h := []byte{0, packetType, 772 >> 8, 772 & 0xff, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0}
			frames = append(frames, frame{time.Duration(2*n+copy) * time.Millisecond, append(h, datagram...)})
		}
	}
	return writePcap(t, layers.LinkTypeLinuxSLL, frames)
}

func craftNull(t testing.TB) []byte {
	v4 := serialize(t, ip4("127.0.0.1", "127.0.0.1", layers.IPProtocolUDP), udp(40000, 5000), gopacket.Payload("v4"))
	v6 := serialize(t, ip6("::1", "::1", layers.IPProtocolUDP), udp(40000, 5000), gopacket.Payload("v6"))
	return writePcap(t, layers.LinkTypeNull, []frame{
		{0, append([]byte{2, 0, 0, 0}, v4...)},
		{1, append([]byte{30, 0, 0, 0}, v6...)},
	})
}

// craftMultiInterface is one connection as a router sees it on an Ethernet and a
// raw IP interface: every packet twice, some only on the second one.
func craftMultiInterface(t testing.TB) []byte {
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriterInterface(&b, pcapgo.NgInterface{Name: "eth0", LinkType: layers.LinkTypeEthernet, TimestampResolution: 9}, pcapgo.NgWriterOptions{})
	must(t, err)
	tun, err := w.AddInterface(pcapgo.NgInterface{Name: "tun0", LinkType: layers.LinkTypeRaw, TimestampResolution: 9})
	must(t, err)
	write := func(iface int, at time.Duration, data []byte) {
		must(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: craftStart.Add(at), CaptureLength: len(data), Length: len(data), InterfaceIndex: iface}, data))
	}
	for _, f := range conversation(t, 40000, 80, exchange(0, 1000)) {
		write(0, f.at, f.data)
		write(tun, f.at+10*time.Microsecond, f.data[14:])
	}
	// eth0 is silent for longer than the takeover time.
	for _, f := range conversation(t, 40001, 81, exchange(0, 2000)[:4]) {
		write(0, f.at, f.data)
	}
	for _, f := range conversation(t, 40001, 81, exchange(3*time.Second, 2000)[4:]) {
		write(tun, f.at, f.data[14:])
	}
	must(t, w.Flush())
	return b.Bytes()
}

func craftOutOfOrder(t testing.TB) []byte {
	frames := conversation(t, 40000, 80, exchange(0, 1000))
	for _, swap := range [][2]int{{0, 1}, {2, 5}, {6, 7}} {
		frames[swap[0]], frames[swap[1]] = frames[swap[1]], frames[swap[0]]
	}
	return writePcap(t, layers.LinkTypeEthernet, frames)
}

func craftNotFlows(t testing.TB) []byte {
	arp := serialize(t, eth(layers.EthernetTypeARP), &layers.ARP{AddrType: 1, Protocol: 0x800, HwAddressSize: 6, ProtAddressSize: 4, Operation: 1,
		SourceHwAddress: macA, SourceProtAddress: []byte{10, 0, 0, 1}, DstHwAddress: make([]byte, 6), DstProtAddress: []byte{10, 0, 0, 2}})
	good := conversation(t, 40000, 80, exchange(0, 1000))[0].data
	short := slices.Clone(good)
	short[14] = 0x41 // IPv4 header of 4 octets
	return writePcap(t, layers.LinkTypeEthernet, []frame{{0, arp}, {1, short}, {2, good[:30]}, {3, good}})
}
