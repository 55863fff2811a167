package cases

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// dropChildren lose packets.
var dropChildren = map[string]func(args []string) error{
	// deaf has a datagram socket at an address, with little room, and never reads; it
	// prints its port and waits for a word.
	"deaf": func(args []string) error {
		a := netip.MustParseAddrPort(args[0])
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4()}); err != nil {
			return err
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		fmt.Println(name.(*unix.SockaddrInet4).Port)
		_, err = bufio.NewReader(os.Stdin).ReadString('\n')
		return err
	},
	// shout sends datagrams to an address, args[1] of them.
	"shout": func(args []string) error {
		c, err := net.Dial("udp", args[0])
		if err != nil {
			return err
		}
		defer c.Close()
		n, err := strconv.Atoi(args[1])
		for range n {
			if _, err := c.Write([]byte("anybody?")); err != nil {
				return err
			}
		}
		return err
	},
}

// inLXC starts a child in a cgroup that is named like an LXC container's, which needs
// no engine to have a name.
func inLXC(t *testing.T, name string) func(*exec.Cmd) {
	t.Helper()
	root := "/sys/fs/cgroup/unified"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root = "/sys/fs/cgroup"
	}
	if _, err := os.Stat(root + "/cgroup.controllers"); err != nil {
		t.Skip("no cgroup v2")
	}
	dir := filepath.Join(root, "lxc.payload."+name)
	_ = os.Remove(dir) // of a killed run
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("make a cgroup: %v", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); os.Remove(dir) })
	return func(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())} }
}

// dropped adds up packets of rows of drop by reason.
func dropped(t *testing.T, r *rows, reason string, match func(row) bool) (n int64, rs []row) {
	t.Helper()
	rs = r.all(t, "drop", func(x row) bool { return x.tag("reason") == reason && match(x) })
	for _, x := range rs {
		n += x.num("dropped_packets")
	}
	return n, rs
}

// Datagrams that find the buffer of a container's socket full are the container's, as
// many as its kernel counts.
func TestCaseF_DroppedDatagrams(t *testing.T) {
	_, rows := own(t)
	box := netlab.New(t)
	p := spawnWith(t, box, inLXC(t, "wcdrops"), "deaf", "127.0.0.1:0")
	port := p.number()
	box.Do(t, func() error {
		c, err := net.Dial("udp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			return err
		}
		defer c.Close()
		for range 300 {
			if _, err := c.Write(make([]byte, 137)); err != nil {
				return err
			}
		}
		return nil
	})
	truth := int64(received(t, box, "RcvbufErrors"))
	if truth == 0 {
		t.Fatal("its kernel dropped nothing")
	}
	mine := ofEnd("wcdrops")
	probe.Until(t, patience, "the drops", func() error {
		if n, rs := dropped(t, rows, "socket_rcvbuff", mine); n < truth {
			return fmt.Errorf("%d of %d: %v", n, truth, rs)
		}
		return nil
	})
	rows.settle(t)
	n, rs := dropped(t, rows, "socket_rcvbuff", mine)
	if n != truth {
		t.Errorf("%d dropped, the kernel says %d", n, truth)
	}
	for _, r := range rs {
		if r.tag("class") != "receive_buffer" || r.tag("kind") != "container" || r.tag("container") != "wcdrops" || r.num("dropped_bytes") < 137*r.num("dropped_packets") {
			t.Error(r)
		}
	}
	if costs := rows.all(t, "container", mine); len(costs) > 0 && int64(float(costs, "dropped_packets")) != truth {
		t.Errorf("%v in container, want %d: %v", float(costs, "dropped_packets"), truth, costs)
	}
	each := rs[0].num("dropped_bytes") / rs[0].num("dropped_packets") // others on this machine drop datagrams of other sizes
	if others, rs := dropped(t, rows, "socket_rcvbuff", func(r row) bool {
		return !mine(r) && r.tag("kind") == "unknown" && r.num("dropped_bytes") == each*r.num("dropped_packets")
	}); others != 0 {
		t.Errorf("told a second time: %v", rs)
	}
	p.say("on")
	p.ended()
}

// received reads a counter of datagrams of a namespace.
func received(t *testing.T, ns *netlab.NS, name string) (n int) {
	t.Helper()
	ns.Do(t, func() error {
		all, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		var heads []string
		for line := range strings.Lines(string(all)) {
			cells := strings.Fields(line)
			if cells[0] != "Udp:" {
				continue
			}
			if i := slices.Index(heads, name); i > 0 {
				_, err = fmt.Sscan(cells[i], &n)
				return err
			}
			heads = cells
		}
		return fmt.Errorf("no counter %s", name)
	})
	return n
}

// missedDrops is how many drops a program missed, because it was interrupted by itself or
// had no room: that is counted.
func missedDrops(t *testing.T, rows *rows) (n int64) {
	t.Helper()
	for _, r := range rows.all(t, "weir_self", func(r row) bool { return r.tag("stage") == "kernel" }) {
		n += max(r.num("program_misses"), 0) + max(r.num("lost_drops"), 0)
	}
	return n
}

// What a filter drops in a network that is no container's, and what waits in vain for a
// neighbour.
func TestCaseF_DropsOfANetwork(t *testing.T) {
	b := newPair(t, 18)
	b.far.Named(t, "weir-test-far")
	_, rows := own(t)
	b.drop(t, "far", "udp dport 4470")
	const n = 9
	// One does wait for a neighbour: more than a few do not.
	for _, args := range [][]string{{b.there + ":4470", fmt.Sprint(n)}, {"10.210.18.77:4471", "1"}} {
		spawnWith(t, b.near, inLXC(t, "wcshout"), "shout", args...).ended()
	}
	// Only these: on the machine there are others, and what earlier tests left behind
	// (a kernel goes on to close what they had open) is dropped for the same reasons.
	strangers, shouted := ofEnd("weir-test-far"), ofEnd("wcshout")
	missed := func() int64 { return missedDrops(t, rows) }
	probe.Until(t, patience, "the drops", func() error {
		filtered, _ := dropped(t, rows, "netfilter_drop", strangers)
		waited, _ := dropped(t, rows, "neigh_failed", shouted)
		if filtered+missed() < n || waited+missed() < 1 {
			return fmt.Errorf("%d filtered, %d waited, in %v; neighbours %s", filtered, waited, rows.all(t, "drop", every), b.near.Run(t, "ip", "-s", "neigh"))
		}
		return nil
	})
	rows.settle(t)
	filtered, rs := dropped(t, rows, "netfilter_drop", strangers)
	if filtered > n || filtered+missed() < n {
		t.Errorf("%d of %d: %v", filtered, n, rs)
	}
	waited, more := dropped(t, rows, "neigh_failed", shouted)
	if waited > 1 || waited+missed() < 1 {
		t.Errorf("%d of 1: %v", waited, more)
	}
	for _, r := range rs {
		if r.tag("kind") != "unknown" {
			t.Errorf("a network without a container is %v", r)
		}
	}
	for _, r := range append(rs, more...) {
		if class := map[string]string{"netfilter_drop": "policy", "neigh_failed": "neighbour"}[r.tag("reason")]; r.tag("class") != class {
			t.Error(r)
		}
	}
}
