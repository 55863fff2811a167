package l7

import (
	"bytes"
	"strconv"
)

// The toy protocol: "?name:octets\n" and a body, answered by "!name:octets\n" and
// a body, in order.

const toyProtocol = NATS // any but TLS and HTTP2

func toyMatch(d Dir, b []byte) Verdict {
	want := byte('?')
	if d == ToClient {
		want = '!'
	}
	switch {
	case b[0] != want:
		return No
	case bytes.IndexByte(b, '\n') < 0:
		return Maybe
	}
	return Yes
}

func toySpec() Spec {
	return Spec{Protocol: toyProtocol, Match: toyMatch, New: func(emit func(*Message)) Parser { return &toyParser{emit: emit} }}
}

type toySide struct {
	line [64]byte
	n    int
	body int64
	lost bool
}

type toyRequest struct {
	name                    [16]byte
	n                       int
	first, last             int64
	octets                  uint64
	headSeen                bool
	answerFirst, answerLast int64
	answerOctets            uint64
}

type toyParser struct {
	emit func(*Message)
	side [2]toySide
	open [64]toyRequest
	head int // first open
	n    int
	msg  Message
}

func (p *toyParser) Data(c *Chunk) {
	s := &p.side[c.Dir]
	if s.lost {
		if !c.Turn {
			return
		}
		s.lost, s.n, s.body = false, 0, 0
	}
	for b := c.Data; len(b) > 0 && !s.lost; {
		if s.body > 0 {
			k := min(int64(len(b)), s.body)
			p.octets(c.Dir, uint64(k), c.Time)
			s.body -= k
			b = b[k:]
		} else {
			s.line[s.n] = b[0]
			s.n++
			b = b[1:]
			if s.line[s.n-1] == '\n' {
				p.header(c.Dir, c.Time)
			} else if s.n == len(s.line) {
				p.lose(c.Dir)
			} else {
				continue
			}
		}
		if s.body == 0 && c.Dir == ToClient && !s.lost && s.n == 0 {
			p.answered()
		}
	}
}

func (p *toyParser) header(d Dir, t int64) {
	s := &p.side[d]
	name, size, ok := bytes.Cut(s.line[1:max(s.n-1, 1)], []byte(":"))
	n, err := strconv.Atoi(string(size))
	if want := [2]byte{'?', '!'}[d]; !ok || err != nil || n < 0 || s.line[0] != want {
		p.lose(d)
		return
	}
	if d == ToServer {
		if p.n == len(p.open) {
			p.lose(d)
			return
		}
		r := &p.open[(p.head+p.n)%len(p.open)]
		*r = toyRequest{n: copy(r.name[:], name), first: t, last: t, octets: uint64(s.n)}
		copy(r.name[:], name)
		p.n++
	} else {
		if p.n == 0 || string(p.open[p.head].name[:p.open[p.head].n]) != string(name) {
			p.lose(d)
			return
		}
		r := &p.open[p.head]
		r.headSeen, r.answerFirst, r.answerLast, r.answerOctets = true, t, t, uint64(s.n)
	}
	s.body, s.n = int64(n), 0
}

func (p *toyParser) octets(d Dir, n uint64, t int64) {
	if d == ToServer {
		r := &p.open[(p.head+p.n-1)%len(p.open)]
		r.octets += n
		r.last = t
	} else if p.n > 0 {
		r := &p.open[p.head]
		r.answerOctets += n
		r.answerLast = t
	}
}

func (p *toyParser) answered() {
	if p.n == 1 && p.side[ToServer].body > 0 {
		p.lose(ToServer) // the end of the request was not seen
		return
	}
	r := &p.open[p.head]
	p.msg = Message{
		Protocol: toyProtocol, Operation: r.name[:r.n], Status: okStatus, RequestFirst: r.first, RequestLast: r.last,
		ResponseFirst: r.answerFirst, ResponseLast: r.answerLast, RequestOctets: r.octets, ResponseOctets: r.answerOctets,
	}
	p.head, p.n = (p.head+1)%len(p.open), p.n-1
	p.emit(&p.msg)
}

var okStatus = []byte("ok")

// lose forgets the place of both directions: what is open is lost.
func (p *toyParser) lose(d Dir) {
	for ; p.n > 0; p.n-- {
		r := &p.open[p.head]
		p.msg = Message{Protocol: toyProtocol, Outcome: Lost, Operation: r.name[:r.n]}
		p.head = (p.head + 1) % len(p.open)
		p.emit(&p.msg)
	}
	p.side[d].lost, p.side[d.Opposite()].lost = true, true
}

func (p *toyParser) Gap(d Dir, n int64, t int64) {
	s := &p.side[d]
	if s.lost {
		return
	}
	if n < 0 || n > s.body {
		p.lose(d)
		return
	}
	p.octets(d, uint64(n), t)
	if s.body -= n; s.body == 0 && d == ToClient {
		p.answered()
	}
}

func (p *toyParser) End(int64) {
	if p.n > 0 {
		p.lose(ToServer)
	}
}
