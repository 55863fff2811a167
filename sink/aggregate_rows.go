package sink

import (
	"strconv"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/sink/lineproto"
)

// A batch ends at whichever it reaches first: what InfluxDB's manual
// recommends for one request, or a size that one can hold in memory many times.
const (
	batchRows   = 5000
	batchOctets = 1 << 20
)

// rows cuts encoded rows into batches and reuses their memory.
type rows struct {
	stream Stream
	enc    lineproto.Encoder
	n      int   // rows of the batch being made
	newest int64 // and the time of its newest
	out    []*Batch
	spare  []*Batch
}

// begin takes back the batches that finish has returned.
func (w *rows) begin() {
	w.spare = append(w.spare, w.out...)
	w.out = w.out[:0]
}

// end ends a row begun on w.enc.
func (w *rows) end(ns int64) bool {
	if !w.enc.End(ns) {
		return false
	}
	w.n++
	w.newest = max(w.newest, ns)
	if w.n >= batchRows || w.enc.Len() >= batchOctets {
		w.cut()
	}
	return true
}

func (w *rows) cut() {
	if w.n == 0 {
		return
	}
	var b *Batch
	if n := len(w.spare); n > 0 {
		b = w.spare[n-1]
		w.spare = w.spare[:n-1]
	} else {
		b = new(Batch)
	}
	b.Stream, b.Time, b.Rows = w.stream, w.newest, w.n
	b.Lines = w.enc.Reset(b.Lines)
	w.out = append(w.out, b)
	w.n, w.newest = 0, 0
}

func (w *rows) finish() []*Batch {
	w.cut()
	return w.out
}

// openings are the distributions of what comes before the first request, in the
// order of sums.opening.
var openings = [...]*Distribution{&Resolve, &Connect, &Accept, &SynAck}

// sums is what was gathered of an edge in one interval.
type sums struct {
	toServer, toClient      correlate.Traffic
	opened, closed, aborted uint64
	failed                  [len(FieldFailedBy)]uint64
	resetByClient           uint64
	resetByServer           uint64
	resets                  resetSums
	timeoutEstablished      uint64
	synRetransmits          uint64
	acceptQueueDrops        uint64
	handshakes              uint64 // not completed
	outOfOrder, duplicates  uint64
	active                  uint64
	rttSum, rttCount        uint64
	rttMax, rttMin, jitter  uint64
	hasPayload, hasWire     bool
	opening                 [len(openings)]*dist.Histogram // nil when nothing was timed
	requests                requestSums
	score                   score
	scoredBy                *float64 // the score that was noted last
}

func addTraffic(to *correlate.Traffic, t *correlate.Traffic) {
	to.Payload += t.Payload
	to.WireOctets += t.WireOctets
	to.WirePackets += t.WirePackets
	to.Retransmits += t.Retransmits
	to.ZeroWindows += t.ZeroWindows
}

func (s *sums) add(r *correlate.Record) {
	d := &r.Delta
	addTraffic(&s.toServer, &d.ToServer)
	addTraffic(&s.toClient, &d.ToClient)
	s.hasPayload = s.hasPayload || r.HasPayload
	s.hasWire = s.hasWire || r.HasWire
	s.opened += uint64(d.Opened)
	s.closed += uint64(d.Closed)
	s.aborted += uint64(d.Aborted)
	for i, n := range d.Failed {
		s.failed[i] += uint64(n)
	}
	s.resetByClient += uint64(d.ResetByClient)
	s.resetByServer += uint64(d.ResetByServer)
	s.resets.add(&d.Resets)
	s.timeoutEstablished += uint64(d.TimeoutEstablished)
	s.synRetransmits += uint64(d.SYNRetransmits)
	s.acceptQueueDrops += uint64(d.AcceptQueueDrops)
	s.handshakes += uint64(d.HandshakesIncomplete)
	s.outOfOrder += uint64(d.OutOfOrder)
	s.duplicates += uint64(d.Duplicates)
	s.active += uint64(r.Active)
	if d.RTT.Count > 0 {
		s.rtt(d.RTT.Sum, d.RTT.Count, d.RTT.Max, rttMin(r))
		s.jitter += d.RTT.Jitter
	}
}

// rttMin prefers the kernel's windowed minimum to the smallest smoothed sample.
func rttMin(r *correlate.Record) uint64 {
	if r.MinRTT > 0 {
		return uint64(r.MinRTT)
	}
	return r.Delta.RTT.Min
}

func (s *sums) rtt(sum, count, highest, lowest uint64) {
	if s.rttCount == 0 || lowest < s.rttMin {
		s.rttMin = lowest
	}
	s.rttSum += sum
	s.rttCount += count
	s.rttMax = max(s.rttMax, highest)
}

// merge adds all of o but its histogram.
func (s *sums) merge(o *sums) {
	addTraffic(&s.toServer, &o.toServer)
	addTraffic(&s.toClient, &o.toClient)
	s.hasPayload = s.hasPayload || o.hasPayload
	s.hasWire = s.hasWire || o.hasWire
	s.opened += o.opened
	s.closed += o.closed
	s.aborted += o.aborted
	for i, n := range o.failed {
		s.failed[i] += n
	}
	s.resetByClient += o.resetByClient
	s.resetByServer += o.resetByServer
	s.resets.merge(&o.resets)
	s.timeoutEstablished += o.timeoutEstablished
	s.synRetransmits += o.synRetransmits
	s.acceptQueueDrops += o.acceptQueueDrops
	s.handshakes += o.handshakes
	s.outOfOrder += o.outOfOrder
	s.duplicates += o.duplicates
	s.jitter += o.jitter
	s.active += o.active
	s.score.merge(o.score)
	if o.rttCount > 0 {
		s.rtt(o.rttSum, o.rttCount, o.rttMax, o.rttMin)
	}
}

func (s *sums) failedTotal() uint64 {
	var n uint64
	for _, f := range s.failed {
		n += f
	}
	return n
}

// idle says whether there is nothing to write.
func (s *sums) idle() bool {
	return s.active == 0 && s.toServer == (correlate.Traffic{}) && s.toClient == (correlate.Traffic{}) &&
		s.opened+s.closed+s.failedTotal()+s.rttCount == 0 && !s.wrong() && !s.requests.timed()
}

// wrong says whether flow_error has something to say.
func (s *sums) wrong() bool {
	return s.failedTotal()+s.aborted+s.resetByClient+s.resetByServer+s.timeoutEstablished+s.synRetransmits+s.acceptQueueDrops+
		s.handshakes+s.outOfOrder+s.duplicates+s.toServer.ZeroWindows+s.toClient.ZeroWindows+s.requests.errors > 0
}

func seconds(ns uint64) float64 { return float64(ns) / 1e9 }

// write encodes the rows of one edge.
func (a *Aggregator) write(e *edge, now int64) {
	s := &e.sum
	if s.idle() {
		return
	}
	enc := &a.rows.enc
	enc.Begin(MeasurementFlow, e.tags)
	writeFlow(enc, s, e.key.proto)
	a.rows.end(now)
	if s.opening != ([len(openings)]*dist.Histogram{}) || s.rttCount > 0 || s.requests.timed() {
		enc.Begin(MeasurementFlowLatency, e.tags)
		for i, h := range s.opening {
			if h != nil {
				writeDistribution(enc, openings[i], h, a.cfg.Histograms)
			}
		}
		writeTimes(enc, &s.requests, a.cfg.Histograms)
		if s.rttCount > 0 {
			writeRTT(enc, s)
		}
		a.rows.end(now)
	}
	if s.wrong() {
		enc.Begin(MeasurementFlowError, e.tags)
		writeErrors(enc, s)
		a.rows.end(now)
	}
}

// writeRTT writes what flow_latency has of the RTT; there is a sample.
func writeRTT(enc *lineproto.Encoder, s *sums) {
	enc.Float(FieldRTTMin, seconds(s.rttMin))
	enc.Float(FieldJitter, float64(s.jitter)/float64(s.rttCount)/1e9)
}

// writeFlow writes the fields of flow; flow_log has them under the same names.
func writeFlow(enc *lineproto.Encoder, s *sums, proto flows.Proto) {
	if s.hasPayload {
		enc.Uint(FieldToServerBytes, s.toServer.Payload)
		enc.Uint(FieldToClientBytes, s.toClient.Payload)
	}
	if s.hasWire {
		enc.Uint(FieldToServerWireBytes, s.toServer.WireOctets)
		enc.Uint(FieldToClientWireBytes, s.toClient.WireOctets)
		enc.Uint(FieldToServerPackets, s.toServer.WirePackets)
		enc.Uint(FieldToClientPackets, s.toClient.WirePackets)
	}
	failed := s.failedTotal()
	enc.Uint(FieldAttempts, s.opened+failed+s.aborted)
	enc.Uint(FieldOpened, s.opened)
	enc.Uint(FieldClosed, s.closed)
	enc.Uint(FieldFailed, failed)
	enc.Uint(FieldActive, s.active)
	if proto == flows.TCP {
		enc.Uint(FieldRetransmitsToServer, s.toServer.Retransmits)
		enc.Uint(FieldRetransmitsToClient, s.toClient.Retransmits)
	}
	if s.rttCount > 0 {
		enc.Float(FieldRTTAvg, float64(s.rttSum)/float64(s.rttCount)/1e9)
		enc.Float(FieldRTTMax, seconds(s.rttMax))
	}
	if s.score.known {
		enc.Float(FieldScore, s.score.highest)
	}
}

func writeErrors(enc *lineproto.Encoder, s *sums) {
	for i, n := range s.failed {
		nonZero(enc, FieldFailedBy[i], n)
	}
	nonZero(enc, FieldAborted, s.aborted)
	nonZero(enc, FieldResetByClient, s.resetByClient)
	nonZero(enc, FieldResetByServer, s.resetByServer)
	s.resets.write(enc)
	nonZero(enc, FieldTimeoutEstablished, s.timeoutEstablished)
	nonZero(enc, FieldSYNRetransmits, s.synRetransmits)
	nonZero(enc, FieldAcceptQueueDrops, s.acceptQueueDrops)
	nonZero(enc, FieldHandshakes, s.handshakes)
	nonZero(enc, FieldOutOfOrder, s.outOfOrder)
	nonZero(enc, FieldDuplicates, s.duplicates)
	nonZero(enc, FieldZeroWindowsClient, s.toServer.ZeroWindows)
	nonZero(enc, FieldZeroWindowsServer, s.toClient.ZeroWindows)
	nonZero(enc, FieldRequestErrors, s.requests.errors)
}

func nonZero(enc *lineproto.Encoder, name string, n uint64) {
	if n > 0 {
		enc.Uint(name, n)
	}
}

func writeDistribution(enc *lineproto.Encoder, d *Distribution, h *dist.Histogram, buckets bool) {
	enc.Uint(d.Count, h.Count)
	enc.Float(d.Sum, seconds(h.Sum))
	enc.Float(d.Min, seconds(h.Min))
	enc.Float(d.P50, h.Quantile(0.50)/1e9)
	enc.Float(d.P90, h.Quantile(0.90)/1e9)
	enc.Float(d.P99, h.Quantile(0.99)/1e9)
	enc.Float(d.Max, seconds(h.Max))
	if !buckets {
		return
	}
	for i := range d.Buckets {
		b := &d.Buckets[i]
		enc.Uint(b.Name, h.CountLE(b.LE))
	}
}

// appendTags appends the tag set of an edge.
func (a *Aggregator) appendTags(dst []byte, k *edgeKey) []byte {
	return a.rows.enc.AppendTags(dst, append(a.edgeTags(k), lineproto.Tag{Key: TagAttribution, Value: k.attribution.String()}))
}

// edgeTags are the tags of an edge but for the attribution.
func (a *Aggregator) edgeTags(k *edgeKey) []lineproto.Tag {
	tags := append(make([]lineproto.Tag, 0, 29),
		lineproto.Tag{Key: TagHost, Value: a.cfg.Host},
		lineproto.Tag{Key: TagReporter, Value: k.reporter.String()},
		lineproto.Tag{Key: TagProto, Value: protoName(k)},
		lineproto.Tag{Key: TagServerPort, Value: portName(k.port)},
		lineproto.Tag{Key: TagCrosses, Value: k.crosses.String()})
	for i := range k.end {
		e := &k.end[i]
		tags = append(tags,
			lineproto.Tag{Key: TagName[i], Value: a.names.names[e.name]},
			lineproto.Tag{Key: TagKind[i], Value: e.kind.String()},
			lineproto.Tag{Key: TagProcess[i], Value: a.names.names[e.process]},
			lineproto.Tag{Key: TagContainer[i], Value: a.names.names[e.container]},
			lineproto.Tag{Key: TagNamespace[i], Value: a.names.names[e.namespace]},
			lineproto.Tag{Key: TagWorkload[i], Value: a.names.names[e.workload]},
			lineproto.Tag{Key: TagService[i], Value: a.names.names[e.service]},
			lineproto.Tag{Key: TagNode[i], Value: a.names.names[e.node]},
			lineproto.Tag{Key: TagZone[i], Value: a.names.names[e.zone]})
	}
	return tags
}

func protoName(k *edgeKey) string {
	if k.proto == protoOther {
		return Other
	}
	return k.proto.String()
}

func portName(port uint32) string {
	switch port {
	case portEphemeral:
		return PortEphemeral
	case portOther:
		return Other
	}
	return strconv.Itoa(int(port))
}
