package anomaly

import (
	"maps"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// minute is what everything is judged by.
const minute = int64(time.Minute)

// Stats counts what the Detector did; totals since it was made, but for the gauges.
type Stats struct {
	Records    uint64 // taken
	Edges      int    // in the graph now
	Nodes      int    // their ends
	Profiles   int    // of edges
	Alarms     int    // that go on
	Sources    int    // whose attempts in vain are counted now
	Domains    int    // whose names are counted now
	Learning   bool   // everything is still taken for usual
	Told       [numTypes]uint64
	Resolved   uint64
	Silenced   uint64 // began while a silence matched
	Dropped    uint64 // began while too many went on
	Unclear    uint64 // records without an owner at an end that lives here: not learnt
	Guessed    uint64 // records of no known edge of which is not known who is the client
	Accepted   uint64 // edges that were new and are not told: in learning, after a deployment, of who does little else
	Deployed   uint64 // services that were left alone for a while because they changed
	Refused    uint64 // edges, ends, sources, domains and beacons that there was no room for
	Forgotten  uint64 // edges without traffic for too long
	Queries    uint64 // of DNS
	BadQueries uint64 // that could not be read
}

// ToldTotal is the sum over all types.
func (s *Stats) ToldTotal() uint64 {
	var n uint64
	for _, t := range s.Told {
		n += t
	}
	return n
}

// Detector learns what is usual and tells what is not. It belongs to one goroutine.
type Detector struct {
	cfg    Config
	nodes  nodes
	edges  map[edgeKey]*edge
	pairs  map[uint64]int // edges of a client and a server
	places map[placeKey]place
	alarms alarms
	scans  scans
	dns    tunnels
	owners ownership
	stats  Stats
	// began is when learning did, last the end of the last whole minute; unix ns.
	began, last int64
	// steady is when, after the beginning or a pause, what is seen counts again.
	steady   int64
	now      int64     // end of the last interval
	step     int64     // how long it was
	told     []Anomaly // what the last Tick returned
	busy     []*edge   // with a record in this interval
	lost     bool      // owners were missing in the last minute
	beacons  int
	attempts int // edges on which nothing ever came through
}

// New returns a Detector that knows nothing; cfg has been validated.
func New(cfg Config) *Detector {
	d := &Detector{cfg: cfg.WithDefaults(), edges: map[edgeKey]*edge{}, pairs: map[uint64]int{}, places: map[placeKey]place{}}
	d.nodes = newNodes(d.cfg.MaxNames)
	d.alarms = newAlarms(&d.cfg, &d.stats)
	d.scans = newScans()
	d.dns = newTunnels()
	return d
}

// Reconfigure has everything that follows judged by cfg, which has been validated;
// what was learnt stays.
func (d *Detector) Reconfigure(cfg Config) {
	d.cfg = cfg.WithDefaults()
	d.nodes.max = d.cfg.MaxNames
	active, out := d.alarms.active, d.alarms.out
	d.alarms = newAlarms(&d.cfg, &d.stats)
	d.alarms.active, d.alarms.out = active, out
	for _, e := range d.edges {
		d.limit(e)
	}
}

// Stats returns the counts.
func (d *Detector) Stats() Stats {
	s := d.stats
	s.Edges, s.Nodes, s.Alarms = len(d.edges), len(d.nodes.byKey), len(d.alarms.active)
	s.Sources, s.Domains, s.Learning = len(d.scans.sources), len(d.dns.domains), d.learning()
	s.Refused += d.nodes.refused + d.scans.refused + d.dns.refused
	for _, e := range d.edges {
		if e.profile != nil {
			s.Profiles++
		}
	}
	return s
}

// Ongoing are the anomalies that go on and were told, in this run or an earlier one.
func (d *Detector) Ongoing() []Anomaly { return d.alarms.ongoing() }

// learning says whether everything is still taken for usual.
func (d *Detector) learning() bool {
	return d.began == 0 || d.now < d.began+int64(d.cfg.Learn)
}

// Add takes one record of the interval that the next Tick ends, and says whether it is
// the first of an edge that is told. It has r.Score point to where that Tick puts the
// score of its edge. For an edge that is known it allocates nothing.
func (d *Detector) Add(r *correlate.Record) (told bool) {
	r.Score = nil
	if r.Self || !judged(r.Client.Kind) || !judged(r.Server.Kind) {
		return false
	}
	d.stats.Records++
	ck := d.nodes.keyOf(&r.Client, false)
	if !clearEnd(&r.Client) || !clearEnd(&r.Server) || nobodys(r) {
		d.stats.Unclear++
		if inVain(r) { // what nobody answers has no owner
			d.scans.attempt(r, ck, d.now)
		} else {
			d.owners.unclear++
		}
		return false
	}
	d.owners.clear++
	sk := d.nodes.keyOf(&r.Server, true)
	c, s := d.nodes.byKey[ck], d.nodes.byKey[sk]
	d.dns.asked(r)
	d.look(c, &r.Client)
	d.look(s, &r.Server)
	e := d.find(c, s, r)
	through := moves(r)
	if (e == nil || !e.told) && !through && inVain(r) {
		d.scans.attempt(r, ck, d.now)
	}
	if e == nil || !e.told && through {
		n := len(d.alarms.out)
		if e = d.admit(r, e, ck, sk, through); e == nil {
			return false
		}
		told = len(d.alarms.out) > n
		if c == nil {
			d.look(e.c, &r.Client)
		}
		if s == nil {
			d.look(e.s, &r.Server)
		}
	}
	if e.s.kind == correlate.KindExternal && e.network != networkOf(r.Server.Addr) {
		d.place(e, r)
	}
	e.take(r, d.now)
	r.Score = &e.score
	d.touched(e)
	if e.beacon != nil && r.Delta.Opened > 0 {
		e.beacon.connected(r)
	} else if e.beacon != nil {
		e.beacon.octets += r.Delta.ToServer.Payload + r.Delta.ToClient.Payload
	}
	return told
}

// judged leaves out what is no service's traffic.
func judged(k correlate.Kind) bool {
	return k != correlate.KindMulticast && k != correlate.KindOther && k != correlate.KindTunnel
}

// find returns the edge of a record.
func (d *Detector) find(c, s *node, r *correlate.Record) *edge {
	if c == nil {
		return nil
	}
	if s == nil {
		return d.alias(c, r)
	}
	k := edgeKey{c.id, s.id, portOf(r), protoOf(r.Proto)}
	e := d.edges[k]
	if e == nil && d.pairs[pairOf(c, s)] >= maxPorts {
		k.port = 0
		e = d.edges[k]
	}
	if e == nil {
		e = d.alias(c, r)
	}
	return e
}

// look takes note of what a service is made of.
func (d *Detector) look(n *node, end *correlate.Endpoint) {
	if n == nil || end.Contain == nil {
		return
	}
	if n.replicas == nil {
		n.replicas = new(replicas)
	}
	if n.replicas.see(end.Contain, d.now) && n.deployed(revision(end.Contain)) && !d.learning() {
		d.stats.Deployed++
		n.settles = d.now + int64(d.cfg.Relearn)
	}
}

// Tick ends an interval at end, a multiple of its length since the epoch, and returns
// what began or ended in it; valid until the next Tick.
func (d *Detector) Tick(end time.Time) []Anomaly {
	t := end.UnixNano()
	if d.began == 0 {
		d.began = t
		d.date(t)
	}
	step := t - d.now
	missed := step > 2*max(d.step, minute) // nobody looked, or the clock was set
	d.now, d.step = t, step
	m := t - t%minute
	judged := m != d.last
	switch {
	case d.last == 0 || m < d.last || m-d.last > maxPause || missed:
		d.pause(m)
	case judged:
		d.judge(m, float64(m-d.last)/float64(minute))
		d.last = m
	}
	d.score(t, judged)
	d.alarms.expire(t)
	out := d.alarms.out
	d.alarms.out, d.told = d.told[:0], out
	return out
}

// date gives what came in the first interval, whose end nobody knew then, its time.
func (d *Detector) date(t int64) {
	for _, n := range d.nodes.byKey {
		n.born = t
	}
	for _, e := range d.edges {
		e.born, e.last = t, t
	}
}

const (
	// maxPause is how long an interval may be: what is longer is a time in which
	// nobody looked.
	maxPause = 10 * minute
	// starting is what follows a start: connections are found, names come in.
	starting = 3 * minute
)

// settling is how long nothing is told after a start. Where less is learnt, as in a trial,
// it takes no longer than that.
func (d *Detector) settling() int64 { return min(starting, int64(d.cfg.Learn)) }

// pause begins anew after a time in which nobody looked.
func (d *Detector) pause(m int64) {
	d.last, d.steady = m, d.now+d.settling()
	for _, e := range d.edges {
		e.sums, e.rising, e.silent, e.score = sums{}, 0, 0, 0
		if p := e.profile; p != nil {
			p.letGo()
			p.turn(hourAt(m))
		}
	}
	d.scans.renew(m)
	d.dns.renew(m)
	d.owners.unclear, d.owners.clear = 0, 0
}

func hourAt(t int64) int32 { return int32(t / int64(time.Hour)) }

// judge ends a minute, or several where intervals are longer.
func (d *Detector) judge(t int64, minutes float64) {
	for _, n := range d.nodes.byKey {
		if n.replicas != nil && n.replicas.n > 0 {
			n.replicas.count(t)
		}
		n.demand.begin()
	}
	d.lost = d.judgeOwners(t)
	for _, e := range d.edges {
		if e.profile != nil {
			w := viewOf(e, t, minutes)
			e.profile.hold(&w)
		}
	}
	for _, n := range d.nodes.byKey {
		n.demand.end()
	}
	for _, e := range d.edges {
		d.judgeEdge(e, t, minutes)
		e.sums = sums{}
		if e.beacon != nil {
			d.beaconing(e, t)
		}
		if t-e.last > int64(d.cfg.Forget) || !e.told && t-e.last > calm {
			d.forget(e)
		}
	}
	d.judgeScans(t)
	d.judgeDNS(t)
}

// forget drops an edge, and its ends with their last one.
func (d *Detector) forget(e *edge) {
	delete(d.edges, e.edgeKey)
	d.stats.Forgotten++
	pair := pairOf(e.c, e.s)
	if d.pairs[pair]--; d.pairs[pair] == 0 {
		delete(d.pairs, pair)
	}
	if e.told {
		e.cameThrough(-1)
	} else {
		d.attempts--
	}
	if e.beacon != nil {
		d.beacons--
	}
	if e.told {
		maps.DeleteFunc(d.places, func(_ placeKey, p place) bool { return p.named == e })
	}
	for _, n := range [...]*node{e.c, e.s} {
		if n.edges--; n.edges == 0 {
			d.nodes.drop(n)
		}
	}
}
