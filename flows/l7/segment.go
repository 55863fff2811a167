package l7

// Segment is payload of one packet of a TCP connection, or a datagram, as it
// passed the place where it was seen: in any order, repeated, with holes. It and
// Data are valid during the call only.
type Segment struct {
	// Dir is the direction as the Orientation of the Conversation reads it: of one
	// that is Unoriented ToServer is one direction and ToClient the other.
	Dir  Dir
	Time int64 // unix ns, when the packet passed
	// Turn says that the other direction spoke before, or nothing did.
	Turn bool
	// Seq is the sequence number of the first octet (TCP), Len the payload of the
	// packet, Data what was copied of it.
	Seq  uint32
	Len  uint32
	Data []byte
	// InOrder says that nothing before it comes after it: it is no packet but what a
	// process gave to a library. What is missing before it is missing for good.
	InOrder bool
	// Of the other direction's turn that this one ends, valid iff Turn and
	// PrevOctets > 0: when its last packet passed (unix ns), its payload, and the
	// sequence number after it.
	PrevLast    int64
	PrevOctets  uint64
	PrevNextSeq uint32
}

// Orientation says how the direction of a Segment is to be read.
type Orientation uint8

const (
	Unoriented Orientation = iota // content may tell who opened the connection
	Straight                      // Dir is what it says
	Reversed                      // Dir is the opposite
)

// Turns finds the turns of a connection in its packets, where the place that saw
// them does not tell: the user-space packet path. The zero value is ready.
type Turns struct {
	dir         Dir
	begun       bool
	first, last int64
	octets      uint64
	sent        [2]struct {
		next  uint32
		known bool
	}
}

// Mark fills Turn and the Prev fields of s from what came before it and returns
// when the turn began that s ends, unix ns; 0 when it ends none. A packet that
// repeats, or fills a hole, ends and begins nothing.
func (t *Turns) Mark(s *Segment) (prevFirst int64) {
	d := &t.sent[s.Dir]
	end := s.Seq + s.Len
	fresh := s.Len
	if d.known && end-d.next-1 < maxJump {
		fresh = end - d.next
	} else if d.known && d.next-end < maxJump {
		return 0
	}
	s.Turn = !t.begun || s.Dir != t.dir
	if s.Turn {
		if t.begun {
			prevFirst = t.first
			s.PrevLast, s.PrevOctets, s.PrevNextSeq = t.last, t.octets, t.sent[s.Dir.Opposite()].next
		}
		t.dir, t.begun, t.first, t.octets = s.Dir, true, s.Time, 0
	}
	t.last = s.Time
	t.octets += uint64(fresh)
	d.next, d.known = end, true
	return prevFirst
}
