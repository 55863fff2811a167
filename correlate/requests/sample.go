package requests

import (
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/kprobes"
)

// Where requests come too fast for all of them to be told, the kernel skips whole
// exchanges and says how many. Each stands for one like the last that was told before:
// the number of requests stays exact, what they were is a sample.

// steadyFor is how many messages in a row must be alone and answered before exchanges
// may be skipped: with pipelining a turn has more than one.
const steadyFor = 64

// recent is the last message of a stream.
type recent struct {
	protocol          l7.Protocol
	operation, status string
	serverName        string
	failed            bool
	timed             bool
	took              int64 // ns
	request, response uint64
}

// steady notes a message and asks the kernel to skip exchanges, or not to.
func (t *Tracker) steady(s *stream, m *l7.Message) {
	if m.Overlapped || m.Streaming || m.Outcome != l7.Answered {
		s.steady = 0
		if s.asked == WantSome || s.asked == WantSomeSent {
			s.asked = WantAll
			t.ask(s.id.cookie, WantAll)
		}
		return
	}
	if s.steady < steadyFor {
		s.steady++
	}
	if s.steady < steadyFor || s.asked != WantAll || s.proto != flows.TCP || s.id.plain || s.id.cookie == 0 || !s.conv.Skippable() {
		return
	}
	switch s.role {
	case kprobes.RoleServer:
		s.asked = WantSome
	case kprobes.RoleClient:
		s.asked = WantSomeSent
	default:
		return
	}
	t.ask(s.id.cookie, s.asked)
}

// skipped takes exchanges that were only counted.
func (t *Tracker) skipped(s *stream, ev *kprobes.PayloadEvent) {
	n := uint64(ev.Skipped)
	if r := &s.recent; n > 0 && r.protocol != l7.Unknown {
		t.stats.Sampled += n
		t.like = l7.Message{
			Protocol: r.protocol, Operation: append(t.like.Operation[:0], r.operation...), Status: append(t.like.Status[:0], r.status...),
			Host: append(t.like.Host[:0], r.serverName...),
		}
		tl := t.tally(s, &t.like)
		t.count(s, tl, n, r.failed)
		tl.Estimated += ev.Skipped
		tl.RequestOctets += n * r.request
		tl.ResponseOctets += n * r.response
		if r.timed && !tl.Response.AddN(r.took, ev.Skipped, t.pool) {
			t.stats.Untimed += n
		}
	}
	if f := s.answer(); n > 0 {
		t.answered(s, f, s.waited, ev.Skipped)
		f.estimated += n
	}
	if ev.Resumes && ev.Len > 0 {
		if s.open {
			s.conv.Skip(t.seg.Dir, ev.Seq, ev.PrevNextSeq, ev.Time)
		}
		t.seg.PrevOctets = 0 // the turn that it ends was not told
	}
}

// count adds n requests to a tally and what else is counted of each.
func (t *Tracker) count(s *stream, tl *correlate.Tally, n uint64, failed bool) {
	t.stats.Requests += n
	s.life.Requests += n
	tl.Requests += uint32(n)
	if failed {
		t.stats.Errors += n
		s.errors += n
		s.life.Errors += n
		tl.Errors += uint32(n)
	}
}
