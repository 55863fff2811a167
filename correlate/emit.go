package correlate

import (
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// settle is how long after its last socket closed a connection waits for its
// last packets before its final record.
const settle = 200 * 1e6

// Phase says whether more will come after a Tick.
type Phase uint8

const (
	Running  Phase = iota
	Draining       // the last tick: everything is told now
)

// Tick emits one Record for each connection that did something since the last
// Tick or is open, and forgets what is over. The Record is reused. While Running,
// emit may hand the Joiner new events; what they change is told now or next time.
func (j *Joiner) Tick(now time.Time, phase Phase, emit func(*Record)) {
	t := now.UnixNano()
	j.pairFresh()
	j.askWaits()
	for i := 0; i < len(j.conns); i++ {
		c := j.conns[i]
		j.expire(c, t)
		if j.ready(c, t, phase) {
			j.emit(c, t, phase, emit)
		}
		if c.done && t-max(c.doneAt, c.last) > int64(j.cfg.Grace) {
			j.stats.Evicted += j.ghosts.remember(c, t)
			j.remove(c)
			i--
		}
	}
	for _, c := range j.spill {
		j.emit(c, t, Running, emit)
	}
	j.tellListeners(now, emit)
	j.sweep(t)
}

// expire ends what has no event of its own for its end: datagram flows and flows
// seen only as packets.
func (j *Joiner) expire(c *conn, now int64) {
	if c.done || now-c.last < int64(j.cfg.Idle) {
		return
	}
	if c.key.Proto == flows.TCP && c.hasEnd() {
		return
	}
	c.reason = flows.EndIdle
	c.flowEnded = true
	for _, e := range c.ends {
		if e != nil && !e.closed {
			e.closed, e.closedAt = true, c.last
		}
	}
}

// undecided is how long a datagram's answer may take that says nobody is there: a flow
// is not told as opened before.
const undecided = 250 * 1e6

// ready says whether a connection may be told now. A flow without a socket waits
// for one until the hold time is over, a datagram flow for the other end's socket
// until that has told, and for a moment for its first answer.
func (j *Joiner) ready(c *conn, now int64, phase Phase) bool {
	switch {
	case phase == Draining || c.done:
		return true
	case c.hasEnd():
		return !j.unpaired(c) && !c.undecided(now)
	}
	return now-c.born >= int64(j.cfg.Hold) || now-c.start >= 2*int64(j.cfg.Hold)
}

func (j *Joiner) emit(c *conn, now int64, phase Phase, emit func(*Record)) {
	r := &j.record
	*r = Record{}
	c.measure(&r.Total)
	d := r.Total.take(&c.reported)
	j.stats.WireOctets += d.ToServer.WireOctets + d.ToClient.WireOctets
	if n := c.repeats(); n > c.repeated {
		j.stats.RepeatedOctets += n - c.repeated
		c.repeated = n
	}
	j.sampleRTT(c, &d)
	r.Total.RTT = c.rtt
	over := c.ended() && !c.done && (phase == Draining || !c.hasEnd() || now-c.closedAt() >= j.linger(c))
	final := !c.done && (over || phase == Draining)
	active := uint32(0)
	if !c.ended() && !c.done && !c.spilled && (c.key.Proto != flows.TCP || !c.hasEnd() || c.established() != 0 || c.baseline()) {
		active = 1
	}
	if d == (Measures{}) && active == 0 && !final {
		return
	}
	if !c.hasEnd() {
		j.stats.PacketOnlyOctets += d.ToServer.Payload + d.ToClient.Payload
	}
	r.Proto, r.Start, r.End, r.Delta = c.key.Proto, c.start, c.last, d
	r.HasPayload, r.HasWire, r.Active, r.Final = true, len(c.slots) > 0, active, final
	r.Flags, r.Initiator = c.flags, c.initiator
	j.fillEnds(c, r, now)
	j.fillTimes(c, r, now)
	if final {
		c.done, c.doneAt = true, now
		r.EndReason, r.CloseCause = c.endReason(phase), c.closeCause()
		r.Reset = c.resetReason(r.CloseCause)
		if !c.hasEnd() {
			j.stats.Unmatched++
		}
	}
	j.fillEvidence(c, r)
	if (r.Reporter != ReporterNone || c.signature) && !r.Tunnel() {
		n := d.ToServer.Payload + d.ToClient.Payload
		j.stats.LocalOctets += n
		if r.Attribution != AttributionNone {
			j.stats.AttributedOctets += n
		}
	}
	for _, n := range c.nats {
		n.used = max(n.used, now)
	}
	j.stats.Records++
	emit(r)
}

// linger is how long after its end a connection waits for its final record: for
// its last packets, and where translations are told late, for the one that a
// connection with a remote end may have.
func (j *Joiner) linger(c *conn) int64 {
	if len(c.nats) > 0 || c.ends[client] != nil && c.ends[server] != nil {
		return settle
	}
	return max(settle, int64(j.cfg.LateNAT))
}

func (c *conn) endReason(phase Phase) flows.EndReason {
	switch {
	case c.ended() && c.reason == flows.EndIdle:
		return flows.EndIdle
	case c.ended() && c.reason == flows.EndLackOfResources:
		return flows.EndLackOfResources
	case c.ended():
		return flows.EndOfFlow
	}
	return flows.EndForced
}

// sampleRTT takes the kernel's smoothed RTT once per tick from an end that had
// something new, the client's where there is one.
func (j *Joiner) sampleRTT(c *conn, d *Measures) {
	for _, e := range c.ends {
		if e == nil || !e.fresh {
			continue
		}
		e.fresh = false
		if d.RTT.Count != 0 {
			continue
		}
		d.RTT.add(uint64(e.srtt)*1000, uint64(e.jitter)*1000)
	}
	c.rtt.merge(d.RTT)
}

// waited is how long an accepted connection lay in its listener's queue, ns: until
// accept(2) where that was seen, else until its process first read or wrote; 0 not
// known. e may be nil.
func (e *end) waited() int64 {
	if e == nil || e.established == 0 || e.baseline || e.key.Proto != flows.TCP {
		return 0
	}
	at := e.learnt.accepted
	if at == 0 && e.owner.How == kprobes.OwnerIO {
		at = e.learnt.owned
	}
	return max(at-e.established, 0)
}

// fillTimes sets what the beginning of the connection took, and the minimal RTT.
func (j *Joiner) fillTimes(c *conn, r *Record, now int64) {
	// The client may be here and not have told yet.
	nobody := c.ends[client] == nil && (r.Final || now-c.start >= 2*int64(j.cfg.Hold))
	if nobody || c.answered {
		r.SynAckTotal = c.synAck
	}
	if r.SynAckTotal != 0 && !c.answered {
		r.SynAck, c.answered = r.SynAckTotal, true
	}
	if e := c.ends[client]; e != nil && e.syn != 0 && e.established >= e.syn {
		r.ConnectTotal = e.established - e.syn
	}
	if r.ConnectTotal != 0 && !c.connected {
		r.Connect, c.connected = r.ConnectTotal, true
	}
	j.askWait(c) // one that came while others were told
	if c.resolved == resolveKnown {
		r.Resolve, c.resolved = c.resolve, resolveTold
	}
	r.ResolveTotal = c.resolve
	if c.accept == 0 {
		c.accept = c.ends[server].waited()
		r.Accept = c.accept
	}
	r.AcceptTotal = c.accept
	for _, e := range c.ends {
		if v := int64(0); e != nil && e.minRTT != 0 {
			if v = int64(e.minRTT) * 1000; r.MinRTT == 0 || v < r.MinRTT {
				r.MinRTT = v
			}
		}
	}
}

// fillEnds describes both ends.
func (j *Joiner) fillEnds(c *conn, r *Record, now int64) {
	first, last := c.views()
	// An end with a socket first: it may tell where the other one's address belongs.
	if c.ends[client] != nil || c.ends[server] == nil {
		j.fillEnd(c, client, &r.Client, first, last.Reverse(), now)
		j.fillEnd(c, server, &r.Server, last.Reverse(), first, now)
	} else {
		j.fillEnd(c, server, &r.Server, last.Reverse(), first, now)
		j.fillEnd(c, client, &r.Client, first, last.Reverse(), now)
	}
	j.fillTunnel(r)
	r.Server.Service = j.serviceOf(c)
	for _, e := range c.ends {
		if e != nil {
			r.Self, r.Redirected = r.Self || e.self, r.Redirected || e.redirected
		}
	}
	r.Attribution = AttributionExact
	switch {
	case r.Client.Local && r.Server.Local:
		r.Reporter = ReporterBoth
		r.Attribution = min(r.Client.Match.Confidence, r.Server.Match.Confidence)
	case r.Client.Local:
		r.Reporter, r.Attribution = ReporterClient, r.Client.Match.Confidence
	case r.Server.Local:
		r.Reporter, r.Attribution = ReporterServer, r.Server.Match.Confidence
	default:
		r.Reporter, r.Attribution = ReporterNone, AttributionNone
	}
	r.Server.Listened = r.Server.Listened || c.established() != 0 || c.flags&flows.SYNACK != 0 || c.ghost || j.serverListens(c) ||
		(c.key.Proto != flows.TCP && r.Total.ToClient.Payload+r.Total.ToClient.WirePackets > 0)
}

// serviceOf is what the client asked for: it knows an address of the service, whatever
// that was translated to.
func (j *Joiner) serviceOf(c *conn) string {
	if e := c.ends[client]; !c.sought && e != nil && j.cfg.Service != nil {
		c.service, c.sought = j.cfg.Service(e.key.Dst, e.key.NetNS, c.start), true
	}
	return c.service
}

func (j *Joiner) serverListens(c *conn) bool {
	if e := c.ends[server]; e != nil {
		return true
	}
	e := c.ends[client]
	return e != nil && j.Listens(e.key.NetNS, e.key.DstPort, e.key.Proto)
}

// fillEnd describes an end by its own view (Src is the end itself) and the other
// side's (Dst is this end as the other side sees it).
func (j *Joiner) fillEnd(c *conn, s side, ep *Endpoint, own, seen flows.Key, now int64) {
	ep.Addr, ep.Port = own.Src, own.SrcPort
	if !seen.Dst.IsZero() && (seen.Dst != own.Src || seen.DstPort != own.SrcPort) {
		ep.NATAddr, ep.NATPort = seen.Dst, seen.DstPort
	}
	e := c.socket(s)
	switch other := c.ends[s.other()]; {
	case e != nil:
		ep.Cookie, ep.NetNS, ep.SeenNS = e.cookie, e.key.NetNS, e.key.NetNS
	case other != nil:
		ep.SeenNS = other.key.NetNS
	default:
		ep.SeenNS = j.cfg.HostNetNS
	}
	id := j.identify(c, s, ep, now)
	ep.Local, ep.Kind, ep.Name = id.local, id.kind, id.name
	ep.Process, ep.Creator, ep.Current = id.process, id.creator, id.current
	ep.Contain, ep.Match, ep.NetName = id.contain, id.match, id.netName
	ep.DNSName, ep.Node, ep.Zone, ep.Geo = id.dnsName, id.node, id.zone, id.geo
	if e != nil {
		ep.Match = matchOf(&e.owner.Owner, c.method)
		ep.Evidence = e.evidence()
	}
	ep.Evidence.Group, ep.Evidence.Legacy = id.group, id.legacy
}

// matchOf grades what the kernel said of an owner. A socket nobody has read or
// written yet is only presumed to stay with its listener.
func matchOf(o *kprobes.Owner, flow Method) Match {
	switch o.How {
	case kprobes.OwnerNone:
		return Match{}
	case kprobes.OwnerListener:
		return Match{MethodListener, AttributionInferred}
	case kprobes.OwnerBootstrap:
		return Match{MethodBootstrap, AttributionInferred}
	}
	if !o.Known() {
		return Match{}
	}
	if flow == MethodNone {
		flow = MethodCookie
	}
	return Match{flow, AttributionExact}
}
