package cases

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// A datagram in fragments is one flow, under its ports, with every fragment's
// octets; over IPv6 too. IP options do not hide the ports.
func TestCaseE6_FragmentsAndOptions(t *testing.T) {
	host, box := bridged(t, 15, 2)
	for i, ns := range box {
		ns.Sysctl(t, "net/ipv6/conf/eth0/disable_ipv6", "0")
		ns.Address(t, "eth0", fmt.Sprintf("fd00:207::%d/64", 2+i))
	}
	l := openLedger(t, host)
	const size = 8000 // 1480 octets of IPv4 payload in a fragment, 1448 of IPv6
	for _, c := range []struct {
		addr                     string
		headers, each, fragments int
	}{{boxAddr(15, 1), 14 + 20, 1480, 6}, {"fd00:207::3", 14 + 40 + 8, 1448, 6}} {
		addr := c.addr
		if addr[0] == 'f' {
			addr = "[" + addr + "]"
		}
		port := swallow(t, box[1], addr)
		datagrams(t, box[0], c.addr, port, 10, size)
		probe.Until(t, patience, "all fragments in the rows of "+c.addr, func() error {
			packets, octets := l.flows(t, toPort(port), "to_server_packets"), l.flows(t, toPort(port), "to_server_wire_bytes")
			payload := l.flows(t, toPort(port), "to_server_bytes")
			if packets != int64(10*c.fragments) || octets != int64(10*(c.fragments*c.headers+8+size)) || payload != 10*size {
				return fmt.Errorf("%d packets of %d octets with %d of payload", packets, octets, payload)
			}
			return nil
		})
	}
	ln := drain(t, box[1], boxAddr(15, 1))
	c := dial(t, box[0], "tcp", boxAddr(15, 1), ln).(*net.TCPConn)
	onSocket(t, c, func(fd int) error {
		return unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, "\x01\x01\x01\x00")
	})
	if _, err := c.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	r := l.rows.final(t, 1, serverPort(ln))[0]
	want(t, r, map[string]any{"to_server_bytes": 100, "client_address": boxAddr(15, 0)})
	if n, plain := r.num("to_server_wire_bytes"), 100+r.num("to_server_packets")*tcpHeaders+synMore; n <= plain {
		t.Errorf("%d octets on the wire: no options, this test shows nothing", n)
	}
	if b := l.check(t); b.lost != 0 || l.self(t, "flows", "fragments") != 0 {
		t.Errorf("lost %d, %d unknown fragments", b.lost, l.self(t, "flows", "fragments"))
	}
}

// Segments sent again are on the wire twice and in the application once, and are
// counted as the kernel counts them.
func TestCaseE7_Retransmits(t *testing.T) {
	rows := watch(t)
	box := bridgedAt(t, netlab.Host(t), 16, 2)
	metered(t, rows, boxAddr(16, 1), pair{box[0], box[1]})
	// The receiver's own netfilter: everything before it is on the wire.
	box[1].Run(t, "nft", "add table ip loss; add chain ip loss in { type filter hook prerouting priority -300; }; add rule ip loss in tcp flags & syn == 0 numgen inc mod 20 == 7 drop")
	port := drain(t, box[1], boxAddr(16, 1))
	again, sent := snmp(t, box[0], "Tcp", "RetransSegs"), snmp(t, box[0], "Tcp", "OutSegs")
	const size = 1 << 20
	bulk(t, box[0], boxAddr(16, 1), port, size)
	r := rows.final(t, 1, serverPort(port))[0]
	again, sent = snmp(t, box[0], "Tcp", "RetransSegs")-again, snmp(t, box[0], "Tcp", "OutSegs")-sent
	t.Logf("%d of %d segments were sent again", again, sent)
	if again == 0 {
		t.Fatal("nothing was sent again: this test shows nothing")
	}
	// OutSegs leaves out what is sent again.
	want(t, r, map[string]any{"to_server_bytes": size, "retransmits_to_server": int(again), "to_server_packets": int(sent + again)})
	if n := r.num("to_server_wire_bytes"); n <= size+sent*tcpHeaders+synMore {
		t.Errorf("%d octets on the wire, no more than without loss", n)
	}
}

// What is no connection still counts: GRE from a raw socket is a flow without
// ports, multicast and broadcast are flows with one end, ARP is no flow.
func TestCaseE18_NotAConnection(t *testing.T) {
	host, box := bridged(t, 17, 2)
	l := openLedger(t, host)
	send := func(typ, proto int, to string, port, n, size int) {
		t.Helper()
		box[0].Do(t, func() error {
			fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC, proto)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
				return err
			}
			if err := unix.BindToDevice(fd, "eth0"); err != nil {
				return err
			}
			for range n {
				if err := unix.Sendto(fd, make([]byte, size), 0, &unix.SockaddrInet4{Port: port, Addr: [4]byte(net.ParseIP(to).To4())}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	send(unix.SOCK_RAW, unix.IPPROTO_GRE, boxAddr(17, 1), 0, 30, 500)
	send(unix.SOCK_DGRAM, 0, "239.207.17.1", 5007, 20, 400)
	send(unix.SOCK_DGRAM, 0, "10.207.17.255", 5017, 10, 300)
	b := l.check(t)
	if b.nonFlow == 0 || b.nonFlow%42 != 0 {
		t.Errorf("%d octets in no flow, want some ARP packets of 42", b.nonFlow)
	}
	for what, c := range map[string]struct {
		match func(row) bool
		want  int64
	}{
		"gre":       {func(r row) bool { return r.tag("proto") == "gre" }, 30 * (500 + 34)},
		"multicast": {func(r row) bool { return r.tag("server_kind") == "multicast" && r.tag("proto") == "udp" }, 20 * (400 + 42)},
		"broadcast": {func(r row) bool {
			return r.tag("server_port") == "5017" || r.tag("server_kind") == "external" && r.tag("proto") == "udp"
		}, 10 * (300 + 42)},
	} {
		if n := l.flows(t, c.match, "to_server_wire_bytes"); n != c.want {
			t.Errorf("%s: %d octets on the wire, want %d", what, n, c.want)
		}
	}
	if t.Failed() {
		t.Log(l.rows.all(t, "flow", every))
	}
}

// onSocket runs f with the connection's descriptor until it no longer says EAGAIN.
func onSocket(t *testing.T, c *net.TCPConn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var did error
	if err := raw.Write(func(fd uintptr) bool {
		did = f(int(fd))
		return did != unix.EAGAIN
	}); err != nil || did != nil {
		t.Fatal(err, did)
	}
}
