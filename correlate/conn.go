package correlate

import (
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
	errno        int32
	syn          int64
	established  int64
	closedAt     int64
	last         int64
	sent, rcvd   uint64
	retransmits  uint32
	srtt, minRTT uint32 // µs; srtt is taken as a sample once per tick when fresh
	fresh        bool
	census       uint32 // the last one it was told in
}

// slot is what packets showed of one tuple of a connection. A connection that
// crosses NAT has one for each side of it: the same packets twice.
type slot struct {
	key   flows.Key // canonical
	total [2]flows.Counters
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
	nat       *natEntry // translation of a connection with a remote end, or nil
	start     int64
	last      int64 // last activity, unix ns
	born      int64 // when the joiner first heard of it
	reported  Measures
	rtt       RTT   // over the connection's life
	connect   int64 // SYN to SYN-ACK seen on packets
	flags     flows.TCPFlags
	method    Method // of the flow-to-socket match
	reason    flows.EndReason
	oriented  bool // client and server are known, not guessed
	flowEnded bool
	done      bool // final record emitted
	doneAt    int64
	connected bool // Connect was reported
	ambiguous bool
	refs      []flows.Key // tuples under which it is indexed
}

// hasEnd says whether any local socket is known.
func (c *conn) hasEnd() bool { return c.ends[client] != nil || c.ends[server] != nil }

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
	if _, d := c.key.Canonical(); k == bare(c.key) {
		return d
	}
	// The other side of a translation: one end keeps its address or its port.
	for s, e := range c.ends {
		if e != nil && bare(e.key) == k {
			_, d := e.key.Canonical()
			if side(s) == server {
				d = d.Opposite()
			}
			return d
		}
	}
	if n := c.nat; n != nil {
		if _, d := n.orig.Canonical(); bare(n.orig) == k {
			return d
		}
		_, d := n.reply.Canonical()
		return d.Opposite()
	}
	return flows.Forward
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
	c.outcome(t)
}

func wire(t *Traffic, s *flows.Counters) {
	t.WireOctets = max(t.WireOctets, s.Octets)
	t.WirePackets = max(t.WirePackets, s.Packets)
}

// take returns what is new in total since the last take and marks it reported.
// It never counts back: when a socket appears for a flow that was reported from
// packets, the exact figure may be below the reported one.
func (m *Measures) take(reported *Measures) Measures {
	var d Measures
	takeTraffic(&d.ToServer, &m.ToServer, &reported.ToServer)
	takeTraffic(&d.ToClient, &m.ToClient, &reported.ToClient)
	for _, p := range [...][3]*uint32{
		{&d.Opened, &m.Opened, &reported.Opened},
		{&d.Closed, &m.Closed, &reported.Closed},
		{&d.Aborted, &m.Aborted, &reported.Aborted},
		{&d.ResetByClient, &m.ResetByClient, &reported.ResetByClient},
		{&d.ResetByServer, &m.ResetByServer, &reported.ResetByServer},
		{&d.TimeoutEstablished, &m.TimeoutEstablished, &reported.TimeoutEstablished},
		{&d.SYNRetransmits, &m.SYNRetransmits, &reported.SYNRetransmits},
	} {
		takeCount(p[0], p[1], p[2])
	}
	for i := range d.Failed {
		takeCount(&d.Failed[i], &m.Failed[i], &reported.Failed[i])
	}
	return d
}

func takeTraffic(d, total, reported *Traffic) {
	takeCount(&d.Payload, &total.Payload, &reported.Payload)
	takeCount(&d.WireOctets, &total.WireOctets, &reported.WireOctets)
	takeCount(&d.WirePackets, &total.WirePackets, &reported.WirePackets)
	takeCount(&d.Retransmits, &total.Retransmits, &reported.Retransmits)
}

func takeCount[T uint32 | uint64](d, total, reported *T) {
	if *total > *reported {
		*d = *total - *reported
		*reported = *total
	}
}

// bare is the canonical tuple without its namespace: the key of a slot.
func bare(k flows.Key) flows.Key {
	k, _ = k.Canonical()
	k.NetNS = 0
	return k
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
