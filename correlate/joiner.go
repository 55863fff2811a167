package correlate

import (
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// Joiner pairs flow records with the sockets behind them. It takes events as
// they come, in any order between the two views, and once per interval emits one
// Record per connection. It is owned by one goroutine and does no I/O.
//
// A connection is found by, in this order: the socket cookie a packet carried;
// the pair of initial sequence numbers, which both ends of a TCP connection know
// and no NAT changes; the tuple, when exactly one connection of that time had it;
// the tuple after a translation conntrack told of.
type Joiner struct {
	cfg     Config
	enrich  Enricher
	tunnels []Tunnel

	conns   []*conn
	sockets map[uint64]sockRef // TCP, by cookie
	peers   map[peerKey]*peer  // datagram sockets, by cookie and peer
	tuples  map[flows.Key]*ref // canonical tuple → connections that have or had it
	pairs   map[pairKey]*conn  // by both initial sequence numbers
	nats    map[flows.Key]*natEntry
	listens map[listenKey]int64         // when last seen
	kernels map[listenKey]kprobes.Owner // ports of the kernel's own, which no socket event tells of
	spill   map[flows.Proto]*conn
	// listeners by cookie, for what they drop.
	listeners map[uint64]*listening
	holding   []*holder // scratch of OpenSockets
	ghosts    ghosts
	fresh     []*conn // datagram flows whose other end has not been looked for
	begun     []*conn // scratch of askWaits
	asOf      int64   // when all datagram sockets told last, unix ns; 0: they do not
	holders   map[kprobes.Owner]*holder
	known     map[identity]*identity
	ticks     uint32
	census    uint32

	record Record
	asking Endpoint
	stats  Stats
	freeC  []*conn
	freeE  []*end
	freeR  *ref
}

type sockRef struct {
	c *conn
	s side
}

// peerKey identifies what one datagram socket exchanges with one peer.
type peerKey struct {
	cookie uint64
	key    flows.Key
}

// pairKey is the client's and the server's initial sequence number + 1.
type pairKey struct{ client, server uint32 }

type listenKey struct {
	netns uint32
	port  uint16
	proto flows.Proto
}

// ref is a link of the list of connections under one tuple, newest first.
type ref struct {
	c    *conn
	next *ref
}

// New returns an empty Joiner. cfg's zero fields mean the defaults.
func New(cfg Config, enrich Enricher) *Joiner {
	return &Joiner{
		cfg: cfg.withDefaults(), enrich: enrich,
		sockets: map[uint64]sockRef{}, peers: map[peerKey]*peer{}, tuples: map[flows.Key]*ref{},
		pairs: map[pairKey]*conn{}, nats: map[flows.Key]*natEntry{}, listens: map[listenKey]int64{}, kernels: map[listenKey]kprobes.Owner{},
		spill: map[flows.Proto]*conn{}, holders: map[kprobes.Owner]*holder{}, known: map[identity]*identity{},
	}
}

// Reconfigure changes limits and enricher; connections that were named keep
// their names.
func (j *Joiner) Reconfigure(cfg Config, enrich Enricher) {
	j.cfg, j.enrich = cfg.withDefaults(), enrich
	clear(j.holders)
	clear(j.known)
}

// Stats returns the counters so far.
func (j *Joiner) Stats() Stats {
	s := j.stats
	s.Connections = len(j.conns)
	return s
}

// Socket takes the state of one TCP socket.
func (j *Joiner) Socket(ev *kprobes.SocketEvent) {
	j.stats.Sockets++
	if ev.Role == kprobes.RoleListener {
		if ev.Kind == kprobes.SocketClosed {
			j.listenedTo(ev)
			return
		}
		k := listenKey{ev.Key.NetNS, ev.Key.SrcPort, ev.Key.Proto}
		j.listens[k] = ev.Time
		if ev.Key.Proto == flows.TCP {
			j.listensTo(ev)
		}
		if k.proto == flows.UDP && ev.Owner.IsKernel() && len(j.kernels) < maxKernels {
			j.kernels[k] = ev.Owner
		}
		return
	}
	if ev.Key.Dst.IsZero() || ev.Key.DstPort == 0 {
		return // never connected anywhere: no flow, no edge
	}
	if ev.Key.SrcPort == 0 && ev.Kind == kprobes.SocketSnapshot {
		return // it is in connect() and chooses its port: the tuple is still to come
	}
	if ev.NoSYN {
		j.attempt(ev)
		return
	}
	r, known := j.sockets[ev.Cookie]
	if !known {
		if len(j.conns) >= j.cfg.MaxConnections {
			j.spillSocket(ev)
			return
		}
		r = j.placeSocket(ev)
	}
	if e := r.c.ends[r.s]; known && e.role == kprobes.RoleUnknown && ev.Role != kprobes.RoleUnknown {
		r = j.turn(r, ev)
	}
	e := r.c.ends[r.s]
	if e.update(ev); ev.Time >= e.toldAt {
		e.toldAt = ev.Time
		e.owner, e.opener = j.hold(e.owner, &ev.Owner), j.hold(e.opener, &ev.Opener)
	}
	e.census = j.census
	r.c.touch(ev.Time)
	for _, t := range [...]int64{ev.Opened, ev.SYN, ev.Established} {
		r.c.touch(t)
	}
	if ev.HasBase && !e.hasBase {
		j.pair(r.c, r.s, ev)
	}
	if !known { // after the numbers: what they say is more than a translation
		j.index(j.sockets[ev.Cookie].c, ev.Key)
	}
}

// update takes an event. Those of one socket may come out of order: what only
// grows is the largest, what changes is the latest's.
func (e *end) update(ev *kprobes.SocketEvent) {
	e.self, e.redirected = e.self || ev.Self, e.redirected || ev.Redirected
	e.sent, e.rcvd = max(e.sent, ev.Sent), max(e.rcvd, ev.Received)
	e.retransmits = max(e.retransmits, ev.Retransmits)
	e.outOfOrder, e.duplicates = max(e.outOfOrder, ev.OutOfOrder), max(e.duplicates, ev.Duplicates)
	e.noteSYNs(ev)
	e.last = max(e.last, ev.Time)
	if ev.Kind == kprobes.SocketClosed {
		e.closed, e.closedAt, e.errno, e.reset = true, ev.Time, ev.Errno, ev.Reset
	}
	if ev.Time < e.toldAt {
		return
	}
	e.state, e.baseline, e.role = ev.State, ev.Baseline, ev.Role
	e.syn, e.established = ev.SYN, ev.Established
	e.learnt = learnt{ev.OwnerAt, ev.OpenerAt, ev.Accepted, ev.Switches, ev.Acceptor, ev.OwnerHook}
	if ev.SRTT != 0 {
		e.srtt, e.jitter, e.fresh = ev.SRTT, ev.Jitter, true
	}
	if ev.MinRTT != 0 && ev.MinRTT != ^uint32(0) {
		e.minRTT = ev.MinRTT
	}
}

// placeSocket finds or makes the connection of a new socket.
func (j *Joiner) placeSocket(ev *kprobes.SocketEvent) sockRef {
	s, how := j.sideOf(ev)
	e := j.newEnd()
	e.cookie, e.key, e.role, e.baseline = ev.Cookie, ev.Key, ev.Role, ev.Baseline
	j.bury(ev)
	start := firstTime(ev.SYN, ev.Opened, ev.Established, ev.Time)
	if ev.Baseline {
		start = ev.Time - int64(j.cfg.Hold)
	}
	c := j.adopt(e, s, start, ev.Role == kprobes.RoleClient && !ev.Baseline)
	if c == nil {
		c = j.newConn(ev.Time)
	} else if c.initiator > how {
		s = c.sideWith(ev.Key) // its packets tell more than the socket
	}
	c.ends[s] = e
	c.setKey(s, ev.Key, how)
	if len(c.slots) > 0 {
		j.matched(c, c.adoptedBy(e))
	}
	r := sockRef{c, s}
	j.sockets[ev.Cookie] = r
	return r
}

// bury closes a socket whose close event was lost: the same tuple in the same
// namespace can't be open twice.
func (j *Joiner) bury(ev *kprobes.SocketEvent) {
	for r := j.tuples[indexKey(ev.Key)]; r != nil; r = r.next {
		for _, e := range r.c.ends {
			if e != nil && !e.closed && e.key == ev.Key {
				e.closed, e.closedAt = true, e.last
				j.stats.Buried++
			}
		}
	}
}

// Census closes the sockets whose close events were lost: those that tell, which
// must give Socket the state of every open one, leaves out twice. Once may be
// chance: a socket in the middle of a change is not told.
func (j *Joiner) Census(tell func() error) error {
	j.census++
	if err := tell(); err != nil {
		return err
	}
	for _, c := range j.conns {
		for _, e := range c.ends {
			if e != nil && e.key.Proto == flows.TCP && !e.closed && j.census-e.census >= 2 {
				e.closed, e.closedAt = true, e.last
				j.stats.Buried++
			}
		}
	}
	return nil
}

// Listens says whether a socket was seen listening there.
func (j *Joiner) Listens(netns uint32, port uint16, proto flows.Proto) bool {
	_, ok := j.listens[listenKey{netns, port, proto}]
	return ok
}

// Flow takes what packets showed of one flow.
func (j *Joiner) Flow(rec *flows.Record) {
	j.stats.Flows++
	lo := rec.Key.NetNS != 0
	if !lo {
		rec.Key.NetNS = j.cfg.HostNetNS
	}
	c := j.matchFlow(rec, lo)
	if c == nil {
		if rec.Dir[flows.Forward].Packets+rec.Dir[flows.Reverse].Packets == 0 {
			return // the end of a flow whose connection was told, packets and all, and forgotten
		}
		if len(j.conns) >= j.cfg.MaxConnections {
			j.spillFlow(rec)
			return
		}
		c = j.newConn(rec.Start)
		c.key, c.initiator = orientFlow(rec)
		c.slotOf(rec)
		c.touch(rec.Start)
		j.index(c, rec.Key)
	}
	c.signature = c.signature || rec.Cookie != [2]uint64{}
	s := c.slotOf(rec)
	if s.by == 0 {
		c.signed(s, rec.Cookie)
	}
	for d := range rec.Dir {
		s.total[d].Add(rec.Dir[d])
		c.flags |= rec.Dir[d].Flags
	}
	c.touch(rec.Start)
	c.touch(rec.End)
	if rec.SynAck != 0 && c.synAck == 0 {
		c.synAck = rec.SynAck
	}
	if rec.EndReason != flows.EndNone && rec.EndReason != flows.EndActive {
		c.flowEnded, c.reason = true, rec.EndReason
	} else {
		c.flowEnded = false
	}
}

// slotOf is the slot that a record is counted in.
func (c *conn) slotOf(rec *flows.Record) *slot {
	k := rec.Key
	k.NetNS = 0 // canonical already, see flows.Record
	s := c.slotFor(k)
	s.start = rec.Start
	for d, cookie := range rec.Cookie {
		if cookie != 0 {
			s.cookie[d] = cookie
		}
	}
	return s
}

// Process and Cgroup make the Joiner a kprobes.Handler; identity is the
// enricher's business.
func (j *Joiner) Process(*kprobes.ProcessEvent) {}

// Cgroup is ignored, see Process.
func (j *Joiner) Cgroup(*kprobes.CgroupEvent) {}

func firstTime(ts ...int64) int64 {
	for _, t := range ts {
		if t != 0 {
			return t
		}
	}
	return 0
}
