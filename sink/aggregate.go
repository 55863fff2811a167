package sink

import (
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/sink/lineproto"
)

// AggregatorStats counts since the Aggregator was made, except Series.
type AggregatorStats struct {
	Records    uint64 // taken
	OwnRecords uint64 // of the probe's own connections: never rows
	WireOctets uint64 // on the wire, in rows
	OwnOctets  uint64 // on the wire, in OwnRecords
	Rows       uint64
	Series     uint64 // held against the budget now
	Admitted   uint64
	Expired    uint64
	// Refused are records whose own series did not get into the budget; each of
	// them is in exactly one of the Folded… counts.
	Refused         uint64
	FoldedProcess   uint64
	FoldedContainer uint64
	FoldedOneEnd    uint64
	FoldedOther     uint64
	PortsEphemeral  uint64 // records
	PortsOther      uint64 // records
	PortsScanned    uint64 // ports
	ScoresLost      uint64 // of edges, that no row has because there are too many
	// L7Series are held against their budget now. OperationsOther are requests past
	// the limit of their server, ServerNamesOther those by a name past it, ALPNOther
	// those of a protocol that is not registered, L7Folded those in a coarser series
	// than their own.
	L7Series, OperationsOther, ServerNamesOther, ALPNOther, L7Folded uint64
	Encoder                                                          lineproto.Stats
}

// Aggregator merges the records of an interval per edge, under the series
// budget, and encodes the rows of flow, flow_latency, flow_error and l7. Records go
// in with Add, Flush ends the interval. Not safe for concurrent use: one
// goroutine owns it.
type Aggregator struct {
	cfg    Config
	names  *interner
	edges  map[edgeKey]*edge
	budget *budget
	ports  *ports
	rows   rows
	// used lists the edges of this interval; flushed says that it has been
	// encoded and begins anew with the next record.
	used    []*edge
	flushed bool
	now     int64 // time of the last Flush, unix ns: the interval being gathered
	swept   int64 // when expired edges were last looked for
	spare   []*dist.Histogram
	scores  []scored
	l7      l7Table
	stats   AggregatorStats
}

// edge is one series of flow, and what was gathered of it in this interval.
type edge struct {
	key   edgeKey
	tags  []byte
	inUse bool // in Aggregator.used
	fresh bool // no row of it has been written
	ports *portTable
	Place // in the budget
	sum   sums
}

// NewAggregator returns an Aggregator; cfg has been validated.
func NewAggregator(cfg Config) *Aggregator {
	return &Aggregator{
		cfg:    cfg,
		names:  newInterner(),
		edges:  map[edgeKey]*edge{},
		budget: newBudget(cfg.SeriesBudget),
		ports:  newPorts(cfg.SeriesBudget, int64(cfg.SeriesExpiry)),
		rows:   rows{stream: Main},
		l7:     newL7Table(cfg),
	}
}

// Stats returns the counts.
func (a *Aggregator) Stats() AggregatorStats {
	s := a.stats
	s.Series, s.L7Series = uint64(a.budget.used), uint64(a.l7.budget.used)
	s.PortsEphemeral, s.PortsOther, s.PortsScanned = a.ports.stats.Ephemeral, a.ports.stats.Other, a.ports.stats.Scanned
	s.Encoder = a.rows.enc.Stats()
	s.Encoder.Cleaned += a.names.cleaned
	s.Rows = s.Encoder.Rows
	return s
}

// Standing adds the places of flow and l7 to s.
func (a *Aggregator) Standing(s Standing) {
	s[MeasurementFlow], s[MeasurementL7] = places(a.budget, a.edges), places(a.l7.budget, a.l7.series)
}

// Restore takes the places that an earlier Aggregator had. Nothing has been added yet.
func (a *Aggregator) Restore(s Standing) {
	a.budget.restore(s[MeasurementFlow])
	a.l7.budget.restore(s[MeasurementL7])
}

// Add takes one record of the interval; it keeps nothing of r but strings and, until the
// next Flush, where its score is.
func (a *Aggregator) Add(r *correlate.Record) {
	a.begin()
	a.stats.Records++
	wire := r.Delta.ToServer.WireOctets + r.Delta.ToClient.WireOctets
	if r.Self {
		a.stats.OwnRecords++
		a.stats.OwnOctets += wire
		return
	}
	a.stats.WireOctets += wire
	e := a.find(r)
	if !e.inUse {
		e.inUse = true
		a.used = append(a.used, e)
	}
	e.sum.add(r)
	a.noteScore(e, r)
	for i, ns := range [...]int64{r.Resolve, r.Connect, r.Accept, r.SynAck} {
		if ns > 0 {
			a.borrow(&e.sum.opening[i]).Add(ns)
		}
	}
	if r.Requests != nil {
		a.addRequests(e, r)
	}
}

// begin clears what the last Flush has left to be read.
func (a *Aggregator) begin() {
	if !a.flushed {
		return
	}
	a.flushed = false
	for _, e := range a.used {
		a.clear(e)
	}
	a.used = a.used[:0]
	a.clearL7()
}

func (a *Aggregator) clear(e *edge) {
	a.clearRequests(&e.sum.requests)
	for i := range e.sum.opening {
		a.giveBack(&e.sum.opening[i])
	}
	e.sum, e.inUse = sums{}, false
}

// find returns the finest edge that the budget has for a record.
func (a *Aggregator) find(r *correlate.Record) *edge {
	port, table := a.ports.classify(r, a.now)
	start := a.cfg.Granularity.level(r)
	n := namesOf(r, port)
	for l := levelContainer; l <= start; l++ {
		n.coarsen(l, r)
	}
	for l := start; ; l++ {
		if l > start && l >= levelWorkload {
			n.plain()
		}
		if l == levelOneEnd {
			if e := a.findOneEnd(&n, r); e != nil {
				return a.folded(e, l)
			}
			continue
		}
		if l > start {
			n.coarsen(l, r)
		}
		if l == levelOther {
			n.port = a.ports.codeAt(port, correlate.KindOther, Other, a.now)
		}
		if e := a.edges[a.names.key(&n)]; e != nil {
			return a.taken(e, l, start)
		}
		if a.admit(l, &n) {
			e := a.create(&n)
			if l <= levelWorkload {
				e.ports = table
			}
			return a.taken(e, l, start)
		}
	}
}

func (a *Aggregator) admit(l level, n *edgeNames) bool {
	return a.budget.admit(l, n.hash(), a.now)
}

func (a *Aggregator) taken(e *edge, l, start level) *edge {
	if l > start {
		return a.folded(e, l)
	}
	return e
}

// folded counts a record that is not in a series of its own.
func (a *Aggregator) folded(e *edge, l level) *edge {
	a.stats.Refused++
	switch l {
	case levelContainer:
		a.stats.FoldedProcess++
	case levelWorkload:
		a.stats.FoldedContainer++
	case levelOneEnd:
		a.stats.FoldedOneEnd++
	default:
		a.stats.FoldedOther++
	}
	return e
}

// findOneEnd folds one end into other: the one that is in no series yet, for it
// is the newcomer; else the one that is not of this host; else the client.
func (a *Aggregator) findOneEnd(n *edgeNames, r *correlate.Record) *edge {
	first := newcomer(a.names, n, r)
	for _, end := range [...]int{first, 1 - first} {
		m := a.without(n, end)
		if e := a.edges[a.names.key(&m)]; e != nil {
			return e
		}
	}
	m := a.without(n, first)
	if a.admit(levelOneEnd, &m) {
		return a.create(&m)
	}
	return nil
}

func newcomer(in *interner, n *edgeNames, r *correlate.Record) int {
	client, server := in.lookup(n.end[ClientEnd].name), in.lookup(n.end[ServerEnd].name)
	switch {
	case client == unknownID && server != unknownID:
		return ClientEnd
	case server == unknownID && client != unknownID:
		return ServerEnd
	case r.Client.Local && !r.Server.Local:
		return ServerEnd
	}
	return ClientEnd
}

// without returns n with one end folded into other.
func (a *Aggregator) without(n *edgeNames, end int) edgeNames {
	m := *n
	m.end[end].other()
	if end == ServerEnd {
		m.port = a.ports.codeAt(n.port, correlate.KindOther, Other, a.now)
	}
	return m
}

// create makes a series the budget has admitted.
func (a *Aggregator) create(n *edgeNames) *edge {
	a.stats.Admitted++
	e := &edge{key: a.names.acquireKey(n), fresh: true, Place: Place{n.hash(), a.now}}
	e.tags = a.appendTags(nil, &e.key)
	a.edges[e.key] = e
	return e
}

func (a *Aggregator) remove(e *edge) {
	delete(a.edges, e.key)
	a.names.releaseKey(&e.key)
	a.budget.used--
}

// Flush ends the interval at t and returns its rows; what it returns is valid
// until the next call of Flush.
func (a *Aggregator) Flush(t time.Time) []*Batch {
	a.begin() // an interval without a record
	now := t.UnixNano()
	a.takeScores()
	a.foldScans()
	a.rows.begin()
	for _, e := range a.used {
		e.Used = now
		e.fresh, e.ports = false, nil
		a.write(e, now)
	}
	a.writeL7(now)
	a.flushed = true
	a.now = now
	a.ports.interval++
	a.sweep(now)
	return a.rows.finish()
}

// foldScans takes back the series that a port scan has made in this interval,
// before a row of them is written.
func (a *Aggregator) foldScans() {
	kept := a.used[:0]
	var tables []*portTable
	for i := 0; i < len(a.used); i++ {
		e := a.used[i]
		if !e.fresh || e.ports == nil || e.key.port >= portEphemeral || !a.ports.scanned(e.ports, uint16(e.key.port)) {
			kept = append(kept, e)
			continue
		}
		tables = append(tables, e.ports)
		if to := a.foldPort(e); !to.inUse {
			to.inUse = true
			kept = append(kept, to)
		}
	}
	clear(a.used[len(kept):])
	a.used = kept
	for _, t := range tables {
		a.ports.giveUpScanned(t)
	}
}

// foldPort merges an edge into the one of the same ends on an ephemeral port.
func (a *Aggregator) foldPort(e *edge) *edge {
	k := e.key
	k.port = portEphemeral
	to := a.edges[k]
	if to == nil {
		for i := range k.end {
			for _, id := range k.end[i].ids() {
				a.names.refs[id]++
			}
		}
		n := a.names.namesAt(&k)
		to = &edge{key: k, Place: Place{Hash: n.hash()}}
		to.tags = a.appendTags(nil, &k)
		a.edges[k] = to
		a.budget.used++ // remove gives it back
	}
	to.sum.merge(&e.sum)
	for i, h := range e.sum.opening {
		if h != nil {
			a.borrow(&to.sum.opening[i]).Merge(h)
		}
	}
	a.mergeRequests(&to.sum.requests, &e.sum.requests)
	a.clear(e)
	a.remove(e)
	return to
}

// sweep gives up series that have not been used for the expiry time.
func (a *Aggregator) sweep(now int64) {
	expiry := int64(a.cfg.SeriesExpiry)
	if a.swept == 0 {
		a.swept = now
	}
	if now-a.swept < min(expiry/8, int64(time.Minute)) {
		return
	}
	a.swept = now
	for _, e := range a.edges {
		if !e.inUse && now-e.Used > expiry {
			a.remove(e)
			a.stats.Expired++
		}
	}
	a.sweepL7(now)
	a.ports.expire(now)
	a.budget.expire(now, expiry)
}
