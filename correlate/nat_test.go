package correlate

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// hostNS is the namespace whose devices are metered in these tests.
const hostNS = 1

func newHostTest(late int64) *Joiner {
	return New(Config{HostNetNS: hostNS, LateNAT: time.Duration(late)}, &plainEnricher{})
}

func nat(t int64, orig, seen flows.Key, ns uint32) *flows.NAT {
	n := &flows.NAT{Time: t, Orig: orig, Reply: seen.Reverse()}
	n.Orig.NetNS, n.Reply.NetNS = ns, ns
	return n
}

// wantEnds compares addresses of both ends, as they have them and as the other
// side sees them.
func wantEnds(t *testing.T, r *Record, client, clientNAT, server, serverNAT string) {
	t.Helper()
	of := func(a flows.Addr, p uint16) string {
		if a.IsZero() && p == 0 {
			return ""
		}
		return fmt.Sprintf("%v:%d", a, p)
	}
	got := [4]string{of(r.Client.Addr, r.Client.Port), of(r.Client.NATAddr, r.Client.NATPort), of(r.Server.Addr, r.Server.Port), of(r.Server.NATAddr, r.Server.NATPort)}
	if want := [4]string{client, clientNAT, server, serverNAT}; got != want {
		t.Errorf("client, seen as, server, called as:\n got %q\nwant %q", got, want)
	}
}

// Every order of what is told gives the same row: a translation in the
// container's namespace and another in the host's, whoever is local.
func TestNATChain(t *testing.T) {
	t0 := 100 * sec
	first := tcpKey("172.17.0.2", 40000, "10.96.0.10", 80, 12)     // what the client called
	middle := tcpKey("172.17.0.2", 40000, "198.51.100.7", 8080, 0) // after its own namespace
	last := tcpKey("192.0.2.1", 61000, "198.51.100.7", 8080, 0)    // after the host's
	steps := []func(j *Joiner){
		func(j *Joiner) { j.NAT(nat(t0, first, middle, 12)) },
		func(j *Joiner) { j.NAT(nat(t0, middle, last, hostNS)) },
		func(j *Joiner) { j.Socket(sock(7, first, kprobes.RoleClient, 10, "curl", t0)) },
		func(j *Joiner) { j.Flow(flow(middle, t0, t0+sec/2, 800, 6000)) },
		func(j *Joiner) { j.Flow(flow(last, t0, t0+sec/2, 800, 6000)) },
	}
	permute(len(steps), func(order []int) {
		j := newHostTest(0)
		for _, i := range order {
			steps[i](j)
		}
		r := only(t, tick(j, t0+4*sec, Running))
		wantEnds(t, &r, "172.17.0.2:40000", "192.0.2.1:61000", "198.51.100.7:8080", "10.96.0.10:80")
		if r.Client.Name != "curl" || r.Delta.ToServer.WireOctets != 800 || r.Delta.ToClient.WireOctets != 6000 {
			t.Errorf("order %v: %+v", order, r)
		}
	})
}

// D4, D6: source and destination translated at once; both ends are here, and
// being UDP have no sequence numbers in common.
func TestCaseD6_BothTranslatedDatagrams(t *testing.T) {
	t0 := 100 * sec
	c := udpKey("172.17.0.2", 40000, "192.0.2.1", 5300, 12)
	s := udpKey("172.17.0.1", 61000, "172.17.0.3", 53, 13)
	steps := []func(j *Joiner){
		func(j *Joiner) { j.NAT(nat(t0, c, s, hostNS)) },
		func(j *Joiner) { j.Peer(datagrams(7, c, kprobes.RoleClient, 10, "dig", t0, 30, 90)) },
		func(j *Joiner) { j.Peer(datagrams(8, s.Reverse(), kprobes.RoleServer, 20, "dns", t0, 90, 30)) },
		func(j *Joiner) { j.Flow(flow(c, t0, t0+sec/2, 72, 132)) },
		func(j *Joiner) { j.Flow(flow(s, t0, t0+sec/2, 72, 132)) },
	}
	permute(len(steps), func(order []int) {
		j := newHostTest(0)
		for _, i := range order {
			steps[i](j)
		}
		r := only(t, tick(j, t0+4*sec, Running))
		wantEnds(t, &r, "172.17.0.2:40000", "172.17.0.1:61000", "172.17.0.3:53", "192.0.2.1:5300")
		if r.Client.Name != "dig" || r.Server.Name != "dns" || r.Delta.ToServer.Payload != 30 || r.Delta.ToClient.Payload != 90 || r.Delta.ToServer.WireOctets != 72 {
			t.Errorf("order %v: %+v", order, r)
		}
	})
}

// D5: IPVS redirects what a process of the host sends, behind the hooks of its
// socket: these tell of the answer only.
func TestCaseD5_CallerRedirected(t *testing.T) {
	t0 := 100 * sec
	c := udpKey("10.96.0.10", 40000, "10.96.0.10", 53, hostNS)
	s := udpKey("172.17.0.1", 40000, "172.17.0.3", 53, 13)
	steps := []func(j *Joiner){
		func(j *Joiner) { j.NAT(nat(t0, c, s, hostNS)) },
		func(j *Joiner) { j.Peer(datagrams(7, c, kprobes.RoleServer, 10, "dig", t0+1000, 0, 90)) },
		func(j *Joiner) { j.Peer(datagrams(8, s.Reverse(), kprobes.RoleServer, 20, "dns", t0, 90, 30)) },
	}
	permute(len(steps), func(order []int) {
		j := newHostTest(0)
		for _, i := range order {
			steps[i](j)
		}
		rec := flow(s, t0, t0+sec/2, 72, 132)
		rec.Dir[0].Payload, rec.Dir[1].Payload = 30, 90
		rec.Cookie[0] = 7
		j.Flow(rec)
		r := only(t, tick(j, t0+4*sec, Running))
		wantEnds(t, &r, "10.96.0.10:40000", "172.17.0.1:40000", "172.17.0.3:53", "10.96.0.10:53")
		if r.Client.Name != "dig" || r.Server.Name != "dns" || r.Delta.ToServer.Payload != 30 || r.Delta.ToClient.Payload != 90 || r.Delta.ToServer.WireOctets != 72 {
			t.Errorf("order %v: %+v", order, r)
		}
	})
}

// Two containers translate the same tuple to different servers, each in its own
// namespace.
func TestNATStaysInItsNamespace(t *testing.T) {
	t0 := 100 * sec
	called := func(ns uint32) flows.Key { return tcpKey("172.17.0.2", 40000, "10.96.0.10", 80, ns) }
	to := func(host string) flows.Key { return tcpKey("172.17.0.2", 40000, host, 8080, 0) }
	steps := []func(j *Joiner){
		func(j *Joiner) { j.NAT(nat(t0, called(12), to("198.51.100.12"), 12)) },
		func(j *Joiner) { j.NAT(nat(t0, called(13), to("198.51.100.13"), 13)) },
		func(j *Joiner) { j.Socket(sock(7, called(12), kprobes.RoleClient, 12, "curl", t0)) },
		func(j *Joiner) { j.Socket(sock(8, called(13), kprobes.RoleClient, 13, "curl", t0)) },
	}
	permute(len(steps), func(order []int) {
		j := newHostTest(0)
		for _, i := range order {
			steps[i](j)
		}
		rs := tick(j, t0+4*sec, Running)
		if len(rs) != 2 {
			t.Fatalf("order %v: %d records", order, len(rs))
		}
		for _, r := range rs {
			if want := addr(fmt.Sprintf("198.51.100.%d", r.Client.Process.PID)); r.Server.Addr != want || r.Server.NATAddr != addr("10.96.0.10") {
				t.Errorf("order %v: server %v called as %v, want %v", order, r.Server.Addr, r.Server.NATAddr, want)
			}
		}
	})
}

// Two servers in two namespaces have the tuple that a translation leads to: one of
// them only if its packets were seen, else none.
func TestNATAmongNamesakes(t *testing.T) {
	t0 := 100 * sec
	c := udpKey("172.17.0.2", 40000, "192.0.2.1", 5300, 12)
	s := udpKey("172.17.0.1", 61000, "172.17.0.3", 53, 13)
	other := s.Reverse()
	other.NetNS = 14
	for _, seen := range []bool{true, false} {
		j := newHostTest(0)
		j.Peer(datagrams(8, s.Reverse(), kprobes.RoleServer, 20, "dns", t0, 90, 30))
		if seen {
			f := flow(s, t0, t0+sec/2, 72, 132)
			_, d := s.Canonical()
			f.Cookie[d.Opposite()] = 8
			j.Flow(f)
		}
		j.Peer(datagrams(9, other, kprobes.RoleServer, 30, "other", t0, 90, 30))
		j.Peer(datagrams(7, c, kprobes.RoleClient, 10, "dig", t0, 30, 90))
		j.NAT(nat(t0, c, s, hostNS))
		for _, r := range tick(j, t0+4*sec, Running) {
			if r.Client.Name != "dig" {
				continue
			}
			if want := map[bool]string{true: "dns", false: "external"}[seen]; r.Server.Name != want {
				t.Errorf("packets seen %v: the server is %q, want %q", seen, r.Server.Name, want)
			}
		}
	}
}

// B3: conntrack's event comes after the connection was over and its row due.
func TestCaseB3_CloseBeforeNAT(t *testing.T) {
	t0 := 100 * sec
	pre := tcpKey("172.17.0.2", 40000, "93.184.216.34", 443, 12)
	post := tcpKey("192.0.2.1", 61000, "93.184.216.34", 443, 0)
	j := newHostTest(2 * sec)
	j.Socket(sock(7, pre, kprobes.RoleClient, 10, "curl", t0)) // closed at t0 + 0.5 s
	for _, r := range tick(j, t0+sec, Running) {
		if r.Final {
			t.Errorf("told as over before its translation could come: %+v", r)
		}
	}
	j.NAT(nat(t0+2*sec, pre, post, hostNS))
	r := only(t, tick(j, t0+2*sec+sec/10, Running))
	wantEnds(t, &r, "172.17.0.2:40000", "192.0.2.1:61000", "93.184.216.34:443", "")
	if !r.Final {
		t.Error("the translation is known: nothing to wait for")
	}
	// Both ends here: no translation to wait for.
	j = newHostTest(2 * sec)
	k := tcpKey("172.17.0.2", 40000, "172.17.0.3", 80, 12)
	b := k.Reverse()
	b.NetNS = 13
	j.Socket(bases(sock(7, k, kprobes.RoleClient, 10, "curl", t0), 1, 2))
	j.Socket(bases(sock(8, b, kprobes.RoleServer, 20, "nginx", t0), 2, 1))
	if r := only(t, tick(j, t0+sec, Running)); !r.Final {
		t.Errorf("a local connection waited for a translation")
	}
}

// A tuple that is used again is not given what its predecessor was translated to.
func TestStaleNAT(t *testing.T) {
	t0 := 100 * sec
	j := newHostTest(0)
	pre := tcpKey("172.17.0.2", 40000, "93.184.216.34", 443, 12)
	j.NAT(nat(t0, pre, tcpKey("192.0.2.1", 61000, "93.184.216.34", 443, 0), hostNS))
	j.Socket(sock(7, pre, kprobes.RoleClient, 10, "curl", t0))
	only(t, tick(j, t0+sec, Running))
	tick(j, t0+30*sec, Running)
	j.Socket(sock(8, pre, kprobes.RoleClient, 10, "curl", t0+60*sec))
	r := only(t, tick(j, t0+62*sec, Running))
	wantEnds(t, &r, "172.17.0.2:40000", "", "93.184.216.34:443", "")
	// The same again: it is told again.
	j.Socket(sock(9, pre, kprobes.RoleClient, 10, "curl", t0+90*sec))
	j.NAT(nat(t0+90*sec, pre, tcpKey("192.0.2.1", 61000, "93.184.216.34", 443, 0), hostNS))
	r = only(t, tick(j, t0+92*sec, Running))
	wantEnds(t, &r, "172.17.0.2:40000", "192.0.2.1:61000", "93.184.216.34:443", "")
}

// D9: a translation in use is remembered however long ago it was told.
func TestCaseD9_NATOutlivesItsEntry(t *testing.T) {
	t0 := 100 * sec
	j := newHostTest(0)
	pre := udpKey("172.17.0.2", 40000, "93.184.216.34", 443, 12)
	post := udpKey("192.0.2.1", 61000, "93.184.216.34", 443, 0)
	j.NAT(nat(t0, pre, post, hostNS))
	const step, hour = 30 * sec, 3600 * sec
	for at := t0; at < t0+hour; at += step {
		ev := datagrams(7, pre, kprobes.RoleClient, 10, "quic", t0, uint64(at-t0)/1e9, 0)
		ev.Last, ev.Released = at, false
		j.Peer(ev)
		j.Flow(flow(post, at, at, 100, 0))
		r := only(t, tick(j, at+sec, Running))
		wantEnds(t, &r, "172.17.0.2:40000", "192.0.2.1:61000", "93.184.216.34:443", "")
	}
	if len(j.nats) != 2 {
		t.Errorf("%d keys of translations, want the one in use under both", len(j.nats))
	}
}

func permute(n int, f func(order []int)) {
	order := make([]int, 0, n)
	var rec func(used uint)
	rec = func(used uint) {
		if len(order) == n {
			f(order)
			return
		}
		for i := range n {
			if used&(1<<i) == 0 {
				order = append(order, i)
				rec(used | 1<<i)
				order = order[:len(order)-1]
			}
		}
	}
	rec(0)
}

// A full table takes what replaces an entry, and counts what it has no room for.
func TestNATFull(t *testing.T) {
	j := newTest()
	nat := func(n int, to uint16) *flows.NAT {
		orig := tcpKey("10.0.0.1", uint16(n), "192.0.2.1", uint16(1+n>>16), 0)
		reply := tcpKey("10.9.9.9", to, orig.Src.Netip().String(), orig.SrcPort, 0)
		reply.Dst = flows.AddrFrom(netip.AddrFrom4([4]byte{172, 16, byte(n >> 16), byte(n >> 8)}))
		return &flows.NAT{Orig: orig, Reply: reply, Time: sec}
	}
	for n := range maxNAT / 2 {
		j.NAT(nat(n, 80))
	}
	if len(j.nats) != maxNAT || j.Stats().NATOverflow != 0 {
		t.Fatalf("%d tuples, %d refused", len(j.nats), j.Stats().NATOverflow)
	}
	j.NAT(nat(5, 81))
	if e := j.nats[j.natKey(nat(5, 81).Reply)]; e == nil || j.Stats().NATOverflow != 0 {
		t.Errorf("the new translation of a known tuple is refused: %d", j.Stats().NATOverflow)
	}
	j.NAT(nat(maxNAT, 80))
	if len(j.nats) != maxNAT || j.Stats().NATOverflow != 1 {
		t.Errorf("%d tuples, %d refused", len(j.nats), j.Stats().NATOverflow)
	}
}
