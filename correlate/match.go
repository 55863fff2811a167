package correlate

import (
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// maxNAT bounds the translations remembered; natLife is how long one is kept
// after it was last told.
const (
	maxNAT  = 1 << 17
	natLife = 10 * 60 * 1e9
	// clockSlack covers the distance between a packet's and a socket's timestamp
	// of the same moment.
	clockSlack = 50 * 1e6
)

// indexKey is the form tuples are indexed in: canonical, and without namespace,
// because packets are seen at devices of another namespace than the socket's.
// Loopback addresses mean something else in each namespace, so there it stays.
func indexKey(k flows.Key) flows.Key {
	if !k.Src.IsLoopback() && !k.Dst.IsLoopback() {
		return bare(k)
	}
	k, _ = k.Canonical()
	return k
}

// index makes c findable under k, and under what k is translated to.
func (j *Joiner) index(c *conn, k flows.Key) {
	k = indexKey(k)
	j.addRef(c, k)
	n := j.nats[k]
	if n == nil {
		return
	}
	j.applyNAT(c, k, n)
}

// applyNAT makes c, known by k, findable by the other side of the translation,
// and takes over a connection of packets only that waits there.
func (j *Joiner) applyNAT(c *conn, k flows.Key, n *natEntry) {
	alias := indexKey(n.reply)
	if alias == k {
		alias = indexKey(n.orig)
	}
	c.nat = n
	for r := j.tuples[alias]; r != nil; r = r.next {
		if r.c != c && !r.c.done && j.mergeable(c, r.c) {
			j.merge(c, r.c)
			break
		}
	}
	j.addRef(c, alias)
}

func (j *Joiner) addRef(c *conn, k flows.Key) {
	for _, have := range c.refs {
		if have == k {
			return
		}
	}
	c.refs = append(c.refs, k)
	r := j.freeR
	if r == nil {
		r = &ref{}
	} else {
		j.freeR = r.next
	}
	r.c, r.next = c, j.tuples[k]
	j.tuples[k] = r
}

func (j *Joiner) dropRefs(c *conn) {
	for _, k := range c.refs {
		head := j.tuples[k]
		for p := &head; *p != nil; p = &(*p).next {
			if r := *p; r.c == c {
				*p = r.next
				r.c, r.next = nil, j.freeR
				j.freeR = r
				break
			}
		}
		if head == nil {
			delete(j.tuples, k)
		} else {
			j.tuples[k] = head
		}
	}
	c.refs = c.refs[:0]
}

// matchFlow finds the connection a flow record belongs to: by cookie, else by
// tuple if that is unambiguous at the flow's time. A flow whose cookie names a
// socket of another connection with the same tuple does not match by tuple.
func (j *Joiner) matchFlow(rec *flows.Record) *conn {
	k := indexKey(rec.Key)
	head := j.tuples[k]
	cookies := rec.Cookie
	if rec.Initiator == flows.InitiatorDst { // the client's says more: a server's datagram socket is in many flows
		cookies[0], cookies[1] = cookies[1], cookies[0]
	}
	for _, cookie := range cookies {
		if cookie == 0 {
			continue
		}
		for r := head; r != nil; r = r.next {
			if r.c.hasCookie(cookie) {
				j.matched(r.c, MethodCookie)
				return r.c
			}
		}
		if r, ok := j.sockets[cookie]; ok && r.c.key.Proto == rec.Key.Proto {
			// The packet left this socket under a tuple it does not know: translated
			// before the observation point.
			j.addRef(r.c, k)
			j.matched(r.c, MethodCookie)
			return r.c
		}
	}
	best, near, ties := (*conn)(nil), never, 0
	for r := head; r != nil; r = r.next {
		switch d := r.c.distance(rec.Start, rec.End); {
		case d < near:
			best, near, ties = r.c, d, 1
		case d == near:
			ties++
		}
	}
	switch {
	case best == nil:
		return nil
	case near > 0 && !j.late(best, rec, near):
		return nil // begun after that connection was over: a new one
	case ties > 1:
		return j.ambiguous(rec, head)
	case !best.hasEnd() && best.done:
		return nil // an older flow of packets only: a new instance
	}
	method := MethodTuple
	if best.nat != nil && indexKey(best.key) != k {
		method = MethodNAT
	}
	j.matched(best, method)
	return best
}

// late says whether a flow begun after the connection's end is its aftermath:
// FINs, resets and TIME_WAIT answers on the tuple of a socket that is gone (A2).
func (j *Joiner) late(c *conn, rec *flows.Record, after int64) bool {
	syn := (rec.Dir[flows.Forward].Flags | rec.Dir[flows.Reverse].Flags) & flows.SYNOnly
	return rec.Key.Proto == flows.TCP && syn == 0 && c.hasEnd() && after <= int64(j.cfg.Grace)
}

// ambiguous keeps a flow that several live sockets could own out of all of them:
// a missing owner is better than a wrong one. It is counted on a connection of
// its own.
func (j *Joiner) ambiguous(rec *flows.Record, head *ref) *conn {
	for r := head; r != nil; r = r.next {
		if r.c.ambiguous {
			return r.c
		}
	}
	j.stats.Ambiguous++
	c := j.newConn(rec.Start)
	c.key, c.ambiguous = orientFlow(rec, j), true
	j.addRef(c, indexKey(rec.Key))
	return c
}

func (j *Joiner) matched(c *conn, m Method) {
	if !c.hasEnd() {
		return
	}
	if c.method == MethodNone {
		switch m {
		case MethodCookie:
			j.stats.ByCookie++
		case MethodNAT:
			j.stats.ByNAT++
		default:
			j.stats.ByTuple++
		}
	}
	c.method = max(c.method, m)
}

func (c *conn) hasCookie(cookie uint64) bool {
	for _, e := range c.ends {
		if e != nil && e.cookie == cookie {
			return true
		}
	}
	return false
}

// never is the distance of what can't belong together.
const never = int64(1) << 62

// distance is how long after the connection's end a flow [start, end] began: 0
// when they overlap in time, never when the flow was over before it.
func (c *conn) distance(start, end int64) int64 {
	until := never
	if c.closed() {
		until = c.closedAt() + clockSlack
	} else if !c.hasEnd() && c.flowEnded {
		until = c.last + clockSlack
	}
	switch {
	case c.ambiguous, end < c.start-clockSlack:
		return never
	case start > until:
		return start - until
	}
	return 0
}

// adopt finds a connection that so far only packets showed and that a new socket
// explains, or nil.
func (j *Joiner) adopt(k flows.Key, start int64) *conn {
	for r := j.tuples[indexKey(k)]; r != nil; r = r.next {
		if c := r.c; !c.hasEnd() && !c.done && !c.ambiguous && c.last >= start-int64(j.cfg.Hold) {
			j.stats.Adopted++
			return c
		}
	}
	return nil
}

// pair joins the two ends of a TCP connection on this host by the initial
// sequence numbers both know. A socket of unknown role tries both readings,
// which also tells its role.
func (j *Joiner) pair(c *conn, s side, ev *kprobes.SocketEvent) {
	e := c.ends[s]
	e.hasBase, e.snd, e.rcv = true, ev.SndBase, ev.RcvBase
	keys, sides, n := e.pairKeys()
	for i := range n {
		o, as := j.pairs[keys[i]], sides[i]
		if o == nil || o == c || !o.makeRoom(as) {
			continue
		}
		c.ends = [2]*end{}
		o.ends[as] = e
		j.sockets[e.cookie] = sockRef{o, as}
		if p := o.ends[as.other()]; p.key.Proto == flows.TCP {
			j.sockets[p.cookie] = sockRef{o, as.other()}
		}
		j.merge(o, c)
		o.setKey(as, e.key, true)
		j.index(o, e.key)
		j.stats.Paired++
		return
	}
	for i := range n {
		if _, taken := j.pairs[keys[i]]; !taken {
			j.pairs[keys[i]] = c
		}
	}
}

// makeRoom says whether side s of c is free for the other end of its only
// socket, moving that socket when its role was a guess.
func (c *conn) makeRoom(s side) bool {
	if c.ends[s] != nil && c.ends[s.other()] == nil && c.ends[s].role == kprobes.RoleUnknown {
		c.ends[s.other()], c.ends[s] = c.ends[s], nil
		c.setKey(s.other(), c.ends[s.other()].key, true)
	}
	return c.ends[s] == nil && c.ends[s.other()] != nil
}

// mergeable says whether b can be the same connection as a: they do not both
// have a socket on the same side.
func (j *Joiner) mergeable(a, b *conn) bool {
	for s := range a.ends {
		if a.ends[s] != nil && b.ends[s] != nil {
			return false
		}
	}
	return !a.ambiguous && !b.ambiguous && !b.done && a.distance(b.start, b.last) == 0
}

// merge moves all of b into a and forgets b.
func (j *Joiner) merge(a, b *conn) {
	for i := range b.slots {
		s := a.slotFor(b.slots[i].key)
		for d := range s.total {
			s.total[d].Add(b.slots[i].total[d])
		}
	}
	for s, e := range b.ends {
		if e == nil {
			continue
		}
		a.ends[s] = e
		if e.key.Proto == flows.TCP {
			j.sockets[e.cookie] = sockRef{a, side(s)}
		} else if p := j.peers[peerKey{e.cookie, e.key}]; p != nil && p.c == b {
			p.c = a
		}
		a.setKey(side(s), e.key, true)
		j.movePairs(e, b, a)
		b.ends[s] = nil
	}
	for _, k := range b.refs {
		j.addRef(a, k)
	}
	a.touch(b.start)
	a.touch(b.last)
	a.flags |= b.flags
	a.method = max(a.method, b.method)
	if a.nat == nil {
		a.nat = b.nat
	}
	addMeasures(&a.reported, &b.reported)
	j.remove(b)
}

// movePairs makes e's pair keys that lead to from lead to to; nil forgets them.
func (j *Joiner) movePairs(e *end, from, to *conn) {
	if !e.hasBase {
		return
	}
	keys, _, n := e.pairKeys()
	for _, k := range keys[:n] {
		switch {
		case j.pairs[k] != from:
		case to == nil:
			delete(j.pairs, k)
		default:
			j.pairs[k] = to
		}
	}
}

// addMeasures adds what b had already reported, so that nothing is told twice.
func addMeasures(a, b *Measures) {
	for _, p := range [...][2]*Traffic{{&a.ToServer, &b.ToServer}, {&a.ToClient, &b.ToClient}} {
		p[0].Payload = max(p[0].Payload, p[1].Payload)
		p[0].WireOctets = max(p[0].WireOctets, p[1].WireOctets)
		p[0].WirePackets = max(p[0].WirePackets, p[1].WirePackets)
		p[0].Retransmits = max(p[0].Retransmits, p[1].Retransmits)
	}
	a.Opened = max(a.Opened, b.Opened)
	a.Closed = max(a.Closed, b.Closed)
	a.Aborted = max(a.Aborted, b.Aborted)
	for i := range a.Failed {
		a.Failed[i] = max(a.Failed[i], b.Failed[i])
	}
}

// NAT takes one address translation.
func (j *Joiner) NAT(n *flows.NAT) {
	j.stats.NATs++
	orig, reply := indexKey(n.Orig), indexKey(n.Reply)
	if orig == reply {
		return
	}
	if old := j.nats[orig]; old != nil && old.reply == n.Reply && old.orig == n.Orig {
		old.time = n.Time
		return
	}
	if len(j.nats) >= maxNAT {
		j.stats.NATOverflow++
		return
	}
	e := &natEntry{orig: n.Orig, reply: n.Reply, time: n.Time}
	j.nats[orig], j.nats[reply] = e, e
	for _, k := range [...]flows.Key{orig, reply} {
		for r := j.tuples[k]; r != nil; r = r.next {
			if c := r.c; !c.done && c.distance(n.Time, n.Time) == 0 {
				j.applyNAT(c, k, e)
				return
			}
		}
	}
}
