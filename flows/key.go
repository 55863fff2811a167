package flows

import (
	"bytes"
	"net/netip"
	"strconv"
)

// Addr is an IP address in 16 bytes; IPv4 stands in its v4-mapped form
// (::ffff:a.b.c.d, RFC 4291 section 2.5.5.2), so that a v4 peer of a dual-stack
// socket and the packet it sent compare equal. It holds no pointer: a hundred
// thousand of them cost the garbage collector nothing.
type Addr [16]byte

// AddrFrom converts a netip.Addr; the zone is dropped.
func AddrFrom(a netip.Addr) Addr { return a.As16() }

// Netip returns the address with a v4-mapped form unmapped to IPv4.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// Is4 says whether the address is IPv4 (in v4-mapped form).
func (a Addr) Is4() bool { return netip.AddrFrom16(a).Is4In6() }

// IsZero says whether no address is known: all zero, or 0.0.0.0 mapped.
func (a Addr) IsZero() bool {
	return a == Addr{} || a == Addr{10: 0xff, 11: 0xff}
}

// IsLoopback says whether the address is 127.0.0.0/8 or ::1.
func (a Addr) IsLoopback() bool {
	if a.Is4() {
		return a[12] == 127
	}
	return a == Addr{15: 1}
}

// IsMulticast says whether the address is a multicast or the limited broadcast address.
func (a Addr) IsMulticast() bool {
	if a.Is4() {
		return a[12]&0xf0 == 0xe0 || (a[12] == 255 && a[13] == 255 && a[14] == 255 && a[15] == 255)
	}
	return a[0] == 0xff
}

func (a Addr) String() string { return a.Netip().String() }

// Compare orders addresses bytewise.
func (a Addr) Compare(b Addr) int { return bytes.Compare(a[:], b[:]) }

// Proto is the IANA protocol number (IPFIX protocolIdentifier).
type Proto uint8

// The protocols Weir has names for.
const (
	ICMP   Proto = 1
	TCP    Proto = 6
	UDP    Proto = 17
	ICMPv6 Proto = 58
	SCTP   Proto = 132
)

// String returns the name used in the `proto` tag; both ICMP versions are "icmp".
func (p Proto) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMP, ICMPv6:
		return "icmp"
	case SCTP:
		return "sctp"
	case 2:
		return "igmp"
	case 47:
		return "gre"
	case 50:
		return "esp"
	}
	return strconv.Itoa(int(p))
}

// Key is a 5-tuple in its network namespace. For ICMP echo both ports hold the
// echo identifier, so that request and reply are one flow; other ICMP has 0.
// It is comparable, holds no pointer, and is not an identity over time: ports
// are reused (see Record.Start and the socket cookie).
type Key struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16
	Proto            Proto
	// Domain tells apart bridges in one namespace that no route joins: equal
	// tuples there are not one flow. 0 is what the routes reach, and for sockets.
	Domain uint16
	// NetNS is the inode of the network namespace the tuple was seen in, 0 when
	// the observation point spans namespaces or does not know.
	NetNS uint32
}

// Reverse returns the key of the opposite direction.
func (k Key) Reverse() Key {
	k.Src, k.Dst = k.Dst, k.Src
	k.SrcPort, k.DstPort = k.DstPort, k.SrcPort
	return k
}

// Canonical returns the one of k and k.Reverse() that orders first, and in
// which direction of it k points.
func (k Key) Canonical() (Key, Direction) {
	c := k.Src.Compare(k.Dst)
	if c < 0 || (c == 0 && k.SrcPort <= k.DstPort) {
		return k, Forward
	}
	return k.Reverse(), Reverse
}

func (k Key) String() string {
	return k.Proto.String() + " " + netip.AddrPortFrom(k.Src.Netip(), k.SrcPort).String() +
		" → " + netip.AddrPortFrom(k.Dst.Netip(), k.DstPort).String()
}

// Direction is one of the two directions of a bidirectional flow; it indexes
// Record.Dir.
type Direction uint8

const (
	Forward Direction = 0 // Src → Dst
	Reverse Direction = 1 // Dst → Src
)

// Opposite returns the other direction.
func (d Direction) Opposite() Direction { return d ^ 1 }
