package selftest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
)

// The networks of the bed. They exist in its namespaces only.
var bedNetworks = []netip.Prefix{netip.MustParsePrefix("10.209.0.0/16"), netip.MustParsePrefix("fd09:209::/32")}

// box is a network namespace and the container its workers are in.
type box struct {
	name  string
	ns    int    // descriptor
	inode uint32 // of the namespace
	nl    *netlink.Handle

	container string   // id; empty where containers can't be made
	cgroup    *os.File // its directory
}

// bed is the network of a selftest: nothing of it can be seen from outside, and
// it is gone with the descriptors that hold it.
//
//	web ── br0 (10.209.1.0/24, fd09:209:1::/64) ── db       both are the host's containers
//	host: br0, NAT, wan ── out (10.209.254.2)
//	c1 ── br1 ── s1, c2 ── br2 ── s2                        two projects, the same addresses
type bed struct {
	host, web, db, out *box
	c1, s1, c2, s2     *box
	boxes              []*box
	cgroups            string // directory to be removed
	noContainers       string // why
	nat                string // by nft, by iptables
	noNAT              string // why
	noIPv6             string
}

const dnatPort = 8080

func newBed() (b *bed, err error) {
	b = &bed{}
	defer func() {
		if err != nil {
			b.close()
			b = nil
		}
	}()
	b.makeCgroups()
	for _, x := range []struct {
		at   **box
		name string
	}{{&b.host, "host"}, {&b.web, "web"}, {&b.db, "db"}, {&b.out, "out"}, {&b.c1, "c1"}, {&b.s1, "s1"}, {&b.c2, "c2"}, {&b.s2, "s2"}} {
		if *x.at, err = newBox(x.name); err != nil {
			return b, err
		}
		b.boxes = append(b.boxes, *x.at)
		if x.name != "host" && x.name != "out" {
			b.contain(*x.at)
		}
	}
	if err := b.wire(); err != nil {
		return b, err
	}
	b.translate()
	return b, nil
}

func newBox(name string) (*box, error) {
	x := &box{name: name, ns: -1}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		made <- func() (err error) {
			if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			x.ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			return err
		}()
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(x.ns, &st); err != nil {
		return nil, fmt.Errorf("look at a network namespace: %w", err)
	}
	x.inode = uint32(st.Ino)
	var err error
	if x.nl, err = netlink.NewHandleAt(netns.NsHandle(x.ns), unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open netlink in a network namespace: %w", err)
	}
	return x, x.up("lo")
}

// do runs f on a thread inside the namespace.
func (x *box) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(x.ns, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the namespace of %s: %w", x.name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// command runs a program inside the namespace to its end.
func (x *box) command(stdin, name string, args ...string) error {
	return x.do(func() error {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %.200s", filepath.Base(name), err, strings.TrimSpace(string(out)))
		}
		return nil
	})
}

// sysctl writes a setting; one that this kernel does not have is left alone.
func (x *box) sysctl(name, value string) error {
	return x.do(func() error {
		err := os.WriteFile("/proc/sys/"+name, []byte(value), 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func (x *box) up(name string) error {
	l, err := x.nl.LinkByName(name)
	if err == nil {
		err = x.nl.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("set %s of %s up: %w", name, x.name, err)
	}
	return nil
}

func (x *box) address(dev string, cidrs ...string) error {
	l, err := x.nl.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("find %s of %s: %w", dev, x.name, err)
	}
	for _, c := range cidrs {
		a, err := netlink.ParseAddr(c)
		if err != nil {
			return err
		}
		a.Flags = unix.IFA_F_NODAD
		if err := x.nl.AddrAdd(l, a); err != nil {
			return fmt.Errorf("give %s of %s the address %s: %w", dev, x.name, c, err)
		}
	}
	return x.nl.LinkSetUp(l)
}

func (x *box) route(to, via string) error {
	dst, err := netlink.ParseIPNet(to)
	if err != nil {
		return err
	}
	if err := x.nl.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)}); err != nil {
		return fmt.Errorf("route %s of %s: %w", to, x.name, err)
	}
	return nil
}

// bridge makes a bridge in the host with a wire to each box, whose end is eth0.
func (b *bed) bridge(name string, cidrs []string, ends map[*box][]string) error {
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := b.host.nl.LinkAdd(br); err != nil {
		return fmt.Errorf("add a bridge: %w", err)
	}
	for x, addresses := range ends {
		if err := b.wireTo(x, "v"+x.name, nil, "eth0", addresses); err != nil {
			return err
		}
		l, err := b.host.nl.LinkByName("v" + x.name)
		if err == nil {
			err = b.host.nl.LinkSetMaster(l, br)
		}
		if err != nil {
			return fmt.Errorf("plug %s into %s: %w", x.name, name, err)
		}
	}
	return b.host.address(name, cidrs...)
}

func (b *bed) wireTo(x *box, here string, mine []string, there string, theirs []string) error {
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: here}, PeerName: there, PeerNamespace: netlink.NsFd(x.ns)}
	if err := b.host.nl.LinkAdd(pair); err != nil {
		return fmt.Errorf("add a veth pair to %s: %w", x.name, err)
	}
	if err := errors.Join(b.host.address(here, mine...), x.address(there, theirs...)); err != nil {
		return err
	}
	// One segment, one packet: a device counts a super-packet as one, with one header.
	l, err := x.nl.LinkByName(there)
	if err == nil {
		err = x.nl.LinkSetGSOMaxSegs(l, 1)
	}
	if err != nil {
		return fmt.Errorf("limit the segments of a packet of %s: %w", x.name, err)
	}
	return nil
}

func (b *bed) wire() error {
	for _, x := range b.boxes {
		// Ports enough for a minute of TIME_WAIT, and no waiting for addresses.
		for name, value := range map[string]string{
			"net/ipv6/conf/all/accept_dad": "0", "net/ipv6/conf/default/accept_dad": "0", "net/ipv6/conf/default/mld_qrv": "1",
			"net/ipv4/ip_local_port_range": "1024\t39999", "net/ipv4/tcp_tw_reuse": "1",
		} {
			if err := x.sysctl(name, value); err != nil {
				return fmt.Errorf("set %s of %s: %w", name, x.name, err)
			}
		}
	}
	br0, web, db := []string{"10.209.1.1/24"}, []string{"10.209.1.2/24"}, []string{"10.209.1.3/24"}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		b.noIPv6 = "this kernel has no IPv6"
	} else {
		br0, web, db = append(br0, "fd09:209:1::1/64"), append(web, "fd09:209:1::2/64"), append(db, "fd09:209:1::3/64")
	}
	same := func(c, s *box) map[*box][]string {
		return map[*box][]string{c: {"10.209.9.2/24"}, s: {"10.209.9.3/24"}}
	}
	return errors.Join(
		b.host.sysctl("net/ipv4/ip_forward", "1"),
		b.bridge("br0", br0, map[*box][]string{b.web: web, b.db: db}),
		b.bridge("br1", nil, same(b.c1, b.s1)),
		b.bridge("br2", nil, same(b.c2, b.s2)),
		b.wireTo(b.out, "wan", []string{"10.209.254.1/24"}, "eth0", []string{"10.209.254.2/24"}),
		b.web.route("0.0.0.0/0", "10.209.1.1"), b.db.route("0.0.0.0/0", "10.209.1.1"),
	)
}

// translate sets up masquerading of what leaves by wan, and a port of the host
// that is db's, with whatever tool there is.
func (b *bed) translate() {
	to := fmt.Sprintf("10.209.1.3:%d", plainPort)
	nft := fmt.Sprintf(`table ip weir_selftest {
	chain out { type nat hook postrouting priority 100; ip saddr 10.209.1.0/24 oifname "wan" masquerade; }
	chain in { type nat hook prerouting priority -100; ip daddr 10.209.254.1 tcp dport %d dnat to %s; }
}
`, dnatPort, to)
	var errs []error
	if path, err := exec.LookPath("nft"); err == nil {
		if err = b.host.command(nft, path, "-f", "-"); err == nil {
			b.nat = "nft"
			return
		}
		errs = append(errs, err)
	}
	if path, err := exec.LookPath("iptables"); err == nil {
		err = errors.Join(
			b.host.command("", path, "-w", "-t", "nat", "-A", "POSTROUTING", "-s", "10.209.1.0/24", "-o", "wan", "-j", "MASQUERADE"),
			b.host.command("", path, "-w", "-t", "nat", "-A", "PREROUTING", "-d", "10.209.254.1", "-p", "tcp", "--dport", fmt.Sprint(dnatPort), "-j", "DNAT", "--to-destination", to))
		if err == nil {
			b.nat = "iptables"
			return
		}
		errs = append(errs, err)
	}
	if b.noNAT = "neither nft nor iptables is installed"; len(errs) > 0 {
		b.noNAT = errors.Join(errs...).Error()
	}
}

// makeCgroups makes the directory of the containers in the unified hierarchy,
// where a process can be started in place.
func (b *bed) makeCgroups() {
	mounts, err := cgroup.Find("/proc", "")
	b.noContainers = "no cgroup v2 hierarchy is mounted"
	for _, m := range mounts {
		if err == nil && m.Hierarchy == cgroup.Unified {
			sweepCgroups(m.Dir)
			dir := filepath.Join(m.Dir, "weir-selftest-"+randomHex(4))
			if err = os.MkdirAll(filepath.Join(dir, "docker"), 0o755); err == nil {
				b.cgroups, b.noContainers = dir, ""
				return
			}
			b.noContainers = err.Error()
		}
	}
}

// sweepCgroups removes what selftests that were killed have left.
func sweepCgroups(root string) {
	const forgotten = time.Hour
	left, _ := filepath.Glob(filepath.Join(root, "weir-selftest-*"))
	for _, dir := range left {
		if st, err := os.Stat(dir); err != nil || time.Since(st.ModTime()) < forgotten {
			continue
		}
		containers, _ := filepath.Glob(filepath.Join(dir, "docker", "*"))
		for _, d := range append(containers, filepath.Join(dir, "docker"), dir) {
			_ = syscall.Rmdir(d) // its files are the kernel's, and not in the way
		}
	}
}

// contain gives a box a container of its own, named as Docker names its.
func (b *bed) contain(x *box) {
	if b.cgroups == "" {
		return
	}
	id := randomHex(32)
	dir := filepath.Join(b.cgroups, "docker", id)
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		x.cgroup, err = os.Open(dir)
	}
	if err != nil {
		b.noContainers = err.Error()
		return
	}
	x.container = id
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// close takes everything down; workers must have ended.
func (b *bed) close() {
	for _, x := range b.boxes {
		if x.cgroup != nil {
			x.cgroup.Close()
			_ = os.Remove(filepath.Join(b.cgroups, "docker", x.container))
		}
		if x.nl != nil {
			x.nl.Close()
		}
		unix.Close(x.ns)
	}
	b.boxes = nil
	if b.cgroups != "" {
		_ = os.Remove(filepath.Join(b.cgroups, "docker"))
		_ = os.Remove(b.cgroups)
	}
}
