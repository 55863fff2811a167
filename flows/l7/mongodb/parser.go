package mongodb

import (
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/open"
)

// Spec is MongoDB over TCP.
var Spec = l7.Spec{Protocol: l7.MongoDB, Match: Match, New: New}

// maxNames bounds the operations with a collection, and the words for errors, that a
// connection tells.
const maxNames = 64

// Kinds of open requests.
const (
	command    uint8 = iota
	write            // its reply may tell errors after ok
	bulk             // its reply tells errors beside a cursor
	query            // of old: its reply has documents of the user
	compressed       // whether it wants a reply is not known
	pushed           // answered; what else comes is no answer
)

// parser is the state of one connection.
type parser struct {
	tell    open.Teller
	open    open.List
	dropped int // requests without room, whose replies are to come
	stream  [2]stream
	names   open.Names // of operations with a collection
	words   open.Names // of errors
	name    []byte
}

// New returns a parser of one connection.
func New(emit func(*l7.Message)) l7.Parser {
	p := &parser{tell: open.NewTeller(l7.MongoDB, emit), name: make([]byte, 0, l7.MaxOperation)}
	for d := range p.stream {
		p.stream[d].Format = &formats[d]
	}
	return p
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(*p)) + requestHead + replyHead + p.open.Octets() + p.names.Octets() + p.words.Octets(), 0
}

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	s := &p.stream[c.Dir]
	if !s.known && !c.Turn && !s.Began() {
		return
	}
	for b := c.Data; len(b) > 0; {
		n, ok := s.Take(b, c.Time)
		b = b[n:]
		if ok && len(s.Head) < header && !s.Whole() {
			continue
		}
		if !ok || !p.sensible(c.Dir) {
			p.lose(c.Dir)
			return
		}
		s.known = true
		if s.Whole() {
			p.ended(c.Dir, c.Time)
		}
	}
}

// sensible says whether the header is one of that direction; where the place is not
// known, of a reply to an open request. A header in a hole is as good as the place.
func (p *parser) sensible(d l7.Dir) bool {
	s := &p.stream[d]
	if len(s.Head) < header {
		return s.known
	}
	if d == l7.ToServer {
		return s.op().asks() && s.to() == 0
	}
	return s.op().answers() && (s.known || p.open.Find(s.to()) >= 0)
}

// Gap says that n octets of a direction were not copied.
func (p *parser) Gap(d l7.Dir, n int64, t int64) {
	s := &p.stream[d]
	if n == 0 {
		return
	}
	if !s.known || !s.Skip(n) {
		p.cut(d, t)
		p.lose(d)
		return
	}
	if s.Whole() {
		p.ended(d, t)
	}
}

// End says that the connection is over.
func (p *parser) End(int64) {
	if s := &p.stream[l7.ToServer]; s.known && len(s.Head) >= header {
		q, _ := p.request(s)
		p.tell.Tell(&q, l7.Lost, open.Answer{})
	}
	p.unpush()
	if s := &p.stream[l7.ToClient]; s.Began() || !s.known && s.Octets > 0 {
		p.tell.TellAll(&p.open, l7.Lost)
	}
	p.tell.TellAll(&p.open, l7.Unanswered)
}

// cut takes a message of which a hole has swallowed the end, which passed before time
// t: what was copied of it counts, only when a request ended is not known.
func (p *parser) cut(d l7.Dir, t int64) {
	s := &p.stream[d]
	if !s.known || len(s.Head) < header {
		return
	}
	if d == l7.ToServer {
		t = 0
	}
	p.ended(d, t)
}

// lose gives up the place in a direction. Which replies are in a hole is not known.
func (p *parser) lose(d l7.Dir) {
	s := &p.stream[d]
	s.known = false
	s.Reset()
	if d == l7.ToClient {
		p.unpush()
		p.tell.TellAll(&p.open, l7.Lost)
		p.dropped = 0
	}
}

// unpush forgets the requests that have had an answer.
func (p *parser) unpush() {
	for i := p.open.Len() - 1; i >= 0; i-- {
		if p.open.At(i).Kind == pushed {
			p.open.Remove(i)
		}
	}
}

// ended takes the message that has ended.
func (p *parser) ended(d l7.Dir, t int64) {
	s := &p.stream[d]
	if d == l7.ToClient {
		p.reply(s, t)
		s.Reset()
		return
	}
	if len(s.Head) < header { // its header is in a hole
		p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true, First: s.First, Octets: s.Octets}, l7.Lost, open.Answer{})
		p.dropped++
		s.Reset()
		return
	}
	q, answered := p.request(s)
	q.Last = t
	s.Reset()
	switch {
	case !answered:
		p.tell.Tell(&q, l7.OneWay, open.Answer{})
	case q.Unknown || !p.open.Push(q):
		p.tell.Tell(&q, l7.Lost, open.Answer{})
		p.dropped++
	}
}

// reply takes the reply in s.
func (p *parser) reply(s *stream, t int64) {
	a := open.Answer{First: s.First, Last: t, Octets: s.Octets}
	i := -1
	if len(s.Head) >= header {
		i = p.open.Find(s.to())
	}
	if i < 0 {
		if p.dropped > 0 {
			p.dropped--
			return
		}
		p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true}, l7.Lost, a)
		return
	}
	// A server answers one after the other: what came compressed before this request
	// and has no reply wants none.
	for j := 0; j < i; {
		if q := p.open.At(j); q.Kind == compressed {
			p.tell.Tell(q, l7.OneWay, open.Answer{})
			p.open.Remove(j)
			i--
			continue
		}
		j++
	}
	q := p.open.At(i)
	more := s.op() == opMsg && len(s.Head) >= header+4 && flags(s)&moreToCome != 0
	p.status(&a, s, q.Kind)
	if q.Kind == pushed {
		p.tell.Tell(q, l7.OneWay, a)
	} else {
		p.tell.Tell(q, l7.Answered, a)
	}
	if !more {
		p.open.Remove(i)
		return
	}
	// The next reply names this one, and is told with nothing of the request's own.
	*q = open.Request{ID: s.id(), Operation: q.Operation, Kind: pushed, Streaming: true}
}
