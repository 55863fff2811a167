package correlate

import (
	"testing"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

func udpKey(src string, sport uint16, dst string, dport uint16, ns uint32) flows.Key {
	k := tcpKey(src, sport, dst, dport, ns)
	k.Proto = flows.UDP
	return k
}

// E8: the catch-all entry of a socket with too many peers is a row only where no
// packets tell the same.
func TestCatchAll(t *testing.T) {
	k := udpKey("10.0.0.1", 53, "0.0.0.0", 0, 1)
	for _, packets := range []bool{false, true} {
		j := newTest()
		want := uint64(700)
		if packets {
			rec := flow(udpKey("10.0.0.2", 4000, "10.0.0.1", 53, 0), 100*sec, 100*sec, 742, 0)
			rec.Dir[0].Payload, rec.Dir[1].Payload = 350, 350
			j.Flow(rec)
		}
		j.Peer(&kprobes.PeerEvent{Cookie: 5, Key: k, Role: kprobes.RoleServer, Overflow: true, Received: 700, First: 100 * sec, Last: 100 * sec, Owner: owner(7, "dns")})
		var got uint64
		for _, r := range tick(j, 103*sec, Running) {
			got += r.Delta.ToServer.Payload + r.Delta.ToClient.Payload
		}
		if got != want {
			t.Errorf("packets %v: %d octets of payload, want %d once", packets, got, want)
		}
	}
}

// A server's socket that is told after the flow's end was, is not a flow more.
func TestPeerToldLate(t *testing.T) {
	j := newTest()
	k := udpKey("10.0.0.2", 4000, "10.0.0.1", 53, 11)
	back := k.Reverse()
	back.NetNS = 12
	j.Peer(&kprobes.PeerEvent{Cookie: 5, Key: k, Role: kprobes.RoleClient, Released: true, Sent: 500, First: 100 * sec, Last: 100 * sec, Owner: owner(7, "dig")})
	if r := only(t, tick(j, 101*sec, Running)); !r.Final || r.Delta.ToServer.Payload != 500 {
		t.Fatalf("the client's: %+v", r)
	}
	j.Peer(&kprobes.PeerEvent{Cookie: 6, Key: back, Role: kprobes.RoleServer, Received: 500, First: 100 * sec, Last: 100 * sec, Owner: owner(8, "dns")})
	if rs := tick(j, 102*sec, Running); len(rs) != 0 {
		t.Errorf("counted again: %+v", rs)
	}
	if n := j.Stats().Paired; n != 1 {
		t.Errorf("%d pairs", n)
	}
}

// Payload of packets with the cookie of a socket that nobody knows is local and
// not attributed; that of forwarded packets is not local.
func TestCoverageOfUnknownSockets(t *testing.T) {
	j := newTest()
	signed := flow(udpKey("10.9.0.2", 4000, "10.9.0.1", 53, 0), 100*sec, 100*sec, 800, 0)
	signed.Cookie[0] = 99
	j.Flow(signed)
	j.Flow(flow(udpKey("10.9.0.3", 4000, "10.9.0.1", 53, 0), 100*sec, 100*sec, 600, 0))
	tick(j, 105*sec, Running)
	if s := j.Stats(); s.LocalOctets != 400 || s.AttributedOctets != 0 || s.WireOctets != 1400 || s.RepeatedOctets != 0 {
		t.Errorf("%+v", s)
	}
}

// The process of a datagram socket was killed: its namespace is not told at the
// end, and yet it is the same socket.
func TestUDPReleasedByDyingProcess(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 53, 9)
	back := k.Reverse()
	back.NetNS = 10
	j.Peer(datagrams(7, k, kprobes.RoleClient, 10, "dig", t0, 30, 90))
	srv := datagrams(8, back, kprobes.RoleServer, 20, "dns", t0, 90, 30)
	j.Peer(srv)
	only(t, tick(j, t0+sec, Running))
	srv.Key.NetNS, srv.Released = 0, true
	j.Peer(srv)
	r := only(t, tick(j, t0+2*sec, Running))
	if r.Server.NetNS != 10 || r.Reporter != ReporterBoth || r.Delta.ToServer.Payload != 0 || !r.Final {
		t.Errorf("got %+v", r)
	}
}

// A client that comes and goes between the moment when the sockets told and the
// tick: the server's socket tells at the next one, and the row has both.
func TestUDPGoneBeforeTheServerTold(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := udpKey("10.0.0.1", 40000, "10.0.0.2", 53, 9)
	j.Pair(t0)
	gone := datagrams(7, k, kprobes.RoleClient, 10, "dig", t0+sec/10, 30, 90)
	gone.Released = true
	j.Peer(gone)
	if rs := tick(j, t0+sec, Running); len(rs) != 0 {
		t.Errorf("told before the server's socket was asked: %+v", rs)
	}
	back := k.Reverse()
	back.NetNS = 10
	j.Peer(datagrams(8, back, kprobes.RoleServer, 20, "dns", t0+sec/10, 90, 30))
	j.Pair(t0 + sec)
	r := only(t, tick(j, t0+2*sec, Running))
	if r.Reporter != ReporterBoth || r.Server.Process == nil || r.Server.Process.PID != 20 || !r.Final {
		t.Errorf("got %+v", r)
	}
}

// F18 over the end of an interval: what has only asked, just now, is not told before the
// answer may have come that nobody is there; nor longer than that.
func TestCaseF18_RefusedAfterTheInterval(t *testing.T) {
	for _, tc := range []struct {
		name           string
		refused        uint32
		opened, failed uint32
	}{{"refused", 1, 0, 1}, {"no answer", 0, 1, 0}} {
		j := newTest()
		ev := kprobes.PeerEvent{
			Cookie: 5, Key: udpKey("10.0.0.2", 4000, "10.0.0.1", 53, 11), Role: kprobes.RoleClient, Sent: 500,
			First: 101*sec - undecided/2, Last: 101*sec - undecided/2, Owner: owner(7, "dig"),
		}
		j.Peer(&ev)
		if rs := tick(j, 101*sec, Running); len(rs) != 0 {
			t.Errorf("%s: told at once: %+v", tc.name, rs)
		}
		ev.Refused, ev.Released = tc.refused, tc.refused > 0
		j.Peer(&ev)
		r := only(t, tick(j, 102*sec, Running))
		if r.Delta.Opened != tc.opened || r.Delta.Failed[FailRefused] != tc.failed || r.Delta.ToServer.Payload != 500 {
			t.Errorf("%s: %+v", tc.name, r.Delta)
		}
	}
}
