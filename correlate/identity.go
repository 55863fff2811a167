package correlate

import (
	"github.com/weir-probe/weir/kprobes"
)

// holder is an Owner shared by all sockets it holds: a hundred thousand
// connections have a few dozen of them.
type holder struct {
	kprobes.Owner
	used uint32 // tick of last use
	open uint64 // scratch of OpenSockets
	// id is what the enricher said in tick asked, for the sockets this process
	// opened itself in namespace ns; pending: it will know more.
	id      *identity
	ns      uint32
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
	current *Process
	contain *Container
	group   string // path of the owner's control group
	legacy  bool   // of cgroup v1
	netName string
	dnsName string
	node    string
	zone    string
	geo     Geo
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
	j.sweepNATs(now)
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
	e := c.socket(s)
	if e != nil {
		h = e.owner
	}
	a := &c.asked[s]
	if a.done && !a.pending && a.of == h {
		return c.ids[s]
	}
	*a = asked{of: h, done: true}
	own := h != nil && e.opener.ProcessID == h.ProcessID && e.opener.Exec == h.Exec
	if own && h.id != nil && h.asked == j.ticks && h.ns == ep.NetNS {
		c.ids[s], a.pending = h.id, h.pending
		return h.id
	}
	if e == nil {
		now = c.began() // an address may be somebody else's by now
	}
	c.ids[s], a.pending = j.ask(c, s, ep, now)
	if own {
		h.id, h.ns, h.asked, h.pending = c.ids[s], ep.NetNS, j.ticks, a.pending
	}
	return c.ids[s]
}

func (j *Joiner) ask(c *conn, s side, ep *Endpoint, now int64) (*identity, bool) {
	tmp, e := &j.asking, c.socket(s)
	*tmp = Endpoint{Addr: ep.Addr, Port: ep.Port, NATAddr: ep.NATAddr, NATPort: ep.NATPort, Cookie: ep.Cookie, NetNS: ep.NetNS, SeenNS: ep.SeenNS}
	var owner, opener *kprobes.Owner
	if e != nil {
		owner, opener = &e.owner.Owner, &e.opener.Owner
		tmp.Local, tmp.Match = true, matchOf(owner, MethodNone)
	}
	pending := j.enrich.Enrich(tmp, owner, opener, now)
	if k := j.kernelOf(c); k != nil && tmp.Local && tmp.Contain == nil {
		tmp.Match = Match{MethodAddress, AttributionInferred}
		pending = j.enrich.Enrich(tmp, k, k, now)
	}
	id := identity{
		local: tmp.Local, kind: tmp.Kind, name: tmp.Name, match: tmp.Match, process: tmp.Process, creator: tmp.Creator,
		current: tmp.Current, contain: tmp.Contain, group: tmp.Evidence.Group, legacy: tmp.Evidence.Legacy, netName: tmp.NetName, dnsName: tmp.DNSName, node: tmp.Node, zone: tmp.Zone, geo: tmp.Geo,
	}
	shared := j.known[id]
	if shared == nil {
		n := id // id itself stays on the stack
		shared = &n
		j.known[id] = shared
	}
	return shared, pending
}

func (r *RTT) add(v, jitter uint64) { r.merge(RTT{Sum: v, Count: 1, Min: v, Max: v, Jitter: jitter}) }

func (r *RTT) merge(o RTT) {
	if o.Count == 0 {
		return
	}
	if r.Count == 0 || o.Min < r.Min {
		r.Min = o.Min
	}
	r.Max = max(r.Max, o.Max)
	r.Sum += o.Sum
	r.Jitter += o.Jitter
	r.Count += o.Count
}
