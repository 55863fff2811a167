package flows

// TCPFlags is the OR of the TCP header's flags (IPFIX tcpControlBits, low 8
// bits) and two bits Weir adds to tell who opened the connection after the
// flags have been merged.
type TCPFlags uint16

const (
	FIN TCPFlags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	SYNOnly TCPFlags = 1 << 8 // a SYN without ACK was sent in this direction: its sender is the initiator
	SYNACK  TCPFlags = 1 << 9 // a SYN with ACK was sent in this direction: its sender is the responder
)

// Counters is what was counted of one direction of a flow. In a Record these
// are deltas since the previous Record of the same flow.
type Counters struct {
	Packets     uint64 // IP packets on the wire; a GSO/GRO packet counts as its segments
	Octets      uint64 // link-layer frames without FCS, headers of every segment included
	Payload     uint64 // octets above the transport header, retransmissions included
	Retransmits uint64 // TCP segments seen again (user-space meter only)
	ZeroWindows uint64 // TCP segments whose sender says that it takes no more, without those of SYN and RST
	Flags       TCPFlags
}

// Add adds o to c and merges the flags.
func (c *Counters) Add(o Counters) {
	c.Packets += o.Packets
	c.Octets += o.Octets
	c.Payload += o.Payload
	c.Retransmits += o.Retransmits
	c.ZeroWindows += o.ZeroWindows
	c.Flags |= o.Flags
}

// EndReason says why a record ended (IPFIX flowEndReason, element 136).
type EndReason uint8

const (
	EndNone            EndReason = 0 // still alive, delta of an interval
	EndIdle            EndReason = 1
	EndActive          EndReason = 2
	EndOfFlow          EndReason = 3 // FIN in both directions, or RST
	EndForced          EndReason = 4 // shutdown
	EndLackOfResources EndReason = 5
)

// String returns the value of the `end_reason` tag.
func (r EndReason) String() string {
	switch r {
	case EndNone:
		return "none"
	case EndIdle:
		return "idle"
	case EndActive:
		return "active"
	case EndOfFlow:
		return "end"
	case EndForced:
		return "forced"
	case EndLackOfResources:
		return "lack_of_resources"
	}
	return "unknown"
}

// Initiator says which end opened the flow (IPFIX biflowDirection).
type Initiator uint8

const (
	InitiatorUnknown Initiator = iota
	InitiatorSrc               // Key.Src sent the first packet, for TCP the SYN
	InitiatorDst
)

// Record is what happened to one bidirectional flow since its previous Record.
// (Key, Start) identifies the flow instance: when a port pair is reused, Start
// differs.
type Record struct {
	Key   Key   // canonical
	Start int64 // unix ns of the first packet of the flow instance
	End   int64 // unix ns of the last packet in this record
	// Dir holds the deltas: Dir[Forward] Key.Src → Key.Dst, Dir[Reverse] back.
	Dir [2]Counters
	// Cookie is the socket cookie of the sender of each direction where the
	// observation point could see it, else 0.
	Cookie [2]uint64
	// SynAck is the time from SYN to SYN-ACK in ns as seen at the observation
	// point, 0 when not seen, or told already.
	SynAck    int64
	Initiator Initiator
	EndReason EndReason
	// ISN is the initial sequence number of the one who opened a TCP connection
	// (RFC 9293, 3.4.1), iff HasISN: its SYN or the answer to it was seen.
	ISN    uint32
	HasISN bool
	// Guessed is true when Initiator was taken from port numbers, not from a SYN
	// or the first packet.
	Guessed bool
}

// NAT is one address translation: packets of Orig were seen on the wire as the
// reverse of Reply. Both are unidirectional keys in the form conntrack keeps
// them (struct nf_conntrack_tuple_hash, IP_CT_DIR_ORIGINAL and _REPLY), made by
// NATKey; their NetNS is the namespace that translates.
type NAT struct {
	Time        int64 // unix ns
	Orig, Reply Key
}

// NATKey is the one way from a conntrack tuple, read from a packet or told by
// netlink, to the Key that a packet or a socket of that tuple has: an ICMP echo
// has its identifier (conntrack's source port) as both ports, a protocol without
// ports has none. src and dst are v4-mapped, ports in host order.
func NATKey(src, dst Addr, srcPort, dstPort uint16, proto Proto, netns uint32) Key {
	switch proto {
	case TCP, UDP, SCTP:
	case ICMP, ICMPv6:
		dstPort = srcPort
	default:
		srcPort, dstPort = 0, 0
	}
	return Key{Src: src, Dst: dst, SrcPort: srcPort, DstPort: dstPort, Proto: proto, NetNS: netns}
}
