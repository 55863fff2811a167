package tcx

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A domain is a part of the namespace's network in which an address means one
// host. Everything that routes reach is domain 0, and mostly there is no other.
// But two bridges without an address of the host's, or with the same subnet, may
// carry equal tuples at the same time (C2), and so may two VRFs: those are
// domains of their own, and flows on them have it in their key. A flow that does
// pass from one domain to another (a gateway between them) is told once for each;
// the joiner takes the larger of the two views.
type domains struct {
	numbers map[int]uint16 // of a domain, by the ifindex of its bridge or VRF
	written map[int]uint16 // what flow_domains holds, by ifindex of the device
	last    uint16
}

// redraw finds out which devices are in which domain and tells the programs. It
// is called when devices or their masters changed; an address that changes
// without that is seen at the next verify.
func (m *Meter) redraw() error {
	want := make(map[int]uint16)
	nets, err := m.bridgeNets()
	if err != nil {
		return err
	}
	for i, d := range m.devs {
		if top := m.separate(d, nets); top != 0 {
			want[i] = m.domains.number(top)
		}
	}
	for top := range m.domains.numbers {
		if m.devs[top] == nil {
			delete(m.domains.numbers, top)
		}
	}
	return m.writeDomains(want)
}

// separate returns the bridge or VRF that is d's domain, 0 for the routed part.
func (m *Meter) separate(d *device, nets map[int][]netip.Prefix) (top int) {
	for hops := 0; d != nil && hops < 8; hops++ { // bond, bridge, VRF: masters are not deep
		switch {
		case d.kind == "vrf":
			top = d.ifindex
		case d.switches() && alone(d.ifindex, nets):
			top = d.ifindex
		case d.switches():
			top = 0
		}
		d = m.devs[d.master]
	}
	return top
}

// switches says whether packets go from port to port without the host's routes.
func (d *device) switches() bool { return d.kind == "bridge" || d.kind == "openvswitch" }

// alone says whether no route leads to a bridge, or not only to it.
func alone(bridge int, nets map[int][]netip.Prefix) bool {
	mine := nets[bridge]
	if len(mine) == 0 {
		return true
	}
	for other, theirs := range nets {
		if other == bridge {
			continue
		}
		for _, a := range mine {
			for _, b := range theirs {
				if a == b {
					return true
				}
			}
		}
	}
	return false
}

// bridgeNets returns the subnets the host has on each bridge: on itself, on a
// port (Open vSwitch) or on a device that stands on it (VLAN, macvlan).
func (m *Meter) bridgeNets() (map[int][]netip.Prefix, error) {
	any := false
	for _, d := range m.devs {
		any = any || d.switches()
	}
	if !any {
		return nil, nil
	}
	addrs, err := m.nl.AddrList(nil, unix.AF_UNSPEC)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the addresses: %w", err)
	}
	nets := make(map[int][]netip.Prefix)
	for i := range addrs {
		a := &addrs[i]
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || a.Scope != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		bits, _ := a.Mask.Size()
		p, err := ip.Unmap().Prefix(bits)
		d := m.devs[a.LinkIndex]
		if err != nil || d == nil {
			continue
		}
		for _, i := range [...]int{d.ifindex, d.master, d.parent} {
			if b := m.devs[i]; b != nil && b.switches() {
				nets[i] = append(nets[i], p)
			}
		}
	}
	return nets, nil
}

// number gives a domain the number it has in keys, the same as long as it lives.
func (d *domains) number(top int) uint16 {
	if n := d.numbers[top]; n != 0 {
		return n
	}
	used := make(map[uint16]bool, len(d.numbers))
	for _, n := range d.numbers {
		used[n] = true
	}
	for d.last++; d.last == 0 || used[d.last]; d.last++ {
	}
	d.numbers[top] = d.last
	return d.last
}

// writeDomains makes flow_domains equal to want.
func (m *Meter) writeDomains(want map[int]uint16) error {
	var errs []error
	table := m.coll.Maps["flow_domains"]
	for i, n := range want {
		if m.domains.written[i] == n {
			continue
		}
		if err := table.Update(uint32(i), uint32(n), ebpf.UpdateAny); err != nil {
			errs = append(errs, err)
			continue
		}
		m.domains.written[i] = n
	}
	for i := range m.domains.written {
		if _, keep := want[i]; keep {
			continue
		}
		if err := table.Delete(uint32(i)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, err)
			continue
		}
		delete(m.domains.written, i)
	}
	var have uint8
	if len(m.domains.written) > 0 {
		have = 1
	}
	errs = append(errs, m.coll.Variables["have_domains"].Set(have))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write flow_domains: %w", err)
	}
	return nil
}
