package correlate

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// A world is generated traffic of which the truth is known: two pairs of
// namespaces with the same addresses, few ports that are used again and again,
// TCP and UDP, translation in between, and what the kernel would tell of it.
type world struct {
	*rand.Rand
	cookies bool // packets carry them
	talks   []*talk
	cookie  uint64
	steps   []step
}

// talk is the truth of one connection.
type talk struct {
	pair            int
	proto           flows.Proto
	client, server  flows.Key // their own views
	cookies         [2]uint64 // client's, server's
	start, end      int64
	sent, rcvd      uint64 // payload to the server and back
	wireOut, wireIn uint64
	isn             [2]uint32
	translated      bool
	told            [2]uint64 // payload in records so far
	toldOut, toldIn uint64
	finals          int
}

// step is something the joiner is told at a time.
type step struct {
	at    int64
	late  bool   // packets, at the end of an interval
	order uint32 // among the steps of one time
	do    func(*Joiner)
}

func (w *world) add(at int64, do func(*Joiner)) {
	w.steps = append(w.steps, step{at, false, w.Uint32(), do})
}

const worldStart = 1000 * sec

func newWorld(seed uint64, cookies bool, pairs int) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 3)), cookies: cookies, cookie: 100}
	for pair := range pairs {
		for _, proto := range []flows.Proto{flows.TCP, flows.UDP} {
			for port := range 3 {
				w.line(pair, proto, uint16(40000+port))
			}
		}
	}
	return w
}

// line makes connections one after the other on one client port.
func (w *world) line(pair int, proto flows.Proto, port uint16) {
	at := worldStart + w.Int64N(sec)
	var line []*talk
	for range 1 + w.IntN(5) {
		t := &talk{pair: pair, proto: proto, start: at, end: at + 2e6 + w.Int64N(3*sec), sent: 1 + w.Uint64N(1e6), rcvd: 1 + w.Uint64N(1e6)}
		at = t.end + 1e6 + w.Int64N(sec) // at once, or later
		t.client = flows.Key{Src: addr("10.9.0.2"), Dst: addr("10.9.0.3"), SrcPort: port, DstPort: 80, Proto: proto, NetNS: uint32(11 + 10*pair)}
		t.server = t.client.Reverse()
		t.server.NetNS = uint32(12 + 10*pair)
		t.wireOut, t.wireIn = t.sent+54*uint64(1+w.IntN(9)), t.rcvd+54*uint64(1+w.IntN(9))
		t.isn = [2]uint32{w.Uint32(), w.Uint32()}
		w.cookie += 2
		t.cookies = [2]uint64{w.cookie, w.cookie + 1}
		if proto == flows.UDP {
			t.cookies[1] = uint64(10 + pair) // of the one socket that serves all
		} else if w.cookies && w.IntN(4) == 0 {
			t.translated = true
			t.client.Dst, t.client.DstPort = addr("10.9.0.99"), 8080
		}
		line = append(line, t)
		if proto == flows.TCP {
			w.streams(t)
		} else {
			w.datagrams(t)
		}
		w.packets(t)
	}
	w.talks = append(w.talks, line...)
	if proto == flows.UDP {
		w.entry(line)
	}
}

// ticksIn returns the interval ends within a talk's life.
func ticksIn(t *talk) (at []int64) {
	for x := t.start/sec*sec + sec; x < t.end; x += sec {
		at = append(at, x)
	}
	return at
}

// part is how much of total had passed at a time.
func (t *talk) part(total uint64, at int64) uint64 {
	return total * uint64(at-t.start) / uint64(t.end-t.start)
}

func pidOf(cookie uint64) uint32 { return uint32(cookie) + 1000 }

// streams tells of both sockets of a TCP connection.
func (w *world) streams(t *talk) {
	for s, k := range []flows.Key{t.client, t.server} {
		tell := func(kind kprobes.SocketKind, at int64) {
			ev := sock(t.cookies[s], k, []kprobes.Role{kprobes.RoleClient, kprobes.RoleServer}[s], pidOf(t.cookies[s]), "p", t.start)
			bases(ev, t.isn[s], t.isn[1-s])
			ev.Kind, ev.Time = kind, at
			payload(ev, t.part(t.sent, at), t.part(t.rcvd, at))
			if s == 1 {
				ev.Sent, ev.Received = ev.Received, ev.Sent
			}
			w.add(at, func(j *Joiner) { j.Socket(ev) })
		}
		for _, at := range ticksIn(t) {
			tell(kprobes.SocketSnapshot, at)
		}
		tell(kprobes.SocketClosed, t.end)
	}
}

// datagrams tells of the client's socket.
func (w *world) datagrams(t *talk) {
	for _, at := range append(ticksIn(t), t.end) {
		ev := datagrams(t.cookies[0], t.client, kprobes.RoleClient, pidOf(t.cookies[0]), "p", t.start, t.part(t.sent, at), t.part(t.rcvd, at))
		ev.Last, ev.Released = at, at == t.end
		w.add(at, func(j *Joiner) { j.Peer(ev) })
	}
}

// entry tells of the server's socket, which keeps counting by peer whoever has
// the peer's port, and is read once per interval.
func (w *world) entry(line []*talk) {
	var was uint64
	for at := worldStart + sec; at < line[len(line)-1].end+sec; at += sec {
		var sent, rcvd uint64
		var last int64
		for _, t := range line {
			if t.start < at {
				last = min(t.end, at)
				sent, rcvd = sent+t.part(t.rcvd, last), rcvd+t.part(t.sent, last)
			}
		}
		if sent == was {
			continue
		}
		was = sent
		t := line[0]
		ev := datagrams(t.cookies[1], t.server, kprobes.RoleServer, pidOf(t.cookies[1]), "p", t.start, sent, rcvd)
		ev.Last = last
		w.add(at, func(j *Joiner) { j.Peer(ev) })
	}
}

// packets tells what the meter saw: all of it before translation, and where there
// is one, again behind it.
func (w *world) packets(t *talk) {
	views := []flows.Key{t.client}
	if t.translated {
		views = append(views, t.server.Reverse())
		n := &flows.NAT{Time: t.start, Orig: t.client, Reply: t.server}
		w.add(t.start+w.Int64N(t.end-t.start), func(j *Joiner) { j.NAT(n) })
	}
	for i, k := range views {
		times := append(ticksIn(t), t.end)
		from := t.start
		for n, at := range times {
			f := flow(k, t.start, at, t.part(t.wireOut, at)-t.part(t.wireOut, from), t.part(t.wireIn, at)-t.part(t.wireIn, from))
			from = at
			_, d := k.Canonical()
			f.Key.Domain = uint16(5 + t.pair)
			if w.cookies {
				if i == 0 {
					f.Cookie[d] = t.cookies[0]
				}
				if i == len(views)-1 {
					f.Cookie[d.Opposite()] = t.cookies[1]
				}
			}
			when := at/sec*sec + sec // read at the end of the interval
			if n == len(times)-1 {
				f.EndReason = flows.EndOfFlow
				if w.cookies && w.IntN(3) == 0 {
					when = at // the port was used again: told at once, before its sockets maybe
				}
			} else {
				when = at
			}
			w.add(when, func(j *Joiner) { g := *f; j.Flow(&g) })
			w.steps[len(w.steps)-1].late = when%sec == 0
		}
	}
}

// run tells everything in the order of the collector: events as they come, at the
// end of an interval sockets first, in any order, then packets.
func (w *world) run(j *Joiner, emit func(*Record)) {
	slices.SortFunc(w.steps, func(a, b step) int {
		late := 0
		if a.late != b.late {
			late = -1
			if a.late {
				late = 1
			}
		}
		return cmp.Or(cmp.Compare(a.at, b.at), late, cmp.Compare(a.order, b.order))
	})
	next := worldStart + sec
	paired := false
	for i := range w.steps {
		s := &w.steps[i]
		for s.at > next {
			j.Tick(time.Unix(0, next), Running, emit)
			next += sec
			paired = false
		}
		if s.late && !paired {
			j.Pair(0)
			paired = true
		}
		s.do(j)
	}
	for range 5 {
		j.Tick(time.Unix(0, next), Running, emit)
		next += sec
	}
	for range 20 {
		next += 100 * sec
		j.Tick(time.Unix(0, next), Running, emit)
	}
}
