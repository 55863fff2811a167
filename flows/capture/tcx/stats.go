package tcx

import "fmt"

// Stats are totals since Attach, but for Flows and Devices.
type Stats struct {
	Flows    uint64 // in the table at the last Collect
	Capacity uint64 // entries the table has room for
	Devices  uint64 // attached now

	Collects      uint64
	FlowsSeen     uint64 // instances
	Records       uint64
	NATs          uint64
	Evicted       uint64 // ended or idle, deleted
	EvictDeferred uint64 // ripe, left to the next Collect to bound the work of one
	// InstancesCut counts connections cut in two because their first packets came
	// while the entry of their predecessor was being deleted; nothing of them is lost.
	InstancesCut uint64
	// InstancesOrphaned counts instances whose last values were lost.
	InstancesOrphaned uint64
	BadEvents         uint64 // records of flow_events that could not be read

	Reused       uint64 // port pairs reused by a new connection within the life of an entry
	ReusedMerged uint64 // the same, but counted into the old flow: flow_events was full
	NATsLost     uint64 // flow_events was full
	NATErrors    uint64 // conntrack entry unreadable
	Takeovers    uint64 // a flow's direction moved to another device
	Stray        uint64 // packets at devices being attached or removed, not counted elsewhere

	// Total is the sum of the ledgers of all devices, those that are gone too. A
	// packet that crosses several devices while the table is full is in Overflow
	// once for each.
	Total Ledger
	// Carried is what the devices' own counters should say of what is in Total,
	// see the package documentation; it differs from SKBs and SKBOctets where they
	// leave the Ethernet header out.
	Carried Sum

	// AttachGaps counts devices that appeared after the start; GapSeconds is the
	// time from the kernel's notice to attachment, and Gap what they had carried
	// by then by their own counters. A device that was gone before it was attached
	// to is in AttachGaps and Gap.
	AttachGaps   uint64
	GapSeconds   float64
	Gap          Sum
	AttachErrors uint64
	Removed      uint64 // devices that went away
	Reattached   uint64 // programs that had vanished (a qdisc removed by somebody) and were attached again
	Resyncs      uint64 // times the device notices overran or broke and the list was read again
}

type collectorStats struct {
	flows, collects, seen, records, nats             uint64
	evicted, evictDeferred, cut, orphaned, badEvents uint64
}

// counters are those of the hot-plug side; guarded by Meter.mu.
type counters struct {
	gaps         uint64
	gapSeconds   float64
	gap          Sum
	attachErrors uint64
	removed      uint64
	reattached   uint64
	resyncs      uint64
}

// Stats belongs to the goroutine that calls Collect.
func (m *Meter) Stats() (Stats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, n := &m.count, &m.counted
	s := Stats{
		Flows: c.flows, Capacity: uint64(m.cfg.MaxFlows),
		Collects: c.collects, FlowsSeen: c.seen, Records: c.records, NATs: c.nats,
		Evicted: c.evicted, EvictDeferred: c.evictDeferred,
		InstancesCut: c.cut, InstancesOrphaned: c.orphaned, BadEvents: c.badEvents,
		AttachGaps: n.gaps, GapSeconds: n.gapSeconds, Gap: n.gap, AttachErrors: n.attachErrors,
		Removed: n.removed, Reattached: n.reattached, Resyncs: n.resyncs,
	}
	if m.coll == nil || m.closed {
		return s, nil
	}
	if err := m.kernelStats(&s); err != nil {
		return s, err
	}
	sum := m.gone[hookIngress]
	sum.add(&m.gone[hookEgress])
	s.Carried = m.goneCarried
	for _, d := range m.devs {
		if d.state != StateAttached {
			continue
		}
		s.Devices++
		for hook := range 2 {
			v, err := m.readLedger(d.ifindex, hook)
			if err != nil {
				return s, fmt.Errorf("read the ledger of %s: %w", d.name, err)
			}
			sum.add(v)
			s.Carried.add(d.carried(hook, v))
		}
	}
	s.Total = sum.ledger()
	return s, nil
}

func (m *Meter) kernelStats(s *Stats) error {
	var per []flowStat
	if err := m.coll.Maps["flow_stats"].Lookup(uint32(0), &per); err != nil {
		return fmt.Errorf("read flow_stats: %w", err)
	}
	for i := range per {
		s.Stray += per[i].Stray
		s.Takeovers += per[i].Takeovers
		s.Reused += per[i].Reuses
		s.ReusedMerged += per[i].ReuseMerged
		s.NATsLost += per[i].NatsLost
		s.NATErrors += per[i].NatErrors
	}
	return nil
}
