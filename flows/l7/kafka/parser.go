package kafka

import (
	"encoding/binary"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/frames"
	"github.com/weir-probe/weir/flows/l7/open"
)

// Spec is Kafka over TCP.
var Spec = l7.Spec{Protocol: l7.Kafka, Match: Match, New: New}

const (
	maxHead     = 512       // kept of a frame
	maxRequest  = 128 << 20 // a broker takes 100 MiB
	maxResponse = 1 << 30
	maxNames    = 64 // operations with a topic
)

// Keys of apis that are more than a name.
const (
	produce            = 0
	fetch              = 1
	metadata           = 3
	joinGroup          = 11
	syncGroup          = 14
	controlledShutdown = 7
	apiVersions        = 18
	shareFetch         = 78
)

// formats are those of requests and responses.
var formats = [2]frames.Format{
	l7.ToServer: {Prefix: 4, Size: size, Least: 8, Most: maxRequest, Keep: maxHead},
	l7.ToClient: {Prefix: 4, Size: size, Least: 4, Most: maxResponse, Keep: maxHead},
}

func size(b []byte) int64 { return int64(int32(binary.BigEndian.Uint32(b))) }

// stream is what is being read of one direction.
type stream struct {
	frames.Stream
	known bool // where it is in the stream
}

// parser is the state of one connection.
type parser struct {
	tell    open.Teller
	open    open.List
	dropped int // requests without room, whose responses are to come
	stream  [2]stream
	names   open.Names // of operations with a topic
	name    []byte
}

// New returns a parser of one connection.
func New(emit func(*l7.Message)) l7.Parser {
	p := &parser{
		tell: open.NewTeller(l7.Kafka, emit),
		name: make([]byte, 0, l7.MaxOperation),
	}
	for d := range p.stream {
		p.stream[d].Format = &formats[d]
	}
	return p
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(*p)) + 2*maxHead + p.open.Octets() + p.names.Octets(), 0
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
		switch {
		case !ok:
			p.lose(c.Dir)
			return
		case !s.known && !p.resume(c.Dir):
			if !s.Began() {
				return
			}
		case s.Whole():
			p.ended(c.Dir, c.Time)
		}
	}
}

// resume decides whether what begins a turn begins a frame, as soon as there is
// enough of it.
func (p *parser) resume(d l7.Dir) bool {
	s := &p.stream[d]
	switch {
	case d == l7.ToServer && len(s.Head) >= 12:
		s.known = sensible(s.Body(), size(s.Head))
	case d == l7.ToClient && len(s.Head) >= 8:
		s.known = p.open.Find(correlation(s.Body())) >= 0
	default:
		return false
	}
	if !s.known {
		s.Reset()
	}
	return s.known
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
	if s := &p.stream[l7.ToServer]; s.known && len(s.Head) >= 12 {
		q, _ := p.request(s)
		p.tell.Tell(&q, l7.Lost, open.Answer{})
	}
	if s := &p.stream[l7.ToClient]; s.Began() || !s.known && s.Octets > 0 {
		p.tell.TellAll(&p.open, l7.Lost)
	}
	p.tell.TellAll(&p.open, l7.Unanswered)
}

// cut takes a frame of which a hole has swallowed the end, which passed before time
// t: what was copied of it counts, only when a request ended is not known.
func (p *parser) cut(d l7.Dir, t int64) {
	s := &p.stream[d]
	if !s.known || !s.Sized() {
		return
	}
	if d == l7.ToServer {
		t = 0
	}
	p.ended(d, t)
}

// lose gives up the place in a direction. Which responses are in a hole is not
// known.
func (p *parser) lose(d l7.Dir) {
	s := &p.stream[d]
	s.known = false
	s.Reset()
	if d == l7.ToClient {
		p.tell.TellAll(&p.open, l7.Lost)
		p.dropped = 0
	}
}

// ended takes the frame that has ended.
func (p *parser) ended(d l7.Dir, t int64) {
	s := &p.stream[d]
	if d == l7.ToClient {
		p.response(s, t)
		s.Reset()
		return
	}
	q, answered := p.request(s)
	q.Last = t
	s.Reset()
	switch {
	case !answered:
		p.tell.Tell(&q, l7.OneWay, open.Answer{})
	case q.Unknown:
		p.tell.Tell(&q, l7.Lost, open.Answer{})
		p.dropped++
	case !p.open.Push(q):
		p.tell.Tell(&q, l7.Lost, open.Answer{})
		p.dropped++
	}
}

// correlation is the id in the first octets of a response.
func correlation(body []byte) uint64 { return uint64(binary.BigEndian.Uint32(body)) }

// response takes the response in s.
func (p *parser) response(s *stream, t int64) {
	a := open.Answer{First: s.First, Last: t, Octets: s.Octets}
	i := -1
	if len(s.Head) >= 8 {
		i = p.open.Find(correlation(s.Body()))
	}
	if i < 0 {
		if p.dropped > 0 {
			p.dropped--
			return
		}
		p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true}, l7.Lost, a)
		return
	}
	q := p.open.At(i)
	key, version := int(q.Kind), q.Version
	a.Status = "ok"
	if key < len(apis) && len(apis[key].layout) > 0 {
		c := cursor{b: s.Head[8:], version: version, flexible: apis[key].isFlexible(version)}
		if key != apiVersions {
			c.tags()
		}
		code, sure := c.firstError(apis[key].layout, len(s.Head) == maxHead)
		a.Status, a.Failed = errorName(code), failed(code)
		// What a broker does not know it answers in the oldest form: the code is first.
		if !sure || version > apis[key].newest && key != apiVersions {
			a.Status, a.Failed = "", false
		}
	}
	p.tell.Tell(q, l7.Answered, a)
	p.open.Remove(i)
}
