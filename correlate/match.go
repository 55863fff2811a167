package correlate

import "github.com/weir-probe/weir/flows"

// clockSlack covers the distance between a packet's and a socket's timestamp
// of the same moment.
const clockSlack = 50 * 1e6

// indexKey is the form tuples are indexed in: canonical, and without namespace,
// because packets are seen at devices of another namespace than the socket's.
// Loopback addresses mean something else in each namespace, so there it stays.
func indexKey(k flows.Key) flows.Key {
	if !k.Src.IsLoopback() && !k.Dst.IsLoopback() {
		return bare(k)
	}
	k, _ = k.Canonical()
	k.Domain = 0
	return k
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

// matchFlow finds the connection a flow record belongs to: by cookie, else the
// one it belonged to before, else by tuple if that is unambiguous at the flow's
// time. lo says that it was seen on the loopback device of its namespace.
func (j *Joiner) matchFlow(rec *flows.Record, lo bool) *conn {
	k := indexKey(rec.Key)
	if c := j.matchCookie(rec, k); c != nil {
		j.matched(c, MethodCookie)
		return c
	}
	best, near, ties := (*conn)(nil), never, false
	for r := j.tuples[k]; r != nil; r = r.next {
		c := r.c
		if c.continues(rec) {
			j.matched(c, MethodTuple)
			return c
		}
		if c.strange(rec, lo) {
			continue
		}
		d := c.distance(rec.Start, rec.End)
		if d > 0 && d < never && !late(c, rec, d) {
			continue // begun after that connection was over
		}
		switch {
		case d < near:
			best, near, ties = c, d, false
		case d == near && d < never && best.follows(c):
			best = best.nearer(c, rec.Start)
		case d == near:
			ties = true
		}
	}
	switch {
	case best == nil:
		return j.haunt(rec)
	case ties:
		return j.ambiguous(rec)
	case !best.hasEnd() && best.done && !best.ghost:
		return nil // an older flow of packets only: a new instance
	}
	method := MethodTuple
	if len(best.nats) > 0 && indexKey(best.key) != k {
		method = MethodNAT
	}
	j.matched(best, method)
	return best
}

// matchCookie finds the connection of a socket whose cookie the packets carried.
func (j *Joiner) matchCookie(rec *flows.Record, k flows.Key) *conn {
	cookies := rec.Cookie
	if rec.Initiator == flows.InitiatorDst { // the client's says more: a server's datagram socket is in many flows
		cookies[0], cookies[1] = cookies[1], cookies[0]
	}
	for i, cookie := range cookies {
		if cookie == 0 || i == 1 && cookies[0] != 0 && rec.Key.Proto != flows.TCP {
			continue // of several clients' flows the server's socket has, not one
		}
		for r := j.tuples[k]; r != nil; r = r.next {
			c := r.c
			if !c.hasCookie(cookie) || c.clashes(rec) || c.distance(rec.Start, rec.End) == never {
				continue
			}
			if i == 0 && rec.Key.Proto != flows.TCP {
				j.turnCaller(c, cookie, rec)
				j.joinCookie(c, k, cookies[1])
			}
			return c
		}
		if r, ok := j.sockets[cookie]; ok && r.c.key.Proto == rec.Key.Proto {
			// The packet left this socket under a tuple it does not know.
			sent := rec.Key
			if (i == 0) == (rec.Initiator == flows.InitiatorDst) {
				sent = sent.Reverse()
			}
			j.seenAs(r.c, r.c.ends[r.s].key, sent)
			return r.c
		}
	}
	return nil
}

// continues says whether rec is of the instance that c was last given: then it
// stays there.
func (c *conn) continues(rec *flows.Record) bool {
	for i := range c.slots {
		s := &c.slots[i]
		if s.start == rec.Start && s.key.Domain == rec.Key.Domain && bare(s.key) == bare(rec.Key) {
			return true
		}
	}
	return false
}

// strange says whether something speaks against rec being c's, whose tuple it has:
// another socket sent its packets, it was on the loopback device of another
// namespace, or on another bridge than c's.
func (c *conn) strange(rec *flows.Record, lo bool) bool {
	k := bare(rec.Key)
	known := false
	for _, e := range c.ends {
		if e == nil {
			continue
		}
		if lo && e.key.NetNS != rec.Key.NetNS {
			return true
		}
		known = true
	}
	if c.foreign(rec.Key, rec.Cookie) || c.otherISN(rec) {
		return true
	}
	if e := c.ends[server]; e != nil && c.ends[client] == nil && k.Proto != flows.TCP {
		if d, ok := e.sends(server, c.key, c.nats, k); ok && rec.Cookie[d.Opposite()] != 0 {
			return true // a client's socket here, which will tell
		}
	}
	aftermath := k.Proto == flows.TCP && !begins(rec) && c.closed() // what the kernel's own socket sends
	if !aftermath && c.clashes(rec) {
		return true
	}
	for i := range c.slots {
		s := &c.slots[i]
		if bare(s.key) != k {
			continue
		}
		if s.key.Domain != rec.Key.Domain {
			return true
		}
		if known {
			continue
		}
		for d := range s.cookie {
			if s.cookie[d] != 0 && rec.Cookie[d] != 0 && s.cookie[d] != rec.Cookie[d] {
				return true
			}
		}
		if c.flowEnded && rec.Start > s.start && !c.ghost {
			return true // of packets only: the next instance is the next connection
		}
	}
	return false
}

// otherISN says whether the client's SYN in rec is not the one that c's sockets know
// of: where packets have no cookies, nothing else tells connections of one tuple apart
// that follow one another faster than a busy machine stamps their events.
func (c *conn) otherISN(rec *flows.Record) bool {
	if !rec.HasISN {
		return false
	}
	known := false
	for _, e := range c.ends {
		if e == nil || !e.hasBase {
			continue
		}
		// Whichever of the two sent the SYN, or sent it first (simultaneous open). 1 is
		// the SYN, which the base of a client of unknown role lacks.
		if e.snd-rec.ISN <= 1 || e.rcv-rec.ISN <= 1 {
			return false
		}
		known = true
	}
	return known
}

// clashes says whether another socket than an end of c sent that end's packets.
func (c *conn) clashes(rec *flows.Record) bool {
	k := bare(rec.Key)
	for s, e := range c.ends {
		if e == nil || c.toSelf() {
			continue
		}
		if d, ok := e.sends(side(s), c.key, c.nats, k); ok && rec.Cookie[d] != 0 && rec.Cookie[d] != e.cookie {
			return true
		}
	}
	return false
}

// sends returns the direction of a canonical tuple that e on side s sends in: its
// own tuple, or what translations make of key, whose Src is the client; false for
// any other.
func (e *end) sends(s side, key flows.Key, nats []*natEntry, k flows.Key) (flows.Direction, bool) {
	if bare(e.key) == k {
		_, d := e.key.Canonical()
		return d, true
	}
	return sendsAs(s, key, nats, k)
}

// follows says whether a and b are one after the other on the same port of one
// namespace, so that of two the nearer in time is the right one.
func (c *conn) follows(o *conn) bool {
	for s := range c.ends {
		if a, b := c.ends[s], o.ends[s]; a != nil && b != nil && a.key == b.key {
			return true
		}
	}
	return false
}

// nearer returns the one of two connections whose begin is nearer to a time.
func (c *conn) nearer(o *conn, at int64) *conn {
	if max(o.start-at, at-o.start) < max(c.start-at, at-c.start) {
		return o
	}
	return c
}

// late says whether a flow begun after the connection's end is its aftermath:
// FINs, resets and TIME_WAIT answers on the tuple of a socket that is gone (A2).
func late(c *conn, rec *flows.Record, after int64) bool {
	return rec.Key.Proto == flows.TCP && !begins(rec) && c.hasEnd() && after <= ghostLife
}

// ambiguous keeps a flow that several live sockets could own out of all of them:
// a missing owner is better than a wrong one. It is counted on a connection of
// its own.
func (j *Joiner) ambiguous(rec *flows.Record) *conn {
	k := indexKey(rec.Key)
	for r := j.tuples[k]; r != nil; r = r.next {
		if r.c.ambiguous && r.c.slots[0].key.Domain == rec.Key.Domain {
			return r.c
		}
	}
	j.stats.Ambiguous++
	c := j.newConn(rec.Start)
	c.key, c.initiator = orientFlow(rec)
	c.ambiguous = true
	s := rec.Key
	s.NetNS = 0
	c.slotFor(s)
	c.touch(rec.Start)
	c.touch(rec.End)
	j.addRef(c, k)
	j.rivals(c)
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
		j.rivals(c)
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
