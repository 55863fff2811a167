package tcx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// device is one network device as long as its ifindex means it.
type device struct {
	ifindex        int
	name           string
	linkType, kind string
	master, parent int // ifindex, 0 none; parent is of a device that stands on another
	state          State
	mode           Mode
	reason, remedy string
	baseline       KernelCounters
	links          []io.Closer // one per hook
	clsact         bool        // tc: we made the qdisc
	missing        bool        // not in the last list; its end is to be noticed yet
	// gapOpen: what it carried before it was metered is not known yet. metered of
	// its counters is in earlier ledgers.
	gapOpen bool
	metered Sum
}

// Attach loads the programs and attaches them to every wanted device of the
// calling thread's network namespace. A device that cannot be metered is
// reported by Status and does not fail the others; that none can is an error.
func (m *Meter) Attach(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.coll != nil {
		return errors.New("attach the packet meter: it was attached or closed before, make a new one")
	}
	inode, err := currentNetNS()
	if err != nil {
		return err
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	if err := m.load(); err != nil {
		nl.Close()
		return err
	}
	m.nl, m.self = nl, inode
	links, err := m.listLinks()
	if err != nil {
		return err
	}
	for _, l := range links {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.appear(l, time.Time{})
	}
	if err := m.redraw(); err != nil {
		return err
	}
	return m.anyAttached()
}

func (m *Meter) listLinks() ([]netlink.Link, error) {
	links, err := m.nl.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the network devices: %w", err)
	}
	return links, nil
}

// anyAttached returns the reason of a device when all that were wanted failed.
func (m *Meter) anyAttached() error {
	err := errors.New("attach the packet meter: no device matches, check the interface globs")
	for _, d := range m.devs {
		switch d.state {
		case StateAttached:
			return nil
		case StateFailed:
			err = fmt.Errorf("attach the packet meter to %s: %s: %s", d.name, d.reason, d.remedy)
		}
	}
	return err
}

// appear handles a device that exists: a new one is attached to, a known one may
// have a new name or master. noticed is when the kernel told of it, zero at the
// start.
func (m *Meter) appear(l netlink.Link, noticed time.Time) {
	a := l.Attrs()
	d := m.devs[a.Index]
	if d != nil && d.linkType == a.EncapType {
		d.missing = false
		d.master = a.MasterIndex
		if d.name == a.Name {
			return
		}
		m.log.Debug("device renamed", "from", d.name, "to", a.Name)
		d.name = a.Name
		if d.state != StateSkipped {
			return // metered under whatever name: flows must not break off
		}
		delete(m.devs, a.Index)
	} else if d != nil {
		m.vanish(a.Index) // the number was given to another device unnoticed
	}
	m.take(l, noticed, Sum{})
}

// take attaches to a device. metered is what is known of the packets it carried
// before: its own counters' share of what earlier ledgers hold.
func (m *Meter) take(l netlink.Link, noticed time.Time, metered Sum) {
	a := l.Attrs()
	d := &device{ifindex: a.Index, name: a.Name, linkType: a.EncapType, kind: l.Type(), master: a.MasterIndex, baseline: countersOf(l)}
	if a.NetNsID < 0 {
		d.parent = a.ParentIndex
	}
	m.devs[a.Index] = d
	if reason := m.skip(d); reason != "" {
		d.state, d.reason = StateSkipped, reason
		return
	}
	// The list is as old as the work before it took: ask again what has gone by.
	if now, err := m.nl.LinkByIndex(a.Index); err == nil {
		d.baseline = countersOf(now)
	}
	if !m.attach(d, l) || noticed.IsZero() {
		return
	}
	m.counted.gaps++
	m.counted.gapSeconds += time.Since(noticed).Seconds()
	d.gapOpen, d.metered = true, metered
	for range 4 {
		if m.measureGap(d); !d.gapOpen {
			break
		}
	}
	m.log.Debug("device attached", "device", d.name, "mode", d.mode)
}

// measureGap finds what a device had carried when its programs began to count:
// its own counters less the ledger, which already grows, in a moment in which
// nothing comes between the two. The last such moment is the device's end; but
// what a veth has received is lost from its counters by then.
func (m *Meter) measureGap(d *device) {
	before, err := m.carriedNow(d)
	if err != nil {
		return
	}
	l, err := m.nl.LinkByIndex(d.ifindex)
	if err != nil {
		return // gone: the notice of its end has the counters
	}
	if after, err := m.carriedNow(d); err == nil && after == before {
		m.closeGap(d, l)
	}
}

// closeGap counts the gap from a device's counters and its ledger of that moment.
func (m *Meter) closeGap(d *device, l netlink.Link) {
	carried, err := m.carriedNow(d)
	if err != nil {
		return
	}
	d.gapOpen = false
	m.counted.gap.add(countersOf(l).sum().minus(carried).minus(d.metered))
}

// unseen counts the gap of a device that was gone before it was attached to, from
// the notice of its end.
func (m *Meter) unseen(l netlink.Link) {
	a := l.Attrs()
	if m.skip(&device{name: a.Name, linkType: a.EncapType}) != "" {
		return
	}
	m.counted.gaps++
	m.counted.gap.add(countersOf(l).sum())
}

func (m *Meter) skip(d *device) string {
	if !m.cfg.wants(d.name) {
		return "not asked for by the interface globs"
	}
	switch t := d.linkType; {
	// ARPHRD_CAN 280, _MCTP 290, _NETLINK 824, _VSOCKMON 826.
	case t == "unknown280", t == "unknown290", t == "unknown824", t == "unknown826",
		strings.HasPrefix(t, "ieee802"), t == "ax25", t == "rose", t == "x25":
		return "link type " + t + " carries no IP packets"
	}
	return ""
}

// headerless says whether frames begin with the IP header (or with a link header
// of another form than Ethernet's, which the network offset leads past).
func (d *device) headerless() bool { return d.linkType != "ether" && d.linkType != "loopback" }

// attach returns false when it failed; the device says why.
func (m *Meter) attach(d *device, l netlink.Link) bool {
	// Both hooks before the ledger, without which neither counts: each attach waits
	// for the kernel to be done with what ran before, and a flow that falls between
	// the two would have packets in one direction only.
	err := m.attachHooks(d, l)
	if err == nil {
		if err = m.openLedger(d.ifindex); err != nil {
			_ = m.detach(d) // the cause is err
		}
	}
	if err == nil {
		d.state, d.reason, d.remedy = StateAttached, "", ""
		return true
	}
	if _, lerr := m.nl.LinkByIndex(d.ifindex); lerr != nil {
		m.vanish(d.ifindex) // gone before we got there
		return false
	}
	m.closeLedger(d)
	m.counted.attachErrors++
	if d.reason != err.Error() { // verify tries again and again
		m.log.Warn("device is not metered", "device", d.name, "err", err)
	}
	d.state, d.reason, d.remedy = StateFailed, err.Error(), remedy(err)
	return false
}

func (m *Meter) attachHooks(d *device, l netlink.Link) error {
	if !m.tcOnly {
		d.mode = ModeTCX
		err := m.attachTCX(d)
		if !errors.Is(err, ebpf.ErrNotSupported) || m.cfg.Mode == ModeTCX {
			return err
		}
		m.log.Info("the kernel has no tcx (Linux 6.6), attaching clsact filters")
		m.tcOnly = true
	}
	d.mode = ModeTC
	return m.attachTC(d, l)
}

func (m *Meter) program(d *device, hook int) *ebpf.Program {
	if d.headerless() {
		return m.progs[hook][1]
	}
	return m.progs[hook][0]
}

// attachTCX puts the programs at the head: before one that redirects or drops,
// which would hide the packets from those behind it.
func (m *Meter) attachTCX(d *device) error {
	for hook, at := range [2]ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		lk, err := link.AttachTCX(link.TCXOptions{
			Interface: d.ifindex,
			Program:   m.program(d, hook),
			Attach:    at,
			Anchor:    link.Head(),
		})
		if err != nil {
			_ = m.detach(d) // what was attached before; the cause is err
			return fmt.Errorf("attach tcx: %w", err)
		}
		d.links = append(d.links, lk)
	}
	return nil
}

// detach leaves the device as it was found.
func (m *Meter) detach(d *device) error {
	var errs []error
	for _, l := range d.links {
		errs = append(errs, l.Close())
	}
	d.links = nil
	if d.clsact {
		d.clsact = false
		errs = append(errs, m.removeClsact(d.ifindex))
	}
	return errors.Join(errs...)
}

// vanish forgets a device that is gone. Its ledger goes into that of the gone;
// flows it owned are taken over where they show up next.
func (m *Meter) vanish(ifindex int) {
	d := m.devs[ifindex]
	if d == nil {
		return
	}
	delete(m.devs, ifindex)
	if err := m.detach(d); err != nil {
		m.log.Debug("detach from a removed device", "device", d.name, "err", err)
	}
	m.closeLedger(d)
	if d.state == StateAttached {
		m.counted.removed++
	}
}

func remedy(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "give CAP_NET_ADMIN and CAP_BPF, or run as root"
	case errors.Is(err, ebpf.ErrNotSupported):
		return "use mode auto or tc: tcx needs Linux 6.6"
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return "another program holds the hook exclusively: tc qdisc show dev, bpftool net"
	}
	return "exclude the device by --interface '!NAME' or see bpftool net"
}
