package amqp

import (
	"encoding/binary"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/open"
)

// Spec is AMQP 0-9-1 over TCP.
var Spec = l7.Spec{Protocol: l7.AMQP, Match: Match, New: New}

const maxChannels = 128

// Kinds of open requests.
const (
	isMethod  = iota // ID: channel, class and method
	isPublish        // ID: channel and delivery tag
)

// content is a method whose header and body frames are to come.
type content struct {
	number uint32 // the method; 0: none
	sized  bool   // the header has passed
	left   uint64 // octets of the body to come
	first  int64
	octets uint64
	code   uint16 // of basic.return
}

// channel is what is known of one.
type channel struct {
	id        uint16
	confirms  bool // it has selected them
	uncounted bool // not every publish since was seen: delivery tags are not known
	published uint64
	content   [2]content
}

// parser is the state of one connection.
type parser struct {
	tell     open.Teller
	open     open.List
	stream   [2]stream
	channels []channel
	greeted  int // octets of the greeting that passed
}

// New returns a parser of one connection.
func New(emit func(*l7.Message)) l7.Parser {
	p := &parser{tell: open.NewTeller(l7.AMQP, emit)}
	for d := range p.stream {
		p.stream[d].Format = &format
	}
	return p
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(*p)) + 2*maxHead + p.open.Octets() + cap(p.channels)*int(unsafe.Sizeof(channel{})), 0
}

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	s := &p.stream[c.Dir]
	if !s.known {
		if !c.Turn || len(c.Data) == 0 || c.Data[0] != greeting[0] && !isType(c.Data[0]) {
			return
		}
		s.known = true
		s.Reset()
		p.greeted = 0
	}
	for b := c.Data; len(b) > 0 && s.known; {
		if !s.Began() && c.Dir == l7.ToServer && (p.greeted > 0 || b[0] == greeting[0]) && p.greeted < len(greeting) {
			if b[0] != greeting[p.greeted] {
				p.lose(c.Dir)
				return
			}
			p.greeted++
			b = b[1:]
			continue
		}
		n, ok := s.Take(b, c.Time)
		if !ok || s.Whole() && b[n-1] != frameEnd {
			p.lose(c.Dir)
			return
		}
		b = b[n:]
		if s.Whole() {
			p.frame(c.Dir, c.Time)
			s.Reset()
		}
	}
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
		p.frame(d, t)
		s.Reset()
	}
}

// cut takes a method whose frame has lost its end, and content that has lost a part
// of its body, in a hole that ended at time t: when it ended is not known.
func (p *parser) cut(d l7.Dir, t int64) {
	s := &p.stream[d]
	if !s.known {
		return
	}
	for i := range p.channels {
		ch := &p.channels[i]
		if ch.content[d].number != 0 {
			p.contentEnded(ch, d, 0)
		}
	}
	if s.Sized() && s.Head[0] == frameMethod {
		if d == l7.ToServer {
			t = 0
		}
		p.frame(d, t)
	}
}

// End says that the connection is over.
func (p *parser) End(int64) {
	for i := range p.channels {
		if c := &p.channels[i].content[l7.ToServer]; c.number != 0 {
			p.tell.Tell(&open.Request{Operation: methods[c.number].name, First: c.first, Octets: c.octets}, l7.Lost, open.Answer{})
		}
	}
	if s := &p.stream[l7.ToClient]; s.Began() || !s.known && s.Octets > 0 {
		p.tell.TellAll(&p.open, l7.Lost)
	}
	p.tell.TellAll(&p.open, l7.Unanswered)
}

// lose gives up the place in a direction.
func (p *parser) lose(d l7.Dir) {
	s := &p.stream[d]
	s.known = false
	s.Reset()
	for i := range p.channels {
		p.channels[i].content[d] = content{}
		if d == l7.ToServer {
			p.channels[i].uncounted = true
		}
	}
	if d == l7.ToClient {
		p.tell.TellAll(&p.open, l7.Lost)
	}
}

// channel returns what is known of a channel; nil if there are too many.
func (p *parser) channel(id uint16) *channel {
	for i := range p.channels {
		if p.channels[i].id == id {
			return &p.channels[i]
		}
	}
	for i := range p.channels {
		if len(p.channels) == maxChannels && p.channels[i] == (channel{id: p.channels[i].id}) {
			p.channels[i].id = id
			return &p.channels[i]
		}
	}
	if len(p.channels) == maxChannels {
		return nil
	}
	p.channels = append(p.channels, channel{id: id})
	return &p.channels[len(p.channels)-1]
}

// frame takes a frame that has ended.
func (p *parser) frame(d l7.Dir, t int64) {
	s := &p.stream[d]
	if s.Head[0] == frameHeartbeat {
		return
	}
	b := s.payload()
	ch := p.channel(channelOf(s.Head))
	if ch == nil {
		if s.Head[0] == frameMethod {
			p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true}, l7.Lost, open.Answer{})
		}
		return
	}
	if s.Head[0] == frameMethod {
		p.method(ch, d, b, t)
		return
	}
	c := &ch.content[d]
	if c.number == 0 {
		return // its method was not seen
	}
	c.octets += s.Octets
	if s.Head[0] == frameHeader {
		if len(b) < 12 { // class, weight, size
			p.contentLost(ch, d)
			return
		}
		c.sized, c.left = true, binary.BigEndian.Uint64(b[4:])
	} else if c.sized {
		c.left -= min(c.left, uint64(payloadSize(s.Head)))
	}
	if c.sized && c.left == 0 {
		p.contentEnded(ch, d, t)
	}
}

// contentEnded takes a method with content, all of which has passed at time t.
func (p *parser) contentEnded(ch *channel, d l7.Dir, t int64) {
	c := ch.content[d]
	ch.content[d] = content{}
	name := methods[c.number].name
	if d == l7.ToServer {
		q := open.Request{Operation: name, First: c.first, Last: t, Octets: c.octets, Kind: isPublish}
		switch {
		case !ch.confirms:
			p.tell.Tell(&q, l7.OneWay, open.Answer{})
		case ch.uncounted:
			p.tell.Tell(&q, l7.Lost, open.Answer{})
		default:
			ch.published++
			q.ID = publishID(ch.id, ch.published)
			p.ask(q)
		}
		return
	}
	a := open.Answer{First: c.first, Last: t, Octets: c.octets}
	if c.number == basicGetOk {
		a.Status = "OK"
		p.answer(ch.id, c.number, a)
		return
	}
	if c.number == basicReturn {
		a.Status, a.Failed = replyCode(c.code)
	}
	p.tell.Tell(&open.Request{Operation: name}, l7.OneWay, a)
}

// contentLost takes a method with content of which the length was not copied.
func (p *parser) contentLost(ch *channel, d l7.Dir) {
	c := ch.content[d]
	ch.content[d] = content{}
	switch {
	case c.number == basicGetOk:
		p.answer(ch.id, c.number, open.Answer{Status: "OK", First: c.first, Octets: c.octets})
	case d == l7.ToServer:
		ch.published++
		p.tell.Tell(&open.Request{Operation: methods[c.number].name, First: c.first, Octets: c.octets}, l7.Lost, open.Answer{})
	default:
		p.tell.Tell(&open.Request{Operation: methods[c.number].name}, l7.Lost, open.Answer{First: c.first, Octets: c.octets})
	}
}

// ask opens q.
func (p *parser) ask(q open.Request) {
	if !p.open.Push(q) {
		p.tell.Tell(&q, l7.Lost, open.Answer{})
	}
}

func publishID(channel uint16, tag uint64) uint64 { return uint64(channel)<<48 | tag&(1<<48-1) }

func methodID(channel uint16, number uint32) uint64 { return uint64(channel)<<48 | uint64(number) }
