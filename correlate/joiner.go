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
	cfg    Config
	enrich Enricher

	conns   []*conn
	sockets map[uint64]sockRef // TCP, by cookie
	peers   map[peerKey]*peer  // datagram sockets, by cookie and peer
	tuples  map[flows.Key]*ref // canonical tuple → connections that have or had it
	pairs   map[pairKey]*conn  // by both initial sequence numbers
	nats    map[flows.Key]*natEntry
	listens map[listenKey]int64 // when last seen
	spill   map[flows.Proto]*conn
	holders map[kprobes.Owner]*holder
	known   map[identity]*identity
	ticks   uint32
	census  uint32

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

// natEntry is one translation, indexed under both its tuples.
type natEntry struct {
	orig, reply flows.Key
	time        int64
}

// New returns an empty Joiner. cfg's zero fields mean the defaults.
func New(cfg Config, enrich Enricher) *Joiner {
	return &Joiner{
		cfg: cfg.withDefaults(), enrich: enrich,
		sockets: map[uint64]sockRef{}, peers: map[peerKey]*peer{}, tuples: map[flows.Key]*ref{},
		pairs: map[pairKey]*conn{}, nats: map[flows.Key]*natEntry{}, listens: map[listenKey]int64{},
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
		j.listens[listenKey{ev.Key.NetNS, ev.Key.SrcPort, ev.Key.Proto}] = ev.Time
		return
	}
	if ev.Key.Dst.IsZero() || ev.Key.DstPort == 0 {
		return // never connected anywhere: no flow, no edge
	}
	r, known := j.sockets[ev.Cookie]
	if !known {
		if len(j.conns) >= j.cfg.MaxConnections {
			j.spillSocket(ev)
			return
		}
		r = j.placeSocket(ev)
	}
	e := r.c.ends[r.s]
	e.update(ev)
	e.census = j.census
	e.owner, e.opener = j.hold(e.owner, &ev.Owner), j.hold(e.opener, &ev.Opener)
	r.c.touch(ev.Time)
	for _, t := range [...]int64{ev.Opened, ev.SYN, ev.Established} {
		r.c.touch(t)
	}
	if ev.HasBase && !e.hasBase {
		j.pair(r.c, r.s, ev)
	}
}

func (e *end) update(ev *kprobes.SocketEvent) {
	e.state, e.baseline, e.self = ev.State, ev.Baseline, e.self || ev.Self
	e.role = ev.Role
	e.syn, e.established = ev.SYN, ev.Established
	e.sent, e.rcvd = max(e.sent, ev.Sent), max(e.rcvd, ev.Received)
	e.retransmits = max(e.retransmits, ev.Retransmits)
	e.last = max(e.last, ev.Time)
	if ev.SRTT != 0 {
		e.srtt, e.fresh = ev.SRTT, true
	}
	if ev.MinRTT != 0 && ev.MinRTT != ^uint32(0) {
		e.minRTT = ev.MinRTT
	}
	if ev.Kind == kprobes.SocketClosed {
		e.closed, e.closedAt, e.errno = true, ev.Time, ev.Errno
	}
}

// placeSocket finds or makes the connection of a new socket.
func (j *Joiner) placeSocket(ev *kprobes.SocketEvent) sockRef {
	s := j.sideOf(ev)
	e := j.newEnd()
	e.cookie, e.key, e.role = ev.Cookie, ev.Key, ev.Role
	j.bury(ev)
	start := firstTime(ev.SYN, ev.Opened, ev.Established, ev.Time)
	c := j.adopt(ev.Key, start)
	if c == nil {
		c = j.newConn(ev.Time)
	}
	c.ends[s] = e
	c.setKey(s, ev.Key, ev.Role != kprobes.RoleUnknown)
	j.index(c, ev.Key)
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

// sideOf says which end a socket is. A socket from before the probe has no
// known role: it is the server if somebody listens on its port, else by the port.
func (j *Joiner) sideOf(ev *kprobes.SocketEvent) side {
	switch ev.Role {
	case kprobes.RoleClient:
		return client
	case kprobes.RoleServer:
		return server
	}
	if j.Listens(ev.Key.NetNS, ev.Key.SrcPort, ev.Key.Proto) {
		return server
	}
	if !j.Listens(ev.Key.NetNS, ev.Key.DstPort, ev.Key.Proto) && likelyServer(ev.Key.SrcPort, ev.Key.DstPort) {
		return server
	}
	return client
}

// likelyServer says whether port a looks more like a service than port b: the
// registered range below the ephemeral one.
func likelyServer(a, b uint16) bool {
	const ephemeral = 32768 // net.ipv4.ip_local_port_range default
	if (a < ephemeral) != (b < ephemeral) {
		return a < ephemeral
	}
	return (a < 1024) && (b >= 1024)
}

// Listens says whether a socket was seen listening there.
func (j *Joiner) Listens(netns uint32, port uint16, proto flows.Proto) bool {
	_, ok := j.listens[listenKey{netns, port, proto}]
	return ok
}

// setKey takes the client's own view as the connection's key as soon as there is one.
func (c *conn) setKey(s side, local flows.Key, sure bool) {
	if s == server {
		local = local.Reverse()
		if c.ends[client] != nil {
			return
		}
	}
	if c.oriented && !sure {
		return
	}
	if bare(local) == bare(c.key) && local.Src == c.key.Dst && local.SrcPort == c.key.DstPort {
		r := &c.reported // the guess was the wrong way round
		r.ToServer, r.ToClient = r.ToClient, r.ToServer
	}
	c.key, c.oriented = local, sure || c.oriented
}

// Flow takes what packets showed of one flow.
func (j *Joiner) Flow(rec *flows.Record) {
	j.stats.Flows++
	if rec.Key.NetNS == 0 {
		rec.Key.NetNS = j.cfg.HostNetNS
	}
	c := j.matchFlow(rec)
	if c == nil {
		if len(j.conns) >= j.cfg.MaxConnections {
			j.spillFlow(rec)
			return
		}
		c = j.newConn(rec.Start)
		c.key, c.oriented = orientFlow(rec, j), rec.Initiator != flows.InitiatorUnknown && !rec.Guessed
		j.index(c, rec.Key)
	}
	k := rec.Key
	k.NetNS = 0 // canonical already, see flows.Record
	s := c.slotFor(k)
	if s.by == 0 {
		c.signed(s, rec.Cookie)
	}
	for d := range rec.Dir {
		s.total[d].Add(rec.Dir[d])
		c.flags |= rec.Dir[d].Flags
	}
	c.touch(rec.Start)
	c.touch(rec.End)
	if rec.Connect != 0 && c.connect == 0 {
		c.connect = rec.Connect
	}
	if rec.EndReason != flows.EndNone && rec.EndReason != flows.EndActive {
		c.flowEnded, c.reason = true, rec.EndReason
	} else {
		c.flowEnded = false
	}
}

// orientFlow turns a canonical key so that Src is the client.
func orientFlow(rec *flows.Record, j *Joiner) flows.Key {
	k := rec.Key
	switch rec.Initiator {
	case flows.InitiatorDst:
		return k.Reverse()
	case flows.InitiatorSrc:
		return k
	}
	if likelyServer(k.SrcPort, k.DstPort) {
		return k.Reverse()
	}
	return k
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
