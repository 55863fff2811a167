package tcx

import (
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/test/machine"
)

// G3: of all combinations of flags only SYN opens, and only SYN with ACK answers.
func TestCaseG3_FlagsInTheKernel(t *testing.T) {
	b := newBench(t, Config{}, nil)
	for f := range flows.TCPFlags(64) {
		has := func(x flows.TCPFlags) bool { return f&x != 0 }
		b.run(hookEgress, tcpFrame(t, false, layers.TCP{FIN: has(flows.FIN), SYN: has(flows.SYN), RST: has(flows.RST), PSH: has(flows.PSH), ACK: has(flows.ACK), URG: has(flows.URG)}, 0), nil)
		var s sink
		if err := b.Collect(time.Now().Add(time.Hour), &s, nil); err != nil { // and forget it
			t.Fatal(err)
		}
		var want flows.TCPFlags
		who := flows.InitiatorUnknown
		switch f & (flows.SYN | flows.ACK | flows.RST | flows.FIN) {
		case flows.SYN:
			want, who = flows.SYNOnly, flows.InitiatorSrc
		case flows.SYN | flows.ACK:
			want, who = flows.SYNACK, flows.InitiatorDst
		}
		if r := s.records[0]; r.Dir[0].Flags != f|want || r.Initiator != who {
			t.Errorf("flags %#x: told as %#x, initiator %d", f, r.Dir[0].Flags, r.Initiator)
		}
	}
}

// C2: which devices are in a domain of their own.
func TestCaseC2_Domains(t *testing.T) {
	n, other := newNS(t), newNS(t)
	m := n.meter(t, Config{})
	n.run(t, m)
	bridge := func(name, cidr string) {
		t.Helper()
		if err := n.nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
			t.Fatal(err)
		}
		if cidr != "" {
			n.addr(t, name, cidr)
		}
		n.up(t, name)
		n.veth(t, name+"p", other, name+"q")
		if err := n.nl.LinkSetMaster(n.link(t, name+"p"), n.link(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	domain := func(name string) uint16 {
		i := n.link(t, name).Attrs().Index
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.domains.written[i]
	}
	is := func(what string, f func() bool) {
		t.Helper()
		machine.Until(t, what, f)
	}
	bridge("routed", "10.0.1.1/24")
	bridge("lone", "")
	bridge("lone2", "")
	is("bridges without an address are domains, each with its ports", func() bool {
		a, b := domain("lone"), domain("lone2")
		return a != 0 && b != 0 && a != b && domain("lonep") == a && domain("lone2p") == b
	})
	if domain("routed") != 0 || domain("routedp") != 0 || domain("lo") != 0 {
		t.Errorf("the routed bridge is in domain %d, its port in %d, lo in %d", domain("routed"), domain("routedp"), domain("lo"))
	}
	bridge("twin", "10.0.1.1/24")
	is("of two bridges with the same subnet both are domains", func() bool {
		return domain("routedp") != 0 && domain("twinp") != 0 && domain("routedp") != domain("twinp")
	})
	if err := n.nl.LinkDel(n.link(t, "twin")); err != nil {
		t.Fatal(err)
	}
	is("the other one is routed again", func() bool { return domain("routedp") == 0 })
	if err := n.nl.LinkSetNoMaster(n.link(t, "lonep")); err != nil {
		t.Fatal(err)
	}
	is("a port that is taken off its bridge is no more in its domain", func() bool { return domain("lonep") == 0 })
}
