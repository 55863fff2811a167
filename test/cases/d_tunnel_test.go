package cases

import (
	"fmt"
	"math"
	"net"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weir-probe/weir/test/netlab"
)

// overlay joins two host namespaces with a VXLAN, each with a box on its bridge.
func overlay(t *testing.T, n int) (hosts, boxes [2]*netlab.NS) {
	t.Helper()
	for i := range hosts {
		hosts[i], boxes[i] = quiet(t), quiet(t)
	}
	under := func(i int) string { return fmt.Sprintf("10.207.%d.%d", n, 1+i) }
	netlab.Veth(t, netlab.End{NS: hosts[0], Name: "uplink", CIDR: under(0) + "/24"}, netlab.End{NS: hosts[1], Name: "uplink", CIDR: under(1) + "/24"})
	for i, h := range hosts {
		h.Add(t, &netlink.Vxlan{
			LinkAttrs: netlink.LinkAttrs{Name: "vx", MTU: 1450}, VxlanId: 42, Port: 4789, Learning: true,
			SrcAddr: net.ParseIP(under(i)), Group: net.ParseIP(under(1 - i)), VtepDevIndex: h.Link(t, "uplink").Attrs().Index,
		})
		netlab.Veth(t, netlab.End{NS: h, Name: "port"}, netlab.End{NS: boxes[i], Name: "eth0", CIDR: fmt.Sprintf("10.207.%d.%d/24", n+1, 2+i)})
		boxes[i].Run(t, "ip", "link", "set", "eth0", "mtu", "1450")
		h.Up(t, "vx")
		netlab.Bridge(t, netlab.End{NS: h, Name: "br"}, "vx", "port")
	}
	return hosts, boxes
}

// What a VXLAN carries is counted once, as the flow inside; the datagrams around
// it are marked as a tunnel's.
func TestCaseD16_VXLAN(t *testing.T) {
	hosts, boxes := overlay(t, 31)
	l := openLedger(t, hosts[0])
	port := drain(t, boxes[1], "10.207.32.3")
	const size = 5 << 20
	bulk(t, boxes[0], "10.207.32.3", port, size)
	r := l.rows.final(t, 1, serverPort(port))[0]
	want(t, r, map[string]any{
		"to_server_bytes": size, "client_address": "10.207.32.2", "server_address": "10.207.32.3",
		"client_pid": os.Getpid(), "server_pid": os.Getpid(),
	})
	l.check(t)
	outer := func(r row) bool { return r.tag("client") == "vxlan" || r.tag("server") == "vxlan" }
	inner := func(r row) bool { return !outer(r) }
	if n := l.flows(t, func(r row) bool { return r.tag("server_port") == "4789" && !outer(r) }, "to_server_wire_bytes"); n != 0 {
		t.Errorf("%d octets around the flow are not marked", n)
	}
	around := l.flows(t, outer, "to_server_packets", "to_client_packets")
	if inside := l.flows(t, inner, "to_server_packets", "to_client_packets"); around == 0 || around > inside+10 {
		t.Errorf("%d packets inside, %d around them", inside, around)
	}
	// 50 octets around each frame; of a super-packet whose last segment is not full
	// part of the header inside is missed.
	wire := []string{"to_server_wire_bytes", "to_client_wire_bytes"}
	inside := l.flows(t, inner, wire...)
	if out, want := l.flows(t, outer, wire...), inside+50*around; math.Abs(float64(out-want)) > 0.02*float64(want) {
		t.Errorf("%d octets around %d in %d packets, want %d", out, inside, around, want)
	}
	for _, x := range l.rows.all(t, "flow", outer) {
		if k := x.tag("client_kind") + " " + x.tag("server_kind"); k != "tunnel external" && k != "external tunnel" {
			t.Errorf("ends are of kinds %s in %v", k, x)
		}
	}
	onWire := func(r row) bool { return r.num("to_server_wire_bytes") >= 0 } // others' sockets have none here
	if n := l.flows(t, both(inner, onWire), "to_server_bytes"); n < size || n > size+100 {
		t.Errorf("rows without tunnels have %d octets of payload, want %d", n, size)
	}
}
