package l7

// Observer holds what the conversations of one goroutine share: the protocols,
// the memory for payload that waits, and the counts.
type Observer struct {
	specs     [2][]Spec // by Kind
	free      *block
	blocks    int
	maxBlocks int
	held      int // octets, by all parsers
	stats     Stats
}

// Kind says what carries a conversation.
type Kind uint8

const (
	Stream   Kind = iota // TCP, or what a TLS library was given
	Datagram             // UDP
)

// Stats counts since the Observer was made. Octets are payload.
type Stats struct {
	Conversations uint64               // begun
	Detected      [numProtocols]uint64 // by Protocol
	Opaque        uint64               // given up: no protocol was recognised
	Upgraded      uint64               // went on in another protocol
	// ParsedOctets were given to a parser, GapOctets were not copied or never came
	// (told to the parser), UnparsedOctets were copied and not given to a parser: of
	// no known protocol, or in the middle of something when it was recognised.
	ParsedOctets, GapOctets, UnparsedOctets uint64
	Gaps                                    uint64
	Reordered                               uint64 // segments that waited for an earlier one
	Repeated                                uint64 // segments with octets that had passed already
	NoRoom                                  uint64 // payload could not wait: too much did already
	Held                                    uint64 // octets that parsers hold now
	Crowded                                 uint64 // times that a parser left something out, at the bound of a connection
}

// DetectedTotal is the sum over all protocols.
func (s *Stats) DetectedTotal() uint64 {
	var n uint64
	for _, d := range s.Detected {
		n += d
	}
	return n
}

// NewObserver returns an Observer for these protocols, the more specific first.
// maxWaiting bounds the payload that waits, in octets.
func NewObserver(specs []Spec, maxWaiting int) *Observer {
	o := &Observer{maxBlocks: maxWaiting / blockOctets}
	for _, s := range specs {
		k := Stream
		if s.Datagram {
			k = Datagram
		}
		o.specs[k] = append(o.specs[k], s)
	}
	return o
}

// Stats returns the counts.
func (o *Observer) Stats() Stats {
	s := o.stats
	s.Held = uint64(o.held)
	return s
}

// Held is how many octets the parsers of all conversations hold.
func (o *Observer) Held() int { return o.held }
