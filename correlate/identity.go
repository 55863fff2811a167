package correlate

import (
	"github.com/weir-probe/weir/kprobes"
)

// holder is an Owner shared by all sockets it holds: a hundred thousand
// connections have a few dozen of them.
type holder struct {
	kprobes.Owner
	used uint32 // tick of last use
	// id is what the enricher said in tick asked, for the sockets this process
	// opened itself; pending: it will know more.
	id      *identity
	asked   uint32
	pending bool
}

// identity is who an end is; shared by all ends of which the same was said.
type identity struct {
	local   bool
	kind    Kind
	match   Match
	name    string
	process *Process
	creator *Process
	contain *Container
}

// asked says how an end's identity was come by.
type asked struct {
	of      *holder // for whom; nil for an end without a socket
	done    bool
	pending bool
}

var askedOnce = asked{done: true}

// unused is how many ticks a shared value is kept after its last use.
const unused = 8

// hold returns the shared copy of o; was is the end's present one, mostly the same.
func (j *Joiner) hold(was *holder, o *kprobes.Owner) *holder {
	if was != nil && was.Owner == *o {
		was.used = j.ticks
		return was
	}
	h := j.holders[*o]
	if h == nil {
		h = &holder{Owner: *o}
		j.holders[*o] = h
	}
	h.used = j.ticks
	return h
}

// sweep forgets shared values nobody asked for lately; ends that still point to
// one keep it.
func (j *Joiner) sweep(now int64) {
	j.ticks++
	if j.ticks%unused != 0 {
		return
	}
	for k, p := range j.peers {
		if p.c == nil && now-p.last > 4*int64(j.cfg.Idle) {
			delete(j.peers, k) // its end was not told
		}
	}
	for o, h := range j.holders {
		if j.ticks-h.used > unused {
			delete(j.holders, o)
		}
	}
	clear(j.known)
}

// identify returns who an end is, asking the enricher when the end has a new
// owner or when it promised to know more.
func (j *Joiner) identify(c *conn, s side, ep *Endpoint, now int64) *identity {
	var h *holder
	e := c.ends[s]
	if e != nil {
		h = e.owner
	}
	a := &c.asked[s]
	if a.done && !a.pending && a.of == h {
		return c.ids[s]
	}
	*a = asked{of: h, done: true}
	own := h != nil && e.opener.ProcessID == h.ProcessID
	if own && h.id != nil && h.asked == j.ticks {
		c.ids[s], a.pending = h.id, h.pending
		return h.id
	}
	if e == nil {
		now = c.start // an address may be somebody else's by now
	}
	c.ids[s], a.pending = j.ask(e, ep, now)
	if own {
		h.id, h.asked, h.pending = c.ids[s], j.ticks, a.pending
	}
	return c.ids[s]
}

func (j *Joiner) ask(e *end, ep *Endpoint, now int64) (*identity, bool) {
	tmp := &j.asking
	*tmp = Endpoint{Addr: ep.Addr, Port: ep.Port, NATAddr: ep.NATAddr, NATPort: ep.NATPort, Cookie: ep.Cookie, NetNS: ep.NetNS}
	var owner, opener *kprobes.Owner
	if e != nil {
		owner, opener = &e.owner.Owner, &e.opener.Owner
		tmp.Local, tmp.Match = true, matchOf(owner, MethodNone)
	}
	pending := j.enrich.Enrich(tmp, owner, opener, now)
	id := identity{local: tmp.Local, kind: tmp.Kind, name: tmp.Name, match: tmp.Match, process: tmp.Process, creator: tmp.Creator, contain: tmp.Contain}
	shared := j.known[id]
	if shared == nil {
		n := id // id itself stays on the stack
		shared = &n
		j.known[id] = shared
	}
	return shared, pending
}

func (r *RTT) add(v uint64) { r.merge(RTT{Sum: v, Count: 1, Min: v, Max: v}) }

func (r *RTT) merge(o RTT) {
	if o.Count == 0 {
		return
	}
	if r.Count == 0 || o.Min < r.Min {
		r.Min = o.Min
	}
	r.Max = max(r.Max, o.Max)
	r.Sum += o.Sum
	r.Count += o.Count
}
