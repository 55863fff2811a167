package tcx

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/test/machine"
)

// sink keeps everything a Collect handed out.
type sink struct {
	records []flows.Record
	nats    []flows.NAT
}

func (s *sink) Flow(r *flows.Record) { s.records = append(s.records, *r) }
func (s *sink) NAT(n *flows.NAT)     { s.nats = append(s.nats, *n) }

// total adds up the records of the flows that match.
func (s *sink) total(match func(*flows.Record) bool) (dir [2]flows.Counters) {
	for i := range s.records {
		if match(&s.records[i]) {
			dir[0].Add(s.records[i].Dir[0])
			dir[1].Add(s.records[i].Dir[1])
		}
	}
	return dir
}

func (s *sink) sum() Sum {
	d := s.total(func(*flows.Record) bool { return true })
	return Sum{d[0].Packets + d[1].Packets, d[0].Octets + d[1].Octets}
}

// port matches flows with a port, and to says which direction goes to it.
func port(p uint16) func(*flows.Record) bool {
	return func(r *flows.Record) bool { return r.Key.SrcPort == p || r.Key.DstPort == p }
}

func to(r *flows.Record, p uint16) flows.Direction {
	if r.Key.DstPort == p {
		return flows.Forward
	}
	return flows.Reverse
}

func needRoot(t testing.TB) {
	t.Helper()
	machine.Root(t, "loads BPF programs and makes network namespaces")
}

// ns is a network namespace without a name: it is gone with its last user.
type ns struct {
	h  netns.NsHandle
	nl *netlink.Handle
}

func newNS(t testing.TB) *ns {
	t.Helper()
	needRoot(t)
	n := &ns{}
	errc := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		var err error
		n.h, err = netns.New()
		errc <- err
	}()
	if err := <-errc; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	var err error
	if n.nl, err = netlink.NewHandleAt(n.h, unix.NETLINK_ROUTE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.nl.Close(); n.h.Close() })
	n.up(t, "lo")
	// On devices to come: no multicast listener reports at times of their own.
	n.do(t, func() error {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
		if os.IsNotExist(err) {
			return nil
		}
		return err
	})
	return n
}

// do runs f in a thread of the namespace.
func (n *ns) do(t testing.TB, f func() error) {
	t.Helper()
	if err := <-n.start(f); err != nil {
		t.Fatal(err)
	}
}

func (n *ns) start(f func() error) <-chan error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(n.h); err != nil {
			errc <- err
			return
		}
		errc <- f()
	}()
	return errc
}

func (n *ns) hasV6() bool {
	addrs, err := n.nl.AddrList(nil, netlink.FAMILY_V6)
	return err == nil && len(addrs) > 0
}

func (n *ns) link(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := n.nl.LinkByName(name)
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return l
}

func (n *ns) up(t testing.TB, name string) {
	t.Helper()
	l := n.link(t, name)
	if err := n.nl.LinkSetUp(l); err != nil {
		t.Fatalf("set %s up: %v", name, err)
	}
}

func (n *ns) addr(t testing.TB, name, cidr string) {
	t.Helper()
	a, err := netlink.ParseAddr(cidr)
	if err != nil {
		t.Fatal(err)
	}
	a.Flags = unix.IFA_F_NODAD
	if err := n.nl.AddrAdd(n.link(t, name), a); err != nil {
		t.Fatalf("add %s to %s: %v", cidr, name, err)
	}
}

func (n *ns) route(t testing.TB, via string) {
	t.Helper()
	if err := n.nl.RouteAdd(&netlink.Route{Gw: net.ParseIP(via)}); err != nil {
		t.Fatalf("add the default route by %s: %v", via, err)
	}
}

// veth makes name in n with its peer in the other namespace as peer.
func (n *ns) veth(t testing.TB, name string, other *ns, peer string) {
	t.Helper()
	err := n.nl.LinkAdd(&netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name},
		PeerName:      peer,
		PeerNamespace: netlink.NsFd(other.h),
	})
	if err != nil {
		t.Fatalf("make veth %s: %v", name, err)
	}
	n.up(t, name)
	other.up(t, peer)
}

func (n *ns) sysctl(t testing.TB, path, value string) {
	t.Helper()
	n.do(t, func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0) })
}

// meter attaches to the namespace's devices.
func (n *ns) meter(t testing.TB, cfg Config) *Meter {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.do(t, func() error { return m.Attach(context.Background()) })
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return m
}

// run runs the hot-plug side until the test ends.
func (n *ns) run(t testing.TB, m *Meter) {
	ctx, cancel := context.WithCancel(context.Background())
	done := n.start(func() error { return m.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func collect(t testing.TB, m *Meter, s *sink) {
	t.Helper()
	if err := m.Collect(time.Now(), s, nil); err != nil {
		t.Fatal(err)
	}
}

func devices(t testing.TB, m *Meter) map[string]Device {
	t.Helper()
	all := make(map[string]Device)
	err := m.Devices(func(d *Device) bool {
		all[d.Name] = *d
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// settle waits until no packet moves any more and returns the ledgers.
func settle(t testing.TB, m *Meter) map[string]Device {
	t.Helper()
	last := devices(t, m)
	machine.Until(t, "traffic stops", func() bool {
		time.Sleep(60 * time.Millisecond) // longer than a delayed ACK
		now := devices(t, m)
		same := fmt.Sprint(now) == fmt.Sprint(last)
		last = now
		return same
	})
	return last
}

// checkBalance checks that everything seen is accounted for: in every ledger,
// and between the ledgers and the records.
func checkBalance(t testing.TB, devs map[string]Device, records Sum) {
	t.Helper()
	var flow Sum
	for name, d := range devs {
		for hook, l := range map[string]Ledger{"ingress": d.Ingress, "egress": d.Egress} {
			got := Sum{
				l.Flow.Packets + l.Dup.Packets + l.NonFlow.Packets + l.FragUnknown.Packets + l.Overflow.Packets + l.Malformed.Packets,
				l.Flow.Octets + l.Dup.Octets + l.NonFlow.Octets + l.FragUnknown.Octets + l.Overflow.Octets + l.Malformed.Octets,
			}
			if got != l.Seen {
				t.Errorf("%s %s: seen %v, accounted for %v: %+v", name, hook, l.Seen, got, l)
			}
			flow.Packets += l.Flow.Packets
			flow.Octets += l.Flow.Octets
		}
	}
	if flow != records {
		t.Errorf("ledgers have %v of flows, records %v", flow, records)
	}
}

// checkCounters compares ledgers with the devices' own counters, by the
// conventions of the package documentation: rx exactly, tx exactly or between
// super-packets and segments.
func checkCounters(t testing.TB, devs map[string]Device) {
	t.Helper()
	for name, d := range devs {
		if d.Ifindex == 0 {
			continue
		}
		rxHeader, txHeader := uint64(0), uint64(0)
		if d.Kind == "bridge" || d.LinkType == "loopback" {
			rxHeader = 14
		}
		if d.LinkType == "loopback" {
			txHeader = 14
		}
		rx := Sum{d.Ingress.SKBs, d.Ingress.SKBOctets - rxHeader*d.Ingress.SKBs}
		if want := (Sum{d.Kernel.RxPackets, d.Kernel.RxOctets}); rx != want {
			t.Errorf("%s: ingress ledger %v, device %v", name, rx, want)
		}
		least := Sum{d.Egress.SKBs, d.Egress.SKBOctets - txHeader*d.Egress.SKBs}
		most := Sum{d.Egress.Seen.Packets, d.Egress.Seen.Octets - txHeader*d.Egress.Seen.Packets}
		tx := Sum{d.Kernel.TxPackets, d.Kernel.TxOctets}
		if tx.Packets < least.Packets || tx.Packets > most.Packets || tx.Octets < least.Octets || tx.Octets > most.Octets {
			t.Errorf("%s: egress ledger %v as super-packets, %v as segments, device %v", name, least, most, tx)
		}
	}
}
