package correlate

import (
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

// Peer takes what a datagram socket exchanged with one peer.
func (j *Joiner) Peer(ev *kprobes.PeerEvent) {
	j.stats.Peers++
	id := peerKey{ev.Cookie, ev.Key}
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
	}
	p.sent, p.rcvd, p.last = ev.Sent, ev.Received, ev.Last
	e := p.c.ends[p.s]
	e.owner = j.hold(e.owner, &ev.Owner)
	e.opener, e.self, e.overflow = e.owner, ev.Self, ev.Overflow
	e.sent, e.rcvd = max(e.sent, ev.Sent-p.base[0]), max(e.rcvd, ev.Received-p.base[1])
	e.last = max(e.last, ev.Last)
	p.c.touch(ev.Last)
	if p.base == [2]uint64{} {
		p.c.touch(ev.First)
	}
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
	e.opener = e.owner
	p.s = client
	if ev.Role == kprobes.RoleServer {
		p.s = server
	}
	if ev.Overflow || ev.Key.Dst.IsMulticast() || ev.Key.Src.IsMulticast() {
		p.c = j.newConn(ev.First) // several receivers share the tuple: no partner
		p.c.ends[p.s] = e
		p.c.setKey(p.s, ev.Key, true)
		return
	}
	if p.s == server {
		p.c = j.serve(e)
	} else {
		p.c = j.call(e)
	}
	if p.c == nil {
		p.c = j.adopt(ev.Key, ev.First)
	}
	if p.c == nil {
		p.c = j.newConn(ev.First)
	}
	if p.c.ends[p.s] == nil {
		p.c.ends[p.s] = e
		p.c.setKey(p.s, ev.Key, true)
	}
	j.index(p.c, ev.Key)
}

// serve gives a server's socket to every flow of its peer that waits for one:
// one after the other they used the same port. It returns the newest, nil when
// there is none, or when clients of several namespaces claim the tuple.
func (j *Joiner) serve(e *end) *conn {
	var newest *conn
	for r := j.tuples[indexKey(e.key)]; r != nil; r = r.next {
		if c := r.c; waits(c, server, e) {
			if newest != nil && newest.ends[client].key != c.ends[client].key {
				return nil
			}
			if newest == nil || c.start > newest.start {
				newest = c
			}
		}
	}
	if newest == nil {
		return nil
	}
	for r := j.tuples[indexKey(e.key)]; r != nil; r = r.next {
		if c := r.c; waits(c, server, e) {
			own := e
			if c != newest {
				own = j.newEnd()
				*own = *e
			}
			c.ends[server] = own
			j.stats.Paired++
		}
	}
	return newest
}

// waits says whether c has its other socket and lacks the one on side s.
func waits(c *conn, s side, e *end) bool {
	o := c.ends[s.other()]
	return !c.done && !c.ambiguous && c.ends[s] == nil && o != nil && o.cookie != e.cookie
}

// call finds the flow that the server's socket already opened for a client's
// socket; when another client socket has it, the new one gets a flow of its own
// that shares the server.
func (j *Joiner) call(e *end) *conn {
	var free, taken *conn
	for r := j.tuples[indexKey(e.key)]; r != nil; r = r.next {
		c := r.c
		switch {
		case waits(c, client, e):
			if free != nil && free.ends[server].key != c.ends[server].key {
				return nil
			}
			free = c
		case c.ends[client] != nil && c.ends[client].key == e.key && c.ends[server] != nil:
			if taken == nil || c.start > taken.start {
				taken = c
			}
		}
	}
	if free != nil {
		j.stats.Paired++
		return free
	}
	if taken == nil {
		return nil
	}
	c := j.newConn(taken.last)
	srv := j.newEnd()
	*srv = *taken.ends[server]
	srv.closed = false
	c.ends[server] = srv
	// What the server's socket counts from now on is of the new flow.
	if p := j.peers[peerKey{srv.cookie, srv.key}]; p != nil {
		p.c, p.s = c, server
	}
	j.stats.Paired++
	return c
}
