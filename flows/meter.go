package flows

// Meter is an IPFIX metering process: a bounded cache of bidirectional flows
// that packets are counted into and records are collected from.
//
// It is owned by one goroutine and takes the time from its packets and from
// Collect. Observe allocates nothing for a known flow; memory grows with the
// number of flows up to MaxFlows and stays.
//
// A flow instance begins with its first packet and ends by FIN in both
// directions or RST (after a linger for late packets), by idleness, by a new
// SYN on the same ports, or because the cache is full. Who opened it is known
// from SYN and SYN-ACK; for other protocols the sender of the first packet did,
// unless ports say that this was an answer. A TCP flow seen from its middle is
// decided by ports (guessed), and stays unknown when both ports are ephemeral.
type Meter struct {
	config MeterConfig
	index  map[Key]int32
	// slots is the cache; freed slots are chained by next.
	slots []flow
	free  int32
	lists [listCount]list
	// dirty holds the slots that may have something unreported, each once (queued);
	// flow.dirty decides.
	dirty []int32
	// ended holds the last records of instances that ended inside Observe.
	ended     []Record
	fragments fragmentTable
	stats     MeterStats
	record    Record // reused by Collect
}

// flow is one instance in the cache. It holds no pointer.
type flow struct {
	key         Key
	start, last int64 // unix ns of the first and the newest packet
	reported    int64 // Collect's now at the last record, or start
	counters    [2]Counters
	tcp         [2]tcpSide
	point       [2]uint64 // observation point that counts the direction, 0 = none yet
	pointSeen   [2]int64
	syn         int64 // time of the first SYN, 0 = not seen
	synAck      int64 // SYN to SYN-ACK, reported once
	next, prev  int32
	list        listID
	initiator   Initiator
	guessed     bool
	dirty       bool
	queued      bool // the slot stands in Meter.dirty; outlives the flow
	closed      bool // RST, or FIN in both directions
	connected   bool // the SYN-ACK was timed
}

// NewMeter returns an empty meter; the configuration must be valid.
func NewMeter(c MeterConfig) *Meter {
	c = c.withDefaults()
	m := &Meter{config: c, index: make(map[Key]int32), free: none}
	for i := range m.lists {
		m.lists[i] = list{head: none, tail: none}
	}
	m.fragments.init(c.MaxFragments)
	return m
}

// Stats returns what was counted so far.
func (m *Meter) Stats() MeterStats {
	s := m.stats
	s.Flows = uint64(len(m.index))
	return s
}

// Observe counts one packet and says whether it was counted to a flow: else it is
// a copy that another observation point has counted, or an unknown fragment. p is
// not retained.
func (m *Meter) Observe(p *Packet) bool {
	m.stats.Packets += p.Packets
	m.stats.Octets += p.Octets

	key := p.Key
	if p.Fragment != FragmentNone && !m.fragments.resolve(p, &key) {
		m.stats.UnknownFragmentPackets += p.Packets
		m.stats.UnknownFragmentOctets += p.Octets
		return false
	}
	canonical, dir := key.Canonical()
	slot, known := m.index[canonical]
	if known && m.slots[slot].reusedBy(p, dir) {
		m.end(slot, EndOfFlow)
		m.stats.FlowsReused++
		known = false
	}
	if !known {
		slot = m.create(canonical, p)
	}
	f := &m.slots[slot]
	if !m.owns(f, p, dir) {
		m.stats.DuplicatePackets += p.Packets
		m.stats.DuplicateOctets += p.Octets
		return false
	}
	f.count(p, dir)
	f.dirty = true
	if !f.queued {
		f.queued = true
		m.dirty = append(m.dirty, slot)
	}
	m.touch(slot)
	return true
}

// create makes a flow for its first packet p, at the cost of the longest idle
// one when the cache is full.
func (m *Meter) create(canonical Key, p *Packet) int32 {
	if len(m.index) >= m.config.MaxFlows {
		m.end(m.oldest(), EndLackOfResources)
		m.stats.FlowsEvicted++
	}
	slot := m.free
	if slot != none {
		m.free = m.slots[slot].next
	} else {
		slot = int32(len(m.slots))
		m.slots = append(m.slots, flow{})
	}
	f := &m.slots[slot]
	*f = flow{key: canonical, start: p.Time, last: p.Time, reported: p.Time, list: listNone, queued: f.queued}
	f.guess(p)
	m.index[canonical] = slot
	m.stats.FlowsCreated++
	return slot
}

// owns says whether p's observation point counts this direction of f: the first
// one that saw it does, until it is silent.
func (m *Meter) owns(f *flow, p *Packet, dir Direction) bool {
	if p.Point == 0 {
		return true
	}
	if f.point[dir] != p.Point {
		if f.point[dir] != 0 && p.Time-f.pointSeen[dir] <= int64(m.config.Takeover) {
			return false
		}
		f.point[dir] = p.Point
	}
	f.pointSeen[dir] = max(f.pointSeen[dir], p.Time)
	return true
}

// count adds p to f.
func (f *flow) count(p *Packet, dir Direction) {
	c := &f.counters[dir]
	c.Packets += p.Packets
	c.Octets += p.Octets
	c.Payload += p.Payload
	f.last = max(f.last, p.Time)
	if p.Key.Proto == TCP && p.Fragment != FragmentLater {
		f.countTCP(p, dir)
	}
}

// end takes a flow out of the cache and keeps its last record for Collect.
func (m *Meter) end(slot int32, reason EndReason) {
	f := &m.slots[slot]
	if len(m.ended) < m.config.MaxFlows {
		m.ended = append(m.ended, Record{})
		f.fill(&m.ended[len(m.ended)-1], reason)
	} else {
		m.stats.LostPackets += f.counters[0].Packets + f.counters[1].Packets
		m.stats.LostOctets += f.counters[0].Octets + f.counters[1].Octets
	}
	m.release(slot)
}

func (m *Meter) release(slot int32) {
	f := &m.slots[slot]
	m.unlink(slot)
	delete(m.index, f.key)
	f.dirty = false
	f.next = m.free
	m.free = slot
}

// fill moves what f has not reported yet into r.
func (f *flow) fill(r *Record, reason EndReason) {
	*r = Record{
		Key:       f.key,
		Start:     f.start,
		End:       f.last,
		Dir:       f.counters,
		SynAck:    f.synAck,
		Initiator: f.initiator,
		EndReason: reason,
		Guessed:   f.guessed,
	}
	r.ISN, r.HasISN = f.firstISN()
	f.counters = [2]Counters{}
	f.synAck = 0
	f.dirty = false
}
