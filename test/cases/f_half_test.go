package cases

import (
	"fmt"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// knock sends a SYN to an address, from an address that need not be the namespace's.
func knock(t *testing.T, ns *netlab.NS, from [4]byte, fromPort uint16, to [4]byte, port uint16) {
	t.Helper()
	ns.Do(t, func() error { return netlab.SYN(from, fromPort, to, port) })
}

// halfOpen adds up the handshakes that rows of a server's port say were not completed.
func halfOpen(t *testing.T, r *rows, port int) (n int64, rs []row) {
	t.Helper()
	rs = r.all(t, "flow_error", func(x row) bool {
		return x.tag("server_port") == fmt.Sprint(port) && x.num("handshakes_incomplete") > 0
	})
	for _, x := range rs {
		n += x.num("handshakes_incomplete")
	}
	return n, rs
}

// A SYN from somebody who does not take the answer: the server's kernel gives up, and
// that is the listener's; a client's failure is nobody's.
func TestCaseF14_HandshakeGivenUp(t *testing.T) {
	_, rows := own(t)
	b := newPair(t, 19)
	b.far.Sysctl(t, "net/ipv4/tcp_synack_retries", "1")
	b.far.Run(t, "ip", "neigh", "add", "10.210.19.77", "lladdr", b.near.Link(t, "wf0").Attrs().HardwareAddr.String(), "dev", "wf1", "nud", "permanent")
	b.drop(t, "near", "ip daddr 10.210.19.77")
	s, port := b.server(t, "wait")
	const n = 3
	for i := range n {
		knock(t, b.near, [4]byte{10, 210, 19, 77}, uint16(5000+i), [4]byte{10, 210, 19, 2}, uint16(port))
	}
	probe.Until(t, patience, "handshakes given up", func() error {
		if got, rs := halfOpen(t, rows, port); got < n {
			return fmt.Errorf("%d of %d: %v", got, n, rs)
		}
		return nil
	})
	rows.settle(t)
	got, rs := halfOpen(t, rows, port)
	if got != n {
		t.Errorf("%d handshakes, want %d: %v", got, n, rs)
	}
	for _, r := range rs {
		if r.tag("server_process") != "cases.test" || r.tag("reporter") != "server" || r.tag("client_kind") != "unknown" || r.tag("attribution") != "exact" {
			t.Error(r)
		}
	}
	for _, r := range rows.all(t, "flow", func(r row) bool { return r.tag("server_port") == fmt.Sprint(port) }) {
		if r.num("failed") > 0 || r.num("opened") > 0 || r.num("attempts") > 0 {
			t.Errorf("an attempt of nobody's: %v", r)
		}
	}
	s.say("on")
	s.ended()
}

// A SYN-ACK is lost and sent again: the handshake succeeds after all.
func TestCaseF14_HandshakeLate(t *testing.T) {
	_, rows := own(t)
	b := newPair(t, 20)
	s, port := b.server(t, "accept say there drain close")
	// The client's answer is lost: only the server's kernel sends again.
	b.drop(t, "far", fmt.Sprintf("tcp dport %d tcp flags ack / syn,ack,rst limit rate 1/day burst 1 packets", port))
	c := b.client(t, port, "connect $ wait write 70 close")
	c.hears("ok")
	s.hears("there")
	c.say("on")
	s.hears("ok")
	c.ended()
	s.ended()
	if counterOf(t, b.far, "TCPSynRetrans") == 0 {
		t.Fatal("no SYN-ACK was sent again")
	}
	want(t, rows.final(t, 1, b.mine)[0], fields{"client_pid": c.Process.Pid, "opened": 1, "failed": 0, "to_server_bytes": 70})
	rows.settle(t)
	if n, rs := halfOpen(t, rows, port); n != 0 {
		t.Errorf("%d handshakes not completed: %v", n, rs)
	}
}

// A client that lives here and never hears the answer has failed; the server has a
// handshake that was not completed: each says its own.
func TestCaseF14_BothEndsHere(t *testing.T) {
	_, rows := own(t)
	b := newPair(t, 21)
	b.far.Sysctl(t, "net/ipv4/tcp_synack_retries", "1")
	b.near.Sysctl(t, "net/ipv4/tcp_syn_retries", "1")
	s, port := b.server(t, "wait")
	b.drop(t, "near", fmt.Sprint("tcp sport ", port))
	c := b.client(t, port, "connect $")
	c.hears("ETIMEDOUT")
	c.ended()
	r := rows.final(t, 1, b.mine)[0]
	want(t, r, fields{"client_pid": c.Process.Pid, "failed_timeout": 1, "attempts": 1, "opened": 0, "close_cause": "connect_timeout"})
	if r.num("handshakes_incomplete") > 0 {
		t.Error(r)
	}
	probe.Until(t, patience, "the server's half", func() error {
		if n, rs := halfOpen(t, rows, port); n < 1 {
			return fmt.Errorf("%v", rs)
		}
		return nil
	})
	rows.settle(t)
	if n, rs := halfOpen(t, rows, port); n != 1 || rs[0].tag("reporter") != "server" {
		t.Errorf("%d: %v", n, rs)
	}
	s.say("on")
	s.ended()
}

// Half a handshake to see whether somebody listens, as scanners and balancers do it: a
// SYN and, after the answer, a reset. Packets tell it.
func TestCaseF14_Scan(t *testing.T) {
	_, rows := own(t)
	box := bridgedAt(t, netlab.Host(t), 18, 2)
	metered(t, rows, boxAddr(18, 1), pair{box[0], box[1]})
	b := &pairBed{near: box[0], far: box[1], there: boxAddr(18, 1)}
	s, port := b.server(t, "wait")
	knock(t, box[0], [4]byte{10, 207, 18, 2}, 5004, [4]byte{10, 207, 18, 3}, uint16(port)) // its kernel does not know of it and resets
	got := rows.final(t, 1, serverPort(port))[0]
	want(t, got, fields{"close_cause": "handshake_incomplete", "handshakes_incomplete": 1, "opened": 0, "failed": 0, "attempts": 0, "client_address": boxAddr(18, 0), "client_port": 5004})
	if n, rs := halfOpen(t, rows, port); n != 1 {
		t.Errorf("%d: %v", n, rs)
	}
	s.say("on")
	s.ended()
}
