package cases

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// ledger compares what a weir wrote with the counters of the devices of the one
// namespace it runs in.
type ledger struct {
	ns     *netlab.NS
	weir   *probe.Process
	rows   *rows
	before map[int]int64 // octets of the devices that were there at the start
	gone   int64         // octets of devices that were removed
}

// openLedger starts a weir in ns, after the devices it is to begin with.
func openLedger(t *testing.T, ns *netlab.NS, args ...string) *ledger {
	t.Helper()
	l := &ledger{ns: ns, before: map[int]int64{}}
	l.weir, l.rows = ownIn(t, ns, args...)
	for _, d := range l.links(t) {
		l.before[d.Attrs().Index] = carried(d)
	}
	return l
}

func (l *ledger) links(t *testing.T) []netlink.Link {
	t.Helper()
	links, err := l.ns.Netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	return links
}

// carried is what /sys/class/net/NAME/statistics says, both directions.
func carried(d netlink.Link) int64 {
	s := d.Attrs().Statistics
	return int64(s.RxBytes + s.TxBytes)
}

// remove deletes a device, whose traffic has ended.
func (l *ledger) remove(t *testing.T, name string) {
	t.Helper()
	d := l.ns.Link(t, name)
	l.gone += carried(d) - l.before[d.Attrs().Index]
	if err := l.ns.Netlink.LinkDel(d); err != nil {
		t.Fatal(err)
	}
}

// self adds up a field of weir_self over all intervals.
func (l *ledger) self(t *testing.T, stage, field string) (sum int64) {
	t.Helper()
	for _, x := range l.rows.all(t, "weir_self", func(r row) bool { return r.tag("stage") == stage }) {
		sum += max(0, x.num(field))
	}
	return sum
}

// flows adds up fields of the rows of flow that match. Packets are those of the
// ledger's namespace only: a socket of another one has no octets on the wire.
func (l *ledger) flows(t *testing.T, match func(row) bool, fields ...string) (sum int64) {
	t.Helper()
	for _, x := range l.rows.all(t, "flow", match) {
		for _, f := range fields {
			sum += max(0, x.num(f))
		}
	}
	return sum
}

func every(row) bool { return true }

// balance is what a ledger showed when it was checked.
type balance struct {
	devices, seen, once, flows, duplicates, nonFlow, lost, gap int64
	told, repeated, written, own, rows                         int64
}

// read adds everything up.
func (l *ledger) read(t *testing.T) (b balance) {
	t.Helper()
	flows := func(field string) int64 { return l.self(t, "flows", field) }
	b = balance{
		seen: flows("bytes"), flows: flows("flow_bytes"), duplicates: flows("duplicate_bytes"),
		nonFlow: flows("non_flow_bytes"), lost: flows("lost_bytes"), gap: flows("attach_gap_bytes"), once: flows("device_bytes"),
		told: l.self(t, "join", "wire_bytes"), repeated: l.self(t, "join", "repeated_bytes"),
		written: l.self(t, "sink", "wire_bytes"), own: l.self(t, "sink", "own_bytes"),
		rows: l.flows(t, every, "to_server_wire_bytes", "to_client_wire_bytes"), devices: l.gone,
	}
	for _, d := range l.links(t) {
		b.devices += carried(d) - l.before[d.Attrs().Index]
	}
	return b
}

// sums says what does not add up among what weir wrote itself, to the octet.
func (b *balance) sums() error {
	for _, sum := range []struct {
		what      string
		got, want int64
	}{
		{"flows + duplicates + no flow + lost are what was seen", b.flows + b.duplicates + b.nonFlow + b.lost, b.seen},
		{"records and their other tuples are the flows", b.told + b.repeated, b.flows},
		{"rows and own traffic are the records", b.written + b.own, b.told},
		{"the rows add up to what the sink says", b.rows, b.written},
	} {
		if sum.got != sum.want {
			return fmt.Errorf("not so: %s: %d, want %d", sum.what, sum.got, sum.want)
		}
	}
	return nil
}

// check waits until everything is written, which takes as long as a flow may wait
// for its socket, and adds up: exactly among what weir wrote, within half a
// percent with the devices' counters.
func (l *ledger) check(t *testing.T) (b balance) {
	t.Helper()
	l.rows.settle(t)
	probe.Until(t, patience, "the ledger balances", func() error {
		b = l.read(t)
		return b.sums()
	})
	t.Logf("interfaces %d = %d seen, super-packets once, + %d attach gap; seen %d = %d flows + %d duplicates + %d no flow + %d lost; rows %d",
		b.devices, b.once, b.gap, b.seen, b.flows, b.duplicates, b.nonFlow, b.lost, b.rows)
	if off := math.Abs(float64(b.once+b.gap-b.devices)) / float64(b.devices); !(off <= 0.005) {
		t.Errorf("the interfaces carried %d octets, weir accounts for %d: %.3f %% apart", b.devices, b.once+b.gap, 100*off)
	}
	l.checkCoverage(t, b.own)
	return b
}

// checkCoverage waits until what weir says is attributed is what rows with an owner
// have: what others do on this machine is in both, and in rows of the next interval.
func (l *ledger) checkCoverage(t *testing.T, own int64) {
	t.Helper()
	owned := func(r row) bool {
		return r.tag("attribution") != "none" && r.tag("client_kind") != "tunnel" && r.tag("server_kind") != "tunnel"
	}
	var said string
	probe.Until(t, patience, "the coverage adds up", func() error {
		attributed, local := l.self(t, "join", "attributed_bytes"), l.self(t, "join", "local_bytes")
		rows := l.flows(t, owned, "to_server_bytes", "to_client_bytes")
		all := l.flows(t, every, "to_server_bytes", "to_client_bytes")
		said = fmt.Sprintf("attributed %d of %d octets of payload with a local socket; rows with an owner have %d of %d", attributed, local, rows, all)
		if own == 0 && attributed != rows || local < attributed || own == 0 && local > all {
			return errors.New(said)
		}
		return nil
	})
	t.Log(said)
}

// bridged makes a host namespace, without IPv6, which speaks at times of its own,
// with n boxes on a bridge.
func bridged(t *testing.T, net, n int) (host *netlab.NS, boxes []*netlab.NS) {
	t.Helper()
	host = quiet(t)
	return host, bridgedAt(t, host, net, n)
}

// bridgedAt makes a bridge at 10.207.net.1/24 and n boxes with .2, .3, … on it.
func bridgedAt(t *testing.T, host *netlab.NS, net, n int) (boxes []*netlab.NS) {
	t.Helper()
	var ports []string
	for i := range n {
		box := quiet(t)
		port := portName(net, i)
		netlab.Veth(t, netlab.End{NS: host, Name: port}, netlab.End{NS: box, Name: "eth0", CIDR: boxAddr(net, i) + "/24"})
		boxes, ports = append(boxes, box), append(ports, port)
	}
	netlab.Bridge(t, netlab.End{NS: host, Name: bridgeName(net), CIDR: fmt.Sprintf("10.207.%d.1/24", net)}, ports...)
	return boxes
}

func bridgeName(net int) string  { return fmt.Sprintf("we%dbr", net) }
func portName(net, i int) string { return fmt.Sprintf("we%dp%d", net, i) }
func boxAddr(net, i int) string  { return fmt.Sprintf("10.207.%d.%d", net, 2+i) }

// quiet is a namespace whose kernel says nothing by itself.
func quiet(t *testing.T) *netlab.NS {
	t.Helper()
	n := netlab.New(t)
	n.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1")
	return n
}
