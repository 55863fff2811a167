package tcx

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/conntrack"
	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// One translation of each protocol: the key in the packet's conntrack entry, the
// one that netlink tells and those of the packets before and after are equal to
// the octet. (What sockets tell goes through flows.NATKey like the first two.)
func TestCaseD8_KeysOfAllSources(t *testing.T) {
	host, a, out := netlab.New(t), netlab.New(t), netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "va", CIDR: "10.204.8.1/24"}, netlab.End{NS: a, Name: "eth0", CIDR: "10.204.8.2/24"})
	netlab.Veth(t, netlab.End{NS: host, Name: "up0", CIDR: "192.0.2.1/24"}, netlab.End{NS: out, Name: "eth0", CIDR: "192.0.2.2/24"})
	for dev, ends := range map[string][2]netlab.End{"va": {{NS: host, CIDR: "fd04:8::1/64"}, {NS: a, CIDR: "fd04:8::2/64"}}, "up0": {{NS: host, CIDR: "2001:db8::1/64"}, {NS: out, CIDR: "2001:db8::2/64"}}} {
		ends[0].NS.Address(t, dev, ends[0].CIDR)
		ends[1].NS.Address(t, "eth0", ends[1].CIDR)
	}
	a.Route(t, "default", "10.204.8.1")
	a.Run(t, "ip", "-6", "route", "add", "default", "via", "fd04:8::1")
	host.Sysctl(t, "net/ipv4/ip_forward", "1")
	host.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	for _, tool := range []string{"iptables", "ip6tables", "ping"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s (test/install.sh): %v", tool, err)
		}
	}
	for _, tool := range []string{"iptables", "ip6tables"} {
		host.Run(t, tool, "-w", "-t", "nat", "-A", "POSTROUTING", "-o", "up0", "-j", "MASQUERADE")
	}
	m, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	host.Do(t, func() error { return m.Attach(t.Context()) })
	if f := m.Status().NAT; !f.Available {
		t.Skipf("needs readable conntrack entries: %s", f.Reason)
	}
	ctx, stop := context.WithCancel(t.Context())
	w := conntrack.New(conntrack.Config{Host: true, HostNetNS: host.Inode})
	watched := make(chan error, 1)
	host.Start(func() error { watched <- w.Run(ctx); return nil })
	defer func() { stop(); <-watched }()
	probe.Until(t, 20*time.Second, "conntrack is watched", func() error {
		if w.Stats().Dumps == 0 {
			return fmt.Errorf("%+v %s", w.Stats(), w.Status())
		}
		return nil
	})

	for _, to := range []string{"192.0.2.2", "2001:db8::2"} {
		a.Run(t, "ping", "-c", "1", to)
		out.Do(t, func() error {
			ln, err := net.Listen("tcp", net.JoinHostPort(to, "443"))
			if err == nil {
				t.Cleanup(func() { ln.Close() })
			}
			return err
		})
		a.Do(t, func() error {
			for _, network := range []string{"tcp", "udp"} {
				c, err := net.Dial(network, net.JoinHostPort(to, "443"))
				if err != nil {
					return err
				}
				if _, err := c.Write([]byte("x")); err != nil {
					return err
				}
				c.Close()
			}
			return nil
		})
	}
	var packets, told sink
	collect(t, m, &packets)
	const n = 6
	probe.Until(t, 20*time.Second, "netlink tells of all", func() error {
		w.Drain(&told)
		if len(told.nats) < n {
			return fmt.Errorf("%d of %d: %v", len(told.nats), n, told.nats)
		}
		return nil
	})
	fromNetlink := map[flows.NAT]bool{}
	for _, x := range told.nats {
		x.Time = 0
		fromNetlink[x] = true
	}
	inPackets := map[flows.Key]bool{}
	for _, r := range packets.records {
		inPackets[r.Key] = true
	}
	protos := map[flows.Proto]int{}
	fromPackets := map[flows.NAT]bool{} // each is told twice: of the flow before and of that after
	for _, x := range packets.nats {
		x.Time = 0
		fromPackets[x] = true
	}
	for x := range fromPackets {
		if !fromNetlink[x] {
			t.Errorf("packets say %+v, netlink does not: %v", x, told.nats)
		}
		delete(fromNetlink, x)
		for _, k := range []flows.Key{x.Orig, x.Reply} {
			if k, _ = k.Canonical(); k.NetNS != host.Inode {
				t.Errorf("%v is of namespace %d, not %d", k, k.NetNS, host.Inode)
			}
			if k.NetNS = 0; !inPackets[k] {
				t.Errorf("no packets of %v", k)
			}
		}
		protos[x.Orig.Proto]++
	}
	if len(fromNetlink) != 0 {
		t.Errorf("netlink says what packets do not: %v", fromNetlink)
	}
	if protos[flows.TCP] != 2 || protos[flows.UDP] != 2 || protos[flows.ICMP] != 1 || protos[flows.ICMPv6] != 1 {
		t.Errorf("translations by protocol: %v", protos)
	}
}
