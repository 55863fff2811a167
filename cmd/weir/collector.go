package main

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/weir-probe/weir/cmd/weir/internal/telemetry"
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/live"
)

// drainEvery is how long an event may wait in a ring buffer; the kernel wakes
// nobody. While nothing happens the time doubles up to drainIdle: waking up is
// what an idle probe costs, and the rings hold more than comes in that time.
const (
	drainEvery = 25 * time.Millisecond
	drainIdle  = 200 * time.Millisecond
)

// orphanTime is how long a connection may go on that its process has closed: FIN_WAIT2
// lasts a minute (tcp_fin_timeout). Where snapshots go by descriptors it is in none, and
// only after this time a sign that its end was missed.
const orphanTime = 65 * time.Second

// drainRecords is how many records are told between two looks at the rings.
const drainRecords = 512

// collector owns all state between the kernel and the encoded row, in one
// goroutine. It does no I/O but BPF system calls, and never waits for a sink.
type collector struct {
	interval time.Duration
	log      *slog.Logger
	*kernelSide
	out      *output
	own      uint32 // inode of the only network namespace whose sockets count; 0 = all
	delivery func(s *sink.Self, t time.Time) (live.Health, uint64)
	info     sink.Info
	memory   *memoryGuard
	// questions are answered between two drains: they may read what the collector owns.
	questions chan func()

	join0   correlate.Stats // at the last tick
	cpu0    time.Duration
	lost0   uint64
	lostWho uint64 // process and cgroup events
	// lostClosed is how many ends of connections were lost at the last tick,
	// censuses how many are to come because of it, the next one not before nextCensus.
	lostClosed uint64
	censuses   int
	nextCensus time.Time
	errors     atomic.Uint64
	lastE      time.Time
}

// Socket, Peer, Process and Cgroup make the collector the handler of kernel events.
func (c *collector) Socket(e *kprobes.SocketEvent) {
	if c.foreign(e.Key.NetNS) {
		return
	}
	c.nats.Seen(e.Key.NetNS, e.Owner.PID, e.Time)
	c.join.Socket(e)
	if c.asked != nil && e.Kind == kprobes.SocketClosed {
		c.asked.Closed(e.Cookie)
	}
}

func (c *collector) Peer(e *kprobes.PeerEvent) {
	if c.foreign(e.Key.NetNS) {
		return
	}
	c.nats.Seen(e.Key.NetNS, e.Owner.PID, e.Last)
	c.join.Peer(e)
}

func (c *collector) Process(e *kprobes.ProcessEvent) {
	c.who.processes.Process(e)
	c.inside.started(e)
}

func (c *collector) Cgroup(e *kprobes.CgroupEvent) {
	c.who.resolver.Cgroup(e)
	c.inside.born(e)
}

// Payload makes it a handler of payload, too.
func (c *collector) Payload(e *kprobes.PayloadEvent) {
	if c.foreign(e.Key.NetNS) {
		return
	}
	if c.asked != nil {
		c.asked.Payload(e)
	}
	if c.who.outside.dns != nil {
		c.who.outside.dns.Payload(e)
	}
	c.odd.payload(e)
}

// Flow makes it the handler of the packet path, NAT of whoever tells translations.
func (c *collector) Flow(r *flows.Record) { c.join.Flow(r) }
func (c *collector) NAT(n *flows.NAT)     { c.join.NAT(n) }

// run collects until ctx is done and ends with a tick of the phase that last
// then says: Draining tells everything that is still open.
func (c *collector) run(ctx context.Context, last func() correlate.Phase) error {
	debug.FreeOSMemory() // what the start needed: type information of the kernel, lists of sockets
	wait := drainEvery
	drain := time.NewTimer(wait)
	defer drain.Stop()
	ends := newGrid(c.interval, time.Now())
	for {
		select {
		case <-ctx.Done():
			c.tick(time.Now(), last())
			c.used.finish(ctx, c.who, c.out, c.cfg.Host)
			c.odd.finish()
			c.places.finish(c.out)
			return nil
		case answer := <-c.questions:
			answer()
			continue
		case <-drain.C:
		}
		if wait = min(2*wait, drainIdle); c.drain() > 0 {
			wait = drainEvery
		}
		c.used.take(c.who, c.out, c.cfg.Host)
		c.memory.adapt()
		now := time.Now()
		c.inside.choose(c.who, now)
		if ends.due(now) {
			c.tick(ends.next, correlate.Running)
			now = time.Now()
			ends.move(now)
		}
		drain.Reset(min(wait, ends.next.Sub(now)))
	}
}

// drain empties the rings and returns how many kernel events there were.
func (c *collector) drain() int {
	if c.asked != nil {
		c.asked.Settle()
	}
	events, err := c.sockets.Drain(c)
	c.report("drain kernel events", err)
	c.report("drain translations", c.packets.Drain(c))
	c.nats.Drain(c)
	return events
}

// tick ends an interval: sockets first, packets last, so that whatever packet
// is counted, its socket is known.
func (c *collector) tick(end time.Time, phase correlate.Phase) {
	began := time.Now()
	if phase == correlate.Draining {
		c.packets.Settle()
	}
	c.drain()
	c.report("read open sockets", c.snapshot())
	asked := time.Now().UnixNano()
	c.report("read datagram peers", c.sockets.Peers(c))
	c.drain()
	c.join.Pair(asked)
	c.report("read flows", c.packets.Collect(time.Now(), c, func() { c.drain() }))
	c.who.tick(began.UnixNano())
	c.used.take(c.who, c.out, c.cfg.Host)
	c.tellTrouble(end)
	c.join.SetTunnels(c.who.addresses.Tunnels())
	now := time.Now()
	c.drain() // what ended before now is known, however long the reading took
	told := 0
	c.join.Tick(now, phase, func(r *correlate.Record) {
		r.Self = r.Self && !c.cfg.ShowSelf
		c.used.note(r)
		c.happen.take(r)
		if c.asked != nil {
			c.asked.Take(r)
		}
		c.odd.add(r)
		c.out.add(r, end)
		// Tens of thousands of connections take seconds on a busy machine; the
		// rings hold less than that.
		if told++; told%drainRecords == 0 && phase == correlate.Running {
			c.drain()
		}
	})
	c.used.ask(end, time.Now(), c.who, c.join)
	c.happen.tick(end, now, c.who, c.out.events)
	if c.asked != nil {
		c.asked.Tick(now)
	}
	c.odd.tick(end, c.out)
	h := c.self(end, began)
	c.out.flush(end, c.interval, h)
	c.places.tick(end, c.out)
}

// snapshot reads the open sockets that did something; after close events were
// lost, all of them, twice, to find those that are gone.
func (c *collector) snapshot() error {
	now := time.Now()
	if lost := c.sockets.Stats().LostClosed; lost != c.lostClosed {
		c.lostClosed, c.censuses, c.nextCensus = lost, 2, now
	}
	if c.censuses == 0 || now.Before(c.nextCensus) {
		return c.sockets.Snapshot(c)
	}
	c.censuses--
	if !c.sockets.AllSockets() {
		c.nextCensus = now.Add(orphanTime)
	}
	return c.join.Census(func() error { return c.sockets.SnapshotAll(c) })
}

// report counts an error and logs it at most once a minute.
func (c *collector) report(doing string, err error) {
	if err == nil {
		return
	}
	c.errors.Add(1)
	if now := time.Now(); now.Sub(c.lastE) > time.Minute {
		c.lastE = now
		c.log.Error("collect: "+doing, "err", err, "errors", c.errors.Load())
	}
}

// self writes what the probe knows about itself, stage by stage.
func (c *collector) self(t, began time.Time) live.Health {
	s := c.out.self
	lost := c.packets.Self(s, t)
	lost += c.selfKernel(s, t)
	lost += c.selfNATs(s, t)
	lost += selfL7(s, t, c.asked, c.sockets.PayloadStats())
	lost += c.inside.self(s, t)
	c.selfJoin(s, t)
	c.who.self(s, t)
	c.used.self(s, t, c.out)
	c.happen.self(s, t, c.out.events)
	c.odd.self(s, t)
	lost += selfAlerts(s, t, c.alerts)
	s.SinkStage(t, c.out.edges.Stats(), c.out.log.Stats())
	h, lostLater := c.delivery(s, t)
	lost += lostLater
	u := telemetry.ReadUsage()
	s.Stage(t, sink.StageProcess, sink.SelfRSS.Is(uint64(u.RSS)), sink.SelfCPU.Is((u.CPU - c.cpu0).Seconds()),
		sink.SelfUptime.Is(time.Since(c.started).Seconds()), sink.SelfLoop.Is(time.Since(began).Seconds()),
		s.Meter(sink.StageProcess, sink.SelfErrors, c.errors.Load()))
	c.cpu0 = u.CPU
	s.Info(t, c.info)
	j := c.join.Stats()
	if local := j.LocalOctets - c.join0.LocalOctets; local > 0 {
		h.Unattributed = 1 - float64(j.AttributedOctets-c.join0.AttributedOctets)/float64(local)
	}
	c.join0 = j
	h.Lost, c.lost0 = lost-min(lost, c.lost0), lost
	return h
}

func (c *collector) selfKernel(s *sink.Self, t time.Time) uint64 {
	st := c.sockets.Stats()
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageKernel, n, v) }
	ring := st.LostClosed + st.LostListener + st.LostReleased + st.LostProcess + st.LostCgroup + st.LostNAT
	full := st.NoStorage + st.PeerLostPackets + st.LostDrops + st.LostHandshakes
	lost := ring + full + st.DecodeErrors + st.UnparsedPackets +
		st.CloseWithoutContext + st.IterTruncated + st.PeersTruncated + st.ProgramMisses
	j, drops := c.join.Stats(), c.out.drops.Stats()
	s.Stage(t, sink.StageKernel, m(sink.SelfSeen, j.Sockets+j.Peers), m(sink.SelfSockets, j.Sockets+j.Peers),
		sink.SelfHooksAttached.Is(uint64(c.info.HooksAttached)), sink.SelfHooksMissing.Is(uint64(c.info.HooksMissing)),
		m(sink.SelfLost, lost), m(sink.SelfLostRingFull, ring), m(sink.SelfLostMapFull, full),
		m(sink.SelfLostDecode, st.DecodeErrors+st.UnparsedPackets),
		m(sink.SelfLostClosed, st.LostClosed), m(sink.SelfLostListener, st.LostListener), m(sink.SelfLostReleased, st.LostReleased),
		m(sink.SelfLostProcess, st.LostProcess), m(sink.SelfLostCgroup, st.LostCgroup), m(sink.SelfLostNAT, st.LostNAT), m(sink.SelfNATs, st.NATs),
		m(sink.SelfLostDrops, st.LostDrops), m(sink.SelfLostHandshakes, st.LostHandshakes), sink.SelfDropSeries.Is(drops.Series), m(sink.SelfDropsFolded, drops.Folded),
		m(sink.SelfRows, drops.Encoder.Rows), m(sink.SelfValuesCleaned, drops.Encoder.Cleaned),
		m(sink.SelfNoStorage, st.NoStorage), m(sink.SelfNoContext, st.CloseWithoutContext),
		m(sink.SelfOverflowPackets, st.OverflowPackets), m(sink.SelfOverflowBytes, st.OverflowBytes),
		m(sink.SelfLostPackets, st.PeerLostPackets), m(sink.SelfLostBytes, st.PeerLostBytes),
		m(sink.SelfUnparsed, st.UnparsedPackets), m(sink.SelfOwnerBusy, st.OwnerBusy),
		m(sink.SelfProgramMisses, st.ProgramMisses), m(sink.SelfTruncated, st.IterTruncated+st.PeersTruncated))
	if n := st.LostProcess + st.LostCgroup; n != c.lostWho {
		c.lostWho = n
		c.who.resync()
	}
	return lost
}

func (c *collector) selfJoin(s *sink.Self, t time.Time) {
	st := c.join.Stats()
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageJoin, n, v) }
	s.Stage(t, sink.StageJoin, m(sink.SelfSeen, st.Sockets+st.Peers+st.Flows),
		m(sink.SelfSockets, st.Sockets+st.Peers), m(sink.SelfFlows, st.Flows), m(sink.SelfRecords, st.Records),
		sink.SelfConnections.Is(uint64(st.Connections)),
		m(sink.SelfMatchedCookie, st.ByCookie), m(sink.SelfMatchedTuple, st.ByTuple), m(sink.SelfMatchedNAT, st.ByNAT),
		m(sink.SelfUnmatched, st.Unmatched), m(sink.SelfAmbiguous, st.Ambiguous), m(sink.SelfPaired, st.Paired),
		m(sink.SelfAdopted, st.Adopted), m(sink.SelfBuried, st.Buried), m(sink.SelfLate, st.Late), m(sink.SelfEvicted, st.Evicted),
		m(sink.SelfOverflow, st.Overflow), m(sink.SelfNATOverflow, st.NATOverflow), m(sink.SelfLostTableFull, st.NATOverflow),
		m(sink.SelfLocalBytes, st.LocalOctets), m(sink.SelfAttributedBytes, st.AttributedOctets),
		m(sink.SelfPacketOnlyBytes, st.PacketOnlyOctets),
		m(sink.SelfWireBytes, st.WireOctets), m(sink.SelfRepeatedBytes, st.RepeatedOctets),
		sink.Coverage(st.AttributedOctets-c.join0.AttributedOctets, st.LocalOctets-c.join0.LocalOctets))
}
