package l7

// Chunk is payload of one packet of one direction, the next after what was given
// before. It and Data are valid during the call only.
type Chunk struct {
	Dir  Dir
	Time int64 // unix ns, when the packet passed
	// Turn marks the first payload after the other direction spoke: in most
	// protocols the beginning of a message, and where to find one's place again.
	Turn bool
	Data []byte
}

// Parser follows one connection, or what one datagram socket exchanges with one
// peer. It is used by one goroutine and tells each message by the function it was
// made with, from within its methods.
type Parser interface {
	// Data takes the next octets of a direction. Of a datagram, all that was copied.
	Data(c *Chunk)
	// Gap says that n octets of a direction were not copied, the last of which
	// passed at time t (unix ns). n < 0: how many is not known, the place is lost.
	Gap(d Dir, n int64, t int64)
	// End says that the connection is over, or idle for good; what is open is told
	// as Unanswered or Lost. The parser is not used again.
	End(t int64)
}

// Weighed is a Parser that knows what it holds. Weight is called after each piece of
// payload.
type Weighed interface {
	// Weight is how many octets the parser holds, its strings and tables included, and
	// how often since it was made something had no room within the bound that it has
	// of its own.
	Weight() (octets int, crowded uint64)
}

// Verdict says whether payload looks like a protocol.
type Verdict uint8

const (
	No    Verdict = iota
	Maybe         // more octets, or the other direction, will tell
	Yes
)

// Spec is one protocol: how it is recognised, by content and never by port, and
// the parser of it.
type Spec struct {
	Protocol Protocol
	// Datagram marks a protocol over UDP; all others are over TCP. DNS has a Spec of
	// each kind.
	Datagram bool
	// Match judges b, which begins a turn in direction d (or is a datagram). It
	// must be cheap, must not say Yes to what another protocol could well send, and
	// knows nothing of what came before.
	Match func(d Dir, b []byte) Verdict
	// Octets is what a parser holds at most that is not Weighed.
	Octets int
	// New returns a parser that tells its messages by emit.
	New func(emit func(*Message)) Parser
}
