package amqp

import (
	"encoding/binary"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/open"
)

// method takes a method frame, of whose payload b is what was copied.
func (p *parser) method(ch *channel, d l7.Dir, b []byte, t int64) {
	s := &p.stream[d]
	if len(b) < 4 {
		// Which method it was is not known. What it answers, if it does, stays open.
		p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true}, l7.Lost, open.Answer{})
		if d == l7.ToServer {
			ch.uncounted = true
		} else {
			p.channelLost(ch.id)
		}
		return
	}
	number := binary.BigEndian.Uint32(b)
	args := b[4:]
	m, ok := methods[number]
	if !ok {
		return
	}
	if m.content {
		ch.content[d] = content{number: number, first: s.First, octets: s.Octets}
		if number == basicReturn && len(args) >= 2 {
			ch.content[d].code = binary.BigEndian.Uint16(args)
		}
		return
	}
	if d == l7.ToServer {
		p.fromClient(ch, number, &m, args, t)
	} else {
		p.fromServer(ch, number, &m, args, t)
	}
}

// fromClient takes a method without content of the client.
func (p *parser) fromClient(ch *channel, number uint32, m *method, args []byte, t int64) {
	s := &p.stream[l7.ToServer]
	q := open.Request{ID: methodID(ch.id, number), Operation: m.name, First: s.First, Last: t, Octets: s.Octets}
	switch {
	case m.role == oneWay:
		p.tell.Tell(&q, l7.OneWay, open.Answer{})
		return
	case m.role != request:
		return
	}
	noWait, known := m.noWait(args)
	switch {
	case !known:
		p.tell.Tell(&q, l7.Lost, open.Answer{})
	case noWait:
		p.tell.Tell(&q, l7.OneWay, open.Answer{})
	default:
		p.ask(q)
	}
	switch number {
	case channelOpen:
		*ch = channel{id: ch.id}
	case confirmSelect:
		if !ch.confirms {
			ch.confirms, ch.uncounted, ch.published = true, false, 0
		}
	}
}

// noWait reads the bit no-wait; known says that it was copied.
func (m *method) noWait(args []byte) (set, known bool) {
	if m.bit < 0 {
		return false, true
	}
	at := 2 * m.shorts
	for range m.strings {
		if at >= len(args) {
			return false, false
		}
		at += 1 + int(args[at])
	}
	if at >= len(args) {
		return false, false
	}
	return args[at]>>m.bit&1 == 1, true
}

// fromServer takes a method without content of the server.
func (p *parser) fromServer(ch *channel, number uint32, m *method, args []byte, t int64) {
	s := &p.stream[l7.ToClient]
	a := open.Answer{Status: "OK", First: s.First, Last: t, Octets: s.Octets}
	switch {
	case number == basicAck || number == basicNack:
		p.confirmed(ch, number, args, a)
	case number == connectionClose || number == channelClose:
		p.closed(ch, number, args, a)
	case m.role == answer:
		if number == basicGetEmpty {
			a.Status = "EMPTY"
		}
		p.answer(ch.id, number, a)
		if number == channelCloseOk {
			*ch = channel{id: ch.id}
		}
	}
}

// answer answers the oldest request of a channel that method number is an answer
// to. One without belongs to a request that was not seen.
func (p *parser) answer(channel uint16, number uint32, a open.Answer) {
	for i := range p.open.Len() {
		q := p.open.At(i)
		if q.Kind != isMethod || uint16(q.ID>>48) != channel || uint16(q.ID>>16) != uint16(number>>16) {
			continue
		}
		m := methods[uint32(q.ID)]
		if m.answers[0] == uint16(number) || m.answers[1] == uint16(number) && m.answers[1] != 0 {
			p.tell.Tell(q, l7.Answered, a)
			p.open.Remove(i)
			return
		}
	}
	p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true}, l7.Lost, a)
}

// confirmed takes an ack or nack of the server: of one delivery tag, or of all up to
// it.
func (p *parser) confirmed(ch *channel, number uint32, args []byte, a open.Answer) {
	if !ch.confirms {
		return
	}
	if len(args) < 9 {
		p.channelLost(ch.id)
		return
	}
	if number == basicNack {
		a.Status, a.Failed = "NACK", true
	}
	tag, multiple := binary.BigEndian.Uint64(args), args[8]&1 == 1
	for i := 0; i < p.open.Len(); {
		q := p.open.At(i)
		mine := q.Kind == isPublish && uint16(q.ID>>48) == ch.id
		if mine && (q.ID == publishID(ch.id, tag) || multiple && (tag == 0 || q.ID < publishID(ch.id, tag))) {
			p.tell.Tell(q, l7.Answered, a)
			p.open.Remove(i)
			continue
		}
		i++
	}
}

// closed takes a close of the server: the answer to the method that it names, if
// that is open, else told by itself. Whatever else is open on the channel, or on
// the connection, stays unanswered.
func (p *parser) closed(ch *channel, number uint32, args []byte, a open.Answer) {
	status, failed := "", true
	var cause uint32
	if len(args) >= 2 {
		status, failed = replyCode(binary.BigEndian.Uint16(args))
	}
	if len(args) >= 3 {
		if at := 3 + int(args[2]); len(args) >= at+4 {
			cause = binary.BigEndian.Uint32(args[at:])
		}
	}
	a.Status, a.Failed = status, failed
	all := number == connectionClose
	found := false
	for i := 0; i < p.open.Len(); {
		q := p.open.At(i)
		if !all && uint16(q.ID>>48) != ch.id {
			i++
			continue
		}
		if !found && q.Kind == isMethod && (cause == 0 || uint32(q.ID) == cause) && status != "" {
			found = true
			p.tell.Tell(q, l7.Answered, a)
		} else {
			p.tell.Tell(q, l7.Unanswered, open.Answer{})
		}
		p.open.Remove(i)
	}
	if !found {
		p.tell.Tell(&open.Request{Operation: methods[number].name}, l7.OneWay, a)
	}
	*ch = channel{id: ch.id}
}

// channelLost tells what is open on a channel as lost.
func (p *parser) channelLost(id uint16) {
	for i := 0; i < p.open.Len(); {
		if uint16(p.open.At(i).ID>>48) != id {
			i++
			continue
		}
		p.tell.Tell(p.open.At(i), l7.Lost, open.Answer{})
		p.open.Remove(i)
	}
}
