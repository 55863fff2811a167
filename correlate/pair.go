package correlate

import (
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// adopt finds a connection that so far only packets showed and that a new socket
// explains, or nil: of several the one that begins nearest to start. What a caller
// sends begins with it; a listener's child comes into being after the first
// packets, and a socket older than the probe at any time.
func (j *Joiner) adopt(e *end, s side, start int64, caller bool) *conn {
	var best *conn
	for r := j.tuples[indexKey(e.key)]; r != nil; r = r.next {
		c := r.c
		if c.hasEnd() || c.done || c.ambiguous || c.last < start-clockSlack || caller && c.start < start-clockSlack || c.sentByAnother(e, s, flows.Key{}, nil) {
			continue
		}
		if best == nil {
			best = c
		} else {
			best = best.nearer(c, start)
		}
	}
	if best != nil {
		j.stats.Adopted++
	}
	return best
}

// sentByAnother says whether what e would have sent of c's packets came from
// another socket.
func (c *conn) sentByAnother(e *end, as side, key flows.Key, nats []*natEntry) bool {
	for i := range c.slots {
		s := &c.slots[i]
		if d, ok := e.sends(as, key, nats, bare(s.key)); ok && s.cookie[d] != 0 && s.cookie[d] != e.cookie {
			return true
		}
	}
	return false
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
		if o == nil || o == c || c.ends[s.other()] != nil || !o.makeRoom(as) {
			continue
		}
		c.ends = [2]*end{}
		o.ends[as] = e
		j.sockets[e.cookie] = sockRef{o, as}
		if p := o.ends[as.other()]; p.key.Proto == flows.TCP {
			j.sockets[p.cookie] = sockRef{o, as.other()}
		}
		j.merge(o, c)
		o.joined = JoinSequence
		o.setKey(as, e.key, max(InitiatorSequence, e.told(), o.ends[as.other()].told()))
		j.index(o, e.key)
		j.clear(o, e.key)
		j.stats.Paired++
		return
	}
	if o := j.pairs[pairKey{client: e.rcv, server: e.snd}]; n == 1 && s == client && o != nil && o != c {
		j.pairCallers(o, c)
		return
	}
	for i := range n {
		if _, taken := j.pairs[keys[i]]; !taken {
			j.pairs[keys[i]] = c
		}
	}
}

// pairCallers joins two clients that called each other at the same time
// (simultaneous open): the one whose SYN was first is the client.
func (j *Joiner) pairCallers(a, b *conn) {
	ea, eb := a.ends[client], b.ends[client]
	if ea == nil || eb == nil || a.ends[server] != nil || b.ends[server] != nil {
		return
	}
	if eb.syn < ea.syn {
		a, b, eb = b, a, ea
	}
	b.ends[client], b.ends[server] = nil, eb
	j.merge(a, b)
	a.joined = JoinSequence
	j.index(a, eb.key)
	j.stats.Paired++
}

// makeRoom says whether side s of c is free for the other end of its only
// socket, moving that socket when its role was a guess.
func (c *conn) makeRoom(s side) bool {
	if c.ends[s] != nil && c.ends[s.other()] == nil && c.ends[s].role == kprobes.RoleUnknown {
		c.ends[s.other()], c.ends[s] = c.ends[s], nil
		c.setKey(s.other(), c.ends[s.other()].key, InitiatorSequence)
	}
	return c.ends[s] == nil && c.ends[s.other()] != nil
}

// mergeable says whether b can be the same connection as a: they do not both
// have a socket on the same side, and the packets of neither came from another
// socket than the other one's.
func (j *Joiner) mergeable(a, b *conn) bool {
	nats := a.nats
	if len(nats) == 0 {
		nats = b.nats
	}
	for s := range a.ends {
		ea, eb := a.ends[s], b.ends[s]
		other := b.ends[side(s).other()]
		switch {
		case ea != nil && eb != nil:
			return false
		case ea != nil && other != nil && ea.hasBase && other.hasBase:
			return false // their sequence numbers would have paired them
		case ea != nil && b.sentByAnother(ea, side(s), a.key, nats):
			return false
		case eb != nil && a.sentByAnother(eb, side(s), b.key, nats):
			return false
		}
	}
	return !a.ambiguous && !b.ambiguous && !b.done && a.distance(b.start, b.last) == 0
}

// merge moves all of b into a and forgets b.
func (j *Joiner) merge(a, b *conn) {
	for i := range b.slots {
		s := a.slotFor(b.slots[i].key)
		s.start = max(s.start, b.slots[i].start)
		for d := range s.total {
			s.total[d].Add(b.slots[i].total[d])
			if s.cookie[d] == 0 {
				s.cookie[d] = b.slots[i].cookie[d]
			}
		}
		if s.by == 0 {
			s.by = b.slots[i].by
		}
	}
	if b.ends[client] != nil {
		a.resolve, a.resolved = b.resolve, b.resolved
	}
	for s, e := range b.ends {
		if e == nil {
			continue
		}
		a.ends[s] = e
		if e.key.Proto == flows.TCP {
			j.sockets[e.cookie] = sockRef{a, side(s)}
		} else if p := j.peers[peerOf(e.cookie, e.key)]; p != nil && p.c == b {
			p.c = a
		}
		a.setKey(side(s), e.key, max(a.initiator, e.told()))
		j.movePairs(e, b, a)
		b.ends[s] = nil
	}
	for _, k := range b.refs {
		j.addRef(a, k)
	}
	a.touch(b.start)
	a.touch(b.last)
	a.flags |= b.flags
	a.signature = a.signature || b.signature
	a.method, a.joined = max(a.method, b.method), max(a.joined, b.joined)
	for i := range a.rivals {
		a.rivals[i] = max(a.rivals[i], b.rivals[i])
	}
	a.takeNATs(b)
	addMeasures(&a.reported, &b.reported)
	a.repeated += b.repeated
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
		p[0].ZeroWindows = max(p[0].ZeroWindows, p[1].ZeroWindows)
	}
	to, of := a.counts(), b.counts()
	for i := range to {
		*to[i] = max(*to[i], *of[i])
	}
	for i := range a.Failed {
		a.Failed[i] = max(a.Failed[i], b.Failed[i])
	}
}
