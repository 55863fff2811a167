package cases

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// Under load of several kinds everything the devices carried is accounted for,
// whatever way packets are read. AF_PACKET gets less to do: what its ring can not
// take is lost, which is not what is looked at here.
func TestCaseE18_TotalsUnderLoad(t *testing.T) {
	for i, c := range []struct {
		mode string
		size int
	}{{"tcx", 200 << 20}, {"tc", 200 << 20}, {"afpacket", 10 << 20}} {
		t.Run(c.mode, func(t *testing.T) { totalsUnderLoad(t, 20+i, c.mode, c.size) })
	}
}

func totalsUnderLoad(t *testing.T, net int, mode string, size int) {
	host, box := bridged(t, net, 3)
	l := openLedger(t, host, "--packets", mode)
	sink, answers, datagramSink := drain(t, box[1], boxAddr(net, 1)), echo(t, box[2], boxAddr(net, 2)), swallow(t, box[2], boxAddr(net, 2))
	bulk(t, box[0], boxAddr(net, 1), sink, size)
	requests(t, box[0], boxAddr(net, 2), answers, 3000, 200)
	datagrams(t, box[1], boxAddr(net, 2), datagramSink, size>>14, 900)
	bulk(t, box[2], boxAddr(net, 1), sink, size/10)
	b := l.check(t)
	if b.lost != 0 || b.gap != 0 {
		t.Errorf("nothing was full and no device came: %+v", b)
	}
	if b.nonFlow == 0 {
		t.Error("there was ARP, but no octet outside of flows")
	}
	l.within(t, toPort(sink), "to_server_bytes", int64(size+size/10))
}

// Behind a translation the packets of a connection are two flows in the kernel and
// one row: the second view is in the ledger as such.
func TestCaseE18_TotalsBehindNAT(t *testing.T) {
	host, box, peer := quiet(t), quiet(t), quiet(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "in", CIDR: "10.207.40.1/24"}, netlab.End{NS: box, Name: "eth0", CIDR: "10.207.40.2/24"})
	netlab.Veth(t, netlab.End{NS: host, Name: "out", CIDR: "10.207.41.1/24"}, netlab.End{NS: peer, Name: "eth0", CIDR: "10.207.41.2/24"})
	box.Route(t, "default", "10.207.40.1")
	host.Sysctl(t, "net/ipv4/ip_forward", "1")
	host.Run(t, "nft", `add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; add rule ip nat post oifname "out" masquerade`)
	l := openLedger(t, host)
	port, answers := drain(t, peer, "10.207.41.2"), swallow(t, peer, "10.207.41.2")
	const size = 20 << 20
	bulk(t, box, "10.207.41.2", port, size)
	datagrams(t, box, "10.207.41.2", answers, 2000, 700)
	b := l.check(t)
	if b.repeated < size || b.repeated > b.rows+1000 {
		t.Errorf("%d octets are the same packets under another tuple, rows have %d", b.repeated, b.rows)
	}
	l.within(t, toPort(port), "to_server_bytes", size)
}

// 20 000 flows in a table for 1024: what does not fit is lost from the rows'
// octets on the wire and counted, and the payload is there by the sockets.
func TestCaseE8_TableFull(t *testing.T) {
	host, box := bridged(t, 2, 2)
	l := openLedger(t, host, "--config", config(t, "max_flows: 1024\n"))
	port := swallow(t, box[1], boxAddr(2, 1))
	manyFlows(t, box[0], boxAddr(2, 1), port, 20000, 500)
	b := l.check(t)
	if b.lost < 18000*542 {
		t.Errorf("%d octets lost to a table of 1024 entries by 20000 flows", b.lost)
	}
	l.within(t, toPortOrNone(port), "to_server_bytes", 20000*500)
}

// 60 000 flows within seconds fit into the table of the default size.
func TestCaseE8_SixtyThousandFlows(t *testing.T) {
	host, box := bridged(t, 3, 2)
	l := openLedger(t, host)
	port := swallow(t, box[1], boxAddr(3, 1))
	manyFlows(t, box[0], boxAddr(3, 1), port, 60000, 100)
	b := l.check(t)
	if b.lost != 0 {
		t.Errorf("%d octets lost", b.lost)
	}
	l.within(t, toPortOrNone(port), "to_server_wire_bytes", 60000*142)
	l.within(t, toPortOrNone(port), "to_server_bytes", 60000*100) // by sockets or else by packets
}

// within waits until a total of octets in rows of flow is what it must be, to half
// a percent: rows of others on this machine may have the same tags.
func (l *ledger) within(t *testing.T, match func(row) bool, field string, want int64) {
	t.Helper()
	var got int64
	probe.Until(t, patience, fmt.Sprintf("%d octets as %s", want, field), func() error {
		if got = l.flows(t, match, field); float64(got) < 0.995*float64(want) {
			return fmt.Errorf("have %d", got)
		}
		return nil
	})
	if float64(got) > 1.005*float64(want) {
		t.Errorf("%s: %d octets, want %d", field, got, want)
	}
}

// toPortOrNone matches rows of UDP to a port, or whose port was not taken for a
// service: where the socket is not known.
func toPortOrNone(port int) func(row) bool {
	return func(r row) bool {
		p := r.tag("server_port")
		return r.tag("proto") == "udp" && (p == fmt.Sprint(port) || p == "ephemeral" || p == "other")
	}
}

// toPort matches rows of flow by the tag.
func toPort(port int) func(row) bool {
	return func(r row) bool { return r.tag("server_port") == fmt.Sprint(port) }
}

// config writes a configuration file.
func config(t *testing.T, yaml string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(name, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Devices that come with traffic from their first moment and go again: what
// passed before weir came is the attach gap, and the sockets have its payload.
func TestCaseE14_DevicesComeAndGo(t *testing.T) {
	host, box := bridged(t, 4, 1)
	l := openLedger(t, host)
	port := drain(t, box[0], boxAddr(4, 0))
	const rounds, size, alive = 40, 30000, 8
	name := func(i int) string { return fmt.Sprintf("weg%d", i) }
	for i := range rounds {
		guest := quiet(t)
		netlab.Veth(t, netlab.End{NS: host, Name: name(i)}, netlab.End{NS: guest, Name: "eth0", CIDR: fmt.Sprintf("10.207.4.%d/24", 10+i)})
		if err := host.Netlink.LinkSetMaster(host.Link(t, name(i)), host.Link(t, bridgeName(4))); err != nil {
			t.Fatal(err)
		}
		bulk(t, guest, boxAddr(4, 0), port, size)
		if i >= alive {
			l.remove(t, name(i-alive))
		}
	}
	b := l.check(t)
	if n := l.self(t, "flows", "attach_gaps"); n != rounds {
		t.Errorf("%d devices came, weir says %d", rounds, n)
	}
	if b.gap == 0 {
		t.Log("weir was at every device before its first packet")
	}
	l.within(t, toPort(port), "to_server_bytes", rounds*size)
}

// A device that is renamed, has another MTU, goes down and up again is the same
// device: its flows go on and nothing is a gap.
func TestCaseE13_RenamedAndFlapping(t *testing.T) {
	host, box := bridged(t, 5, 2)
	l := openLedger(t, host)
	port := echo(t, box[1], boxAddr(5, 1))
	c := dial(t, box[0], "tcp", boxAddr(5, 1), port)
	// Much against the one IGMP report that the bridge sends when a port comes back:
	// the hooks see it on its way to a queue that drops it while there is no carrier.
	const size = 20000
	exchange := func() {
		t.Helper()
		buf := make([]byte, size)
		if _, err := c.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
	}
	dev := host.Link(t, portName(5, 0))
	index := dev.Attrs().Index
	for i := range 5 {
		exchange()
		for _, err := range []error{
			host.Netlink.LinkSetDown(dev), host.Netlink.LinkSetName(dev, fmt.Sprintf("weren%d", i)),
			host.Netlink.LinkSetMTU(dev, 1400+i), host.Netlink.LinkSetUp(dev),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	exchange()
	c.Close()
	if dev := host.Link(t, "weren4"); dev.Attrs().Index != index {
		t.Fatal("another device")
	}
	b := l.check(t)
	if b.gap != 0 || l.self(t, "flows", "attach_gaps") != 0 {
		t.Errorf("no device came: %+v", b)
	}
	conns := l.rows.final(t, 1, both(serverPort(port), func(r row) bool { return r.str("server_address") == boxAddr(5, 1) }))
	want(t, conns[0], map[string]any{"to_server_bytes": 6 * size, "to_client_bytes": 6 * size})
	if n := conns[0].num("to_server_wire_bytes"); n < 6*size+6*15*66 {
		t.Errorf("%d octets on the wire to the server: packets after a change were not counted", n)
	}
}

// Three hundred devices: time to attach and memory are bounded.
func TestCaseE15_ThreeHundredDevices(t *testing.T) {
	host, box := bridged(t, 6, 2)
	for i := range 150 { // two devices each
		host.Add(t, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("wea%d", i)}, PeerName: fmt.Sprintf("wez%d", i)})
		host.Up(t, fmt.Sprintf("wea%d", i))
		host.Up(t, fmt.Sprintf("wez%d", i))
	}
	began := time.Now()
	l := openLedger(t, host)
	ready := time.Since(began)
	bulk(t, box[0], boxAddr(6, 1), drain(t, box[1], boxAddr(6, 1)), 10<<20)
	l.check(t)
	var rss, devices int64
	for _, x := range l.rows.all(t, "weir_self", every) {
		rss, devices = max(rss, x.num("rss_bytes")), max(devices, x.num("devices"))
	}
	t.Logf("%d devices: ready after %s, %d MB resident", devices, ready.Round(time.Millisecond), rss>>20)
	if devices < 300 {
		t.Errorf("%d devices metered", devices)
	}
	if rss > 200<<20 {
		t.Errorf("%d MB resident", rss>>20)
	}
}
