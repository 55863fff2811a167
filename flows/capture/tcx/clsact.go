package tcx

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Filters of ours are known by their name, also those of a probe that was killed.
const filterPrefix = "weir_flow_"

const (
	filterHandle   = 0x77656972 // "weir"
	filterPriority = 1          // first; others of this priority run after us
)

var clsactParents = [2]uint32{hookIngress: netlink.HANDLE_MIN_INGRESS, hookEgress: netlink.HANDLE_MIN_EGRESS}

// filter is an attached clsact filter.
type filter struct {
	nl *netlink.Handle
	f  *netlink.BpfFilter
}

// Close removes the filter; that it is gone already (with its device, or with
// the qdisc) is as good.
func (f filter) Close() error {
	err := f.nl.FilterDel(f.f)
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("remove the %s filter: %w", f.f.Name, err)
}

// attachTC is the way before Linux 6.6: direct-action filters of a clsact qdisc.
// The programs return TC_ACT_UNSPEC, so the filters of others run as before.
func (m *Meter) attachTC(d *device, l netlink.Link) error {
	err := m.nl.QdiscAdd(clsact(d.ifindex))
	switch {
	case err == nil:
		d.clsact = true
	case !errors.Is(err, unix.EEXIST):
		return fmt.Errorf("add the clsact qdisc: %w", err)
	}
	for hook, parent := range clsactParents {
		if err := m.removeStale(l, parent); err != nil {
			_ = m.detach(d) // what was attached before; the cause is err
			return err
		}
		f := &netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: d.ifindex,
				Parent:    parent,
				Handle:    filterHandle,
				Priority:  filterPriority,
				Protocol:  unix.ETH_P_ALL,
			},
			Fd:           m.program(d, hook).FD(),
			Name:         filterPrefix + [2]string{"ingress", "egress"}[hook],
			DirectAction: true,
		}
		if err := m.nl.FilterAdd(f); err != nil {
			_ = m.detach(d)
			return fmt.Errorf("add the %s filter: %w", f.Name, err)
		}
		d.links = append(d.links, filter{m.nl, f})
	}
	return nil
}

func clsact(ifindex int) netlink.Qdisc {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

// filters returns ours at one parent of a device, and how many others there are.
func (m *Meter) filters(l netlink.Link, parent uint32) (ours []*netlink.BpfFilter, others int, err error) {
	all, err := m.nl.FilterList(l, parent)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, 0, fmt.Errorf("list the filters: %w", err)
	}
	for _, f := range all {
		if b, ok := f.(*netlink.BpfFilter); ok && strings.HasPrefix(b.Name, filterPrefix) {
			ours = append(ours, b)
		} else {
			others++
		}
	}
	return ours, others, nil
}

// removeStale removes what a probe left that was killed.
func (m *Meter) removeStale(l netlink.Link, parent uint32) error {
	ours, _, err := m.filters(l, parent)
	if err != nil {
		return err
	}
	for _, f := range ours {
		if err := (filter{m.nl, f}).Close(); err != nil {
			return err
		}
	}
	return nil
}

// removeClsact removes the qdisc we made, unless somebody else put a filter in.
func (m *Meter) removeClsact(ifindex int) error {
	l, err := m.nl.LinkByIndex(ifindex)
	if err != nil {
		return nil // the device is gone, and the qdisc with it
	}
	for _, parent := range clsactParents {
		if _, others, err := m.filters(l, parent); err != nil || others > 0 {
			return err
		}
	}
	if err := m.nl.QdiscDel(clsact(ifindex)); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove the clsact qdisc: %w", err)
	}
	return nil
}
