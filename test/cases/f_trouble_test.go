package cases

import (
	"fmt"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// tcpInfo is what a child's kernel says of its connection (step info).
type tcpInfo struct{ minRTT, rtt, outOfOrder, duplicates int }

func (p *process) info() (i tcpInfo) {
	p.t.Helper()
	if _, err := fmt.Sscan(p.line(), &i.minRTT, &i.rtt, &i.outOfOrder, &i.duplicates); err != nil {
		p.t.Fatal(err)
	}
	return i
}

// seconds is a float field, -1 where it is absent.
func (r row) seconds(name string) float64 {
	v, ok := r.fields[name].(float64)
	if !ok {
		return -1
	}
	return v
}

// A segment is lost once: those behind it come before their turn, as many as the
// server's kernel says.
func TestCaseF_OutOfOrder(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 15)
	s, port := b.server(t, "accept read 3000 info drain close")
	b.drop(t, "far", fmt.Sprintf("tcp dport %d meta length > 500 limit rate 1/day burst 1 packets", port))
	c := b.client(t, port, "connect $ write 1000 write 1000 write 1000 close")
	c.hears("ok")
	truth := s.info()
	s.hears("ok")
	c.ended()
	s.ended()
	if truth.outOfOrder == 0 {
		t.Fatal("the kernel saw nothing out of order")
	}
	r := rows.final(t, 1, b.mine)[0]
	want(t, r, fields{"out_of_order": truth.outOfOrder, "to_server_bytes": 3000, "close_cause": "normal"})
	if r.num("retransmits_to_server") < 1 || r.num("duplicates") > 0 {
		t.Error(r)
	}
}

// An acknowledgement is lost: what it was for is sent again for nothing, and the
// server says that it had it already.
func TestCaseF_Duplicates(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 16)
	s, port := b.server(t, "accept say there drain close")
	c := b.client(t, port, "connect $ wait write 1000 acked info close")
	c.hears("ok")
	s.hears("there")
	b.drop(t, "near", fmt.Sprintf("tcp sport %d tcp flags ack / syn,ack,fin,rst limit rate 1/day burst 1 packets", port))
	c.say("on")
	truth := c.info()
	s.hears("ok")
	c.ended()
	s.ended()
	if truth.duplicates == 0 {
		t.Fatal("the kernel heard of no duplicate")
	}
	r := rows.final(t, 1, b.mine)[0]
	want(t, r, fields{"duplicates": truth.duplicates, "to_server_bytes": 1000, "close_cause": "normal"})
	if r.num("retransmits_to_server") < 1 || r.num("out_of_order") > 0 {
		t.Error(r)
	}
}

// A server does not read: its kernel closes the window, answers each probe of it so,
// and both packet paths count the same segments, as the server's.
func TestCaseF_ZeroWindow(t *testing.T) {
	_, rows := own(t) // in which the port has a name
	host := netlab.Host(t)
	box := bridgedAt(t, host, 17, 2)
	_, others := own(t, "--packets", "afpacket", "--interface", portName(17, 1))
	b := &pairBed{near: box[0], far: box[1], there: boxAddr(17, 1)}
	s, port := b.server(t, "accept wait drain close")
	c := b.client(t, port, "connect $ write 20000000 close")
	c.hears("ok")
	probe.Until(t, patience, "a closed window", func() error {
		if b.counter(t, "TCPToZeroWindowAdv") == 0 || counterOf(t, b.near, "TCPWinProbe") == 0 {
			return fmt.Errorf("the server's kernel takes still more")
		}
		return nil
	})
	s.say("on")
	s.hears("ok")
	c.ended()
	s.ended()
	got := rows.final(t, 1, serverPort(port))[0]
	n := got.num("zero_windows_by_server")
	if n < 2 || got.num("zero_windows_by_client") > 0 {
		t.Errorf("a window that was closed and probed: %v", got)
	}
	if other := others.final(t, 1, serverPort(port))[0]; other.num("zero_windows_by_server") != n || other.num("zero_windows_by_client") > 0 {
		t.Errorf("%d zero windows by tcx, otherwise %v", n, other)
	}
	flow := rows.all(t, "flow_error", func(r row) bool { return r.tag("server_port") == fmt.Sprint(port) })
	var sum int64
	for _, r := range flow {
		sum += max(r.num("zero_windows_by_server"), 0)
	}
	if sum != n {
		t.Errorf("%d zero windows in flow_error, %d in flow_log", sum, n)
	}
}
