package memcached

import (
	"bytes"
	"hash/maphash"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/lines"
	"github.com/weir-probe/weir/flows/l7/open"
)

// Spec is memcached over TCP.
var Spec = l7.Spec{Protocol: l7.Memcached, Match: Match, New: New}

// maxLine bounds what is kept of a line: a key has 250 octets at most.
const maxLine = 512

// stream is what is being read of one direction.
type stream struct {
	line  lines.Line
	frame frame
	// body counts the octets left of a value (text, with its CRLF) or of a body.
	body int64
	// first and octets are of the request or answer being read; first is 0 between
	// them.
	first  int64
	octets uint64
}

func (s *stream) reset() {
	s.line.Reset()
	s.frame.n, s.body, s.first, s.octets = 0, 0, 0, 0
}

// parser is the state of one connection.
type parser struct {
	tell   open.Teller
	open   open.List
	place  open.Place
	stream [2]stream
	binary bool

	request  request // whose value is being read
	hit      bool    // the answer being read has had a value
	value    []byte  // the meta answer whose value is being read: its line
	answer   header  // the binary answer whose body is being read
	seed     maphash.Seed
	watching bool
}

// New returns a parser of one connection.
func New(emit func(*l7.Message)) l7.Parser {
	return &parser{
		tell:   open.NewTeller(l7.Memcached, emit),
		stream: [2]stream{{line: lines.Line{Max: maxLine}}, {line: lines.Line{Max: maxLine}}},
		seed:   maphash.MakeSeed(),
	}
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(*p)) + 3*maxLine + p.open.Octets(), 0
}

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	if len(c.Data) == 0 {
		return
	}
	step := p.place.Chunk(c, p.awaited())
	switch step {
	case open.Skip:
		return
	case open.Restart:
		p.restart(c)
	case open.Reopen:
		p.forget()
	}
	s := &p.stream[c.Dir]
	for b := c.Data; len(b) > 0 && !p.place.Lost(c.Dir); {
		if s.first == 0 {
			s.first, s.octets = c.Time, 0
		}
		var n int
		switch {
		case s.body > 0:
			n = int(min(int64(len(b)), s.body))
			s.body -= int64(n)
			s.octets += uint64(n)
			if s.body == 0 {
				p.bodyEnded(c.Dir, c.Time)
			}
		case p.binary:
			n = p.takeFrame(c.Dir, b, c.Time)
		default:
			n = p.takeLine(c.Dir, b, c.Time)
		}
		b = b[n:]
	}
}

// Idle says that no command is open.
func (p *parser) Idle() bool {
	return p.open.Len() == 0 && !p.watching && p.stream[l7.ToServer].first == 0 && p.stream[l7.ToClient].first == 0 &&
		!p.place.Lost(l7.ToServer) && !p.place.Lost(l7.ToClient)
}

// awaited is how many open requests will be answered for certain.
func (p *parser) awaited() int {
	n := p.open.Len()
	if n > 0 && p.open.At(n-1).Kind&quiet != 0 {
		return 0
	}
	return n
}

// Gap says that n octets of a direction were not copied.
func (p *parser) Gap(d l7.Dir, n int64, t int64) {
	if n == 0 {
		return
	}
	s := &p.stream[d]
	if n < 0 || n > s.body {
		p.lose(d, t)
		return
	}
	s.body -= n
	s.octets += uint64(n)
	if s.body == 0 {
		p.bodyEnded(d, t)
	}
}

// End says that the connection is over.
func (p *parser) End(int64) {
	if s := &p.stream[l7.ToServer]; s.body > 0 && !p.place.Lost(l7.ToServer) {
		p.tell.Tell(&open.Request{Operation: p.request.name, First: s.first, Octets: s.octets}, l7.Lost, open.Answer{})
	}
	if p.stream[l7.ToClient].first != 0 || p.place.Lost(l7.ToClient) {
		p.forget()
	}
	for p.open.Len() > 0 {
		outcome := l7.Unanswered
		if p.open.At(0).Kind&quiet != 0 {
			outcome = l7.OneWay
		}
		p.tell.Tell(p.open.At(0), outcome, open.Answer{})
		p.open.Remove(0)
	}
}

// restart begins anew in a direction.
func (p *parser) restart(c *l7.Chunk) {
	p.stream[c.Dir].reset()
	if c.Dir == l7.ToServer {
		p.binary = c.Data[0] == magicRequest
		p.watching = false
		p.forget()
		return
	}
	p.hit = false
	if p.place.Lost(l7.ToServer) {
		p.binary = c.Data[0] == magicAnswer
	}
}

func (p *parser) forget() {
	p.tell.TellAll(&p.open, l7.Lost)
	p.open.Forget()
}

// lose gives up the place in a direction. What was begun there is the last that is
// known: a request whose command has been read is still the next to be answered,
// only when it ended is not known; an answer with a value is a hit.
func (p *parser) lose(d l7.Dir, t int64) {
	p.place.Lose(d)
	s := &p.stream[d]
	switch {
	case d == l7.ToServer && s.body > 0:
		p.push(p.request, 0)
	case d == l7.ToServer && !p.binary && bytes.IndexByte(s.line.Beginning(), ' ') > 0:
		if r, body := p.command(s.line.Beginning(), false); body == 0 && r.kind == reads && r.name != open.Other {
			p.push(r, 0)
		}
	case d == l7.ToClient && !p.binary && p.hit:
		if q := p.open.Front(); q != nil && q.Kind&reads != 0 {
			p.answered(0, open.Answer{Status: "HIT"}, t)
		}
	}
	p.hit = false
	s.reset()
}

// bodyEnded takes the end of a value, or of a body.
func (p *parser) bodyEnded(d l7.Dir, t int64) {
	switch {
	case d == l7.ToServer:
		p.push(p.request, t)
	case p.binary:
		p.binaryAnswer(t)
	case len(p.value) > 0:
		p.metaAnswer(p.value, t)
	}
}

// push opens the request that has been read and ended at time last, unless nobody
// will answer it.
func (p *parser) push(r request, last int64) {
	s := &p.stream[l7.ToServer]
	q := open.Request{
		ID: r.id, Operation: r.name, Kind: r.kind, Streaming: r.streaming,
		First: s.first, Last: last, Octets: s.octets,
	}
	s.first = 0
	switch {
	case r.kind&silent != 0:
		p.tell.Tell(&q, l7.OneWay, open.Answer{})
	case !p.open.PushInOrder(q):
		p.tell.Tell(&q, l7.Lost, open.Answer{})
	}
}

// answered tells the i-th open request with its answer, which ended at time last;
// the quiet ones before it had none.
func (p *parser) answered(i int, a open.Answer, last int64) {
	for ; i > 0; i-- {
		outcome := l7.Lost
		if p.open.At(0).Kind&quiet != 0 {
			outcome = l7.OneWay
		}
		p.tell.Tell(p.open.At(0), outcome, open.Answer{})
		p.open.Remove(0)
	}
	s := &p.stream[l7.ToClient]
	a.First, a.Last, a.Octets = s.first, last, s.octets
	s.first, p.hit = 0, false
	if p.open.Len() == 0 {
		if !p.open.Passed() {
			p.place.Surprise()
			p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true}, l7.Lost, a)
		}
		return
	}
	q := p.open.At(0)
	q.Unknown = q.Unknown || p.place.Doubt() && !p.binary
	p.tell.Tell(q, l7.Answered, a)
	p.open.Remove(0)
}
