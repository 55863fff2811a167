package kprobes

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
)

// Names decide, not numbers, which differ between kernels; the longest prefix wins.
func TestDropClasses(t *testing.T) {
	for name, want := range map[string]DropClass{
		"SKB_CONSUMED": dropQuiet, "NOT_SPECIFIED": DropUnspecified, "SOCKET_RCVBUFF": DropReceiveBuffer, "SOCKET_CLOSE": dropQuiet,
		"TCP_CLOSE": dropQuiet, "TCP_OLD_DATA": dropQuiet, "TCP_OLD_SEQUENCE": dropQuiet, "TCP_INVALID_SEQUENCE": DropTCP, "TCP_MD5FAILURE": DropPolicy,
		"TCP_RFC7323_PAWS": DropTCP, "TCP_RFC7323_PAWS_ACK": dropQuiet, "TCP_OFO_DROP": DropReceiveBuffer, "TCP_OFOMERGE": dropQuiet,
		"TC_INGRESS": DropPolicy, "TCP_SOMETHING_NEW": DropTCP, "NEIGH_FAILED": DropNeighbour, "NETFILTER_DROP": DropPolicy, "A_NEW_ONE": DropOther,
		"IP_RPFILTER": DropRoute, "IP_INHDR": DropMalformed, "IPV6DISABLED": DropPolicy, "IPV6_NDISC_FRAG": DropMalformed, "NO_SOCKET": DropNoSocket,
	} {
		if got := classOf(name); got != want {
			t.Errorf("%s: class %d, want %d", name, got, want)
		}
	}
	seen := map[string]bool{}
	for _, c := range DropClasses() {
		if s := c.String(); s == "" || seen[s] {
			t.Errorf("class %d is called %q", c, s)
		} else {
			seen[s] = true
		}
	}
}

// Each prefix is one of this kernel's names, or of an older or newer one's: most must be.
func TestDropReasonsOfThisKernel(t *testing.T) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Skip(err)
	}
	var e *btf.Enum
	if err := spec.TypeByName("skb_drop_reason", &e); err != nil {
		t.Skip(err)
	}
	used, other := map[string]bool{}, 0
	for _, v := range e.Values {
		name := strings.TrimPrefix(v.Name, "SKB_DROP_REASON_")
		if classOf(name) == DropOther {
			other++
			t.Log("other: ", name)
		}
		for p := range dropPrefixes {
			if strings.HasPrefix(name, p) {
				used[p] = true
			}
		}
	}
	if other > len(e.Values)/4 {
		t.Errorf("%d of %d reasons have no class", other, len(e.Values))
	}
	for p := range dropPrefixes {
		if !used[p] {
			t.Logf("prefix %s: no reason of this kernel", p)
		}
	}
}

// losses is a TroubleHandler that adds up.
type losses struct {
	drops map[string]*DropEvent // of one namespace, by reason
	netns uint32
	half  []HalfOpenEvent
}

func (l *losses) Drop(e *DropEvent) {
	if e.NetNS != l.netns {
		return
	}
	if d := l.drops[e.Reason]; d != nil {
		d.Packets += e.Packets
		d.Octets += e.Octets
		return
	}
	c := *e
	l.drops[e.Reason] = &c
}

func (l *losses) HalfOpen(e *HalfOpenEvent) { l.half = append(l.half, *e) }

// packets is how many were dropped for a reason.
func (l *losses) packets(reason string) uint64 {
	if d := l.drops[reason]; d != nil {
		return d.Packets
	}
	return 0
}

func (f *fixture) trouble(l *losses) func() {
	return func() {
		f.drain()
		if err := f.set.Trouble(l); err != nil {
			f.t.Fatal(err)
		}
	}
}

func thisNetNS() (uint32, error) {
	var st unix.Stat_t
	err := unix.Stat("/proc/thread-self/ns/net", &st)
	return uint32(st.Ino), err
}

// counter reads a counter of this thread's namespace, of its snmp or netstat.
func counter(file, proto, name string) (n uint64, err error) {
	all, err := os.ReadFile("/proc/thread-self/net/" + file)
	if err != nil {
		return 0, err
	}
	var heads []string
	for line := range strings.Lines(string(all)) {
		cells := strings.Fields(line)
		if cells[0] != proto+":" {
			continue
		}
		if heads == nil {
			heads = cells
			continue
		}
		for i, h := range heads {
			if h == name {
				_, err = fmt.Sscan(cells[i], &n)
				return n, err
			}
		}
	}
	return 0, fmt.Errorf("no counter %s of %s", name, proto)
}

// TestKernelDrops: what the kernel drops is counted exactly, under its reason, in the
// namespace where it was lost, and with the group of who has the socket.
func TestKernelDrops(t *testing.T) {
	f := start(t, Config{})
	if !f.attached("kfree_skb") {
		f.need("kfree_skb_rx")
	}
	l := &losses{drops: map[string]*DropEvent{}}
	f.trouble(&losses{})() // what came before
	var full uint64
	inNetNS(t, func() (err error) {
		if l.netns, err = thisNetNS(); err != nil {
			return err
		}
		if full, err = overflow(); err != nil {
			return err
		}
		return toNobody(7)
	})
	f.until("drops", f.trouble(l), func() bool { return l.packets("no_socket") >= 7 && l.packets("socket_rcvbuff") >= full })
	if n := l.packets("socket_rcvbuff"); n != full || full == 0 {
		t.Errorf("%d datagrams found the receive buffer full, the kernel counts %d", n, full)
	}
	if d := l.drops["no_socket"]; d.Packets != 7 || d.Class != DropNoSocket || d.CgroupV2 != 0 && f.attached("kfree_skb") {
		t.Errorf("%+v, want 7 packets", d)
	}
	d := l.drops["socket_rcvbuff"]
	if d.Class != DropReceiveBuffer || d.Octets < full*100 {
		t.Errorf("%+v", d)
	}
	if f.attached("kfree_skb_rx") && d.CgroupV2|d.CgroupV1 == 0 {
		t.Errorf("%+v: not of a socket", d)
	}
	for reason := range l.drops {
		if classOf(strings.ToUpper(reason)) == dropQuiet {
			t.Errorf("%s is told, though nothing is lost", reason)
		}
	}
	before := l.packets("socket_rcvbuff")
	f.trouble(l)()
	if now := l.packets("socket_rcvbuff"); now != before {
		t.Errorf("%d packets told twice", now-before)
	}
}

// overflow sends datagrams to a socket that does not read until many are lost.
func overflow() (lost uint64, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 4010, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	for range 200 {
		if err := unix.Sendto(fd, make([]byte, 100), 0, &unix.SockaddrInet4{Port: 4010, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return 0, err
		}
	}
	return counter("snmp", "Udp", "RcvbufErrors")
}

// toNobody sends n datagrams to a port that nobody has.
func toNobody(n int) error {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer c.Close()
	for range n {
		if _, err := c.WriteTo([]byte("anybody?"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4011}); err != nil {
			return err
		}
	}
	return nil
}

// TestKernelNeighbourFailed: a packet that waited in vain for the address of the next
// hop is the sender's loss.
func TestKernelNeighbourFailed(t *testing.T) {
	f := start(t, Config{})
	if !f.attached("kfree_skb") {
		f.need("kfree_skb_rx")
	}
	l := &losses{drops: map[string]*DropEvent{}}
	var c net.PacketConn
	inNetNS(t, func() (err error) {
		if l.netns, err = thisNetNS(); err != nil {
			return err
		}
		if err := wire(); err != nil {
			return err
		}
		if c, err = net.ListenPacket("udp4", "10.77.4.1:0"); err != nil {
			return err
		}
		_, err = c.WriteTo([]byte("anybody?"), &net.UDPAddr{IP: net.IPv4(10, 77, 4, 9), Port: 1})
		return err
	})
	defer c.Close()
	f.until("failure", f.trouble(l), func() bool { return l.packets("neigh_failed") > 0 })
	if d := l.drops["neigh_failed"]; d.Packets != 1 || d.Class != DropNeighbour || d.CgroupV2|d.CgroupV1 == 0 {
		t.Errorf("%+v, want 1 packet of this process", d)
	}
}

// wire makes a veth in this namespace, with an address and nobody behind.
func wire() error {
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wt0"}, PeerName: "wt1"}); err != nil {
		return err
	}
	for _, name := range []string{"wt0", "wt1"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		if name == "wt0" {
			addr, err := netlink.ParseAddr("10.77.4.1/24")
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(link, addr); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestKernelHalfOpen: a handshake is told when the kernel has given it up, once, with
// its listener; one that succeeds late is not.
func TestKernelHalfOpen(t *testing.T) {
	f := start(t, Config{})
	f.need("tcp_retransmit_synack")
	l := &losses{drops: map[string]*DropEvent{}}
	var ln net.Listener
	inNetNS(t, func() (err error) {
		if l.netns, err = thisNetNS(); err != nil {
			return err
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/tcp_synack_retries", []byte("1"), 0); err != nil {
			return err
		}
		if err := wire(); err != nil {
			return err
		}
		// Answers go out and nowhere.
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
		link, err := netlink.LinkByName("wt0")
		if err != nil {
			return err
		}
		if err := netlink.NeighAdd(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.IPv4(10, 77, 4, 9), HardwareAddr: mac}); err != nil {
			return err
		}
		if ln, err = net.Listen("tcp4", "10.77.4.1:4012"); err != nil {
			return err
		}
		return netlab.SYN([4]byte{10, 77, 4, 9}, 4013, [4]byte{10, 77, 4, 1}, 4012)
	})
	defer ln.Close()
	var listener *SocketEvent
	f.until("handshake given up", f.trouble(l), func() bool { return len(l.half) > 0 })
	f.trouble(l)()
	for i := range f.sockets {
		if e := &f.sockets[i]; e.Role == RoleListener && e.Key.NetNS == l.netns {
			listener = e
		}
	}
	if len(l.half) != 1 || listener == nil {
		t.Fatalf("%+v, listener %+v", l.half, listener)
	}
	h := l.half[0]
	if h.Listener != listener.Cookie || h.Key.SrcPort != 4012 || h.Key.DstPort != 4013 || h.Key.NetNS != l.netns || h.Key.Dst.String() != "10.77.4.9" || h.Cookie == 0 {
		t.Errorf("%+v, listener %+v", h, listener)
	}
}
