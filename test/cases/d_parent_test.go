package cases

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// A container on a macvlan has no device in the host's namespace: its packets are
// seen at the parent, once, and its sockets say who it is.
func TestCaseD15_Macvlan(t *testing.T) {
	host, box, peer := quiet(t), quiet(t), quiet(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "parent"}, netlab.End{NS: peer, Name: "eth0", CIDR: "10.207.35.9/24"})
	host.Add(t, &netlink.Macvlan{
		LinkAttrs: netlink.LinkAttrs{Name: "mv", ParentIndex: host.Link(t, "parent").Attrs().Index}, Mode: netlink.MACVLAN_MODE_BRIDGE,
	})
	host.Move(t, "mv", box)
	box.Address(t, "mv", "10.207.35.2/24")
	l := openLedger(t, host)
	port := drain(t, peer, "10.207.35.9")
	before := sentBy(t, box)
	bulk(t, box, "10.207.35.9", port, 100000)
	r := l.rows.final(t, 1, serverPort(port))[0]
	want(t, r, map[string]any{"client_netns": int(box.Inode), "client_pid": os.Getpid(), "client_method": "cookie", "to_server_bytes": 100000})
	before.wantWire(t, box, r, "to_server", 100000)
	l.check(t)
}

// Behind slirp4netns there are two connections: the process's own, inside, which
// no device of the host shows, and the helper's. Both are told with their owners,
// and the packets are counted once.
func TestCaseD14_Slirp4netns(t *testing.T) {
	if _, err := exec.LookPath("slirp4netns"); err != nil {
		t.Skip("slirp4netns is not installed: test/install.sh does")
	}
	rows := watch(t)
	host, box, peer := netlab.Host(t), quiet(t), quiet(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "weslirp", CIDR: "10.207.36.1/24"}, netlab.End{NS: peer, Name: "eth0", CIDR: "10.207.36.9/24"})
	inside := spawn(t, box, "serve", "127.0.0.1:0", "0") // holds the namespace that the helper enters
	inside.number()
	helper := exec.Command("slirp4netns", "--configure", "--mtu=1500", fmt.Sprint(inside.Process.Pid), "tap0")
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { helper.Process.Kill(); helper.Wait() }) //nolint:errcheck // killed
	probe.Until(t, patience, "the helper's device", func() error {
		if r := box.Run(t, "ip", "route"); len(r) == 0 {
			return fmt.Errorf("no route yet")
		}
		return nil
	})
	port := drain(t, peer, "10.207.36.9")
	caller := spawn(t, box, "call", fmt.Sprint("10.207.36.9:", port), "100000")
	from := caller.number()
	caller.ended()
	wire := 0
	for _, r := range rows.final(t, 2, serverPort(port)) {
		want(t, r, map[string]any{"to_server_bytes": 100000})
		if r.num("to_server_wire_bytes") > 0 {
			wire++
		}
		if r.num("client_port") == int64(from) && r.num("client_netns") == int64(box.Inode) {
			want(t, r, map[string]any{"client_pid": caller.Process.Pid, "client_address": "10.0.2.100", "reporter": "client"})
			continue
		}
		want(t, r, map[string]any{"client_process": "slirp4netns", "client_address": "10.207.36.1", "server_pid": os.Getpid(), "reporter": "both"})
	}
	if wire != 1 {
		t.Errorf("%d of the two connections have octets on the wire, want the helper's only", wire)
	}
}
