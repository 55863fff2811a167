// Package netlab makes network namespaces and the wires between them for tests:
// several hosts on one machine, gone with the test.
package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/machine"
)

// NS is a network namespace without a name. Netlink speaks to it.
type NS struct {
	// Inode identifies the namespace: fields `client_netns`, `server_netns`.
	Inode   uint32
	Netlink *netlink.Handle

	handle netns.NsHandle
}

// New makes a namespace with lo up, or skips the test where that needs root.
func New(t testing.TB) *NS {
	t.Helper()
	machine.Root(t, "makes network namespaces")
	n := &NS{}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		var err error
		n.handle, err = netns.New()
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	n.open(t)
	t.Cleanup(func() { n.Netlink.Close(); n.handle.Close() })
	n.Up(t, "lo")
	// On devices to come: no multicast reports at times of their own.
	n.Sysctl(t, "net/ipv6/conf/default/mld_qrv", "1")
	n.Sysctl(t, "net/ipv6/conf/default/accept_dad", "0")
	return n
}

// Named gives the namespace a name, as ip netns does, until the end of the test.
func (n *NS) Named(t testing.TB, name string) {
	t.Helper()
	const dir = "/run/netns"
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_ = unix.Unmount(path, unix.MNT_DETACH) // of a killed run
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Unmount(path, unix.MNT_DETACH)
		os.Remove(path)
	})
	n.Do(t, func() error { return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "") })
}

// Host is the namespace the test itself runs in.
func Host(t testing.TB) *NS {
	t.Helper()
	h, err := netns.Get()
	if err != nil {
		t.Fatalf("open the host's network namespace: %v", err)
	}
	n := &NS{handle: h}
	n.open(t)
	t.Cleanup(func() { n.Netlink.Close(); n.handle.Close() })
	return n
}

func (n *NS) open(t testing.TB) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(n.handle), &st); err != nil {
		t.Fatalf("stat a network namespace: %v", err)
	}
	n.Inode = uint32(st.Ino)
	var err error
	if n.Netlink, err = netlink.NewHandleAt(n.handle, unix.NETLINK_ROUTE); err != nil {
		t.Fatalf("open netlink in a network namespace: %v", err)
	}
}

// Do runs f on a thread inside the namespace. f must not start goroutines that
// need to be inside too.
func (n *NS) Do(t testing.TB, f func() error) {
	t.Helper()
	if err := <-n.Start(f); err != nil {
		t.Fatal(err)
	}
}

// Start is Do without waiting for the end.
func (n *NS) Start(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(n.handle); err != nil {
			done <- fmt.Errorf("enter a network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return done
}

// StartCommand starts cmd inside the namespace.
func (n *NS) StartCommand(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	n.Do(t, cmd.Start)
}

// Run runs a program inside the namespace and wants status 0.
func (n *NS) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	var out []byte
	n.Do(t, func() (err error) {
		if out, err = exec.Command(name, args...).CombinedOutput(); err != nil {
			err = fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
		}
		return err
	})
	return string(out)
}

// Sysctl writes a setting like net/ipv4/ip_forward; one that this kernel does not
// have is left alone.
func (n *NS) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	n.Do(t, func() error {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	})
}

// Link returns the device called name.
func (n *NS) Link(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := n.Netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return l
}

// Up sets a device up.
func (n *NS) Up(t testing.TB, name string) {
	t.Helper()
	if err := n.Netlink.LinkSetUp(n.Link(t, name)); err != nil {
		t.Fatalf("set %s up: %v", name, err)
	}
}

// Add makes a device.
func (n *NS) Add(t testing.TB, l netlink.Link) {
	t.Helper()
	if err := n.Netlink.LinkAdd(l); err != nil {
		t.Fatalf("add %s %s: %v", l.Type(), l.Attrs().Name, err)
	}
}

// Address gives a device an address like 10.0.0.1/24 and sets it up.
func (n *NS) Address(t testing.TB, name, cidr string) {
	t.Helper()
	a, err := netlink.ParseAddr(cidr)
	if err != nil {
		t.Fatalf("parse %s: %v", cidr, err)
	}
	a.Flags = unix.IFA_F_NODAD
	if err := n.Netlink.AddrAdd(n.Link(t, name), a); err != nil {
		t.Fatalf("give %s the address %s: %v", name, cidr, err)
	}
	n.Up(t, name)
}

// Route sends what goes to a network (default: everything) through a gateway.
func (n *NS) Route(t testing.TB, to, via string) {
	t.Helper()
	n.Run(t, "ip", "route", "add", to, "via", via)
}

// End is one end of a veth pair: a device name in a namespace, and an address
// unless it is empty (for the port of a bridge).
type End struct {
	NS   *NS
	Name string
	CIDR string
}

// Veth joins two namespaces. The pair goes when the test ends.
func Veth(t testing.TB, a, b End) {
	t.Helper()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: a.Name, MTU: 1500}, PeerName: b.Name, PeerNamespace: netlink.NsFd(b.NS.handle)}
	a.NS.Add(t, pair)
	t.Cleanup(func() { a.NS.Netlink.LinkDel(pair) }) //nolint:errcheck // gone with its namespace already
	for _, e := range []End{a, b} {
		if e.CIDR == "" {
			e.NS.Up(t, e.Name)
			continue
		}
		e.NS.Address(t, e.Name, e.CIDR)
	}
}

// Bridge makes a bridge with an address (or none) whose ports are the given
// devices of the same namespace.
func Bridge(t testing.TB, at End, ports ...string) {
	t.Helper()
	// Without snooping: a bridge that snoops sends reports of its own, at any time.
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: at.Name}, MulticastSnooping: new(bool)}
	at.NS.Add(t, br)
	t.Cleanup(func() { at.NS.Netlink.LinkDel(br) }) //nolint:errcheck // gone with its namespace already
	for _, p := range ports {
		if err := at.NS.Netlink.LinkSetMaster(at.NS.Link(t, p), br); err != nil {
			t.Fatalf("make %s a port of %s: %v", p, at.Name, err)
		}
	}
	if at.CIDR != "" {
		at.NS.Address(t, at.Name, at.CIDR)
	}
	at.NS.Up(t, at.Name)
}

// Move gives a device to another namespace.
func (n *NS) Move(t testing.TB, name string, to *NS) {
	t.Helper()
	if err := n.Netlink.LinkSetNsFd(n.Link(t, name), int(to.handle)); err != nil {
		t.Fatalf("move %s to another namespace: %v", name, err)
	}
}
