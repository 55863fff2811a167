package correlate

import (
	"cmp"
	"slices"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// peer is what one datagram socket exchanges with one peer. The kernel's entry
// outlives flows: a server's socket keeps counting while one client socket after
// the other uses the same port, so what was told already is remembered here.
type peer struct {
	c          *conn // the flow it belongs to now, nil when that is over
	s          side
	sent, rcvd uint64 // totals of the last event
	base       [2]uint64
	last       int64 // time of the last event's last datagram
}

// peerOf leaves the namespace out: a cookie is of one socket of the host, and the
// namespace is not known any more when a dying process's socket is released.
func peerOf(cookie uint64, k flows.Key) peerKey {
	k.NetNS = 0
	return peerKey{cookie, k}
}

// Peer takes what a datagram socket exchanged with one peer.
func (j *Joiner) Peer(ev *kprobes.PeerEvent) {
	j.stats.Peers++
	if ev.Overflow && j.stats.Flows > 0 {
		return // packets tell what each of these peers exchanged: a row more would count it twice
	}
	id := peerOf(ev.Cookie, ev.Key)
	p := j.peers[id]
	if p != nil && (ev.Sent < p.sent || ev.Received < p.rcvd) {
		*p = peer{c: p.c, s: p.s} // the kernel made the entry anew
	}
	over := ev.Released || ev.Idle
	if p == nil || p.c == nil || p.c.done {
		if p != nil && ev.Sent == p.sent && ev.Received == p.rcvd {
			if over {
				delete(j.peers, id)
			}
			return // nothing since its flow was over
		}
		if len(j.conns) >= j.cfg.MaxConnections {
			j.spillPeer(ev)
			return
		}
		if p == nil {
			p = &peer{}
			j.peers[id] = p
		}
		p.base = [2]uint64{p.sent, p.rcvd}
		j.placePeer(p, ev)
		if p.base == [2]uint64{} {
			p.c.touch(ev.First) // later the entry may be another flow's
		}
	}
	p.sent, p.rcvd, p.last = ev.Sent, ev.Received, ev.Last
	e := p.c.ends[p.s]
	e.owner = j.hold(e.owner, &ev.Owner)
	e.opener = j.hold(e.opener, &ev.Opener)
	e.self, e.overflow = ev.Self, ev.Overflow
	e.refused = e.refused || ev.Refused > 0
	e.learnt = learnt{owned: ev.OwnerAt, created: ev.OpenerAt, hook: ev.OwnerHook, switches: ev.Switches}
	e.sent, e.rcvd = max(e.sent, ev.Sent-p.base[0]), max(e.rcvd, ev.Received-p.base[1])
	e.last = max(e.last, ev.Last)
	p.c.touch(ev.Last)
	if over {
		e.closed, e.closedAt = true, ev.Last
		delete(j.peers, id)
	}
	if ev.Idle {
		p.c.reason = flows.EndIdle
	}
}

// placePeer finds or makes the flow of a socket's exchange with a peer.
func (j *Joiner) placePeer(p *peer, ev *kprobes.PeerEvent) {
	e := j.newEnd()
	e.cookie, e.key, e.role = ev.Cookie, ev.Key, ev.Role
	e.owner = j.hold(nil, &ev.Owner)
	e.opener = j.hold(nil, &ev.Opener)
	p.s = client
	if ev.Role == kprobes.RoleServer {
		p.s = server
	}
	if ev.Overflow || ev.Key.Dst.IsMulticast() || ev.Key.Src.IsMulticast() {
		p.c = j.newConn(ev.First) // several receivers share the tuple: no partner
		p.c.ends[p.s] = e
		p.c.setKey(p.s, ev.Key, e.told())
		return
	}
	if p.c = j.adopt(e, p.s, ev.First, p.s == client && p.base == [2]uint64{}); p.c == nil {
		p.c = j.already(p.s, ev)
	}
	if p.c == nil {
		p.c = j.newConn(ev.First)
	}
	p.c.ends[p.s] = e
	if len(p.c.slots) > 0 {
		j.matched(p.c, p.c.adoptedBy(e))
	}
	p.c.setKey(p.s, ev.Key, e.told())
	j.index(p.c, ev.Key)
	if !p.c.fresh {
		p.c.fresh = true
		j.fresh = append(j.fresh, p.c)
	}
}

// Pair looks for the other end of new datagram flows. Call it when all sockets
// have told what they exchanged, before packets are: a datagram has no sequence
// number that both ends know, so that only the tuple joins them, and a tuple that
// two namespaces use at once tells nothing. asOf is when their telling began, unix
// ns: what came after that one socket may have told and the other not.
func (j *Joiner) Pair(asOf int64) {
	j.asOf = asOf
	j.pairFresh()
}

// unpaired says whether a datagram flow that is over may still find its other end:
// it was after the other sockets had told last.
func (j *Joiner) unpaired(c *conn) bool {
	if c.key.Proto == flows.TCP || j.asOf == 0 || c.ends[client] != nil && c.ends[server] != nil {
		return false
	}
	for _, e := range c.ends {
		if e != nil && e.closed && e.last >= j.asOf {
			return true
		}
	}
	return false
}

func (j *Joiner) pairFresh() {
	slices.SortFunc(j.fresh, func(a, b *conn) int { return cmp.Compare(a.start, b.start) })
	for _, c := range j.fresh {
		if !c.fresh {
			continue // paired, or over, in the meantime
		}
		c.fresh = false
		switch {
		case c.done || c.ambiguous:
		case c.ends[client] == nil && c.ends[server] != nil:
			j.serve(c)
		case c.ends[client] != nil && c.ends[server] == nil:
			j.call(c)
		}
	}
	j.fresh = j.fresh[:0]
}

// contested says whether sockets of several namespaces claim the tuple of c on
// the same side while c lived. A server's socket does as long as it is open,
// whoever it served last.
func (j *Joiner) contested(c *conn, k flows.Key) bool {
	var claim [2]*end
	for r := j.tuples[indexKey(k)]; r != nil; r = r.next {
		o := r.c
		over := o != c && (o.done || o.distance(c.start, c.last) != 0)
		for s, e := range o.ends {
			switch {
			case e == nil, over && (side(s) == client || e.closed):
			case claim[s] == nil:
				claim[s] = e
			case claim[s].key != e.key:
				return true
			}
		}
	}
	return false
}

// already finds a flow whose end was told by its other socket while this one, of the
// same datagrams, was not: reading all peers may miss one that comes meanwhile.
func (j *Joiner) already(s side, ev *kprobes.PeerEvent) *conn {
	for r := j.tuples[indexKey(ev.Key)]; r != nil; r = r.next {
		c := r.c
		if o := c.ends[s.other()]; !c.done || c.ambiguous || c.ends[s] != nil || o == nil || o.cookie == ev.Cookie {
			continue
		}
		if ev.First >= c.start-clockSlack && ev.Last <= c.last+clockSlack {
			j.stats.Paired++
			return c
		}
	}
	return nil
}

// waits says whether c has its other socket and lacks the one on side s.
func waits(c *conn, s side, e *end) bool {
	o := c.ends[s.other()]
	return !c.done && !c.ambiguous && c.ends[s] == nil && o != nil && o.cookie != e.cookie && !c.sentByAnother(e, s, flows.Key{}, nil)
}

// serve gives the server's socket of c to every flow of its peer that waits for
// one: one after the other they used the same port. The newest gets c itself.
func (j *Joiner) serve(c *conn) {
	e := c.ends[server]
	if j.contested(c, e.key) {
		cookie, k := e.cookie, indexKey(e.key)
		for r := j.tuples[k]; r != nil; r = r.next {
			if o := r.c; waits(o, server, e) && o.answeredBy() == cookie {
				j.joinCookie(o, k, cookie)
			}
		}
		return
	}
	var newest *conn
	for r := j.tuples[indexKey(e.key)]; r != nil; r = r.next {
		o := r.c
		if waits(o, server, e) && j.mergeable(o, c) && (newest == nil || o.start > newest.start) {
			newest = o
		}
	}
	for r := j.tuples[indexKey(e.key)]; r != nil; r = r.next {
		if o := r.c; o != newest && waits(o, server, e) {
			j.share(o, e)
		}
	}
	if newest != nil {
		j.complete(newest, c)
	}
}

// call finds the flow that the server's socket already opened for the client's
// socket of c; when another client socket has it, c shares the server.
func (j *Joiner) call(c *conn) {
	e := c.ends[client]
	if j.contested(c, e.key) {
		j.joinCookie(c, indexKey(e.key), c.answeredBy())
		return
	}
	var free, taken *conn
	for r := j.tuples[indexKey(e.key)]; r != nil; r = r.next {
		o := r.c
		switch {
		case waits(o, client, e):
			free = o
		case o.ends[client] != nil && o.ends[client].key == e.key && o.ends[server] != nil:
			if taken == nil || o.start > taken.start {
				taken = o
			}
		}
	}
	switch {
	case free != nil:
		j.complete(c, free)
	case taken != nil:
		j.take(c, taken)
	}
}

// complete gives c, the client's flow, what is known of it at the server's socket.
func (j *Joiner) complete(c, srv *conn) {
	srv.start = c.start // the server's entry may have begun with an earlier flow
	j.stats.Paired++
	j.merge(c, srv)
	c.joined = JoinTuple
}

// share gives c a copy of the server's socket that serves others, too.
func (j *Joiner) share(c *conn, e *end) {
	srv := j.newEnd()
	*srv = *e
	srv.closed = false
	c.ends[server], c.joined = srv, JoinTuple
	c.setKey(client, c.ends[client].key, max(c.initiator, srv.told()))
	j.stats.Paired++
}

// take shares the server's socket of another flow with c, and what that socket
// counts from now on with the later of both.
func (j *Joiner) take(c, from *conn) {
	srv := from.ends[server]
	j.share(c, srv)
	if p := j.peers[peerOf(srv.cookie, srv.key)]; p != nil && p.c == from && c.start >= from.start {
		p.c, p.s = c, server
	}
}

// answeredBy is the cookie of the socket that packets to the client came from, 0
// when they carried none.
func (c *conn) answeredBy() uint64 {
	for i := range c.slots {
		s := &c.slots[i]
		if cookie := s.cookie[c.toServer(s).Opposite()]; cookie != 0 {
			return cookie
		}
	}
	return 0
}

// joinCookie completes c, a datagram flow that a packet named the client's socket
// of, with the server's socket that answered.
func (j *Joiner) joinCookie(c *conn, k flows.Key, cookie uint64) {
	if cookie == 0 || c.ends[client] == nil || c.ends[server] != nil {
		return
	}
	for r := j.tuples[k]; r != nil; r = r.next {
		o := r.c
		if o == c || o.ends[server] == nil || o.ends[server].cookie != cookie {
			continue
		}
		if o.ends[client] != nil {
			j.take(c, o)
			return
		}
		if j.mergeable(c, o) {
			j.complete(c, o)
			return
		}
	}
}

// turnCaller moves a datagram socket, whose packet began the flow, to the client's
// side of c. What IPVS redirects passes no hook of the socket that sends it, so
// that the kernel tells of the answer first, and of a socket that never sent.
func (j *Joiner) turnCaller(c *conn, cookie uint64, rec *flows.Record) {
	e := c.ends[server]
	if e == nil || c.ends[client] != nil || e.cookie != cookie || e.sent != 0 || rec.Guessed || rec.Initiator == flows.InitiatorUnknown {
		return
	}
	c.ends[server], c.ends[client] = nil, e
	e.role, e.unhooked = kprobes.RoleClient, true
	if p := j.peers[peerOf(cookie, e.key)]; p != nil && p.c == c {
		p.s = client
	}
	c.touch(rec.Start)
	c.setKey(client, e.key, InitiatorDatagram)
	c.nats = nil // the server behind them may be found now
	j.index(c, e.key)
}
