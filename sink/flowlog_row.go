package sink

import (
	"github.com/cespare/xxhash/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/sink/lineproto"
)

// logNames is a logKey whose strings need not be interned.
type logNames struct {
	name      [2]string
	proto     flows.Proto
	reporter  correlate.Reporter
	endReason flows.EndReason
}

func (n *logNames) hash() uint64 {
	h := xxhash.Sum64String(n.name[0])*0x9e3779b97f4a7c15 + xxhash.Sum64String(n.name[1])
	return h ^ uint64(n.proto)<<16 ^ uint64(n.reporter)<<8 ^ uint64(n.endReason)
}

// write writes the row of one connection.
func (l *FlowLog) write(r *correlate.Record, now int64) {
	l.begin()
	l.stats.Rows++
	at := r.End
	if !r.Final {
		l.stats.Heartbeats++
	}
	if !r.Final || at <= 0 {
		at = now
	}
	s := l.find(r)
	s.Used = now
	enc := &l.rows.enc
	enc.Begin(MeasurementFlowLog, s.tags)
	writeEnd(enc, &r.Client, ClientEnd)
	writeEnd(enc, &r.Server, ServerEnd)
	enc.Int(LogStart, r.Start)
	enc.Float(LogDuration, float64(max(at-r.Start, 0))/1e9)
	if r.Proto == flows.TCP {
		enc.Int(LogTCPFlags, int64(r.Flags&0xff))
	}
	enc.String(LogInitiator, r.Initiator.String())
	if c := r.CloseCause.String(); c != "" {
		enc.String(LogCloseCause, c)
	}
	known(enc, LogReset, r.Reset.String())
	if r.Redirected {
		enc.Int(LogRedirected, 1)
	}
	writeEvidence(enc, r)
	writeLife(enc, r)
	l.rows.end(l.times.unique(at))
}

// writeLife writes the counters of the whole connection under the names they
// have in flow, flow_latency and flow_error.
func writeLife(enc *lineproto.Encoder, r *correlate.Record) {
	life := correlate.Record{
		Delta: r.Total, HasPayload: r.HasPayload, HasWire: r.HasWire,
		Active: r.Active, MinRTT: r.MinRTT,
	}
	var s sums
	s.add(&life)
	writeFlow(enc, &s, r.Proto)
	for i, ns := range [...]int64{r.ResolveTotal, r.ConnectTotal, r.AcceptTotal, r.SynAckTotal} {
		if ns > 0 {
			enc.Int(openings[i].Count, 1)
			enc.Float(openings[i].Sum, float64(ns)/1e9)
		}
	}
	if s.rttCount > 0 {
		writeRTT(enc, &s)
	}
	if r.Requests != nil {
		s.requests.errors = r.Requests.Life.Errors
		writeRequestsLife(enc, &r.Requests.Life)
	}
	writeErrors(enc, &s)
}

// writeEnd writes what is known of one end.
func writeEnd(enc *lineproto.Encoder, e *correlate.Endpoint, end int) {
	enc.Addr(LogAddress[end], e.Addr.Netip())
	enc.Int(LogPort[end], int64(e.Port))
	if !e.NATAddr.IsZero() || e.NATPort != 0 {
		enc.Addr(LogNATAddress[end], e.NATAddr.Netip())
		enc.Int(LogNATPort[end], int64(e.NATPort))
	}
	if p := e.Process; p != nil {
		enc.Int(LogPID[end], int64(p.PID))
		enc.Int(LogProcessStart[end], p.Start)
		known(enc, LogProcess[end], p.Name)
		known(enc, LogCmdline[end], p.Cmdline)
		known(enc, LogUser[end], p.User)
		enc.Int(LogPPID[end], int64(p.PPID))
	}
	if p := e.Creator; p != nil && p != e.Process {
		enc.Int(LogCreatorPID[end], int64(p.PID))
		enc.Int(LogCreatorStart[end], p.Start)
		known(enc, LogCreatorProcess[end], p.Name)
	}
	if p := e.Current; p != nil {
		known(enc, LogCurrentProcess[end], p.Name)
		known(enc, LogCurrentCmdline[end], p.Cmdline)
	}
	if c := e.Contain; c != nil {
		if !c.Sandbox { // which of the pod's containers it was is not known
			known(enc, LogContainerID[end], c.ID)
		}
		known(enc, LogContainer[end], c.Name)
		known(enc, LogImage[end], c.Image)
		known(enc, LogPod[end], c.Pod.Name)
	}
	if e.NetNS != 0 {
		enc.Int(LogNetNS[end], int64(e.NetNS))
		known(enc, LogNetNSName[end], e.NetName)
	}
	if e.Cookie != 0 {
		enc.Uint(LogCookie[end], e.Cookie)
	}
	known(enc, LogDNSName[end], e.DNSName)
	if e.Geo.ASN != 0 {
		enc.Int(LogASN[end], int64(e.Geo.ASN))
	}
	known(enc, LogASOrg[end], e.Geo.Org)
	known(enc, LogCountry[end], e.Geo.Country)
	enc.String(LogMethod[end], e.Match.Method.String())
	writeEndEvidence(enc, e, end)
}

func known(enc *lineproto.Encoder, name, value string) {
	if value != "" {
		enc.String(name, value)
	}
}

// find returns the tag set of a row, folded as far as the budget needs.
func (l *FlowLog) find(r *correlate.Record) *logSeries {
	n := logNames{
		name:  [2]string{r.Client.DisplayName(), r.Server.DisplayName()},
		proto: normal(r.Proto), reporter: r.Reporter, endReason: r.EndReason,
	}
	if !r.Final && n.endReason == flows.EndNone {
		n.endReason = flows.EndActive
	}
	for at := levelContainer; ; at++ {
		switch at {
		case levelWorkload:
			foldName(&n.name[0], &r.Client)
			foldName(&n.name[1], &r.Server)
		case levelOneEnd:
			if l.names.lookup(n.name[ClientEnd]) == unknownID {
				n.name[ClientEnd] = Other
			} else {
				n.name[ServerEnd] = Other
			}
		case levelOther:
			n.name = [2]string{Other, Other}
		case levelLast:
			if s := n.proto.String(); s[0] >= '0' && s[0] <= '9' {
				n.proto = protoOther
			}
		}
		k := logKey{
			name:  [2]uint32{l.names.lookup(n.name[0]), l.names.lookup(n.name[1])},
			proto: n.proto, reporter: n.reporter, endReason: n.endReason,
		}
		s := l.series[k]
		if s == nil && l.budget.admit(at, n.hash(), l.last) {
			s = l.create(&n)
		}
		if s != nil {
			if at > levelContainer {
				l.stats.Folded++
			}
			return s
		}
	}
}

func foldName(name *string, e *correlate.Endpoint) {
	if e.Contain != nil {
		*name = correlate.WorkloadName(e)
	}
}

func (l *FlowLog) create(n *logNames) *logSeries {
	k := logKey{
		name:  [2]uint32{l.names.acquire(n.name[0]), l.names.acquire(n.name[1])},
		proto: n.proto, reporter: n.reporter, endReason: n.endReason,
	}
	proto := n.proto.String()
	if n.proto == protoOther {
		proto = Other
	}
	s := &logSeries{key: k, Place: Place{Hash: n.hash()}}
	s.tags = l.rows.enc.AppendTags(nil, []lineproto.Tag{
		{Key: TagHost, Value: l.cfg.Host},
		{Key: TagReporter, Value: n.reporter.String()},
		{Key: TagProto, Value: proto},
		{Key: TagName[ClientEnd], Value: n.name[ClientEnd]},
		{Key: TagName[ServerEnd], Value: n.name[ServerEnd]},
		{Key: TagEndReason, Value: n.endReason.String()},
	})
	l.series[k] = s
	return s
}

// instants hands out times that no other row of this host has: a taken one
// moves on by 1 ns. It remembers the last generation or two of them; a time
// further back than that comes again only by a chance of 1 in 10⁹.
type instants struct {
	young, old map[int64]int64 // taken time → a later one to try
}

const instantsKept = 1 << 15

func (s *instants) unique(t int64) int64 {
	free := t
	for {
		next, ok := s.young[free]
		if !ok {
			next, ok = s.old[free]
		}
		if !ok {
			break
		}
		free = next
	}
	if s.young == nil {
		s.young, s.old = make(map[int64]int64, instantsKept), make(map[int64]int64, instantsKept)
	}
	if len(s.young)+2 > instantsKept {
		s.young, s.old = s.old, s.young
		clear(s.young)
	}
	s.young[free] = free + 1
	s.young[t] = free + 1 // the next one with this time starts there
	return free
}
