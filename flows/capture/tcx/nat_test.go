package tcx

import (
	"os/exec"
	"testing"

	"github.com/weir-probe/weir/flows"
)

// D1, D2: both translations of a connection are reported as conntrack has them.
func TestNAT(t *testing.T) {
	r := newBridged(t)
	r.host.sysctl(t, "net/ipv4/ip_forward", "1")
	outside := newNS(t)
	r.host.veth(t, "up0", outside, "eth0")
	r.host.addr(t, "up0", "192.0.2.1/24")
	outside.addr(t, "eth0", "192.0.2.2/24")
	for _, rule := range [][]string{
		{"-t", "nat", "-A", "POSTROUTING", "-s", "10.77.0.0/24", "-o", "up0", "-j", "MASQUERADE"},
		{"-t", "nat", "-A", "PREROUTING", "-i", "up0", "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to-destination", "10.77.0.2:8080"},
	} {
		r.host.do(t, func() error {
			if out, err := exec.Command("iptables", rule...).CombinedOutput(); err != nil {
				t.Logf("iptables %v: %s", rule, out)
				return err
			}
			return nil
		})
	}
	m := r.host.meter(t, Config{})
	if f := m.Status().NAT; !f.Available {
		t.Skipf("needs readable conntrack entries: %s", f.Reason)
	}

	_, got := serve(t, outside, "192.0.2.2:443", 10)
	send(t, r.a, "192.0.2.2:443", 1000) // masqueraded
	<-got
	_, got = serve(t, r.a, "10.77.0.2:8080", 10)
	send(t, outside, "192.0.2.1:80", 1000) // published port
	<-got
	devs := settle(t, m)
	var s sink
	collect(t, m, &s)
	checkBalance(t, devs, s.sum())
	checkCounters(t, devs)

	// For each translated connection there are two flows, the original tuple
	// and the reverse of the reply tuple.
	find := func(dst string) *flows.NAT {
		want := key(flows.TCP, "0.0.0.0:0", dst)
		for i, n := range s.nats {
			if n.Orig.Dst == want.Dst && n.Orig.DstPort == want.DstPort {
				return &s.nats[i]
			}
		}
		t.Fatalf("no translation of %s in %+v", dst, s.nats)
		return nil
	}
	for dst, reply := range map[string]flows.Key{
		"192.0.2.2:443": key(flows.TCP, "192.0.2.2:443", "192.0.2.1:0"),
		"192.0.2.1:80":  key(flows.TCP, "10.77.0.2:8080", "192.0.2.2:0"),
	} {
		n := find(dst)
		if n.Reply.Src != reply.Src || n.Reply.SrcPort != reply.SrcPort || n.Reply.Dst != reply.Dst || n.Reply.Proto != flows.TCP {
			t.Errorf("translation of %s: %v / %v", dst, n.Orig, n.Reply)
		}
		for _, k := range []flows.Key{n.Orig, n.Reply.Reverse()} {
			c, _ := k.Canonical()
			c.NetNS = 0
			d := s.total(func(r *flows.Record) bool { return r.Key == c })
			if !within(d[0].Payload+d[1].Payload, 1010, 1010) {
				t.Errorf("flow %v of the translation of %s has %+v", k, dst, d)
			}
		}
	}
	if len(s.nats) > 4 {
		t.Errorf("%d translations of 2 connections", len(s.nats))
	}
}
