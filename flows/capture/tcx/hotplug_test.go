package tcx

import (
	"context"
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/machine"
)

// Devices come, are renamed and go while the meter runs.
func TestKernelHotplug(t *testing.T) {
	n, other := newNS(t), newNS(t)
	m := n.meter(t, Config{Interfaces: []string{"v*", "lo"}})
	n.run(t, m)
	state := func(name string) State {
		for _, d := range m.Status().Devices {
			if d.Name == name {
				return d.State
			}
		}
		return ""
	}
	n.veth(t, "v0", other, "v1")
	machine.Until(t, "the new device is attached", func() bool { return state("v0") == StateAttached })
	n.addr(t, "v0", "10.77.1.1/24")
	other.addr(t, "v1", "10.77.1.2/24")
	datagrams(t, n, other, "10.77.1.2:5353", 5, 50)
	checkCounters(t, settle(t, m))

	v0 := n.link(t, "v0")
	if err := errors.Join(n.nl.LinkSetDown(v0), n.nl.LinkSetName(v0, "renamed0"), n.nl.LinkSetUp(v0)); err != nil {
		t.Fatal(err)
	}
	machine.Until(t, "the new name is known", func() bool { return state("renamed0") == StateAttached })
	datagrams(t, n, other, "10.77.1.2:5353", 5, 50)

	n.veth(t, "x0", other, "x1")
	machine.Until(t, "the device that is not asked for is skipped", func() bool { return state("x0") == StateSkipped })

	settle(t, m)
	if err := n.nl.LinkDel(v0); err != nil {
		t.Fatal(err)
	}
	machine.Until(t, "the device is forgotten", func() bool { return state("renamed0") == "" })
	var s sink
	collect(t, m, &s)
	checkBalance(t, devices(t, m), s.sum())
	if u := s.total(port(5353)); u[0].Packets+u[1].Packets != 10 {
		t.Errorf("%+v, want 10 packets: those of a removed device are lost", u)
	}
	st, err := m.Stats()
	if err != nil || st.AttachGaps != 1 || st.GapSeconds <= 0 || st.Removed != 1 || st.Devices != 1 {
		t.Errorf("stats %+v, %v", st, err)
	}

	// The same again, perhaps under the same number.
	n.veth(t, "v0", other, "v1")
	machine.Until(t, "the device is back", func() bool { return state("v0") == StateAttached })
}

// I8: somebody removes the qdisc; verify puts the filters back. Filters of
// others, and a qdisc they are in, are left alone.
func TestTCReattach(t *testing.T) {
	n, other := newNS(t), newNS(t)
	n.veth(t, "v0", other, "v1")
	m := n.meter(t, Config{Mode: ModeTC, Interfaces: []string{"v0"}})
	v0 := n.link(t, "v0")
	if err := n.nl.QdiscDel(clsact(v0.Attrs().Index)); err != nil {
		t.Fatal(err)
	}
	n.do(t, m.verify)
	for _, parent := range clsactParents {
		if ours, _, err := m.filters(v0, parent); err != nil || len(ours) != 1 {
			t.Fatalf("%d filters, %v", len(ours), err)
		}
	}
	if st, err := m.Stats(); err != nil || st.Reattached != 1 {
		t.Errorf("stats %+v, %v", st, err)
	}
	foreign := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: v0.Attrs().Index, Parent: netlink.HANDLE_MIN_EGRESS, Priority: 9, Handle: 1, Protocol: unix.ETH_P_ALL,
		},
		Fd: m.progs[hookEgress][0].FD(), Name: "foreign", DirectAction: true,
	}
	if err := n.nl.FilterAdd(foreign); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	filters, err := n.nl.FilterList(v0, netlink.HANDLE_MIN_EGRESS)
	if err != nil || len(filters) != 1 {
		t.Errorf("filters left %v, %v: want the foreign one", filters, err)
	}
}

// Close before Attach, twice, and Attach after it.
func TestLifecycle(t *testing.T) {
	m, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(context.Background()); err == nil {
		t.Error("Run before Attach must fail")
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	if err := m.Attach(context.Background()); err == nil {
		t.Error("Attach after Close must fail")
	}
	if err := m.Devices(func(*Device) bool { return true }); err == nil {
		t.Error("Devices after Close must fail")
	}
	if _, err := m.Stats(); err != nil {
		t.Errorf("Stats after Close: %v", err)
	}
}

func TestNoDevice(t *testing.T) {
	n := newNS(t)
	m, err := New(Config{Interfaces: []string{"nothing*"}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := <-n.start(func() error { return m.Attach(context.Background()) }); err == nil {
		t.Error("no device matches, but Attach is content")
	}
}
