package correlate

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// plainEnricher names an end by its owner's PID, an address 10.0.0.x without a
// socket is local.
type plainEnricher struct{ pending bool }

func (p *plainEnricher) Enrich(e *Endpoint, owner, _ *kprobes.Owner, _ int64) bool {
	if owner != nil && owner.Known() {
		e.Kind, e.Name, e.Process = KindProcess, owner.Comm.String(), &Process{PID: owner.PID, Name: owner.Comm.String()}
		return p.pending
	}
	e.Kind, e.Name = KindExternal, "external"
	return p.pending
}

const sec = int64(time.Second)

func addr(s string) flows.Addr { return flows.AddrFrom(netip.MustParseAddr(s)) }

func tcpKey(src string, sport uint16, dst string, dport uint16, ns uint32) flows.Key {
	return flows.Key{Src: addr(src), Dst: addr(dst), SrcPort: sport, DstPort: dport, Proto: flows.TCP, NetNS: ns}
}

func owner(pid uint32, comm string) kprobes.Owner {
	o := kprobes.Owner{ProcessID: kprobes.ProcessID{PID: pid, Start: uint64(pid)}, How: kprobes.OwnerIO}
	copy(o.Comm[:], comm)
	return o
}

// sock makes the event of a closed socket that lived from start to start+0.5 s.
func sock(cookie uint64, k flows.Key, role kprobes.Role, pid uint32, comm string, start int64) *kprobes.SocketEvent {
	o := owner(pid, comm)
	return &kprobes.SocketEvent{
		Kind: kprobes.SocketClosed, Role: role, Time: start + sec/2, Cookie: cookie, Key: k, State: kprobes.TCPFinWait2,
		Opener: o, Owner: o, Opened: start, SYN: start, Established: start + 1e6, SRTT: 100,
	}
}

func bases(ev *kprobes.SocketEvent, snd, rcv uint32) *kprobes.SocketEvent {
	ev.SndBase, ev.RcvBase, ev.HasBase = snd, rcv, true
	return ev
}

func payload(ev *kprobes.SocketEvent, sent, rcvd uint64) *kprobes.SocketEvent {
	ev.Sent, ev.Received = sent, rcvd
	return ev
}

func flow(k flows.Key, start, end int64, fwdOctets, revOctets uint64) *flows.Record {
	c, d := k.Canonical()
	c.NetNS = 0
	r := &flows.Record{Key: c, Start: start, End: end, Initiator: flows.InitiatorSrc}
	if d == flows.Reverse {
		r.Initiator = flows.InitiatorDst
	}
	r.Dir[d] = flows.Counters{Packets: 5, Octets: fwdOctets, Payload: fwdOctets / 2, Flags: flows.SYN | flows.SYNOnly}
	r.Dir[d.Opposite()] = flows.Counters{Packets: 4, Octets: revOctets, Payload: revOctets / 2, Flags: flows.SYN | flows.ACK | flows.SYNACK}
	return r
}

func tick(j *Joiner, at int64, phase Phase) []Record {
	var out []Record
	j.Tick(time.Unix(0, at), phase, func(r *Record) { out = append(out, *r) })
	return out
}

func newTest() *Joiner { return New(Config{HostNetNS: 1}, &plainEnricher{}) }

func only(t *testing.T, rs []Record) Record {
	t.Helper()
	if len(rs) != 1 {
		t.Fatalf("%d records, want 1: %+v", len(rs), rs)
	}
	return rs[0]
}

func TestBothEndsAreOneRecord(t *testing.T) {
	j := newTest()
	k := tcpKey("172.17.0.2", 40000, "172.17.0.3", 80, 11)
	back := k.Reverse()
	back.NetNS = 12
	t0 := 100 * sec
	j.Socket(payload(bases(sock(7, k, kprobes.RoleClient, 10, "curl", t0), 1000, 2000), 300, 5000))
	j.Socket(payload(bases(sock(8, back, kprobes.RoleServer, 20, "nginx", t0), 2000, 1000), 5000, 300))
	j.Flow(flow(k, t0, t0+sec/2, 800, 6000))
	r := only(t, tick(j, t0+2*sec, Running))
	if r.Reporter != ReporterBoth || r.Client.Name != "curl" || r.Server.Name != "nginx" || !r.Final || r.CloseCause != CloseNormal {
		t.Errorf("got %+v", r)
	}
	d := r.Delta
	if d.ToServer.Payload != 300 || d.ToClient.Payload != 5000 || d.ToServer.WireOctets != 800 || d.ToClient.WireOctets != 6000 || d.Opened != 1 || d.Closed != 1 {
		t.Errorf("counts %+v", d)
	}
	if r.Connect != 1e6 || r.Attribution != AttributionExact {
		t.Errorf("connect %d attribution %v", r.Connect, r.Attribution)
	}
	if rs := tick(j, t0+4*sec, Running); len(rs) != 0 {
		t.Errorf("told twice: %+v", rs)
	}
}

func TestNATPairsBySequence(t *testing.T) {
	// host → published port: the client calls 10.0.0.1:8080, the server sees its own :80.
	j := newTest()
	t0 := 100 * sec
	c := tcpKey("10.0.0.1", 40000, "10.0.0.1", 8080, 1)
	s := tcpKey("172.17.0.2", 80, "172.17.0.1", 40000, 12)
	j.Socket(bases(sock(7, c, kprobes.RoleClient, 10, "curl", t0), 1000, 2000))
	j.Socket(bases(sock(8, s, kprobes.RoleServer, 20, "nginx", t0), 2000, 1000))
	j.Flow(flow(s.Reverse(), t0, t0+sec/2, 800, 6000))
	r := only(t, tick(j, t0+2*sec, Running))
	if r.Reporter != ReporterBoth || r.Server.Addr != addr("172.17.0.2") || r.Server.Port != 80 {
		t.Errorf("server %v:%d reporter %v", r.Server.Addr, r.Server.Port, r.Reporter)
	}
	if r.Server.NATAddr != addr("10.0.0.1") || r.Server.NATPort != 8080 || r.Client.NATAddr != addr("172.17.0.1") {
		t.Errorf("nat: client %v server %v:%d", r.Client.NATAddr, r.Server.NATAddr, r.Server.NATPort)
	}
	if r.Delta.ToServer.WireOctets != 800 || r.Delta.ToClient.WireOctets != 6000 {
		t.Errorf("wire %+v", r.Delta)
	}
}

func TestMasqueradeCountsOnce(t *testing.T) {
	// container → Internet: packets before and after NAT, the socket knows one tuple.
	j := newTest()
	t0 := 100 * sec
	pre := tcpKey("172.17.0.2", 40000, "93.184.216.34", 443, 12)
	post := tcpKey("10.0.0.1", 61000, "93.184.216.34", 443, 0)
	for name, order := range map[string][]int{"nat first": {0, 1, 2, 3}, "nat last": {1, 2, 3, 0}, "flow first": {2, 3, 0, 1}} {
		j = newTest()
		steps := []func(){
			func() { j.NAT(&flows.NAT{Time: t0, Orig: pre, Reply: post.Reverse()}) },
			func() { j.Socket(sock(7, pre, kprobes.RoleClient, 10, "curl", t0)) },
			func() { j.Flow(flow(pre, t0, t0+sec/2, 800, 6000)) },
			func() { j.Flow(flow(post, t0, t0+sec/2, 800, 6000)) },
		}
		for _, i := range order {
			steps[i]()
		}
		r := only(t, tick(j, t0+3*sec, Running))
		if r.Delta.ToServer.WireOctets != 800 || r.Client.Name != "curl" || r.Client.NATAddr != addr("10.0.0.1") || r.Client.NATPort != 61000 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestCaseB4_FlowBeforeSocket(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("172.17.0.2", 40000, "10.1.1.1", 80, 12)
	j.Flow(flow(k, t0, t0+sec, 800, 100))
	if rs := tick(j, t0+sec, Running); len(rs) != 0 {
		t.Fatalf("a flow younger than the hold time was told without its owner: %+v", rs)
	}
	j.Socket(sock(7, k, kprobes.RoleClient, 10, "curl", t0))
	r := only(t, tick(j, t0+3*sec, Running))
	if r.Client.Name != "curl" || r.Delta.ToServer.WireOctets != 800 || j.Stats().Adopted != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestUnownedFlowAfterHold(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	j.Flow(flow(tcpKey("192.0.2.1", 40000, "192.0.2.2", 80, 0), t0, t0, 800, 100))
	r := only(t, tick(j, t0+5*sec, Running))
	if r.Attribution != AttributionNone || r.Reporter != ReporterNone || r.Client.Addr != addr("192.0.2.1") || r.Delta.ToServer.Payload != 400 {
		t.Errorf("got %+v", r)
	}
}

func TestCaseC1_PortReuse(t *testing.T) {
	j := newTest()
	k := tcpKey("172.17.0.2", 40000, "172.17.0.3", 80, 11)
	t0 := 100 * sec
	j.Socket(payload(sock(7, k, kprobes.RoleClient, 10, "one", t0), 100, 0))
	j.Socket(payload(sock(9, k, kprobes.RoleClient, 11, "two", t0+sec), 200, 0))
	j.Flow(flow(k, t0, t0+sec/2, 800, 60))
	j.Flow(flow(k, t0+sec, t0+sec+sec/2, 1600, 60))
	rs := tick(j, t0+4*sec, Running)
	if len(rs) != 2 {
		t.Fatalf("%d records", len(rs))
	}
	for _, r := range rs {
		want := map[string]uint64{"one": 800, "two": 1600}[r.Client.Name]
		if r.Delta.ToServer.WireOctets != want {
			t.Errorf("%s: %d wire octets, want %d", r.Client.Name, r.Delta.ToServer.WireOctets, want)
		}
	}
}

func TestCaseC2_SameTupleTwoNamespaces(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.9.0.2", 40000, "10.9.0.3", 80, 0)
	for i, name := range []string{"a", "b"} {
		ck, sk := k, k.Reverse()
		ck.NetNS, sk.NetNS = uint32(10+i), uint32(20+i)
		n := uint32(i * 100000)
		j.Socket(payload(bases(sock(uint64(10+i), ck, kprobes.RoleClient, uint32(30+i), "cli-"+name, t0), 1000+n, 2000+n), uint64(1000*(i+1)), 0))
	}
	for i, name := range []string{"a", "b"} {
		sk := k.Reverse()
		sk.NetNS = uint32(20 + i)
		n := uint32(i * 100000)
		j.Socket(payload(bases(sock(uint64(20+i), sk, kprobes.RoleServer, uint32(40+i), "srv-"+name, t0), 2000+n, 1000+n), 0, uint64(1000*(i+1))))
	}
	j.Flow(flow(k, t0, t0+sec/4, 777, 0)) // whose? nobody knows: nobody gets it
	rs := tick(j, t0+5*sec, Running)
	pairs := map[string]string{}
	for _, r := range rs {
		if r.Reporter == ReporterNone {
			continue
		}
		pairs[r.Client.Name] = r.Server.Name
		if r.HasWire {
			t.Errorf("an ambiguous flow was given to %s", r.Client.Name)
		}
	}
	if len(pairs) != 2 || pairs["cli-a"] != "srv-a" || pairs["cli-b"] != "srv-b" {
		t.Errorf("pairs %v", pairs)
	}
	if j.Stats().Ambiguous != 1 {
		t.Errorf("ambiguous %d", j.Stats().Ambiguous)
	}
}

func TestCaseC2_CookieDecides(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.9.0.2", 40000, "10.9.0.3", 80, 10)
	k2 := k
	k2.NetNS = 11
	j.Socket(sock(7, k, kprobes.RoleClient, 10, "a", t0))
	j.Socket(sock(8, k2, kprobes.RoleClient, 11, "b", t0))
	f := flow(k, t0, t0+sec/4, 777, 0)
	_, d := k.Canonical()
	f.Cookie[d] = 8
	j.Flow(f)
	for _, r := range tick(j, t0+5*sec, Running) {
		if r.HasWire != (r.Client.Name == "b") {
			t.Errorf("%s has wire %v", r.Client.Name, r.HasWire)
		}
		if r.Client.Name == "b" && r.Client.Match.Method != MethodCookie {
			t.Errorf("method %v", r.Client.Match.Method)
		}
	}
}

func TestCaseC3_LoopbackInTwoNamespaces(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("127.0.0.1", 40000, "127.0.0.1", 80, 10)
	host := k
	host.NetNS = 1
	j.Socket(sock(7, k, kprobes.RoleClient, 10, "incontainer", t0))
	j.Socket(sock(8, host, kprobes.RoleClient, 11, "onhost", t0))
	j.Flow(flow(k, t0, t0+sec/4, 777, 0)) // from the host's lo
	for _, r := range tick(j, t0+5*sec, Running) {
		if r.HasWire != (r.Client.Name == "onhost") {
			t.Errorf("%s has wire %v", r.Client.Name, r.HasWire)
		}
	}
}

func TestCaseF_Outcomes(t *testing.T) {
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	t0 := 100 * sec
	for _, tc := range []struct {
		name  string
		state kprobes.TCPState
		errno syscall.Errno
		estab bool
		cause CloseCause
		check func(m Measures) bool
	}{
		{"F1 success", kprobes.TCPFinWait2, 0, true, CloseNormal, func(m Measures) bool { return m.Opened == 1 && m.Closed == 1 }},
		{"F2 refused", kprobes.TCPSynSent, syscall.ECONNREFUSED, false, CloseRefused, func(m Measures) bool { return m.Failed[FailRefused] == 1 }},
		{"F3 timeout", kprobes.TCPSynSent, syscall.ETIMEDOUT, false, CloseConnectTimeout, func(m Measures) bool { return m.Failed[FailTimeout] == 1 }},
		{"F4 unreachable", kprobes.TCPSynSent, syscall.EHOSTUNREACH, false, CloseUnreachable, func(m Measures) bool { return m.Failed[FailUnreachable] == 1 }},
		{"F5 aborted", kprobes.TCPSynSent, 0, false, CloseAborted, func(m Measures) bool { return m.Aborted == 1 && m.FailedTotal() == 0 }},
		{"F4 prohibited by a router, v6", kprobes.TCPSynSent, syscall.EACCES, false, CloseUnreachable, func(m Measures) bool { return m.Failed[FailUnreachable] == 1 }},
		{"F6 no port left", kprobes.TCPSynSent, syscall.EADDRNOTAVAIL, false, CloseLocal, func(m Measures) bool { return m.Failed[FailLocal] == 1 }},
		{"F7 reset by peer", kprobes.TCPEstablished, syscall.ECONNRESET, true, CloseResetByServer, func(m Measures) bool { return m.Opened == 1 && m.ResetByServer == 1 }},
		{"F8 reset by us", kprobes.TCPEstablished, 0, true, CloseResetByClient, func(m Measures) bool { return m.ResetByClient == 1 }},
		{"F10 vanished", kprobes.TCPEstablished, syscall.ETIMEDOUT, true, CloseTimeout, func(m Measures) bool { return m.TimeoutEstablished == 1 }},
		{"F11 last ack", kprobes.TCPLastAck, 0, true, CloseNormal, func(m Measures) bool { return m.ResetByClient+m.ResetByServer == 0 }},
	} {
		j := newTest()
		ev := sock(7, k, kprobes.RoleClient, 10, "c", t0)
		ev.State, ev.Errno = tc.state, int32(tc.errno)
		if !tc.estab {
			ev.Established = 0
		}
		j.Socket(ev)
		r := only(t, tick(j, t0+2*sec, Running))
		d := r.Delta
		if r.CloseCause != tc.cause || !tc.check(d) {
			t.Errorf("%s: cause %v, %+v", tc.name, r.CloseCause, d)
		}
		if d.Opened+d.FailedTotal()+d.Aborted != 1 {
			t.Errorf("%s: counted as %d attempts", tc.name, d.Opened+d.FailedTotal()+d.Aborted)
		}
	}
}

func TestSnapshotsThenClose(t *testing.T) {
	j := newTest()
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	t0 := 100 * sec
	var sent uint64
	for i := int64(1); i <= 3; i++ {
		ev := payload(sock(7, k, kprobes.RoleClient, 10, "c", t0), uint64(i)*1000, 0)
		ev.Kind, ev.Time, ev.State = kprobes.SocketSnapshot, t0+i*sec, kprobes.TCPEstablished
		if i == 3 {
			ev.Kind, ev.State = kprobes.SocketClosed, kprobes.TCPFinWait2
		}
		j.Socket(ev)
		r := only(t, tick(j, t0+(i+1)*sec, Running))
		sent += r.Delta.ToServer.Payload
		if wantOpened := uint32(1); i == 1 && r.Delta.Opened != wantOpened || i > 1 && r.Delta.Opened != 0 {
			t.Errorf("tick %d: opened %d", i, r.Delta.Opened)
		}
		if r.Final != (i == 3) || (r.Active == 1) != (i < 3) {
			t.Errorf("tick %d: final %v active %d", i, r.Final, r.Active)
		}
	}
	if sent != 3000 {
		t.Errorf("deltas sum to %d", sent)
	}
}

func TestBootstrapPairTellsRoles(t *testing.T) {
	for _, first := range []int{0, 1} {
		j := newTest()
		t0 := 100 * sec
		k := tcpKey("10.0.0.1", 9000, "10.0.0.2", 9001, 1) // ports say nothing
		c := bases(sock(7, k, kprobes.RoleUnknown, 10, "cli", t0), 999, 2000)
		s := bases(sock(8, k.Reverse(), kprobes.RoleUnknown, 20, "srv", t0), 2000, 1000)
		evs := []*kprobes.SocketEvent{c, s}
		for i := range evs {
			ev := evs[(i+first)%2]
			ev.Kind, ev.Baseline, ev.SYN, ev.Opened = kprobes.SocketSnapshot, true, 0, 0
			j.Socket(ev)
		}
		r := only(t, tick(j, t0+2*sec, Running))
		if r.Client.Name != "cli" || r.Server.Name != "srv" || r.Delta.Opened != 0 || r.Active != 1 {
			t.Errorf("first %d: %+v", first, r)
		}
	}
}

func datagrams(cookie uint64, k flows.Key, role kprobes.Role, pid uint32, comm string, at int64, sent, rcvd uint64) *kprobes.PeerEvent {
	k.Proto = flows.UDP
	return &kprobes.PeerEvent{Cookie: cookie, Key: k, Role: role, Owner: owner(pid, comm), First: at, Last: at + sec/10, Sent: sent, Received: rcvd, SentPackets: 1}
}

func TestUDPBothEndsAndReuse(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 53, 1)
	b := k.Reverse()
	b.NetNS = 9
	j.Peer(datagrams(8, b, kprobes.RoleServer, 20, "dns", t0, 90, 30))
	j.Peer(datagrams(7, k, kprobes.RoleClient, 10, "dig", t0, 30, 90))
	r := only(t, tick(j, t0+sec, Running))
	if r.Client.Name != "dig" || r.Server.Name != "dns" || r.Delta.ToServer.Payload != 30 || r.Delta.ToClient.Payload != 90 || r.Delta.Opened != 1 {
		t.Errorf("got %+v", r)
	}
	r = only(t, tick(j, t0+70*sec, Running))
	if !r.Final || r.EndReason != flows.EndIdle {
		t.Errorf("idle: %+v", r)
	}
	j.Peer(datagrams(7, k, kprobes.RoleClient, 10, "dig", t0+80*sec, 5, 0)) // the entry was made anew: totals begin at 0
	r = only(t, tick(j, t0+81*sec, Running))
	if r.Delta.ToServer.Payload != 5 || r.Delta.Opened != 1 {
		t.Errorf("after idle: %+v", r.Delta)
	}
}

func TestTableFullKeepsTotals(t *testing.T) {
	j := New(Config{MaxConnections: 10}, &plainEnricher{})
	t0 := 100 * sec
	for i := range uint16(100) {
		j.Socket(payload(sock(uint64(i+1), tcpKey("10.0.0.1", 1000+i, "10.0.0.2", 80, 1), kprobes.RoleClient, 1, "c", t0), 10, 1))
	}
	var sum uint64
	for _, r := range tick(j, t0+5*sec, Running) {
		sum += r.Delta.ToServer.Payload
	}
	if sum != 1000 || j.Stats().Overflow != 90 {
		t.Errorf("sum %d overflow %d", sum, j.Stats().Overflow)
	}
	for _, r := range tick(j, t0+6*sec, Running) {
		if r.Client.Kind == KindOther {
			t.Errorf("told again without anything new: %+v", r)
		}
	}
}

func TestClosedConnectionsAreForgotten(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	j.Socket(bases(sock(7, k, kprobes.RoleClient, 10, "c", t0), 1, 2))
	j.NAT(&flows.NAT{Time: t0, Orig: k, Reply: tcpKey("10.0.0.2", 80, "10.0.0.9", 1, k.NetNS)})
	tick(j, t0+2*sec, Running)
	tick(j, t0+60*sec, Running)
	if len(j.conns)+len(j.sockets)+len(j.tuples)+len(j.pairs) != 0 {
		t.Errorf("left: %d conns %d sockets %d tuples %d pairs", len(j.conns), len(j.sockets), len(j.tuples), len(j.pairs))
	}
	for range unused {
		tick(j, t0+3600*sec, Running)
	}
	if len(j.nats) != 0 {
		t.Errorf("%d translations left", len(j.nats))
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("172.17.0.2", 40000, "172.17.0.3", 80, 11)
	back := k.Reverse()
	back.NetNS = 12
	c := payload(bases(sock(7, k, kprobes.RoleClient, 10, "curl", t0), 1000, 2000), 300, 5000)
	s := payload(bases(sock(8, back, kprobes.RoleServer, 20, "nginx", t0), 2000, 1000), 5000, 300)
	c.Kind, s.Kind = kprobes.SocketSnapshot, kprobes.SocketSnapshot
	f := flow(k, t0, t0+sec/2, 800, 6000)
	u := datagrams(9, tcpKey("172.17.0.2", 4000, "172.17.0.3", 53, 11), kprobes.RoleClient, 10, "dig", t0, 1, 1)
	now := t0
	run := func() {
		now += sec
		c.Sent += 10
		u.Sent++
		u.Last = now
		f.End = now
		j.Socket(c)
		j.Socket(s)
		j.Peer(u)
		j.Flow(f)
		j.Tick(time.Unix(0, now), Running, func(*Record) {})
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations per event round", n)
	}
}

func BenchmarkConnection(b *testing.B) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("172.17.0.2", 1, "172.17.0.3", 80, 11)
	c := bases(sock(7, k, kprobes.RoleClient, 10, "curl", t0), 1000, 2000)
	s := bases(sock(8, k.Reverse(), kprobes.RoleServer, 20, "nginx", t0), 2000, 1000)
	f := flow(k, t0, t0+sec/2, 800, 6000)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		port := uint16(n%50000 + 1)
		at := t0 + int64(n)*sec/2000
		for _, e := range []*kprobes.SocketEvent{c, s} {
			e.Cookie += 2
			e.SndBase++
			e.RcvBase++
			e.Opened, e.SYN, e.Established, e.Time = at, at, at+1e5, at+2e5
		}
		c.Key.SrcPort, s.Key.DstPort = port, port
		j.Socket(c)
		j.Socket(s)
		fk, _ := c.Key.Canonical()
		fk.NetNS = 0
		f.Key, f.Start, f.End = fk, at, at+2e5
		j.Flow(f)
		if n%2000 == 0 {
			j.Tick(time.Unix(0, at+sec), Running, func(*Record) {})
		}
	}
}

func TestUDPEndsWithTheClientsSocket(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 53, 1)
	j.Peer(datagrams(8, k.Reverse(), kprobes.RoleServer, 20, "dns", t0, 90, 30))
	c := datagrams(7, k, kprobes.RoleClient, 10, "dig", t0, 30, 90)
	c.Released = true
	j.Peer(c)
	r := only(t, tick(j, t0+sec, Running))
	if !r.Final || r.Active != 0 || r.Delta.Closed != 1 || r.EndReason != flows.EndOfFlow {
		t.Errorf("got %+v", r)
	}
}

func TestCookieOrientsTranslatedFlow(t *testing.T) {
	// DNAT in OUTPUT: the packet leaves with a tuple the socket does not know, and
	// the word of the translation is lost.
	for _, flip := range []bool{false, true} {
		j := newTest()
		t0 := 100 * sec
		j.Socket(sock(7, tcpKey("10.0.0.1", 40000, "10.0.0.1", 8080, 1), kprobes.RoleClient, 10, "curl", t0))
		dst := "172.17.0.2"
		if flip {
			dst = "9.9.9.9" // orders before the client's address
		}
		k := tcpKey("10.0.0.1", 40000, dst, 80, 0)
		f := flow(k, t0, t0+sec/2, 800, 6000)
		_, d := k.Canonical()
		f.Cookie[d] = 7
		j.Flow(f)
		r := only(t, tick(j, t0+2*sec, Running))
		if r.Delta.ToServer.WireOctets != 800 || r.Delta.ToClient.WireOctets != 6000 {
			t.Errorf("flip %v: %+v", flip, r.Delta)
		}
	}
}

func TestUDPPortReuseSharesTheServer(t *testing.T) {
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 53, 9)
	b := k.Reverse()
	b.NetNS = 10
	t0 := 100 * sec
	for _, order := range [][]int{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}, {1, 0, 2}} {
		j := newTest()
		srv := datagrams(8, b, kprobes.RoleServer, 20, "dns", t0, 180, 60)
		srv.Last = t0 + sec
		one, two := datagrams(7, k, kprobes.RoleClient, 10, "dig", t0, 30, 90), datagrams(9, k, kprobes.RoleClient, 11, "host", t0+sec, 30, 90)
		one.Released, two.Released = true, true
		evs := []*kprobes.PeerEvent{srv, one, two}
		for _, i := range order {
			j.Peer(evs[i])
		}
		names := map[string]bool{}
		var sum uint64
		at := t0
		for i := range 40 { // until everything has been forgotten, the server's entry told as idle
			at += 2 * sec
			if i == 35 {
				srv.Idle = true
				j.Peer(srv)
			}
			for _, r := range tick(j, at, Running) {
				sum += r.Delta.ToServer.Payload
				if r.Final {
					names[r.Client.Name] = true
				}
				if r.Server.Name != "dns" || r.Reporter != ReporterBoth {
					t.Errorf("order %v: %s → %s, reporter %v", order, r.Client.Name, r.Server.Name, r.Reporter)
				}
			}
		}
		if !names["dig"] || !names["host"] || len(names) != 2 || sum != 60 {
			t.Errorf("order %v: clients %v, %d octets", order, names, sum)
		}
		if len(j.conns) != 0 || len(j.peers) != 0 {
			t.Errorf("order %v: %d flows and %d peers left", order, len(j.conns), len(j.peers))
		}
	}
}

// The end of a flow comes when its connection has been told and forgotten, after
// a long interval on a busy machine: it is not another connection.
func TestEmptyEndOfForgottenFlow(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	end := flow(k, t0, t0+sec, 0, 0)
	end.Dir, end.EndReason = [2]flows.Counters{}, flows.EndOfFlow
	j.Flow(end)
	if rs := tick(j, t0+60*sec, Draining); len(rs) != 0 || j.Stats().Connections != 0 {
		t.Errorf("a connection was made of nothing: %+v", rs)
	}
	late := flow(k, t0, t0+sec, 54, 54)
	late.EndReason = flows.EndOfFlow
	j.Flow(late)
	if rs := tick(j, t0+60*sec, Draining); len(rs) != 1 || rs[0].Total.ToServer.WireOctets != 54 {
		t.Errorf("packets of a forgotten connection are not told: %+v", rs)
	}
}
