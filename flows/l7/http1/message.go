package http1

import (
	"strconv"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/open"
)

// codes are the status codes as text.
var codes = func() (all [600]string) {
	for i := range all {
		all[i] = strconv.Itoa(i)
	}
	return all
}()

// messageEnded takes the end of a request or of an answer.
func (p *parser) messageEnded(d l7.Dir, s *stream, t int64) {
	if d == l7.ToServer {
		p.requestEnded(s, t)
	} else {
		p.answered(s, t)
	}
	s.reset()
}

// requestEnded notes when the newest request had passed, if it is open still.
func (p *parser) requestEnded(s *stream, t int64) {
	p.sent = false
	if i := p.open.Find(p.id); i >= 0 && !p.full {
		q := p.open.At(i)
		q.Last, q.Octets = t, s.octets
	}
}

// answered tells the oldest open request with the answer that has been read, whose
// last octet, as far as known, passed at time last.
func (p *parser) answered(s *stream, last int64) {
	a := open.Answer{Status: codes[p.status], Failed: p.status >= 500, First: s.first, Last: last, Octets: s.octets}
	q := p.open.Front()
	if q == nil {
		if !p.open.Passed() {
			p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true}, l7.Lost, a)
		}
		return
	}
	if p.sent && q.ID == p.id && !p.full { // answered before its body had ended
		q.Streaming = true
		q.Octets = p.stream[l7.ToServer].octets
	} else {
		a.Upgrade = q.Streaming
	}
	q.Unknown = q.Unknown || p.place.Doubt()
	p.tell.Tell(q, l7.Answered, a)
	p.open.Remove(0)
}

// Gap says that n octets of a direction were not copied.
func (p *parser) Gap(d l7.Dir, n int64, t int64) {
	s := &p.stream[d]
	if n == 0 || s.state == tunnel || p.place.Lost(d) {
		return
	}
	s.last = t
	switch {
	case n > 0 && s.state == untilClose:
		s.octets += uint64(n)
	case n > 0 && (s.state == body || s.state == chunk) && n <= s.left:
		s.octets += uint64(n)
		if s.left -= n; s.left == 0 {
			p.partEnded(d, s, t)
		}
	default:
		s.octets += uint64(max(n, 0))
		p.lose(d, t)
	}
}

// lose gives up the place in a direction. A message whose start line was read is
// known but for its end: a hole ends with the turn, and so does what is in it.
func (p *parser) lose(d l7.Dir, t int64) {
	p.place.Lose(d)
	s := &p.stream[d]
	if s.state != startLine {
		if d == l7.ToServer {
			p.requestEnded(s, t)
		} else if p.status/100 != 1 {
			p.answered(s, t)
		}
	}
	s.reset()
}

// forget tells what is open as lost.
func (p *parser) forget() {
	p.tell.TellAll(&p.open, l7.Lost)
	p.open.Forget()
}

// End says that the connection is over. An answer without a length ends with it;
// any other that has begun and not ended is not known to have been one.
func (p *parser) End(int64) {
	s := &p.stream[l7.ToClient]
	if s.state == untilClose {
		p.answered(s, s.last)
	} else if s.state != startLine && s.state != tunnel || p.place.Lost(l7.ToClient) {
		p.forget()
	}
	p.tell.TellAll(&p.open, l7.Unanswered)
}
