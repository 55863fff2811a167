package sink

import (
	"github.com/cespare/xxhash/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/sink/lineproto"
)

// requestSums is what payload told of an edge in one interval.
type requestSums struct {
	response, request, sent          *dist.Histogram // nil when nothing was timed
	overlapped, streaming, estimated uint64
	errors                           uint64
}

// timed says whether flow_latency has something to say.
func (s *requestSums) timed() bool {
	return s.response != nil || s.request != nil || s.sent != nil || s.streaming > 0
}

// l7Key is the tag set of a row of l7; equal keys are equal tag sets. The edge's
// attribution is not part of it.
type l7Key struct {
	edge              edgeKey
	operation, status uint32
	serverName, alpn  uint32
	protocol          l7.Protocol
}

// l7Series is one series of l7 and what was gathered of it in this interval.
type l7Series struct {
	key   l7Key
	tags  []byte
	inUse bool // in l7Table.used
	Place      // in the budget
	sum   l7Sums
}

type l7Sums struct {
	requests, errors, unanswered, lost, overlapped, streaming, estimated uint64
	requestOctets, responseOctets                                        uint64
	response                                                             *dist.Histogram // nil when nothing was timed
	handshakes                                                           handshakeSums
}

// l7Table holds the series of l7: the part of an Aggregator that has a budget and
// a key of its own.
type l7Table struct {
	series     map[l7Key]*l7Series
	budget     *budget
	operations operations
	// serverNames decides which names of a server have rows of their own, by the same
	// rule: clients choose them, too.
	serverNames operations
	used        []*l7Series
}

func newL7Table(cfg Config) l7Table {
	return l7Table{series: map[l7Key]*l7Series{}, budget: newBudget(cfg.SeriesBudget), operations: newOperations(cfg), serverNames: newOperations(cfg)}
}

// addRequests takes what payload told of a record, whose row of flow is e's.
func (a *Aggregator) addRequests(e *edge, r *correlate.Record) {
	q, s := r.Requests, &e.sum.requests
	a.merge(&s.response, q.Response)
	a.merge(&s.request, q.Request)
	a.merge(&s.sent, q.Sent)
	s.overlapped += q.Overlapped
	s.streaming += q.Streaming
	s.estimated += q.Estimated
	s.errors += q.Errors
	for _, tl := range q.Messages {
		x := a.findL7(e, r, tl)
		if !x.inUse {
			x.inUse = true
			a.l7.used = append(a.l7.used, x)
		}
		t := &x.sum
		t.requests += uint64(tl.Requests)
		t.errors += uint64(tl.Errors)
		t.unanswered += uint64(tl.Unanswered)
		t.lost += uint64(tl.Lost)
		t.overlapped += uint64(tl.Overlapped)
		t.streaming += uint64(tl.Streaming)
		t.estimated += uint64(tl.Estimated)
		t.requestOctets += tl.RequestOctets
		t.responseOctets += tl.ResponseOctets
		a.merge(&t.response, &tl.Response)
		a.addHandshakes(&t.handshakes, tl)
	}
}

func (a *Aggregator) merge(to **dist.Histogram, s *dist.Small) {
	if s.Count() > 0 {
		s.AddTo(a.borrow(to))
	}
}

// borrow gives to a histogram where it has none.
func (a *Aggregator) borrow(to **dist.Histogram) *dist.Histogram {
	if *to == nil {
		if n := len(a.spare); n > 0 {
			*to = a.spare[n-1]
			a.spare = a.spare[:n-1]
		} else {
			*to = new(dist.Histogram)
		}
	}
	return *to
}

func (a *Aggregator) giveBack(from **dist.Histogram) {
	if h := *from; h != nil {
		h.Reset()
		a.spare = append(a.spare, h)
		*from = nil
	}
}

func (a *Aggregator) clearRequests(s *requestSums) {
	a.giveBack(&s.response)
	a.giveBack(&s.request)
	a.giveBack(&s.sent)
}

func (a *Aggregator) mergeRequests(to, from *requestSums) {
	for _, p := range [...][2]**dist.Histogram{{&to.response, &from.response}, {&to.request, &from.request}, {&to.sent, &from.sent}} {
		if *p[1] != nil {
			a.borrow(p[0]).Merge(*p[1])
		}
	}
	to.overlapped += from.overlapped
	to.streaming += from.streaming
	to.estimated += from.estimated
	to.errors += from.errors
}

// question is what was asked, of whom and with what result, as tags of l7.
type question struct {
	operation, status, serverName, alpn string
	protocol                            l7.Protocol
}

// findL7 returns the finest series that the budget has for what one protocol told
// of a record. It begins where the row of flow stands.
func (a *Aggregator) findL7(e *edge, r *correlate.Record, tl *correlate.Tally) *l7Series {
	q := question{tl.Operation, tl.Status, tl.ServerName, alpnTag(tl.ALPN), tl.Protocol}
	if !a.l7.operations.admit(&r.Server, tl.Protocol, q.operation, a.now) {
		a.stats.OperationsOther += uint64(tl.Requests)
		q.operation = Other
	}
	if q.serverName != "" && !a.l7.serverNames.admit(&r.Server, tl.Protocol, q.serverName, a.now) {
		a.stats.ServerNamesOther += uint64(tl.Requests)
		q.serverName = Other
	}
	if q.alpn == Other {
		a.stats.ALPNOther += uint64(tl.Requests)
	}
	k := a.names.l7Key(e.key, &q)
	k.edge.attribution = 0
	if x := a.l7.series[k]; x != nil {
		return x
	}
	n := a.names.namesAt(&k.edge)
	for l := levelProcess; ; l++ {
		n.coarsenL7(l, r, &q)
		x := a.l7.series[a.names.l7Key(a.names.key(&n), &q)]
		if x == nil && a.l7.budget.admit(l, n.hash()^q.hash(), a.now) {
			x = a.createL7(&n, &q)
		}
		if x != nil {
			if l > levelProcess {
				a.stats.L7Folded += uint64(tl.Requests)
			}
			return x
		}
	}
}

// coarsenL7 takes the names of one level to the next one: the operation and the
// server's name go before an end does.
func (n *edgeNames) coarsenL7(to level, r *correlate.Record, q *question) {
	switch to {
	case levelContainer:
		n.coarsen(to, r)
	case levelWorkload:
		n.plain()
		for i, e := range [...]*correlate.Endpoint{&r.Client, &r.Server} {
			if n.end[i].kind != correlate.KindOther {
				n.end[i].fold(e)
			}
		}
	case levelOneEnd:
		q.operation, q.serverName, q.alpn = Other, "", ""
	case levelOther:
		n.coarsen(to, r)
		if n.port != 0 {
			n.port = portOther
		}
	case levelLast:
		n.coarsen(to, r)
		q.status = Other
	}
}

func (q *question) hash() uint64 {
	h := xxhash.Sum64String(q.operation)*0x9e3779b97f4a7c15 + xxhash.Sum64String(q.status) + uint64(q.protocol)
	if q.serverName != "" {
		h ^= xxhash.Sum64String(q.serverName) * 0xff51afd7ed558ccd
	}
	if q.alpn != "" {
		h ^= xxhash.Sum64String(q.alpn) * 0xc4ceb9fe1a85ec53
	}
	return h
}

func (in *interner) l7Key(edge edgeKey, q *question) l7Key {
	return l7Key{edge: edge, operation: in.lookup(q.operation), status: in.lookup(q.status), serverName: in.lookup(q.serverName), alpn: in.lookup(q.alpn), protocol: q.protocol}
}

// namesAt is the inverse of key.
func (in *interner) namesAt(k *edgeKey) edgeNames {
	n := edgeNames{port: k.port, proto: k.proto, reporter: k.reporter, attribution: k.attribution, crosses: k.crosses}
	for i := range k.end {
		e := &k.end[i]
		n.end[i] = endNames{in.names[e.name], in.names[e.process], in.names[e.container], in.names[e.namespace], in.names[e.workload], in.names[e.service], in.names[e.node], in.names[e.zone], e.kind}
	}
	return n
}

func (a *Aggregator) createL7(n *edgeNames, q *question) *l7Series {
	k := l7Key{a.names.acquireKey(n), a.names.acquire(q.operation), a.names.acquire(q.status), a.names.acquire(q.serverName), a.names.acquire(q.alpn), q.protocol}
	x := &l7Series{key: k, Place: Place{n.hash() ^ q.hash(), a.now}}
	x.tags = a.rows.enc.AppendTags(nil, append(a.edgeTags(&k.edge),
		lineproto.Tag{Key: TagL7, Value: q.protocol.String()},
		lineproto.Tag{Key: TagOperation, Value: a.names.names[k.operation]},
		lineproto.Tag{Key: TagServerName, Value: a.names.names[k.serverName]},
		lineproto.Tag{Key: TagALPN, Value: a.names.names[k.alpn]},
		lineproto.Tag{Key: TagStatus, Value: a.names.names[k.status]}))
	a.l7.series[k] = x
	return x
}

func (a *Aggregator) clearL7() {
	for _, x := range a.l7.used {
		a.giveBack(&x.sum.response)
		a.giveBack(&x.sum.handshakes.took)
		x.sum, x.inUse = l7Sums{}, false
	}
	a.l7.used = a.l7.used[:0]
}

// writeL7 encodes the rows of the interval.
func (a *Aggregator) writeL7(now int64) {
	enc := &a.rows.enc
	for _, x := range a.l7.used {
		x.Used = now
		s := &x.sum
		enc.Begin(MeasurementL7, x.tags)
		enc.Uint(FieldRequests, s.requests)
		enc.Uint(FieldErrors, s.errors)
		enc.Uint(FieldRequestBytes, s.requestOctets)
		enc.Uint(FieldResponseBytes, s.responseOctets)
		nonZero(enc, FieldUnanswered, s.unanswered)
		nonZero(enc, FieldLost, s.lost)
		nonZero(enc, FieldOverlapped, s.overlapped)
		nonZero(enc, FieldStreaming, s.streaming)
		nonZero(enc, FieldEstimated, s.estimated)
		if s.response != nil {
			writeDistribution(enc, &Response, s.response, a.cfg.Histograms)
		}
		s.handshakes.write(enc, now, a.cfg.Histograms)
		a.rows.end(now)
	}
	a.l7.operations.interval++
	a.l7.serverNames.interval++
}

// sweepL7 gives up series that have not been used for the expiry time.
func (a *Aggregator) sweepL7(now int64) {
	expiry := int64(a.cfg.SeriesExpiry)
	for k, x := range a.l7.series {
		if !x.inUse && now-x.Used > expiry {
			delete(a.l7.series, k)
			a.names.releaseKey(&x.key.edge)
			a.names.release(x.key.operation)
			a.names.release(x.key.status)
			a.names.release(x.key.serverName)
			a.names.release(x.key.alpn)
			a.l7.budget.used--
		}
	}
	a.l7.budget.expire(now, expiry)
	a.l7.operations.expire(now)
	a.l7.serverNames.expire(now)
}

// writeTimes writes the distributions that payload gave flow_latency.
func writeTimes(enc *lineproto.Encoder, s *requestSums, buckets bool) {
	if s.response != nil {
		writeDistribution(enc, &Response, s.response, buckets)
	}
	if s.request != nil {
		writeDistribution(enc, &Request, s.request, buckets)
	}
	if s.sent != nil {
		writeDistribution(enc, &Sent, s.sent, buckets)
	}
	nonZero(enc, FieldOverlapped, s.overlapped)
	nonZero(enc, FieldStreaming, s.streaming)
	nonZero(enc, FieldEstimated, s.estimated)
}

// writeRequestsLife writes what flow_log has to say of a connection's requests.
func writeRequestsLife(enc *lineproto.Encoder, l *correlate.RequestsLife) {
	if l.Responses > 0 {
		enc.Uint(Response.Count, l.Responses)
		enc.Float(Response.Sum, seconds(l.ResponseSum))
	}
	nonZero(enc, FieldRequests, l.Requests)
	if l.Protocol != l7.Unknown {
		enc.String(LogL7, l.Protocol.String())
	}
	if l.Handshake != nil {
		writeHandshake(enc, l.Handshake)
	}
}
