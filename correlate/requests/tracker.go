package requests

import (
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/kprobes"
)

// Want is what the kernel is to tell of a TCP socket's payload.
type Want uint8

const (
	WantAll   Want = iota // turns, and the first octets of each
	WantTurns             // when turns begin and end
	WantNothing
	// WantSome is WantAll of whole exchanges as many as there is time for, the requests of
	// which the socket receives; WantSomeSent of one that sends them.
	WantSome
	WantSomeSent
)

// Selector tells the kernel what is wanted of a socket. It is called from within
// the Tracker's methods and must not wait.
type Selector interface {
	SetPayload(cookie uint64, w Want)
}

// Tracker follows conversations. It is owned by one goroutine and does no I/O but
// what its Selector does.
type Tracker struct {
	cfg           Config
	selector      Selector
	observer      *l7.Observer
	parses        bool // there are protocols
	streams       map[streamKey]*stream
	all, followed list
	spare         []*stream
	pool          *dist.Pool
	tallies       []*correlate.Tally // not in use
	made          int                // tallies
	names         map[string]string
	waiting       map[uint64]*stream // see alias; nil: several
	closed        []uint64           // sockets, of which settled before the last Settle
	settled       int
	seg           l7.Segment
	like          l7.Message // scratch of skipped
	out           correlate.Requests
	taken         []*stream // whose figures the last Take told
	over          bool      // and forget them
	ticks         uint32
	stats         Stats
}

// maxNames bounds the remembered names of operations, statuses and servers.
const maxNames = 1 << 14

// New returns an empty Tracker for these protocols; without any it tells turns
// only. selector may be nil: there is nobody to ask.
func New(cfg Config, specs []l7.Spec, selector Selector) *Tracker {
	cfg = cfg.withDefaults()
	return &Tracker{
		cfg: cfg, selector: selector, observer: l7.NewObserver(specs, cfg.MaxWaiting), parses: len(specs) > 0,
		streams: map[streamKey]*stream{}, followed: list{kind: followed}, pool: dist.NewPool(cfg.MaxHistograms),
		names: map[string]string{}, waiting: map[uint64]*stream{},
	}
}

// Stats returns the counts.
func (t *Tracker) Stats() Stats {
	s := t.stats
	s.Stats = t.observer.Stats()
	s.Open = t.all.n
	return s
}

// Payload takes what a socket sent or received.
func (t *Tracker) Payload(ev *kprobes.PayloadEvent) {
	t.release()
	t.stats.Events++
	if ev.Self {
		t.stats.Own++
		t.ask(ev.Cookie, WantNothing)
		return
	}
	id := streamKey{cookie: ev.Cookie, plain: ev.Plain}
	if ev.Key.Proto != flows.TCP {
		id.peer = remoteOf(ev.Key)
		t.alias(id, ev.Out)
	}
	s := t.stream(id, ev.Key.Proto, ev.Time)
	s.learn(ev.Role)
	t.seg = l7.Segment{
		Dir: In, Time: ev.Time, Turn: ev.Turn, Seq: ev.Seq, Len: ev.Len, Data: ev.Data, InOrder: ev.Plain,
		PrevLast: ev.PrevLast, PrevOctets: ev.PrevOctets, PrevNextSeq: ev.PrevNextSeq,
	}
	if ev.Out {
		t.seg.Dir = Out
	}
	if id.peer.Proto != 0 {
		t.meet(s, ev.Out)
	}
	if ev.Skipped > 0 || ev.Resumes {
		t.skipped(s, ev)
	}
	if ev.Len > 0 || ev.Pauses || ev.Ends {
		t.hear(s, ev.PrevFirst)
	}
}

// hear passes t.seg on to a stream; prevFirst is when the turn began that it ends.
func (t *Tracker) hear(s *stream, prevFirst int64) {
	if t.seg.Turn && !s.messages && !s.id.plain {
		t.turn(s, prevFirst)
	}
	if len(t.seg.Data) == 0 && (s.asked == WantTurns || s.asked == WantNothing || !s.open) {
		return // turns are all that was wanted
	}
	if s.idled {
		s.open = false
	}
	if !s.open && !t.begin(s) {
		return
	}
	wanted := s.conv.Wants()
	s.conv.Segment(&t.seg)
	t.seg.Data = nil
	t.outgrow(s)
	if s.conv.Protocol() != l7.Unknown && !s.known {
		s.known, s.life.Protocol = true, s.conv.Protocol()
	}
	t.choose(s)
	if wanted && !s.conv.Wants() {
		t.followed.remove(s)
	}
	if !s.conv.Wants() {
		t.narrow(s)
	}
}

// begin opens the conversation of a stream, if there is room for one more.
func (t *Tracker) begin(s *stream) bool {
	if (t.followed.n >= t.cfg.MaxFollowed || t.observer.Held() >= t.cfg.MaxHeld) && !t.giveWay(s.last) {
		t.stats.Refused++
		return false
	}
	s.open, s.idled, s.asked = true, false, WantAll
	s.conv.Open(t.observer, s.kind(), s.orientation(), s.emit)
	if s.conv.Wants() {
		t.followed.touch(s)
	}
	return true
}

// end ends the conversation of a stream, if it goes on.
func (t *Tracker) end(s *stream, at int64) {
	if s.open && s.conv.Wants() {
		s.conv.End(at)
		t.followed.remove(s)
	}
}

// outgrow makes room when the parsers hold too much: the silent ones give way, else
// the one that has just grown.
func (t *Tracker) outgrow(s *stream) {
	for t.observer.Held() > t.cfg.MaxHeld {
		if t.giveWay(s.last) {
			continue
		}
		if s.conv.Wants() {
			t.end(s, s.last)
			t.stats.Outgrown++
		}
		return
	}
}

// silent is how long a conversation must have been silent to give way, ns.
const silent = 1e9

// giveWay ends the conversation that was silent for longest, if that was long
// enough, and says so.
func (t *Tracker) giveWay(now int64) bool {
	s := t.followed.oldest
	if s == nil || now-s.last < silent {
		return false
	}
	t.end(s, now)
	s.idled = true
	t.stats.Idle++
	return true
}

// Closed says that a TCP socket is closed: what its rings still hold comes before
// the next but one call of Settle.
func (t *Tracker) Closed(cookie uint64) {
	t.closed = append(t.closed, cookie)
}

// Settle ends the conversations whose sockets were closed before its last call, and
// so gives back what their parsers hold; call it before the rings are drained. What
// they told waits for the record.
func (t *Tracker) Settle() {
	t.release()
	for _, cookie := range t.closed[:t.settled] {
		for _, plain := range [...]bool{false, true} {
			if s := t.streams[streamKey{cookie: cookie, plain: plain}]; s != nil {
				t.end(s, s.last)
			}
		}
	}
	n := copy(t.closed, t.closed[t.settled:])
	t.closed, t.settled = t.closed[:n], n
}

// narrow asks the kernel for less of a connection that will tell no more.
func (t *Tracker) narrow(s *stream) {
	if s.proto == flows.TCP && !s.id.plain && s.id.cookie != 0 && s.asked != WantTurns && s.asked != WantNothing {
		s.asked = WantTurns
		t.ask(s.id.cookie, WantTurns)
	}
}

func (t *Tracker) ask(cookie uint64, w Want) {
	if t.selector == nil {
		return
	}
	if w == WantTurns || w == WantNothing {
		t.stats.Narrowed++
	}
	t.selector.SetPayload(cookie, w)
}
