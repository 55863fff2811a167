package kprobes

import "github.com/weir-probe/weir/flows"

// PayloadEvent is the beginning of a turn of a TCP connection, as one of its
// sockets sent or received it, or a datagram: when it passed and, of what is
// selected, the first octets. Its Handler gets it from Set.Drain; it is reused.
type PayloadEvent struct {
	Time   int64     // unix ns, when the packet passed the socket's hook
	Cookie uint64    // of the socket
	Key    flows.Key // Src is local; v4-mapped normalised, NetNS is set
	Role   Role      // of the socket, as far as known
	Self   bool      // a socket of the probe itself
	Out    bool      // sent by the socket, else received
	// Turn says that the direction before was the other one, or that this is the
	// first payload seen. Always true of a datagram.
	Turn bool
	// Plain marks what the process gave to or got from its TLS library (package tls):
	// a stream of its own beside the encrypted one of the same socket. Seq then
	// counts its octets from 0.
	Plain bool
	// Seq is the sequence number of the first octet (TCP), Len the payload of the
	// packet (a super-packet's: all of it), Data what was copied of it.
	Seq  uint32
	Len  uint32
	Data []byte
	// Of the turn in the other direction that this one ends; 0 unless Turn. First
	// and Last are unix ns of its first and last packet, Octets its payload, NextSeq
	// the sequence number after it: with them what was not copied is known.
	PrevFirst, PrevLast int64
	PrevOctets          uint64
	PrevNextSeq         uint32
	// Skipped counts the exchanges, a request turn and what answered it, of which nothing
	// was told since the event before, for want of time (PayloadSampleIn). Resumes says
	// that this event is told again after such, and that the turn that it ends is one of
	// them; Pauses that the turn that begins here is the first of them: Len is 0.
	Skipped         uint32
	Resumes, Pauses bool
	// Ends says that the connection ends, and with it a turn of which more passed than was
	// copied: the one that Prev… tells of. None begins; Len is 0.
	Ends bool
}

// PayloadHandler is a Handler that wants payload, too.
type PayloadHandler interface {
	Payload(*PayloadEvent)
}
