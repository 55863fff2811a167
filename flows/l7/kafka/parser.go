package kafka

import (
	"encoding/binary"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
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

// stream is what is being read of one direction.
type stream struct {
	known  bool // where it is in the stream
	head   [maxHead]byte
	n      int   // octets in head, the length among them
	left   int64 // of the frame, once its length is known
	short  bool  // a hole is where head would go on
	first  int64
	octets uint64
}

// began says whether there are octets of a frame.
func (s *stream) began() bool { return s.n > 0 }

// parser is the state of one connection.
type parser struct {
	tell    open.Teller
	open    open.List
	dropped int // requests without room, whose responses are to come
	stream  [2]stream
	names   map[string]string
	name    []byte
}

// New returns a parser of one connection.
func New(emit func(*l7.Message)) l7.Parser {
	return &parser{
		tell:  open.NewTeller(l7.Kafka, emit),
		names: map[string]string{}, name: make([]byte, 0, l7.MaxOperation),
	}
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(*p)) + p.open.Octets() + len(p.names)*open.NameOctets, 0
}

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	s := &p.stream[c.Dir]
	if !s.known && !c.Turn && !s.began() {
		return
	}
	for b := c.Data; len(b) > 0; {
		if !s.began() {
			s.first, s.octets, s.short, s.left = c.Time, 0, false, 0
		}
		n := s.take(b)
		b = b[n:]
		if s.n < 4 {
			return
		}
		if s.left == 0 && s.n == 4 && !p.begin(c.Dir) {
			return
		}
		if !s.known && !p.resume(c.Dir) {
			if !s.began() {
				return
			}
			continue
		}
		if s.left == 0 {
			p.ended(c.Dir, c.Time)
		}
	}
}

// take takes octets of the length, then of the frame.
func (s *stream) take(b []byte) int {
	n := len(b)
	if s.n < 4 {
		n = copy(s.head[s.n:4], b)
		s.n += n
	} else {
		n = int(min(int64(n), s.left))
		s.left -= int64(n)
		if !s.short {
			s.n += copy(s.head[s.n:], b[:n])
		}
	}
	s.octets += uint64(n)
	return n
}

// begin takes the length of a frame.
func (p *parser) begin(d l7.Dir) bool {
	s := &p.stream[d]
	s.left = int64(int32(binary.BigEndian.Uint32(s.head[:])))
	if d == l7.ToServer && (s.left < 8 || s.left > maxRequest) || s.left < 4 || s.left > maxResponse {
		p.lose(d)
		return false
	}
	return true
}

// resume decides whether what begins a turn begins a frame, as soon as there is
// enough of it.
func (p *parser) resume(d l7.Dir) bool {
	s := &p.stream[d]
	switch {
	case d == l7.ToServer && s.n >= 12:
		s.known = sensible(s.head[4:s.n], s.left+int64(s.n)-4)
	case d == l7.ToClient && s.n >= 8:
		s.known = p.open.Find(uint64(binary.BigEndian.Uint32(s.head[4:]))) >= 0
	default:
		return false
	}
	if !s.known {
		s.n = 0
	}
	return s.known
}

// Gap says that n octets of a direction were not copied.
func (p *parser) Gap(d l7.Dir, n int64, t int64) {
	s := &p.stream[d]
	if n == 0 {
		return
	}
	if !s.known || n < 0 || s.n < 4 || n > s.left {
		p.cut(d, t)
		p.lose(d)
		return
	}
	s.short = s.short || s.n < maxHead
	s.left -= n
	s.octets += uint64(n)
	if s.left == 0 {
		p.ended(d, t)
	}
}

// End says that the connection is over.
func (p *parser) End(int64) {
	if s := &p.stream[l7.ToServer]; s.known && s.n >= 12 {
		q, _ := p.request(s)
		p.tell.Tell(&q, l7.Lost, open.Answer{})
	}
	if s := &p.stream[l7.ToClient]; s.began() || !s.known && p.stream[l7.ToClient].octets > 0 {
		p.tell.TellAll(&p.open, l7.Lost)
	}
	p.tell.TellAll(&p.open, l7.Unanswered)
}

// cut takes a frame of which a hole has swallowed the end, which passed before time
// t: what was copied of it counts, only when a request ended is not known.
func (p *parser) cut(d l7.Dir, t int64) {
	s := &p.stream[d]
	if !s.known || s.n < 4 {
		return
	}
	s.short = s.short || s.n < maxHead
	if d == l7.ToServer {
		t = 0
	}
	p.ended(d, t)
}

// lose gives up the place in a direction. Which responses are in a hole is not
// known.
func (p *parser) lose(d l7.Dir) {
	s := &p.stream[d]
	s.known, s.n = false, 0
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
		s.n = 0
		return
	}
	q, answered := p.request(s)
	q.Last = t
	s.n = 0
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

// response takes the response in s.
func (p *parser) response(s *stream, t int64) {
	a := open.Answer{First: s.first, Last: t, Octets: s.octets}
	i := -1
	if s.n >= 8 {
		i = p.open.Find(uint64(binary.BigEndian.Uint32(s.head[4:])))
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
		c := cursor{b: s.head[8:s.n], version: version, flexible: apis[key].isFlexible(version)}
		if key != apiVersions {
			c.tags()
		}
		code, sure := c.firstError(apis[key].layout, s.n == maxHead)
		a.Status, a.Failed = errorName(code), failed(code)
		// What a broker does not know it answers in the oldest form: the code is first.
		if !sure || version > apis[key].newest && key != apiVersions {
			a.Status, a.Failed = "", false
		}
	}
	p.tell.Tell(q, l7.Answered, a)
	p.open.Remove(i)
}
