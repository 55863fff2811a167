package http2

import (
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/route"
)

const unknown = "unknown"

// request takes a header block of the client.
func (p *parser) request(s *side, t int64) {
	h, id := &s.hpack, s.blockOf
	if r := p.streams.find(id); r != nil { // trailers
		r.passed(l7.ToServer, s.octets, t)
		if s.last {
			p.ended(l7.ToServer, r, t)
		}
		return
	}
	if id&1 == 0 || id <= p.maxID {
		return // told already
	}
	p.maxID = id
	if !h.fields[method].set && !h.fields[path].set && !h.unknown {
		return // trailers of a request that was not seen
	}
	p.settle()
	if !p.streams.free(&p.room) {
		p.abandon(p.streams.stale(), l7.Lost)
	}
	r := p.streams.add(id)
	r.first = s.first
	r.holed[l7.ToClient] = !p.sides[l7.ToClient].found && p.sides[l7.ToClient].frame != header{}
	p.names(r, h)
	r.passed(l7.ToServer, s.octets, t)
	if s.last {
		p.ended(l7.ToServer, r, t)
	}
}

// settle tells the only stream there is when the client goes on, and a hole has
// most likely swallowed the end of its answer.
func (p *parser) settle() {
	if p.streams.n != 1 {
		return
	}
	if r := p.streams.oldest(); r.holed[l7.ToClient] && !r.overlapped {
		if !r.grpc && r.code != 0 {
			r.rlast = p.last
			p.answer(r)
		} else {
			p.abandon(r, l7.Lost)
		}
	}
}

// names names the request by its fields.
func (p *parser) names(r *stream, h *decoder) {
	f := &h.fields
	r.grpc = isGRPC(&f[contentType])
	switch {
	case f[authority].set && !f[authority].more:
		r.host = p.room.keep(r.host, route.AppendHost(p.host[:0], f[authority].b), route.MaxHost)
	case f[host].set && !f[host].more:
		r.host = p.room.keep(r.host, route.AppendHost(p.host[:0], f[host].b), route.MaxHost)
	}
	r.tunnel = string(f[method].b) == "CONNECT" && f[method].set
	plain := f[method].set && (f[path].set || r.tunnel)
	switch {
	case r.grpc && f[path].set:
		r.operation = p.room.keep(r.operation, appendCall(p.name[:0], &f[path]), l7.MaxOperation)
	case r.grpc, !plain, h.unknown && !f[contentType].set && string(f[method].b) == "POST":
		r.operation = p.room.keep(r.operation, append(p.name[:0], unknown...), l7.MaxOperation)
	default:
		cut, target := route.Whole, f[path].b
		if f[path].more {
			cut = route.Shortened
		}
		if !f[path].set {
			target = nil
		}
		r.operation = p.room.keep(r.operation, route.Append(p.name[:0], f[method].b, target, cut), l7.MaxOperation)
	}
}

// response takes a header block of the server.
func (p *parser) response(s *side, t int64) {
	h, r := &s.hpack, p.streams.find(s.blockOf)
	code := parseCode(&h.fields[status])
	if r == nil {
		p.unasked(s, code)
		return
	}
	r.passed(l7.ToClient, s.octets, t)
	r.blind = r.blind || h.unknown
	switch {
	case code >= 200:
		r.rfirst, r.code = s.first, code
		copy(r.text[:], h.fields[status].b)
		if isGRPC(&h.fields[contentType]) && !r.grpc && string(r.operation) == unknown {
			r.grpc = true
		}
	case code >= 100:
		return
	case r.code == 0 && r.rfirst == 0 && h.unknown && !(s.last && r.holed[l7.ToClient]):
		r.rfirst = s.first // most likely: its status is not known
	}
	if v := &h.fields[grpcStatus]; v.set {
		r.grpcStatus = parseGRPC(v.b)
	}
	switch {
	case s.last:
		p.ended(l7.ToClient, r, t)
	case r.tunnel && r.code/100 == 2:
		p.answer(r)
	}
}

// unasked takes an answer to a request that was not seen.
func (p *parser) unasked(s *side, code int) {
	if code < 200 || s.blockOf&1 == 0 || s.blockOf <= p.maxID && !p.missed {
		return
	}
	if s.blockOf > p.maxID { // its header block was not seen
		p.maxID = s.blockOf
		p.sides[l7.ToServer].hpack.forget()
	}
	m := &p.msg
	*m = l7.Message{
		Protocol: l7.HTTP2, Outcome: l7.Lost, Operation: append(p.name[:0], unknown...),
		ResponseFirst: s.first,
	}
	switch h := &s.hpack; {
	case isGRPC(&h.fields[contentType]):
		m.Protocol = l7.GRPC
	case !h.unknown:
		m.Status = append(p.word[:0], h.fields[status].b...)
	}
	p.emit(m)
}

func parseCode(v *value) int {
	if !v.set || len(v.b) != 3 {
		return 0
	}
	n := 0
	for _, c := range v.b {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// ended is behind the last frame of a direction of a stream.
func (p *parser) ended(d l7.Dir, r *stream, t int64) {
	if d == l7.ToServer {
		r.done, r.last = true, t
		return
	}
	r.rlast = t
	p.answer(r)
}

// fill makes the message of a stream.
func (p *parser) fill(r *stream, o l7.Outcome) *l7.Message {
	m := &p.msg
	*m = l7.Message{
		Protocol: l7.HTTP2, Outcome: o, Operation: r.operation, Host: r.host,
		RequestFirst: r.first, RequestLast: r.last, ResponseFirst: r.rfirst, ResponseLast: r.rlast,
		RequestOctets: r.octets[l7.ToServer], ResponseOctets: r.octets[l7.ToClient],
		Overlapped: r.overlapped,
	}
	if r.grpc {
		m.Protocol = l7.GRPC
	}
	if len(m.Operation) == 0 { // there was no room for it
		m.Operation = append(p.name[:0], unknown...)
	}
	if !r.done && r.holed[l7.ToServer] {
		m.RequestLast = 0
	}
	after := r.rfirst != 0 && r.last > r.rfirst
	unended := !r.done && !r.holed[l7.ToServer]
	m.Streaming = r.tunnel || r.messages[0].n > 1 || r.messages[1].n > 1 || o == l7.Answered && (after || unended)
	return m
}

// tell tells a stream and forgets it.
func (p *parser) tell(r *stream, m *l7.Message) {
	p.emit(m)
	p.streams.remove(r)
}

// answer tells a stream that the server has ended.
func (p *parser) answer(r *stream) {
	m := p.fill(r, l7.Answered)
	switch {
	case r.grpc:
		p.grpcStatus(r, m)
	case r.code == 0:
		m.Outcome = l7.Lost
	default:
		m.Status, m.Failed = append(p.word[:0], r.text[:]...), r.code >= 500
	}
	p.tell(r, m)
}

// abandon tells a stream of which no more will be seen.
func (p *parser) abandon(r *stream, o l7.Outcome) {
	if r.holed[l7.ToClient] {
		o = l7.Lost
	}
	if !r.grpc && r.code != 0 { // answered, but not to the end
		o = l7.Answered
	}
	m := p.fill(r, o)
	if o == l7.Answered {
		m.Status, m.Failed = append(p.word[:0], r.text[:]...), r.code >= 500
	}
	m.ResponseLast = 0
	p.tell(r, m)
}

// goAway: the server says that it has not looked at streams above last.
func (p *parser) goAway(last uint32) {
	for i := range p.streams.all {
		if r := &p.streams.all[i]; r.id > last && r.code == 0 {
			p.abandon(r, l7.Unanswered)
		}
	}
}

// reset tells a stream that one side has broken off.
func (p *parser) reset(d l7.Dir, r *stream, code uint32, t int64) {
	switch {
	case code == missingWord:
		p.abandon(r, l7.Lost)
		return
	case d == l7.ToServer && !r.grpc && r.code != 0:
		p.abandon(r, l7.Answered)
		return
	}
	o := l7.Answered
	if d == l7.ToServer {
		o = l7.Unanswered
	} else if r.rfirst == 0 {
		r.rfirst = t
	}
	m := p.fill(r, o)
	name, failed := errorName(code), code != errNone && code != errCancel
	if r.grpc {
		n := grpcOfError(code)
		name, failed = grpcNames[n], isServerError(n)
	}
	m.Status, m.Failed = append(p.word[:0], name...), failed && d == l7.ToClient
	p.tell(r, m)
}
