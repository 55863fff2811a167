package tcx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// Sum is a number of packets and their octets.
type Sum struct {
	Packets, Octets uint64
}

func (s *Sum) add(o Sum) {
	s.Packets += o.Packets
	s.Octets += o.Octets
}

// minus is s without o, and not below zero.
func (s Sum) minus(o Sum) Sum {
	return Sum{s.Packets - min(s.Packets, o.Packets), s.Octets - min(s.Octets, o.Octets)}
}

// Ledger accounts for every packet one program saw at one device:
//
//	Seen = Flow + Dup + NonFlow + FragUnknown + Overflow + Malformed
//
// in packets (of the wire: a GSO packet counts as its segments) and in octets.
type Ledger struct {
	SKBs, SKBOctets uint64 // super-packets as the kernel handled them
	Seen            Sum
	Flow            Sum // added to their flows here
	Dup             Sum // of a flow that is counted at another device or hook
	NonFlow         Sum // not IP
	FragUnknown     Sum // later fragment whose first one was not seen
	Overflow        Sum // the flow table was full
	Malformed       Sum // truncated, or lengths that contradict each other
}

// KernelCounters are the device's own counters since it was attached to.
type KernelCounters struct {
	RxPackets, RxOctets, TxPackets, TxOctets uint64
	RxDropped, TxDropped                     uint64
}

// Device is a metered device with its ledgers.
type Device struct {
	Name            string // the name now; all removed devices together are ""
	Ifindex         int    // 0 for the removed
	LinkType        string // as ip-link(8) shows it, for example ether, loopback, none
	Kind            string // veth, bridge, …; device for hardware and lo
	Ingress, Egress Ledger
	Kernel          KernelCounters // zero for the removed
}

// Devices calls yield with the ledger of every metered device, and at last with
// the sum of the devices that were removed, until yield returns false. The
// Device is reused.
func (m *Meter) Devices(yield func(*Device) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.coll == nil || m.closed {
		return errors.New("read the device ledgers: the meter is not attached")
	}
	now, err := m.kernelCounters()
	if err != nil {
		return err
	}
	var out Device
	for _, d := range m.devs {
		if d.state != StateAttached {
			continue
		}
		out = Device{Name: d.name, Ifindex: d.ifindex, LinkType: d.linkType, Kind: d.kind}
		if c, ok := now[d.ifindex]; ok {
			out.Kernel = c.since(d.baseline)
		}
		for hook, l := range []*Ledger{&out.Ingress, &out.Egress} {
			v, err := m.readLedger(d.ifindex, hook)
			if err != nil {
				return fmt.Errorf("read the ledger of %s: %w", d.name, err)
			}
			*l = v.ledger()
		}
		if !yield(&out) {
			return nil
		}
	}
	out = Device{Ingress: m.gone[hookIngress].ledger(), Egress: m.gone[hookEgress].ledger()}
	yield(&out)
	return nil
}

// readLedger sums one device's ledger over all CPUs.
func (m *Meter) readLedger(ifindex, hook int) (*devVal, error) {
	var per []devVal
	in, key := m.line(ifindex, hook)
	if err := in.Lookup(key, &per); err != nil {
		return nil, err
	}
	var sum devVal
	for i := range per {
		sum.add(&per[i])
	}
	return &sum, nil
}

// openLedger makes the entries without which the programs count nothing.
func (m *Meter) openLedger(ifindex int) error {
	if place := &m.near[ifindex%nearDevices]; *place == 0 {
		*place = ifindex
	}
	for _, hook := range [...]int{hookEgress, hookIngress} { // an answer is never counted less than what it answers
		if err := m.writeLedger(ifindex, hook, devVal{Ifindex: uint64(ifindex)}); err != nil {
			return fmt.Errorf("make the ledger entry: %w", err)
		}
	}
	return nil
}

// writeLedger sets one device's ledger on every CPU.
func (m *Meter) writeLedger(ifindex, hook int, v devVal) error {
	in, key := m.line(ifindex, hook)
	return in.Update(key, slices.Repeat([]devVal{v}, ebpf.MustPossibleCPU()), ebpf.UpdateAny)
}

// line is where the ledger of a device is: in flow_near when its place there is its own.
func (m *Meter) line(ifindex, hook int) (in *ebpf.Map, key any) {
	if place := ifindex % nearDevices; m.near[place] == ifindex {
		return m.coll.Maps["flow_near"], uint32(place<<1 | hook)
	}
	return m.coll.Maps["flow_devices"], &devKey{uint32(ifindex), uint32(hook)}
}

// closeLedger moves the last state of a device's ledger into that of the gone.
func (m *Meter) closeLedger(d *device) {
	for hook := range 2 {
		if v, err := m.readLedger(d.ifindex, hook); err == nil {
			m.gone[hook].add(v)
			m.goneCarried.add(d.carried(hook, v))
			if err := m.removeLedger(d.ifindex, hook); err != nil {
				m.log.Warn("ledger entry of a removed device stays", "ifindex", d.ifindex, "err", err)
			}
		}
	}
	if place := &m.near[d.ifindex%nearDevices]; *place == d.ifindex {
		*place = 0
	}
}

func (m *Meter) removeLedger(ifindex, hook int) error {
	if in, key := m.line(ifindex, hook); in.Type() == ebpf.PerCPUHash {
		return in.Delete(key)
	}
	return m.writeLedger(ifindex, hook, devVal{})
}

// carried is what the device's own counters make of what is in its ledger: one
// packet per skb, and in some places without the Ethernet header.
func (d *device) carried(hook int, v *devVal) Sum {
	header := uint64(0)
	switch {
	case d.linkType == "loopback", hook == hookIngress && (d.kind == "bridge" || d.kind == "vxlan"):
		header = ethernetHeader
	}
	return Sum{v.Skbs, v.SkbOctets - header*v.Skbs}
}

// carriedNow is carried over both hooks.
func (m *Meter) carriedNow(d *device) (sum Sum, err error) {
	for hook := range 2 {
		v, err := m.readLedger(d.ifindex, hook)
		if err != nil {
			return Sum{}, err
		}
		sum.add(d.carried(hook, v))
	}
	return sum, nil
}

const ethernetHeader = 14

func (d *devVal) ledger() Ledger {
	return Ledger{
		SKBs:        d.Skbs,
		SKBOctets:   d.SkbOctets,
		Seen:        Sum(d.Seen),
		Flow:        Sum(d.Flow),
		Dup:         Sum(d.Dup),
		NonFlow:     Sum(d.Nonflow),
		FragUnknown: Sum(d.Frag),
		Overflow:    Sum(d.Overflow),
		Malformed:   Sum(d.Malformed),
	}
}

// kernelCounters reads the counters of all devices (the numbers of
// /sys/class/net/*/statistics) by netlink: sysfs shows the namespace it was
// mounted in.
func (m *Meter) kernelCounters() (map[int]KernelCounters, error) {
	links, err := m.nl.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the network devices: %w", err)
	}
	all := make(map[int]KernelCounters, len(links))
	for _, l := range links {
		all[l.Attrs().Index] = countersOf(l)
	}
	return all, nil
}

func countersOf(l netlink.Link) KernelCounters {
	s := l.Attrs().Statistics
	if s == nil {
		return KernelCounters{}
	}
	return KernelCounters{s.RxPackets, s.RxBytes, s.TxPackets, s.TxBytes, s.RxDropped, s.TxDropped}
}

func (k KernelCounters) sum() Sum {
	return Sum{k.RxPackets + k.TxPackets, k.RxOctets + k.TxOctets}
}

func (k KernelCounters) since(b KernelCounters) KernelCounters {
	return KernelCounters{
		k.RxPackets - b.RxPackets, k.RxOctets - b.RxOctets,
		k.TxPackets - b.TxPackets, k.TxOctets - b.TxOctets,
		k.RxDropped - b.RxDropped, k.TxDropped - b.TxDropped,
	}
}
