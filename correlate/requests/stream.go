package requests

import (
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/kprobes"
)

// The directions of a stream as its socket has them; of a flow in a file, as its
// canonical key has them.
const (
	Out = l7.ToServer // of a client's socket
	In  = l7.ToClient
)

// streamKey identifies a stream: a TCP socket by its cookie, once more for what its
// TLS library was given; of a datagram socket each peer; of a file each flow, without
// cookie.
type streamKey struct {
	cookie uint64
	plain  bool
	peer   flows.Key
}

// peerOf leaves out what does not tell peers of a socket apart.
func peerOf(k flows.Key) flows.Key {
	k.NetNS, k.Domain = 0, 0
	return k
}

// flip is what the turns of one direction that follow the other's told in this
// interval: the answers, if it is the server's. Where messages tell, theirs stand in
// that of the answers (see stream.answer).
type flip struct {
	response, request, sent dist.Small
	// responses are those timed, in response or not (Stats.Untimed), responseSum is
	// theirs in ns; of them estimated ones were only counted, and overlapped ones are of
	// requests that were not alone. streaming ones are not among them.
	responses, responseSum           uint64
	overlapped, streaming, estimated uint64
}

// reset empties it.
func (f *flip) reset(p *dist.Pool) {
	f.response.Reset(p)
	f.request.Reset(p)
	f.sent.Reset(p)
	*f = flip{}
}

// stream is one conversation and what it told in this interval.
type stream struct {
	id       streamKey
	links    [listKinds]links
	conv     l7.Conversation
	emit     func(*l7.Message)
	proto    flows.Proto
	role     kprobes.Role
	open     bool // conv has been opened
	idled    bool // conv was ended by silence
	known    bool // the protocol was recognised
	spoken   bool // the turn that goes on answers another one
	messages bool // tell the times: turns do no more, see times.go
	asked    Want
	steady   uint8  // messages in a row, each of which was alone and answered
	recent   recent // the last message
	waited   int64  // for the last answer, ns
	last     int64  // activity, unix ns
	since    int64  // what was answered until then has been told as turns, unix ns
	claimed  uint32 // the last tick before which a record asked for it
	flips    [2]flip
	tallies  []*correlate.Tally
	rest     correlate.Tally // what no Tally was left for
	errors   uint64
	life     correlate.RequestsLife
	packets  *packets  // of a flow in a file
	answered bool      // a datagram came back
	also     streamKey // the other name of its peer, see alias
}

func (s *stream) kind() l7.Kind {
	if s.proto == flows.TCP {
		return l7.Stream
	}
	return l7.Datagram
}

// learn takes the role of the socket once it is known.
func (s *stream) learn(r kprobes.Role) {
	if s.role != kprobes.RoleUnknown || r != kprobes.RoleClient && r != kprobes.RoleServer {
		return
	}
	s.role = r
	s.conv.Orient(s.orientation())
	if r == kprobes.RoleServer && s.messages && s.proto == flows.TCP { // they stood where a client's answers do
		s.flips[In], s.flips[Out] = s.flips[Out], s.flips[In]
	}
}

func (s *stream) orientation() l7.Orientation {
	switch s.role {
	case kprobes.RoleClient:
		return l7.Straight
	case kprobes.RoleServer:
		return l7.Reversed
	}
	return l7.Unoriented
}

// answers says whether the responses may be the payload of direction d.
func (s *stream) answers(d l7.Dir) bool {
	switch s.role {
	case kprobes.RoleClient:
		return d == In
	case kprobes.RoleServer:
		return d == Out
	}
	return true
}

// answer is the direction of the responses, of an unknown role as of a client's.
// What messages told stands there, too.
func (s *stream) answer() *flip {
	if s.role == kprobes.RoleServer && s.proto == flows.TCP {
		return &s.flips[Out]
	}
	return &s.flips[In]
}

// untold is how many requests and answers wait to be told.
func (s *stream) untold() uint64 {
	n := uint64(s.rest.Requests)
	for _, tl := range s.tallies {
		n += uint64(tl.Requests)
	}
	if !s.messages {
		n += s.answer().response.Count()
	}
	return n
}

// stream finds or makes a stream and makes it the newest.
func (t *Tracker) stream(id streamKey, proto flows.Proto, now int64) *stream {
	s := t.streams[id]
	if s == nil {
		if len(t.streams) >= t.cfg.MaxConversations {
			t.stats.Evicted++
			t.remove(t.all.oldest)
		}
		s = t.fresh()
		s.id, s.proto, s.claimed, s.messages = id, proto, t.ticks, proto != flows.TCP
		t.streams[id] = s
	}
	s.last = max(s.last, now)
	t.all.touch(s)
	if s.links[followed].in {
		t.followed.touch(s)
	}
	return s
}

func (t *Tracker) fresh() *stream {
	if n := len(t.spare); n > 0 {
		s := t.spare[n-1]
		t.spare = t.spare[:n-1]
		return s
	}
	s := new(stream)
	s.emit = func(m *l7.Message) { t.told(s, m) }
	return s
}

// maxSpare bounds what is kept for reuse: after a burst the memory goes back.
const maxSpare = 1 << 14

// remove forgets a stream; what it has not told yet is counted.
func (t *Tracker) remove(s *stream) {
	t.end(s, s.last)
	t.stats.Dropped += s.untold()
	t.clear(s)
	t.all.remove(s)
	delete(t.streams, s.id)
	if s.also != (streamKey{}) {
		delete(t.streams, s.also)
	}
	if w, ok := t.waiting[s.id.cookie]; ok && (w == s || w == nil) {
		delete(t.waiting, s.id.cookie)
	}
	*s = stream{emit: s.emit, tallies: s.tallies[:0]}
	if len(t.spare) < maxSpare {
		t.spare = append(t.spare, s)
	}
}

// clear empties the figures of the interval.
func (t *Tracker) clear(s *stream) {
	for i := range s.flips {
		s.flips[i].reset(t.pool)
	}
	if !s.messages {
		s.since = s.last
	}
	for i, tl := range s.tallies {
		tl.Response.Reset(t.pool)
		tl.Handshake.Reset(t.pool)
		*tl = correlate.Tally{}
		t.tallies = append(t.tallies, tl)
		s.tallies[i] = nil
	}
	s.tallies = s.tallies[:0]
	s.rest.Response.Reset(t.pool)
	s.rest.Handshake.Reset(t.pool)
	s.rest = correlate.Tally{}
	s.errors = 0
}
