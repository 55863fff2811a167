package correlate

import (
	"slices"

	"github.com/weir-probe/weir/flows"
)

// maxNAT bounds the tuples of translations remembered, two each; natLife is how long one is kept
// after it was last told or used. maxHops bounds those of one connection: two
// are usual (in the container's namespace and in the host's).
const (
	maxNAT  = 1 << 17
	natLife = 10 * 60 * 1e9
	maxHops = 4
)

// natEntry is one translation: the two sides of it, each with its own source as
// Src, in the namespace that translates.
type natEntry struct {
	views [2]flows.Key // conntrack's original and its reply tuple
	told  int64        // last, unix ns
	used  int64        // by a connection that was told of
}

// natKey is the form in which translations are indexed: canonical, in the
// namespace that translates. 0 is the host's, whose devices are metered: what
// goes from one namespace to another passes there.
func (j *Joiner) natKey(k flows.Key) flows.Key {
	k, _ = k.Canonical()
	k.Domain = 0
	if k.NetNS == j.cfg.HostNetNS {
		k.NetNS = 0
	}
	return k
}

// NAT takes one address translation.
func (j *Joiner) NAT(n *flows.NAT) {
	j.stats.NATs++
	a, b := j.natKey(n.Orig), j.natKey(n.Reply)
	if a == b {
		return
	}
	e := j.nats[a]
	if e == nil || e.views != [2]flows.Key{n.Orig, n.Reply} {
		if e != nil {
			j.forgetNAT(e)
		}
		if len(j.nats) >= maxNAT {
			j.stats.NATOverflow++
			return
		}
		e = &natEntry{views: [2]flows.Key{n.Orig, n.Reply}}
		j.nats[a], j.nats[b] = e, e
	}
	e.told, e.used = n.Time, n.Time
	for _, k := range e.views {
		if c := j.translated(e, k, n.Time); c != nil {
			j.translateBy(c, e, k)
			return // the other side's connection, if there is one, was merged
		}
	}
}

func (j *Joiner) forgetNAT(e *natEntry) {
	for _, k := range e.views {
		if k = j.natKey(k); j.nats[k] == e {
			delete(j.nats, k)
		}
	}
}

// translated finds the connection with tuple k that a translation told at that
// time is of: alive then, or over since a moment. Of several the one whose
// packets were seen; when that leaves two, none.
func (j *Joiner) translated(e *natEntry, k flows.Key, at int64) *conn {
	var best *conn
	near, ties := never, 0
	for r := j.tuples[indexKey(k)]; r != nil; r = r.next {
		c := r.c
		if c.done || !j.reaches(e, c) {
			continue
		}
		d := c.distance(at, at)
		if len(c.slots) == 0 {
			d++
		}
		switch {
		case d > int64(j.cfg.Hold):
		case d < near:
			best, near, ties = c, d, 1
		case d == near:
			ties++
		}
	}
	if ties > 1 {
		j.stats.Ambiguous++
		return nil
	}
	return best
}

// reaches says whether a connection passes where e translates: the host's
// namespace, or that of one of its sockets.
func (j *Joiner) reaches(e *natEntry, c *conn) bool {
	ns := j.natKey(e.views[0]).NetNS
	if ns == 0 {
		return true
	}
	for _, end := range c.ends {
		if end != nil && end.key.NetNS == ns {
			return true
		}
	}
	return false
}

// index makes c findable under k, and under what k is translated to.
func (j *Joiner) index(c *conn, k flows.Key) {
	j.addRef(c, indexKey(k))
	j.translate(c, k)
}

// translate applies to c, which is known by k, what translations of k are known:
// first the one in the namespace of k, then the host's.
func (j *Joiner) translate(c *conn, k flows.Key) {
	k = j.natKey(k)
	if n := j.nats[k]; n != nil {
		j.translateBy(c, n, k)
	}
	if k.NetNS == 0 || k.Src.IsLoopback() || k.Dst.IsLoopback() {
		return
	}
	k.NetNS = 0
	if n := j.nats[k]; n != nil {
		j.translateBy(c, n, k)
	}
}

// translateBy makes c, known by k, findable by the other side of the translation,
// and takes over a connection that waits there.
func (j *Joiner) translateBy(c *conn, n *natEntry, k flows.Key) {
	if c.ambiguous || c.hasNAT(n) || stale(c, n, int64(j.cfg.Hold)) {
		return
	}
	if len(c.nats) == maxHops {
		j.stats.NATOverflow++
		return
	}
	c.nats = append(c.nats, n)
	n.used = max(n.used, c.last)
	other := n.views[0]
	if bare(other) == bare(k) {
		other = n.views[1]
	}
	alias := indexKey(other)
	if o := j.partner(c, alias); o != nil {
		if c.hasEnd() && o.hasEnd() {
			c.joined = JoinNAT
		}
		j.merge(c, o)
	}
	j.addRef(c, alias)
	j.translate(c, other)
}

// partner finds the connection with the tuple alias that is c on the other side of
// a translation. Of namesakes in several namespaces it is the one whose packets
// were seen; when that leaves two, none: a missing owner is better than a wrong one.
func (j *Joiner) partner(c *conn, alias flows.Key) *conn {
	var best *conn
	ties := 0
	for r := j.tuples[alias]; r != nil; r = r.next {
		o := r.c
		if o == c || o.done || !j.mergeable(c, o) || c.claims(o) || o.claims(c) {
			continue
		}
		seen, beat := len(o.slots) > 0, best != nil && len(best.slots) > 0
		switch {
		case best == nil || seen && !beat:
			best, ties = o, 1
		case seen == beat:
			ties++
		}
	}
	if ties > 1 {
		j.stats.Ambiguous++
		return nil
	}
	return best
}

// stale says whether a translation is of an earlier connection with the same
// tuple. Conntrack keeps one for as long as a datagram flow uses it, but makes
// one for each TCP connection.
func stale(c *conn, n *natEntry, slack int64) bool {
	return c.key.Proto == flows.TCP && c.start != 0 && n.told < c.start-slack
}

// seenAs notes that a packet of the socket with the given view left as wire: it
// was translated on its way to where it was seen.
func (j *Joiner) seenAs(c *conn, own, wire flows.Key) {
	j.translateBy(c, &natEntry{views: [2]flows.Key{own, wire.Reverse()}, told: c.last, used: c.last}, own)
	j.addRef(c, indexKey(wire)) // whatever came of that
}

// hasNAT says whether c has this translation already, from whichever source.
func (c *conn) hasNAT(n *natEntry) bool {
	return slices.ContainsFunc(c.nats, func(have *natEntry) bool {
		a, b, x, y := bare(have.views[0]), bare(have.views[1]), bare(n.views[0]), bare(n.views[1])
		return a == x && b == y || a == y && b == x
	})
}

// over returns the tuple k after the translation, for a packet that goes where k
// points, and whether it is one of k at all.
func (n *natEntry) over(k flows.Key) (flows.Key, bool) {
	k.NetNS, k.Domain = 0, 0
	for i, v := range n.views {
		v.NetNS = 0
		if k == v {
			return n.views[1-i].Reverse(), true
		}
	}
	return k, false
}

// walk follows translations from k, which points to the end where the walk goes,
// and returns the tuple as that end has it. It stops earlier at the tuple whose
// bare form is seek.
func walk(nats []*natEntry, k, seek flows.Key) flows.Key {
	var done [maxHops]bool
	for i := 0; i < len(nats) && bare(k) != seek; i++ {
		if done[i] {
			continue
		}
		if next, ok := nats[i].over(k); ok {
			k, done[i] = next, true
			i = -1 // the next step may be an earlier entry's
		}
	}
	return k
}

// sendsAs returns the direction of the bare tuple k that side s sends in, when k is
// what translations make of key, whose Src is the client.
func sendsAs(s side, key flows.Key, nats []*natEntry, k flows.Key) (flows.Direction, bool) {
	if len(nats) == 0 {
		return flows.Forward, false
	}
	d, ok := toward(key, nats, k)
	if s == server {
		d = d.Opposite()
	}
	return d, ok
}

// toward returns which direction of the bare tuple k points to the server, when k
// is key, whose Src is the client, or what translations make of it.
func toward(key flows.Key, nats []*natEntry, k flows.Key) (flows.Direction, bool) {
	for d, from := range [...]flows.Key{key, key.Reverse()} {
		if hop := walk(nats, from, k); bare(hop) == k {
			_, to := hop.Canonical()
			return to ^ flows.Direction(d), true
		}
	}
	return flows.Forward, false
}

// views returns the connection's tuple, Src the client, as the client has it and
// as the server has it.
func (c *conn) views() (first, last flows.Key) {
	first, last = c.key, c.key
	if len(c.nats) > 0 {
		first = walk(c.nats, c.key.Reverse(), flows.Key{}).Reverse()
		last = walk(c.nats, c.key, flows.Key{})
	}
	if c.toSelf() {
		return first, last
	}
	if e := c.ends[client]; e != nil {
		first = e.key
	}
	if e := c.ends[server]; e != nil {
		last = e.key.Reverse()
	}
	return first, last
}

// takeNATs gives c what b has.
func (c *conn) takeNATs(b *conn) {
	for _, n := range b.nats {
		if len(c.nats) < maxHops && !c.hasNAT(n) {
			c.nats = append(c.nats, n)
		}
	}
}

// sweepNATs forgets translations that nobody told of or used for long.
func (j *Joiner) sweepNATs(now int64) {
	for k, n := range j.nats {
		if now-n.used > natLife {
			delete(j.nats, k)
		}
	}
}

// claims says whether c would take packets of somebody else's socket from o.
func (c *conn) claims(o *conn) bool {
	for i := range o.slots {
		if s := &o.slots[i]; !o.hasEnd() && c.foreign(s.key, s.cookie) {
			return true
		}
	}
	return false
}

// foreign says whether packets on the other side of a translation that c may have
// gone through were sent by a socket here that c does not know: that one's
// connection has numbers to be paired by, and a tuple alone proves no translation.
func (c *conn) foreign(k flows.Key, cookies [2]uint64) bool {
	for s, e := range c.ends {
		if e != nil || c.key.Proto != flows.TCP || !c.hasEnd() {
			continue
		}
		if o := c.ends[side(s).other()]; bare(o.key) == bare(k) {
			return false
		}
		if d, ok := sendsAs(side(s), c.key, c.nats, bare(k)); ok && cookies[d] != 0 {
			return true
		}
	}
	return false
}
