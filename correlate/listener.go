package correlate

import (
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// maxListeners bounds the listeners whose drops are remembered.
const maxListeners = 16384

// listening is a listening TCP socket, the connections it had no room for and those
// that wait for room in the process.
type listening struct {
	c           conn // of which it is the server
	end         end
	drops, told uint32
	queue       Queue
	closed      bool
	incomplete  uint32 // handshakes, to be told
	known       bool   // its socket has told of itself
}

// listensTo takes the state of a listener. What it had dropped before it was known is
// nobody's.
func (j *Joiner) listensTo(ev *kprobes.SocketEvent) {
	l := j.listener(ev.Cookie)
	if !l.known {
		l.known, l.drops, l.told = true, ev.Drops, ev.Drops
	}
	l.end = end{cookie: ev.Cookie, key: ev.Key, role: ev.Role, owner: j.hold(l.end.owner, &ev.Owner), opener: j.hold(l.end.opener, &ev.Opener), self: ev.Self}
	l.lost(ev.Drops)
	l.queue = Queue{Waiting: ev.Waiting, Backlog: ev.Backlog}
}

// lost takes the total of what a listener had no room for. Two counters of the kernel make
// it, read one after the other: it may seem to fall by one again.
func (l *listening) lost(total uint32) {
	if int32(total-l.drops) > 0 {
		l.drops = total
	}
}

// listenedTo takes the end of a listener: it is forgotten when its drops are told.
func (j *Joiner) listenedTo(ev *kprobes.SocketEvent) {
	if l := j.listeners[ev.Cookie]; l != nil {
		if l.known {
			l.lost(ev.Drops)
		}
		l.closed, l.queue = true, Queue{}
	}
}

// listener finds or makes the listener of a cookie.
func (j *Joiner) listener(cookie uint64) *listening {
	l := j.listeners[cookie]
	if l == nil {
		if len(j.listeners) >= maxListeners {
			clear(j.listeners) // the ends of some were lost; the others are told again when they change
		}
		l = &listening{}
		if j.listeners == nil {
			j.listeners = map[uint64]*listening{}
		}
		j.listeners[cookie] = l
	}
	return l
}

// HalfOpen takes a handshake that a listener's kernel gave up. The listener tells it,
// whose owner is known, unless the packets of it were told already.
func (j *Joiner) HalfOpen(ev *kprobes.HalfOpenEvent) {
	for r := j.tuples[indexKey(ev.Key)]; r != nil; r = r.next {
		c := r.c
		if c.hasEnd() || !c.unanswered() || c.start > ev.Time {
			continue
		}
		if c.reported.HandshakesIncomplete > 0 {
			return
		}
		c.halfOpen = true
	}
	l := j.listener(ev.Listener)
	if !l.known { // older than the probe, and nobody was found who has it
		own := ev.Key
		own.Dst, own.DstPort = flows.Addr{}, 0
		l.end = end{cookie: ev.Listener, key: own, role: kprobes.RoleListener, owner: j.hold(nil, &kprobes.Owner{}), opener: j.hold(nil, &kprobes.Owner{})}
	}
	l.incomplete++
}

// tellListeners emits a Record for each listener that lost connections: of a
// client that nobody knows, with nothing in it but that.
func (j *Joiner) tellListeners(now time.Time, emit func(*Record)) {
	t := now.UnixNano()
	for cookie, l := range j.listeners {
		if l.closed || !l.known {
			delete(j.listeners, cookie)
		}
		n, half := l.drops-l.told, l.incomplete
		if n+half == 0 {
			continue
		}
		l.told, l.incomplete = l.drops, 0
		l.c = conn{key: l.end.key.Reverse(), start: t, last: t}
		l.c.ends[server] = &l.end
		r := &j.record
		*r = Record{Proto: l.c.key.Proto, Start: t, End: t}
		r.Delta.AcceptQueueDrops, r.Delta.HandshakesIncomplete = n, half
		r.Total = r.Delta
		j.fillEnds(&l.c, r, t)
		r.Client = Endpoint{Kind: KindUnknown}
		r.Server.Listened, r.Reporter, r.Attribution = true, ReporterServer, r.Server.Match.Confidence
		j.stats.Records++
		emit(r)
	}
}

// attempt takes a connect() that failed before there was a SYN: a connection of its
// own, which nothing else can belong to. The socket may be connected again.
func (j *Joiner) attempt(ev *kprobes.SocketEvent) {
	if len(j.conns) >= j.cfg.MaxConnections {
		j.spillSocket(ev)
		return
	}
	c, e := j.newConn(ev.Time), j.newEnd()
	e.cookie, e.key, e.role = ev.Cookie, ev.Key, ev.Role
	c.ends[client] = e
	c.setKey(client, ev.Key, InitiatorSYN)
	e.update(ev)
	e.noSYN, e.toldAt = true, ev.Time
	e.owner, e.opener = j.hold(nil, &ev.Owner), j.hold(nil, &ev.Opener)
	e.syn, e.census = 0, j.census
	c.touch(ev.Time)
	c.touch(ev.SYN)
}
