package correlate

import (
	"slices"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// side indexes the two ends of a connection.
type side uint8

const (
	client side = 0
	server side = 1
)

func (s side) other() side { return s ^ 1 }

// end is one local socket's part in a connection.
type end struct {
	cookie       uint64
	key          flows.Key // Src local
	owner        *holder   // shared, never nil once placed
	opener       *holder
	snd, rcv     uint32 // sequence bases, valid iff hasBase
	hasBase      bool
	role         kprobes.Role
	state        kprobes.TCPState
	closed       bool
	baseline     bool
	self         bool
	overflow     bool // catch-all of a datagram socket: no tuple
	unhooked     bool // what it sends passes none of its hooks: only packets count it
	redirected   bool // some of its octets were in no packet
	noSYN        bool // connect() failed before there was one
	refused      bool // a port unreachable came back for its datagrams
	errno        int32
	reset        kprobes.ResetReason
	syn          int64
	established  int64
	closedAt     int64
	learnt       learnt // how its owners became known
	last         int64
	toldAt       int64 // time of the latest event, to which the changing values belong
	sent, rcvd   uint64
	retransmits  uint32
	synsAgain    uint32 // see noteSYNs
	outOfOrder   uint32
	duplicates   uint32
	srtt, minRTT uint32 // µs; srtt and jitter are taken as a sample once per tick when fresh
	jitter       uint32
	fresh        bool
	census       uint32 // the last one it was told in
}

// slot is what packets showed of one tuple of a connection. A connection that
// crosses NAT has one for each side of it: the same packets twice.
type slot struct {
	key    flows.Key // canonical, with the domain it was seen in
	start  int64     // names the newest instance, see flows.Record
	cookie [2]uint64 // of the sender of each direction, where packets carried one
	total  [2]flows.Counters
	// by is 1 + the side whose socket cookie was seen on packets, doubled, + the
	// direction of those packets; 0 when no packet carried one.
	by uint8
}

// toServer is the direction of the slot that points to the server.
func (c *conn) toServer(s *slot) flows.Direction {
	if s.by == 0 {
		return c.orient(s.key)
	}
	d := flows.Direction((s.by - 1) & 1)
	if side(s.by-1)>>1 == server {
		d = d.Opposite()
	}
	return d
}

// signed notes which end's cookie the packets of a direction carried.
func (c *conn) signed(s *slot, cookies [2]uint64) {
	for d, cookie := range cookies {
		for i, e := range c.ends {
			if cookie != 0 && e != nil && e.cookie == cookie {
				s.by = uint8(1 + i*2 + d)
				return
			}
		}
	}
}

// conn is one connection or datagram flow: up to two local sockets and what
// packets showed of it. Owned by the Joiner's goroutine.
type conn struct {
	key       flows.Key // Src is the client as far as known; the client's own view
	index     int       // in Joiner.conns
	ends      [2]*end
	slots     []slot
	ids       [2]*identity
	asked     [2]asked
	nats      []*natEntry // its translations, at most maxHops
	start     int64
	last      int64 // last activity, unix ns
	born      int64 // when the joiner first heard of it
	reported  Measures
	repeated  uint64 // octets on the wire of the other tuples: the same packets again
	rtt       RTT    // over the connection's life
	synAck    int64  // SYN to SYN-ACK as packets show it
	resolve   int64  // wait for the DNS answer before it
	accept    int64  // established to accepted
	service   string // that the client asked for, once it was looked up
	flags     flows.TCPFlags
	method    Method // of the flow-to-socket match
	initiator InitiatorMethod
	reason    flows.EndReason
	flowEnded bool
	done      bool // final record emitted
	doneAt    int64
	connected bool // Connect was reported
	answered  bool // SynAck was reported
	ambiguous bool
	sought    bool // service was looked up
	halfOpen  bool // its listener has told that the handshake was not completed
	joined    JoinedBy
	rivals    Rivals
	ghost     bool        // of a connection forgotten, see ghosts
	spilled   bool        // not one connection, but all that the table had no room for
	signature bool        // packets carried a socket's cookie: there is a local one
	fresh     bool        // stands in Joiner.fresh
	refs      []flows.Key // tuples under which it is indexed
}

// hasEnd says whether any local socket is known.
func (c *conn) hasEnd() bool { return c.ends[client] != nil || c.ends[server] != nil }

func (c *conn) hasRef(k flows.Key) bool { return slices.Contains(c.refs, k) }

// closed says whether every known local socket is closed. A datagram flow is
// over with the first: the other end's socket serves others, too.
func (c *conn) closed() bool {
	open, shut := 0, 0
	for _, e := range c.ends {
		switch {
		case e == nil:
		case e.closed:
			shut++
		default:
			open++
		}
	}
	if c.key.Proto == flows.TCP {
		return shut > 0 && open == 0
	}
	return shut > 0
}

// closedAt is the time the last local socket closed.
func (c *conn) closedAt() int64 {
	var t int64
	for _, e := range c.ends {
		if e != nil {
			t = max(t, e.closedAt)
		}
	}
	return t
}

func (c *conn) touch(t int64) {
	c.last = max(c.last, t)
	if t != 0 && (c.start == 0 || t < c.start) {
		c.start = t
	}
}

// slotFor returns the slot of a canonical tuple, made on first use.
func (c *conn) slotFor(k flows.Key) *slot {
	for i := range c.slots {
		if c.slots[i].key == k {
			return &c.slots[i]
		}
	}
	c.slots = append(c.slots, slot{key: k})
	return &c.slots[len(c.slots)-1]
}

// orient returns which direction of a slot points to the server.
func (c *conn) orient(k flows.Key) flows.Direction {
	k.Domain = 0
	if _, d := c.key.Canonical(); k == bare(c.key) {
		return d
	}
	// The other side of a translation.
	for s, e := range c.ends {
		if e != nil && bare(e.key) == k {
			d, _ := e.sends(side(s), c.key, nil, k)
			if side(s) == server {
				d = d.Opposite()
			}
			return d
		}
	}
	d, _ := toward(c.key, c.nats, k)
	return d
}

// measure computes the totals since the connection began. Both ends and every
// tuple saw the same connection, so that of two views the larger is the more
// complete one; each is monotonic, hence so is the result.
func (c *conn) measure(t *Measures) {
	*t = Measures{RTT: c.rtt}
	for i := range c.slots {
		s := &c.slots[i]
		d := c.toServer(s)
		wire(&t.ToServer, &s.total[d])
		wire(&t.ToClient, &s.total[d.Opposite()])
		if !c.hasEnd() {
			t.ToServer.Payload = max(t.ToServer.Payload, s.total[d].Payload)
			t.ToClient.Payload = max(t.ToClient.Payload, s.total[d.Opposite()].Payload)
			t.ToServer.Retransmits = max(t.ToServer.Retransmits, s.total[d].Retransmits)
			t.ToClient.Retransmits = max(t.ToClient.Retransmits, s.total[d.Opposite()].Retransmits)
		} else if e := c.ends[client]; e != nil && e.unhooked {
			t.ToServer.Payload = max(t.ToServer.Payload, s.total[d].Payload)
		}
	}
	if e := c.ends[client]; e != nil {
		t.ToServer.Payload = max(t.ToServer.Payload, e.sent)
		t.ToClient.Payload = max(t.ToClient.Payload, e.rcvd)
		t.ToServer.Retransmits = max(t.ToServer.Retransmits, uint64(e.retransmits))
	}
	// A server's datagram socket counts by peer, and a peer may be several of a
	// client's sockets, one after the other: there the client's count is the flow's.
	if e := c.ends[server]; e != nil && (c.key.Proto == flows.TCP || c.ends[client] == nil) {
		t.ToServer.Payload = max(t.ToServer.Payload, e.rcvd)
		t.ToClient.Payload = max(t.ToClient.Payload, e.sent)
		t.ToClient.Retransmits = max(t.ToClient.Retransmits, uint64(e.retransmits))
	}
	for _, e := range c.ends {
		if e != nil {
			t.OutOfOrder += e.outOfOrder
			t.Duplicates += e.duplicates
		}
	}
	if c.toSelf() {
		t.ToClient = Traffic{} // what it sent is what it received: told once
	}
	c.outcome(t)
}

// sentBy are the TCP flags of all that packets showed of one side.
func (c *conn) sentBy(s side) flows.TCPFlags {
	var f flows.TCPFlags
	for i := range c.slots {
		d := c.toServer(&c.slots[i])
		if s == server {
			d = d.Opposite()
		}
		f |= c.slots[i].total[d].Flags
	}
	return f
}

// repeats is how many octets the slots hold beyond what was reported of them:
// those of the same packets under another tuple. It never falls.
func (c *conn) repeats() uint64 {
	var n uint64
	for i := range c.slots {
		n += c.slots[i].total[0].Octets + c.slots[i].total[1].Octets
	}
	told := c.reported.ToServer.WireOctets + c.reported.ToClient.WireOctets
	return n - min(n, told)
}

func wire(t *Traffic, s *flows.Counters) {
	t.WireOctets = max(t.WireOctets, s.Octets)
	t.WirePackets = max(t.WirePackets, s.Packets)
	t.ZeroWindows = max(t.ZeroWindows, s.ZeroWindows)
}

// take returns what is new in total since the last take and marks it reported.
// It never counts back: when a socket appears for a flow that was reported from
// packets, the exact figure may be below the reported one.
func (m *Measures) take(reported *Measures) Measures {
	var d Measures
	takeTraffic(&d.ToServer, &m.ToServer, &reported.ToServer)
	takeTraffic(&d.ToClient, &m.ToClient, &reported.ToClient)
	to, total, told := d.counts(), m.counts(), reported.counts()
	for i := range to {
		takeCount(to[i], total[i], told[i])
	}
	for i := range d.Failed {
		takeCount(&d.Failed[i], &m.Failed[i], &reported.Failed[i])
	}
	return d
}

// counts are the counts of m but those of Failed.
func (m *Measures) counts() [11]*uint32 {
	return [...]*uint32{&m.Opened, &m.Closed, &m.Aborted, &m.ResetByClient, &m.ResetByServer, &m.TimeoutEstablished, &m.SYNRetransmits, &m.AcceptQueueDrops, &m.HandshakesIncomplete, &m.OutOfOrder, &m.Duplicates}
}

func takeTraffic(d, total, reported *Traffic) {
	takeCount(&d.Payload, &total.Payload, &reported.Payload)
	takeCount(&d.WireOctets, &total.WireOctets, &reported.WireOctets)
	takeCount(&d.WirePackets, &total.WirePackets, &reported.WirePackets)
	takeCount(&d.Retransmits, &total.Retransmits, &reported.Retransmits)
	takeCount(&d.ZeroWindows, &total.ZeroWindows, &reported.ZeroWindows)
}

func takeCount[T uint32 | uint64](d, total, reported *T) {
	if *total > *reported {
		*d = *total - *reported
		*reported = *total
	}
}

// bare is the canonical tuple without the place where it was seen.
func bare(k flows.Key) flows.Key {
	k, _ = k.Canonical()
	k.NetNS, k.Domain = 0, 0
	return k
}

// toSelf is a socket that is connected to itself: it is both ends.
func (c *conn) toSelf() bool {
	return c.key.Proto == flows.TCP && c.key.Src == c.key.Dst && c.key.SrcPort == c.key.DstPort
}

// socket returns the local socket of a side, nil where there is none.
func (c *conn) socket(s side) *end {
	if c.ends[s] == nil && c.toSelf() {
		return c.ends[s.other()]
	}
	return c.ends[s]
}

// pairKeys returns the pair key of each reading of the socket's role, and how
// many of them apply: a socket from before the probe may be either.
func (e *end) pairKeys() (keys [2]pairKey, sides [2]side, n int) {
	asServer := pairKey{client: e.rcv, server: e.snd}
	switch e.role {
	case kprobes.RoleServer:
		return [2]pairKey{asServer}, [2]side{server}, 1
	case kprobes.RoleClient:
		return [2]pairKey{{client: e.snd, server: e.rcv}}, [2]side{client}, 1
	}
	// SndBase of a client of unknown role lacks the SYN (kprobes.SocketEvent).
	return [2]pairKey{{client: e.snd + 1, server: e.rcv}, asServer}, [2]side{client, server}, 2
}
