package postgres

import (
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/frames"
	"github.com/weir-probe/weir/flows/l7/open"
)

// fromServer takes a message of the server.
func (p *parser) fromServer(s *frames.Stream, t int64) {
	kind := s.Head[0]
	if kind == 'N' || kind == 'A' || kind == 'S' && p.open.Len() == 0 {
		return // notices come at any time
	}
	if p.answer == 0 {
		p.answer = s.First
	}
	p.answers += s.Octets
	switch kind {
	case 'E':
		p.error(s.Body(), t)
	case 'C', 'I', 's':
		p.rows = true
		if q := p.open.Front(); q != nil && q.Kind == execute {
			p.answered(t)
		}
	case 'T', 'D', 'G', 'H', 'W', 'd':
		p.rows = true
	case 'Z':
		p.readyForQuery(t)
	}
}

// error takes an ErrorResponse: fields of a letter and a text each.
func (p *parser) error(body []byte, t int64) {
	p.failed, p.status = true, ""
	for len(body) > 1 {
		field := body[0]
		value, rest, ok := cut(body[1:])
		if !ok {
			break
		}
		if field == 'C' && len(value) == 5 {
			p.status = p.intern(value)
			break
		}
		body = rest
	}
	q := p.open.Front()
	if q != nil && p.status == "" { // it is not there, or was not copied
		q.Unknown, p.status = true, "error"
	}
	if q != nil && q.Kind != simple {
		p.answered(t) // what comes before the next Sync is not executed
	}
}

// intern keeps one copy of a code; one that is not five letters or digits is none.
func (p *parser) intern(code []byte) string {
	for _, c := range code {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return "error"
		}
	}
	if s, ok := p.names.Intern(code, maxNames); ok {
		return s
	}
	return "error"
}

// readyForQuery ends a simple query, a start, or a pipeline.
func (p *parser) readyForQuery(t int64) {
	switch q := p.open.Front(); {
	case p.ready > 0:
		p.ready--
	case q == nil:
		p.open.Passed()
	case q.Kind != execute:
		p.answered(t)
	default:
		p.skip()
	}
	p.next()
}

// skip tells what was not executed after an error, up to the next Sync.
func (p *parser) skip() {
	for p.open.Len() > 0 && p.open.Front().Kind == execute {
		q := p.open.Front()
		syncs := q.ID
		p.tell.Tell(q, l7.Lost, open.Answer{})
		p.open.Remove(0)
		if syncs > 0 {
			p.ready += syncs - 1
			return
		}
	}
}

// answered tells the oldest open request.
func (p *parser) answered(t int64) {
	q := p.open.Front()
	a := open.Answer{Status: "OK", First: p.answer, Last: t, Octets: p.answers}
	if p.failed {
		a.Status, a.Failed = p.status, serverFault(p.status)
	}
	q.Unknown = q.Unknown || p.place.Doubt()
	p.tell.Tell(q, l7.Answered, a)
	if q.Kind == execute {
		p.ready += q.ID
	}
	p.open.Remove(0)
	p.next()
}

// next makes ready for the answer of the next request.
func (p *parser) next() {
	p.failed, p.rows, p.answer, p.answers = false, false, 0, 0
}

// serverFault says whether a SQLSTATE counts as a failure of the service: all but
// those of data that does not fit (class 22) or violates a constraint (23), which
// the application asked for and the client is told.
func serverFault(state string) bool {
	return len(state) != 5 || state[:2] != "22" && state[:2] != "23"
}

// Gap says that n octets of a direction were not copied.
func (p *parser) Gap(d l7.Dir, n int64, t int64) {
	if n == 0 || p.opaque || p.place.Lost(d) {
		return
	}
	s := &p.stream[d]
	if s.Skip(n) {
		if s.Whole() {
			p.message(d, s, t)
		}
		return
	}
	if n > 0 && d == l7.ToClient {
		p.answers += uint64(n)
	}
	p.lose(d, t)
}

// lose gives up the place in a direction. A result that had begun is one; a hole
// ends with the turn, and so does the request that is in it.
func (p *parser) lose(d l7.Dir, t int64) {
	p.place.Lose(d)
	s := &p.stream[d]
	if d == l7.ToClient {
		if q := p.open.Front(); q != nil && p.rows && (q.Kind == simple || q.Kind == execute) {
			p.answered(t)
		}
		p.next()
	} else if !p.fresh() && s.Sized() && s.Head[0] == 'Q' {
		s.Tear()
		p.asking += s.Octets
		p.began = s.First
		p.request(simple, p.operation(s.Body(), s.Torn), t)
	}
	p.asking = 0
	s.Reset()
}

// forget tells what is open as lost.
func (p *parser) forget() {
	p.tell.TellAll(&p.open, l7.Lost)
	p.open.Forget()
	p.next()
	p.asking, p.ready = 0, 0
}

// End says that the connection is over.
func (p *parser) End(int64) {
	if p.place.Lost(l7.ToClient) || p.answer != 0 {
		p.forget()
	}
	p.tell.TellAll(&p.open, l7.Unanswered)
}
