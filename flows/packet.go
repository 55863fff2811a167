package flows

// Packet is what the meter needs to know of one packet; flows/packet fills it
// from the headers. The meter copies what it keeps.
type Packet struct {
	// Key points from the sender to the receiver (not canonical).
	Key Key
	// Time is unix ns.
	Time int64
	// Packets is 1, or the number of segments a GSO/GRO packet stands for.
	Packets uint64
	// Octets is the length of the link-layer frame without FCS; for a GSO/GRO
	// packet that of all its segments' frames.
	Octets uint64
	// Payload counts the octets above the transport header as the IP header
	// announces them, captured or not.
	Payload uint64
	// Flags, Seq, Ack and Window are valid when Key.Proto is TCP and Fragment is
	// not FragmentLater. SYNOnly and SYNACK need not be set, the meter adds them.
	Flags    TCPFlags
	Seq, Ack uint32
	Window   uint16 // unscaled, as in the header
	Fragment Fragment
	// Reply is true when the packet is an answer by its own type (ICMP echo reply).
	Reply bool
	// FragmentID is the IP identification, valid when Fragment is not FragmentNone.
	FragmentID uint32
	// Point names the observation point: interface and direction of travel in any
	// encoding that differs between two points. A packet that passes several
	// points is counted at one of them. 0 means there is only one point.
	Point uint64
}

// Fragment says which part of a datagram an IP packet carries.
type Fragment uint8

const (
	FragmentNone  Fragment = iota // a whole datagram
	FragmentFirst                 // has the transport header
	FragmentLater                 // has no ports: Key has the addresses and the protocol only
)
