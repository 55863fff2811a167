package requests

import (
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/l7"
)

// What the times of a connection are told by. Turns, as long as its protocol is not
// known: whoever answers a turn is taken to have worked on it since it ended. That is
// wrong where a server speaks by itself (a subscription, a WebSocket) and not all there
// is where several requests are in one turn; so once a protocol is recognised, its
// messages tell, and turns never again: not while its parser has lost its place, nor
// after it had to end for others. TLS is no such protocol: what it carries is not known.

// choose looks which of the two tells of s from now on.
func (t *Tracker) choose(s *stream) {
	p := s.conv.Protocol()
	switch {
	case p == l7.Unknown || s.proto != flows.TCP:
	case p == l7.TLS:
		s.messages = false // if it went on in TLS; what its messages told stays
	case !s.messages:
		// What turns told in this interval its messages tell once more, and better; what
		// they told before is told (since).
		s.messages = true
		for i := range s.flips {
			s.flips[i].reset(t.pool)
		}
	}
}

// turn times the turn that t.seg ends and the answer that it begins, if it has payload.
func (t *Tracker) turn(s *stream, prevFirst int64) {
	g := &t.seg
	if g.PrevOctets == 0 || g.PrevLast == 0 {
		s.spoken = false // the first payload: it answers nothing
		return
	}
	took, waited := g.PrevLast-prevFirst, g.Time-g.PrevLast
	if prevFirst == 0 || took < 0 {
		took = 0
	}
	if g.Len > 0 && s.answers(g.Dir) && waited >= 0 && !s.handshake(g.Data) {
		f := &s.flips[g.Dir]
		t.answered(s, f, waited, 1)
		t.time(&f.request, took)
	}
	if d := g.Dir.Opposite(); s.spoken && s.answers(d) {
		t.time(&s.flips[d].sent, took)
	}
	s.spoken = true
}

// message times what a parser told; took is its response time, valid if timed.
func (t *Tracker) message(s *stream, m *l7.Message, took int64, timed bool) {
	if t.choose(s); !s.messages || m.ResponseFirst != 0 && m.ResponseFirst <= s.since {
		return
	}
	f := s.answer()
	if m.Streaming {
		f.streaming++
	}
	if !timed {
		return
	}
	t.answered(s, f, took, 1)
	if m.Overlapped {
		f.overlapped++
	}
	if m.RequestFirst != 0 {
		t.time(&f.request, m.RequestLast-m.RequestFirst)
	}
	if m.ResponseLast != 0 && !m.Streaming {
		t.time(&f.sent, m.ResponseLast-m.ResponseFirst)
	}
}

// answered counts n answers, each of which took that long, ns.
func (t *Tracker) answered(s *stream, f *flip, took int64, n uint32) {
	if s.proto == flows.TCP {
		t.stats.Responses += uint64(n)
	}
	f.responses += uint64(n)
	f.responseSum += uint64(n) * uint64(took)
	s.waited = took
	if !f.response.AddN(took, n, t.pool) {
		t.stats.Untimed += uint64(n)
	}
}

func (t *Tracker) time(to *dist.Small, ns int64) {
	if !to.Add(ns, t.pool) {
		t.stats.Untimed++
	}
}

// handshake says whether what is answered is TLS setting itself up (RFC 8446,
// section 5.1: change_cipher_spec, alert or handshake): no request of the
// application. Without copied payload it can't be told.
func (s *stream) handshake(data []byte) bool {
	return len(data) > 0 && data[0] >= 20 && data[0] <= 22 && s.known && s.conv.Protocol() == l7.TLS
}
