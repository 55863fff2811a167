package dns

import (
	"encoding/binary"
	"time"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/frames"
	"github.com/weir-probe/weir/flows/l7/open"
)

// Specs of DNS over UDP and over TCP.
var (
	Datagram = l7.Spec{Protocol: l7.DNS, Datagram: true, Match: Match, New: NewDatagram}
	Stream   = l7.Spec{Protocol: l7.DNS, Match: MatchStream, New: NewStream}
)

// patience is how long a question waits: resolvers ask again or give up within it.
const patience = int64(5 * time.Second)

// asker keeps the open questions of a socket.
type asker struct {
	tell open.Teller
	open open.List
}

// Weight implements l7.Weighed, of a stream with the beginnings of two messages.
func (p *asker) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(stream{})) + 2*format.Keep + p.open.Octets(), 0
}

// message takes the beginning of a message of n octets that passed from first to
// last.
func (p *asker) message(b []byte, n uint64, first, last int64) {
	p.expire(last)
	q, ok := parse(b)
	if !ok {
		p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true, Octets: n}, l7.Lost, open.Answer{})
		return
	}
	r := open.Request{ID: q.key, Operation: kindName(q.kind), First: first, Last: last, Octets: n}
	i := p.open.Find(q.key)
	switch {
	case !q.answer && q.shout:
		p.tell.Tell(&r, l7.OneWay, open.Answer{})
	case !q.answer && i >= 0: // asked again: the wait goes on
		p.open.At(i).Octets += n
	case !q.answer:
		if !p.open.Push(r) {
			p.tell.Tell(&r, l7.Lost, open.Answer{})
		}
	case i >= 0:
		a := open.Answer{Status: rcodes[q.rcode], Failed: failed(q.rcode), First: first, Last: last, Octets: n}
		p.tell.Tell(p.open.At(i), l7.Answered, a)
		p.open.Remove(i)
	case q.shout:
		p.tell.Tell(&r, l7.OneWay, open.Answer{})
	}
	// An answer to what was not asked, or was answered already, is nobody's.
}

// expire tells the questions that have waited for too long.
func (p *asker) expire(now int64) {
	for p.open.Len() > 0 && now-p.open.At(0).Last > patience {
		p.tell.Tell(p.open.At(0), l7.Unanswered, open.Answer{})
		p.open.Remove(0)
	}
}

// End says that nothing more will come.
func (p *asker) End(int64) { p.tell.TellAll(&p.open, l7.Unanswered) }

// datagrams is DNS over UDP.
type datagrams struct{ asker }

// NewDatagram returns a parser of what a datagram socket exchanges with one peer.
func NewDatagram(emit func(*l7.Message)) l7.Parser {
	return &datagrams{asker{tell: open.NewTeller(l7.DNS, emit)}}
}

// Data takes a datagram.
func (p *datagrams) Data(c *l7.Chunk) {
	p.message(c.Data, uint64(len(c.Data)), c.Time, c.Time)
}

// Gap means nothing between datagrams.
func (p *datagrams) Gap(l7.Dir, int64, int64) {}

// format is that of DNS over TCP (RFC 1035 section 4.2.2).
var format = frames.Format{Prefix: 2, Size: size, Most: 1<<16 - 1, Keep: 2 + maxHead}

func size(prefix []byte) int64 { return int64(binary.BigEndian.Uint16(prefix)) }

// stream is DNS over TCP: the place is known as long as every length is.
type stream struct {
	asker
	half [2]half
}

type half struct {
	frames.Stream
	lost bool
}

// NewStream returns a parser of a connection.
func NewStream(emit func(*l7.Message)) l7.Parser {
	p := &stream{asker: asker{tell: open.NewTeller(l7.DNS, emit)}}
	for d := range p.half {
		p.half[d].Format = &format
	}
	return p
}

// Data takes the next octets of a direction.
func (p *stream) Data(c *l7.Chunk) {
	h := &p.half[c.Dir]
	if h.lost {
		if !c.Turn || MatchStream(c.Dir, c.Data) != l7.Yes {
			return
		}
		h.lost = false
	}
	for b := c.Data; len(b) > 0; {
		n, _ := h.Take(b, c.Time) // of any size
		b = b[n:]
		p.ended(h, c.Time)
	}
}

// ended takes the end of a message, if it is there.
func (p *stream) ended(h *half, t int64) {
	if h.Whole() {
		p.message(h.Body(), h.Octets, h.First, t)
		h.Reset()
	}
}

// Gap says that n octets of a direction were not copied.
func (p *stream) Gap(d l7.Dir, n int64, t int64) {
	h := &p.half[d]
	if h.lost || n == 0 {
		return
	}
	if h.Sized() {
		if _, ok := parse(h.Body()); ok && h.Skip(n) {
			p.ended(h, t)
			return
		}
	}
	h.lost = true
	h.Reset()
}
