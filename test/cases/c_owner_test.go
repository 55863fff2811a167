package cases

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weir-probe/weir/test/netlab"
)

// inGroup starts a child in a cgroup that is named like a container's.
func inGroup(t *testing.T, id string) func(*exec.Cmd) {
	t.Helper()
	root := "/sys/fs/cgroup/unified"
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
	}
	parent := filepath.Join(root, "docker")
	if os.Mkdir(parent, 0o755) == nil {
		t.Cleanup(func() { os.Remove(parent) })
	}
	dir := filepath.Join(parent, id)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("make a cgroup: %v", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); os.Remove(dir) })
	return func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	}
}

// Two containers of one network namespace talk over lo: each end has its own.
func TestCaseC4_TwoContainersOnOneLoopback(t *testing.T) {
	rows := watch(t)
	pod := netlab.New(t)
	ids := []string{strings.Repeat("c4a203", 11)[:64], strings.Repeat("c4b203", 11)[:64]}
	// Made before the children, so that the cgroups are removed after them.
	inClient, inServer := inGroup(t, ids[0]), inGroup(t, ids[1])
	for p, proto := range []string{"tcp", "udp"} {
		srv := spawnWith(t, pod, inServer, "answer", proto, "127.0.0.1:0", "200")
		port := srv.number()
		cli := spawnWith(t, pod, inClient, "asker", proto, fmt.Sprint("127.0.0.1:", 20400+p), fmt.Sprint("127.0.0.1:", port), "200")
		cli.do("loop 1 300")
		r := rows.final(t, 1, both(serverPort(port), clientPort(20400+p)))[0]
		want(t, r, map[string]any{
			"client_container_id": ids[0], "server_container_id": ids[1], "client_pid": cli.Process.Pid, "server_pid": srv.Process.Pid,
			"to_server_bytes": 300, "to_client_bytes": 200, "client_netns": int(pod.Inode), "server_netns": int(pod.Inode),
		})
	}
}

// Two namespaces are joined by a wire whose ends both have the number of a device
// of the host: nothing of the host's is taken for theirs.
func TestCaseC5_InterfaceNumberOfAnotherNamespace(t *testing.T) {
	rows := watch(t)
	host, a, b := netlab.Host(t), netlab.New(t), netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "wtC5", CIDR: "10.203.5.1/30"}, netlab.End{NS: a, Name: "up0", CIDR: "10.203.5.2/30"})
	index := host.Link(t, "wtC5").Attrs().Index
	a.Add(t, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0", Index: index}, PeerName: "peer0"})
	peer := a.Link(t, "peer0")
	a.Move(t, peer.Attrs().Name, b)
	a.Address(t, "eth0", "10.203.5.9/30")
	b.Address(t, "peer0", "10.203.5.10/30")
	srv, port := answer(t, b, "tcp", "10.203.5.10:20450", 500)
	cli := ask(t, a, "tcp", "10.203.5.9:20451", "10.203.5.10:20450", 500)
	cli.do("loop 1 400")
	// What the host's device of that number carries is the host's.
	metered(t, rows, "10.203.5.1", pair{a, host})
	hsrv, hport := answer(t, host, "tcp", "10.203.5.1:0", 500)
	hcli := ask(t, a, "tcp", "10.203.5.2:20452", fmt.Sprint("10.203.5.1:", hport), 500)
	hcli.do("loop 1 400")
	r := rows.final(t, 1, both(serverPort(port), clientPort(20451)))[0]
	want(t, r, map[string]any{
		"client_pid": cli.Process.Pid, "server_pid": srv.Process.Pid, "client_netns": int(a.Inode), "server_netns": int(b.Inode), "to_server_bytes": 400,
	})
	if r.num("to_server_wire_bytes") != -1 || r.num("to_client_wire_bytes") != -1 {
		t.Errorf("wire octets of devices in other namespaces: %v", r)
	}
	r = rows.final(t, 1, both(serverPort(hport), clientPort(20452)))[0]
	want(t, r, map[string]any{"client_pid": hcli.Process.Pid, "server_pid": hsrv.Process.Pid, "server_netns": int(host.Inode), "to_server_bytes": 400})
	wantWire(t, r, "tcp")
}

// The number of a removed device is given to another one: flows of both are
// right, whichever device they went through. Rows name no device.
func TestCaseC6_InterfaceNumberReused(t *testing.T) {
	rows := watch(t)
	host := netlab.Host(t)
	const index = 20_306_000
	box := netlab.New(t)
	for i, name := range []string{"wtC6a", "wtC6b"} {
		host.Add(t, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index}, PeerName: name + "p"})
		link := host.Link(t, name)
		t.Cleanup(func() { host.Netlink.LinkDel(link) }) //nolint:errcheck // gone already, mostly
		host.Move(t, name+"p", box)
		host.Address(t, name, "10.203.6.1/24")
		box.Address(t, name+"p", "10.203.6.2/24")
		srv, port := answer(t, host, "tcp", "10.203.6.1:20460", 100)
		cli := ask(t, box, "tcp", "10.203.6.2:20461", fmt.Sprint("10.203.6.1:", port), 100)
		metered := false
		for range 40 { // the first ones may come before the device is metered
			cli.do("loop 1 %d", 1000*(i+1))
			rows.settle(t)
			for _, r := range rows.all(t, "flow_log", clientPort(20461)) {
				if r.num("client_pid") != int64(cli.Process.Pid) {
					continue
				}
				want(t, r, map[string]any{"server_pid": srv.Process.Pid, "to_server_bytes": 1000 * (i + 1)})
				if r.num("to_server_wire_bytes") != -1 {
					metered = true
					wantWire(t, r, "tcp")
				}
			}
			if metered {
				break
			}
		}
		if !metered {
			t.Errorf("no packets of %s", name)
		}
		srv.Process.Kill() //nolint:errcheck // frees the port for the next
		srv.Wait()         //nolint:errcheck // killed
		if err := host.Netlink.LinkDel(link); err != nil {
			t.Fatal(err)
		}
	}
}

// 20 000 sockets are made and closed as fast as can be, and their memory is used
// again; every tenth is connected. No connection shows another's octets.
func TestCaseC9_SocketsReused(t *testing.T) {
	rows := watch(t)
	box := netlab.New(t)
	srv, port := answer(t, box, "tcp", "127.0.0.1:0", 1)
	seed := rand.IntN(1 << 30)
	cli := spawn(t, box, "churn", fmt.Sprint("127.0.0.1:", port), "20000", "10", fmt.Sprint(seed))
	const connected = 2000
	sent := map[int64][]int64{} // by client port, which may come again
	for range connected {
		var from, n int64
		if _, err := fmt.Sscan(cli.line(), &from, &n); err != nil {
			t.Fatal(err)
		}
		sent[from] = append(sent[from], n)
	}
	cli.ended()
	for _, r := range rows.final(t, connected, both(serverPort(port), func(r row) bool { return r.num("server_netns") == int64(box.Inode) })) {
		from := r.num("client_port")
		at := slices.Index(sent[from], r.num("to_server_bytes"))
		if at < 0 || r.num("to_client_bytes") != 1 || r.num("client_pid") != int64(cli.Process.Pid) || r.num("server_pid") != int64(srv.Process.Pid) {
			t.Fatalf("seed %d: from port %d %d octets were sent: %v", seed, from, sent[from], r)
		}
		sent[from] = slices.Delete(sent[from], at, at+1)
	}
}

// AF_PACKET shows no cookies: the tuple tells, and who is behind it is right,
// also where one port is used again and again.
func TestCaseC10_WithoutCookies(t *testing.T) {
	_, rows := own(t, "--packets", "afpacket", "--interface", "lo")
	host, box := netlab.Host(t), netlab.New(t)
	srv, port := answer(t, host, "tcp", "127.203.10.1:0", 600)
	cli := ask(t, host, "tcp", "127.203.10.2:20490", fmt.Sprint("127.203.10.1:", port), 600)
	cli.do("loop 20 100")
	other, oport := answer(t, box, "tcp", "127.203.10.1:0", 600)
	boxed := ask(t, box, "tcp", "127.203.10.2:20490", fmt.Sprint("127.203.10.1:", oport), 600)
	boxed.do("loop 1 100")
	sizes := map[int64]bool{}
	for _, r := range rows.final(t, 20, both(serverPort(port), clientPort(20490))) {
		sizes[r.num("to_server_bytes")] = true
		want(t, r, map[string]any{"client_pid": cli.Process.Pid, "server_pid": srv.Process.Pid, "client_method": "tuple", "server_method": "tuple"})
		wantWire(t, r, "tcp")
	}
	if len(sizes) != 20 {
		t.Errorf("%d sizes, want 20: %v", len(sizes), sizes)
	}
	r := rows.final(t, 1, both(serverPort(oport), clientPort(20490)))[0]
	want(t, r, map[string]any{"client_pid": boxed.Process.Pid, "server_pid": other.Process.Pid, "client_netns": int(box.Inode)})
	if r.num("to_server_wire_bytes") != -1 {
		t.Errorf("packets of the host's lo: %v", r)
	}
}
