package redis

import (
	"bytes"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/open"
)

// Spec is RESP over TCP.
var Spec = l7.Spec{Protocol: l7.Redis, Match: Match, New: New}

// replies is what CLIENT REPLY has asked for.
type replies uint8

const (
	on replies = iota
	off
	skipNext // SKIP was the request before: this one is not answered either
)

// parser is the state of one connection.
type parser struct {
	tell  open.Teller
	open  open.List
	place open.Place
	read  [2]reader

	// request is the one that is being read; its command is known when named.
	request open.Request
	named   bool
	command command
	word    [2][maxText]byte // the first two words in upper case
	words   int              // octets of the first
	mode    replies
	setMode replies // what this CLIENT REPLY asks for

	// answer is the one that is being read.
	answer    open.Answer
	answering bool
	first     string // the first element of an array, if it is one of pushes
	firstErr  string // the first error among the elements
	last      int64  // the last integer among the elements

	subscribed, monitoring, replica bool
}

// New returns a parser of one connection.
func New(emit func(*l7.Message)) l7.Parser {
	p := &parser{tell: open.NewTeller(l7.Redis, emit)}
	p.read[l7.ToServer].inline = true
	return p
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(*p)) + p.open.Octets(), 0
}

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	if p.replica {
		return
	}
	switch p.place.Chunk(c, p.open.Len()) {
	case open.Skip:
		return
	case open.Restart:
		p.restart(c.Dir)
	case open.Reopen:
		p.forget()
	}
	r := &p.read[c.Dir]
	for b := c.Data; len(b) > 0 && !p.place.Lost(c.Dir) && !p.replica; {
		n, ev := r.next(b)
		b = b[n:]
		if c.Dir == l7.ToServer {
			p.fromClient(r, ev, n, c.Time)
		} else {
			p.fromServer(r, ev, n, c.Time)
		}
	}
}

// Idle says that no command is open, nor anything that changes what answers follow.
func (p *parser) Idle() bool {
	return p.open.Len() == 0 && p.request.First == 0 && !p.answering && p.mode == on && !p.subscribed && !p.monitoring && !p.replica &&
		!p.place.Lost(l7.ToServer) && !p.place.Lost(l7.ToClient)
}

// Gap says that n octets of a direction were not copied.
func (p *parser) Gap(d l7.Dir, n int64, t int64) {
	if n == 0 || p.replica {
		return
	}
	r := &p.read[d]
	if p.place.Lost(d) || !r.gap(n) {
		p.lose(d, t)
		return
	}
	ev := more
	if r.skip == 0 {
		ev = r.ended()
	}
	if d == l7.ToServer {
		p.fromClient(r, ev, int(n), t)
	} else {
		p.fromServer(r, ev, int(n), t)
	}
}

// End says that the connection is over.
func (p *parser) End(int64) {
	if p.request.First != 0 && p.read[l7.ToServer].began {
		p.name()
		p.tell.Tell(&p.request, l7.Lost, open.Answer{})
	}
	if p.answering || p.place.Lost(l7.ToClient) {
		p.forget()
	}
	p.tell.TellAll(&p.open, l7.Unanswered)
}

// restart begins anew in a direction.
func (p *parser) restart(d l7.Dir) {
	p.read[d].began = false
	if d == l7.ToClient {
		p.answering = false
		return
	}
	p.request = open.Request{}
	p.mode, p.monitoring = on, false
	p.forget()
}

// forget tells what is open as lost.
func (p *parser) forget() {
	p.tell.TellAll(&p.open, l7.Lost)
	p.open.Forget()
}

// lose gives up the place in a direction. What was begun there is the last that is
// known: a request of which the command has been seen is still the next to be
// answered, only when it ended is not known; an answer of which the type has been
// seen has its status.
func (p *parser) lose(d l7.Dir, t int64) {
	r := &p.read[d]
	p.place.Lose(d)
	if d == l7.ToServer {
		if r.began {
			p.name()
			p.cut()
			p.request.Last = 0
			p.push()
		}
		p.request, r.began = open.Request{}, false
		return
	}
	if p.answering && r.level > 0 && (r.top == '*' || r.top == '%' || r.top == '~') && !p.subscribed {
		if q := p.open.Front(); q != nil && kind(q.Kind) != exec && kind(q.Kind) != subscribe {
			p.answer.Last, p.answer.Status = t, "OK"
			p.answered()
		}
	}
	p.answering, r.began = false, false
}

// fromClient takes what reading a request has come to.
func (p *parser) fromClient(r *reader, ev event, n int, t int64) {
	q := &p.request
	if q.First == 0 {
		*q = open.Request{First: t}
		p.named, p.words, p.setMode = false, 0, on
		p.command = command{name: open.Other}
	}
	q.Octets += uint64(n)
	q.Last = t
	switch ev {
	case more:
		if !r.began {
			*q = open.Request{} // an empty line
		}
		return
	case broken:
		p.lose(l7.ToServer, t)
		return
	}
	switch {
	case r.typ == 0:
		p.inline(r.text)
	case r.depth == 1:
		p.argument(r)
	}
	if ev != whole {
		return
	}
	if r.typ == 0 || r.count > 0 {
		p.name()
		p.push()
	}
	*q = open.Request{}
}

// inline takes a command that is a line of words.
func (p *parser) inline(line []byte) {
	for i := int64(0); i < 4; i++ {
		line = bytes.TrimLeft(line, " \t")
		n := bytes.IndexAny(line, " \t")
		if n < 0 {
			n = len(line)
		}
		if n == 0 {
			return
		}
		p.wordAt(i, line[:n])
		line = line[n:]
	}
}

func (p *parser) argument(r *reader) {
	if r.short {
		if r.index == 0 || r.index == 1 {
			p.cut()
		}
		return
	}
	if r.size <= maxText {
		p.wordAt(r.index, r.text)
	}
}

// wordAt takes the i-th word of a request. Of all but the first few it is only
// looked at whether it is BLOCK.
func (p *parser) wordAt(i int64, text []byte) {
	switch {
	case i == 0:
		p.words = upper(&p.word[0], text)
		c, ok := commands[string(p.word[0][:p.words])]
		if !ok {
			p.named = true
			return
		}
		p.command, p.named = c, !c.container
	case i == 1 && p.command.container && !p.named:
		full := append(p.word[0][:p.words], ' ')
		n := upper(&p.word[1], text)
		if len(full)+n <= maxText {
			full = append(full, p.word[1][:n]...)
		}
		if c, ok := commands[string(full)]; ok {
			p.command = c
		}
		p.named = true
	case i == 2 && p.command.kind == reply:
		switch n := upper(&p.word[1], text); string(p.word[1][:n]) {
		case "OFF":
			p.setMode = off
		case "SKIP":
			p.setMode = skipNext
		}
	case p.command.kind == blockable && len(text) == 5:
		if n := upper(&p.word[1], text); string(p.word[1][:n]) == "BLOCK" {
			p.request.Streaming = true
		}
	}
}

// upper writes text in upper case and returns its length.
func upper(to *[maxText]byte, text []byte) int {
	n := copy(to[:], text)
	for i, c := range to[:n] {
		if 'a' <= c && c <= 'z' {
			to[i] = c - 0x20
		}
	}
	return n
}

// name gives the request what is known of its command.
func (p *parser) name() {
	q := &p.request
	q.Operation, q.Kind = p.command.name, uint8(p.command.kind)
	q.Unknown = q.Unknown || p.words == 0
	switch p.command.kind {
	case blocking, subscribe, monitor, replicate:
		q.Streaming = true
	}
}

// cut says that what comes next of the request is missing: without the second word
// of its name a command has none.
func (p *parser) cut() {
	q := &p.request
	q.Unknown = q.Unknown || p.words == 0 || p.command.container && !p.named
}

// push opens the request that has been read, unless nobody will answer it.
func (p *parser) push() {
	mode := p.mode
	if p.mode == skipNext {
		p.mode = on
	}
	switch p.command.kind {
	case reply:
		p.mode = p.setMode
		if p.setMode != on {
			mode = p.setMode
		} else if mode == off {
			mode = on
		}
	case reset:
		p.mode, mode = on, on
	}
	if mode != on {
		p.tell.Tell(&p.request, l7.OneWay, open.Answer{})
		return
	}
	if !p.open.PushInOrder(p.request) {
		p.tell.Tell(&p.request, l7.Lost, open.Answer{})
	}
}
