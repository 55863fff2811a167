package packet

import (
	"errors"

	"github.com/weir-probe/weir/flows"
)

// LinkType is the LINKTYPE_ value of pcap files.
type LinkType uint32

// The link types Decode knows.
const (
	LinkNull     LinkType = 0   // BSD loopback, host byte order of the writer
	LinkEthernet LinkType = 1   //
	LinkRawBSD   LinkType = 12  // raw IP, as DLT_RAW on most systems
	LinkRawOpen  LinkType = 14  // raw IP, as DLT_RAW on OpenBSD
	LinkRaw      LinkType = 101 // raw IP
	LinkLoop     LinkType = 108 // OpenBSD loopback, network byte order
	LinkSLL      LinkType = 113 // Linux cooked capture v1
	LinkIPv4     LinkType = 228 //
	LinkIPv6     LinkType = 229 //
	LinkSLL2     LinkType = 276 // Linux cooked capture v2
)

// What Decode can find wrong. They are returned as they are, without context:
// the path runs per packet.
var (
	// ErrTruncated: the captured part ends inside a header that is needed.
	ErrTruncated = errors.New("packet: captured data ends inside a header")
	// ErrLinkType: the capture's link type is none of the above.
	ErrLinkType = errors.New("packet: unsupported link type")
	// ErrMalformed: a header contradicts itself (length, version, chain).
	ErrMalformed = errors.New("packet: malformed header")
	// ErrNonIP: a frame that carries no IP (ARP, LLDP, spanning tree); valid traffic
	// that belongs to no flow.
	ErrNonIP = errors.New("packet: not IP")
)

// MaxVLANs is how many VLAN tags are followed.
const MaxVLANs = 4

// Travel says in which direction a packet passed its observation point.
type Travel uint8

const (
	TravelUnknown Travel = iota
	TravelIn
	TravelOut
)

// Info is the decoded headers of one packet. It is meant to be reused: Decode
// overwrites every field. Not safe for concurrent use.
type Info struct {
	// Packet is what the meter takes. Decode sets Key (but for NetNS), Payload,
	// the TCP fields and the fragment fields; Account sets Time, Octets and
	// Packets; Point is left to the caller.
	flows.Packet

	// EtherType is the type of the network layer; valid for Ethernet and cooked links.
	EtherType uint16
	// VLANs is the number of tags; VLAN[:VLANs] their 12-bit ids, outermost first.
	VLANs uint8
	VLAN  [MaxVLANs]uint16

	// Travel, Loopback and Interface are valid for the cooked link types; the
	// interface index (of the capturing host) only for LinkSLL2, else 0.
	Travel    Travel
	Loopback  bool
	Interface uint32

	// The rest is valid when Decode returned nil.

	IPVersion uint8 // 4 or 6
	TTL       uint8 // or hop limit
	// ICMPType and ICMPCode are valid when Key.Proto is ICMP or ICMPv6 and Fragment
	// is not FragmentLater.
	ICMPType, ICMPCode uint8
	// NetworkOffset, TransportOffset and PayloadOffset are offsets in the data that
	// Decode was given; the last two may lie behind the captured part.
	NetworkOffset, TransportOffset, PayloadOffset int

	// linkExtra is how much longer the real link-layer header is than the recorded
	// one: negative for cooked captures.
	linkExtra int
	// lengthUnknown is true when the IP header announces length 0: segmentation
	// was left to the device, the length on the wire decides.
	lengthUnknown bool
}

// Decode reads the headers of a frame. data is not retained. The error is one of
// the sentinels of this package; with an error only the link-layer fields that
// were reached are valid.
func (i *Info) Decode(data []byte, link LinkType) error {
	*i = Info{}
	switch link {
	case LinkEthernet:
		return i.ethernet(data)
	case LinkSLL:
		return i.cooked1(data)
	case LinkSLL2:
		return i.cooked2(data)
	case LinkNull, LinkLoop:
		if len(data) < 4 {
			return ErrTruncated
		}
		i.linkExtra = -4
		// The address family (2, and 10, 24, 28 or 30) differs between systems and in
		// byte order; the IP version says the same.
		return i.ip(data, 4)
	case LinkRaw, LinkRawBSD, LinkRawOpen:
		return i.ip(data, 0)
	case LinkIPv4:
		i.EtherType = etherIPv4
		return i.ipv4(data, 0)
	case LinkIPv6:
		i.EtherType = etherIPv6
		return i.ipv6(data, 0)
	}
	return ErrLinkType
}

// Account completes a successfully decoded Info with what the capture knows:
// the time in unix ns, the frame's recorded length on the wire in octets, and
// the payload size of one segment if the frame stands for several (GSO or GRO),
// else 0.
func (i *Info) Account(time int64, wire, segment int) {
	i.Time = time
	i.Packets = 1
	room := max(wire-i.PayloadOffset, 0)
	if i.lengthUnknown || i.Payload > uint64(room) {
		// A total length beyond the frame cannot be trusted either.
		i.Payload = uint64(room)
	}
	octets := max(wire+i.linkExtra, 0)
	if segment > 0 && i.Payload > uint64(segment) {
		segments := (i.Payload + uint64(segment) - 1) / uint64(segment)
		i.Packets = segments
		octets += int(segments-1) * max(i.PayloadOffset+i.linkExtra, 0)
	}
	i.Octets = uint64(octets)
}

// PayloadOf returns what data, the frame that was decoded, holds of the payload above
// the transport header.
func (i *Info) PayloadOf(data []byte) []byte {
	if i.PayloadOffset >= len(data) {
		return nil
	}
	data = data[i.PayloadOffset:]
	return data[:min(uint64(len(data)), i.Payload)]
}
