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
// Tick or is open, and forgets what is over. The Record is reused.
func (j *Joiner) Tick(now time.Time, phase Phase, emit func(*Record)) {
	t := now.UnixNano()
	for i := 0; i < len(j.conns); i++ {
		c := j.conns[i]
		j.expire(c, t)
		if j.ready(c, t, phase) {
			j.emit(c, t, phase, emit)
		}
		if c.done && t-max(c.doneAt, c.last) > int64(j.cfg.Grace) {
			j.remove(c)
			i--
		}
	}
	for _, c := range j.spill {
		j.emit(c, t, Running, emit)
	}
	for k, n := range j.nats {
		if t-n.time > natLife {
			delete(j.nats, k)
		}
	}
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

// ready says whether a connection may be told now. A flow without a socket waits
// for one until the hold time is over.
func (j *Joiner) ready(c *conn, now int64, phase Phase) bool {
	if phase == Draining || c.hasEnd() || c.done {
		return true
	}
	return now-c.born >= int64(j.cfg.Hold) || now-c.start >= 2*int64(j.cfg.Hold)
}

func (j *Joiner) emit(c *conn, now int64, phase Phase, emit func(*Record)) {
	r := &j.record
	*r = Record{}
	c.measure(&r.Total)
	d := r.Total.take(&c.reported)
	j.sampleRTT(c, &d)
	r.Total.RTT = c.rtt
	over := c.ended() && !c.done && (phase == Draining || !c.hasEnd() || now-c.closedAt() >= settle)
	final := !c.done && (over || phase == Draining)
	active := uint32(0)
	if !c.ended() && !c.done && (c.key.Proto != flows.TCP || !c.hasEnd() || c.established() != 0 || c.baseline()) {
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
	r.Flags, r.Guessed = c.flags, !c.oriented
	j.fillEnds(c, r, now)
	j.fillTimes(c, r)
	if final {
		c.done, c.doneAt = true, now
		r.EndReason, r.CloseCause = c.endReason(phase), c.closeCause()
		if !c.hasEnd() {
			j.stats.Unmatched++
		}
	}
	if r.Reporter != ReporterNone {
		n := d.ToServer.Payload + d.ToClient.Payload
		j.stats.LocalOctets += n
		if r.Attribution != AttributionNone {
			j.stats.AttributedOctets += n
		}
	}
	j.stats.Records++
	emit(r)
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
		d.RTT.add(uint64(e.srtt) * 1000)
	}
	c.rtt.merge(d.RTT)
}

// fillTimes sets the connect latency and the minimal RTT.
func (j *Joiner) fillTimes(c *conn, r *Record) {
	r.ConnectTotal = c.connect
	if e := c.ends[client]; e != nil && e.syn != 0 && e.established >= e.syn {
		r.ConnectTotal = e.established - e.syn
	}
	if r.ConnectTotal != 0 && !c.connected {
		r.Connect, c.connected = r.ConnectTotal, true
	}
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
	j.fillEnd(c, client, &r.Client, now)
	j.fillEnd(c, server, &r.Server, now)
	for _, e := range c.ends {
		r.Self = r.Self || (e != nil && e.self)
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
	r.Server.Listened = c.established() != 0 || c.flags&flows.SYNACK != 0 || j.serverListens(c) ||
		(c.key.Proto != flows.TCP && r.Total.ToClient.Payload+r.Total.ToClient.WirePackets > 0)
}

func (j *Joiner) serverListens(c *conn) bool {
	if e := c.ends[server]; e != nil {
		return true
	}
	e := c.ends[client]
	return e != nil && j.Listens(e.key.NetNS, e.key.DstPort, e.key.Proto)
}

func (j *Joiner) fillEnd(c *conn, s side, ep *Endpoint, now int64) {
	local, remote := c.viewOf(s)
	ep.Addr, ep.Port = local.Src, local.SrcPort
	if seen := remote; seen != local && !seen.Dst.IsZero() && (seen.Dst != local.Src || seen.DstPort != local.SrcPort) {
		ep.NATAddr, ep.NATPort = seen.Dst, seen.DstPort
	}
	e := c.ends[s]
	if e != nil {
		ep.Cookie, ep.NetNS = e.cookie, e.key.NetNS
	}
	id := j.identify(c, s, ep, now)
	ep.Local, ep.Kind, ep.Name = id.local, id.kind, id.name
	ep.Process, ep.Creator, ep.Contain, ep.Match = id.process, id.creator, id.contain, id.match
	if e != nil {
		ep.Match = matchOf(&e.owner.Owner, c.method)
	}
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

// viewOf returns an end's own view of the connection (Src is the end itself) and
// the other side's (Dst is this end as the other side sees it).
func (c *conn) viewOf(s side) (own, seen flows.Key) {
	key := c.key
	if s == server {
		key = key.Reverse()
	}
	own, seen = key, key.Reverse()
	if e := c.ends[s]; e != nil {
		own = e.key
	} else if n := c.nat; n != nil {
		if k := n.natOwn(s); k != (flows.Key{}) {
			own = k
		}
	}
	if e := c.ends[s.other()]; e != nil {
		seen = e.key
	} else if n := c.nat; n != nil {
		if k := n.natSeen(s); k != (flows.Key{}) {
			seen = k
		}
	}
	return own, seen
}

// natOwn is the view of an end without a socket: the server's own address is the
// source of the reply; the client's is the original source.
func (n *natEntry) natOwn(s side) flows.Key {
	if s == client {
		return n.orig
	}
	return n.reply
}

// natSeen is how the other side addresses an end: the server answers to the
// reply's destination, the client calls the original destination.
func (n *natEntry) natSeen(s side) flows.Key {
	if s == client {
		return n.reply
	}
	return n.orig
}
