package kprobes

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/weir-probe/weir/flows"
	"golang.org/x/sys/unix"
)

var peerHooks = []string{"peer_egress", "peer_ingress", "sock_create", "sock_release", "datagram_files"}

func listenUDP(t testing.TB, network, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenPacket(network, addr)
	if err != nil {
		t.Skipf("listen on %s: %v", addr, err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

// receive reads n datagrams and echoes each if asked to.
func receive(t testing.TB, c *net.UDPConn, n int, reply []byte) netip.AddrPort {
	t.Helper()
	var from netip.AddrPort
	buf := make([]byte, 1<<16)
	c.SetReadDeadline(time.Now().Add(patience))
	for range n {
		_, a, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		from = a
		if reply != nil {
			if _, err := c.WriteToUDPAddrPort(reply, a); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
				t.Fatal(err)
			}
		}
	}
	return from
}

// TestKernelUDP: counts per peer are exact on both sides, owners right.
func TestKernelUDP(t *testing.T) {
	f := start(t, Config{})
	f.need(peerHooks...)
	samePIDs(t, f)
	for _, c := range []struct{ network, addr string }{
		{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}, {"udp", "[::]:0"}, // the last: v4 peers of a v6 socket
	} {
		t.Run(c.network+c.addr, func(t *testing.T) {
			f.t = t
			server := listenUDP(t, c.network, c.addr)
			sp := port(server.LocalAddr())
			dst := net.JoinHostPort(map[string]string{"udp4": "127.0.0.1", "udp6": "::1", "udp": "127.0.0.1"}[c.network], strconv.Itoa(int(sp)))
			type sender struct {
				*started
				count, size int
				port        uint16
			}
			senders := []sender{{count: 17, size: 100}, {count: 3, size: 0}, {count: 1, size: 40_000}}
			for i := range senders {
				s := &senders[i]
				s.started = startChild(t, child(t, "udp-send", dst, strconv.Itoa(s.count), strconv.Itoa(s.size)))
				ap := netip.MustParseAddrPort(s.line(t))
				s.port = ap.Port()
				from := receive(t, server, s.count, nil)
				if from.Port() != s.port {
					t.Fatalf("datagram from %v, want port %d", from, s.port)
				}
				if err := s.Wait(); err != nil {
					t.Fatal(err)
				}
			}
			f.readPeers()
			for _, s := range senders {
				octets := uint64(s.count * s.size)
				e, r := f.peer(s.port, sp), f.peer(sp, s.port)
				if e == nil || r == nil {
					t.Fatalf("no events about port %d: %v, %v", s.port, e, r)
				}
				if e.Sent != octets || e.SentPackets != uint64(s.count) || e.Received != 0 || e.ReceivedPackets != 0 ||
					e.Owner.PID != s.pid() || e.Role != RoleClient || !e.Released || e.Self || e.Key.Proto != flows.UDP {
					t.Errorf("sender %d: %+v", s.pid(), *e)
				}
				if r.Received != octets || r.ReceivedPackets != uint64(s.count) || r.SentPackets != 0 ||
					r.Owner.PID != hostPID(t, f) || r.Role != RoleServer || r.Released || !r.Self || r.Key.NetNS != netnsID(t) {
					t.Errorf("receiver of %d: %+v", s.pid(), *r)
				}
				if e.Key.Src != r.Key.Dst || e.Key.Dst != r.Key.Src {
					t.Errorf("addresses %v, %v do not mirror", e.Key, r.Key)
				}
				if e.OwnerAt == 0 || r.OwnerAt == 0 || s.size > 0 && f.attached("sock_send_length") && (e.OwnerHook != IOSent || e.OwnerAt > e.Last+1e9) {
					t.Errorf("owners known at %d by hook %d and at %d by hook %d", e.OwnerAt, e.OwnerHook, r.OwnerAt, r.OwnerHook)
				}
				if e.First == 0 || e.Last < e.First {
					t.Errorf("times %d, %d", e.First, e.Last)
				}
			}
			server.Close()
			f.peers = nil
			f.readPeers()
			n := 0
			for _, e := range f.peers {
				if e.Key.SrcPort == sp && e.Released {
					n++
				}
			}
			if n != len(senders) {
				t.Errorf("%d of %d entries ended with their socket", n, len(senders))
			}
			f.peers = nil
			f.readPeers()
			if e := f.peer(sp, senders[0].port); e != nil {
				t.Errorf("still there after its end: %+v", *e)
			}
		})
	}
}

// TestKernelUDPReply: both directions in one entry, the role by who began.
func TestKernelUDPReply(t *testing.T) {
	f := start(t, Config{})
	f.need(peerHooks...)
	server := listenUDP(t, "udp4", "127.0.0.1:0")
	c, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 5 {
		if _, err := c.Write(make([]byte, 30)); err != nil {
			t.Fatal(err)
		}
		receive(t, server, 1, make([]byte, 200))
		receive(t, c.(*net.UDPConn), 1, nil)
	}
	f.readPeers()
	lp, rp := ports(c)
	e, r := f.peer(lp, rp), f.peer(rp, lp)
	if e == nil || r == nil || e.Sent != 150 || e.Received != 1000 || e.ReceivedPackets != 5 || e.Role != RoleClient ||
		r.Sent != 1000 || r.Received != 150 || r.SentPackets != 5 || r.Role != RoleServer {
		t.Errorf("client %+v, server %+v", e, r)
	}
}

// TestKernelUDPHandover: the owner is who sends now, not who made the socket.
func TestKernelUDPHandover(t *testing.T) {
	f := start(t, Config{})
	f.need(append(peerHooks, "sock_send_length")...)
	samePIDs(t, f)
	server := listenUDP(t, "udp4", "127.0.0.1:0")
	c, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	file, err := c.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := child(t, "udp-send", "", "4", "25", "inherited")
	cmd.ExtraFiles = []*os.File{file}
	w := startChild(t, cmd)
	receive(t, server, 4, nil)
	if err := w.Wait(); err != nil {
		t.Fatal(err)
	}
	f.readPeers()
	lp, rp := ports(c)
	if e := f.peer(lp, rp); e == nil || e.Owner.PID != w.pid() || e.Owner.How != OwnerIO || e.Sent != 100 || e.Released {
		t.Errorf("worker %d: %+v", w.pid(), e)
	}
}

// TestKernelUDPSegmentation: a super-packet counts as the datagrams it becomes.
func TestKernelUDPSegmentation(t *testing.T) {
	f := start(t, Config{})
	f.need(peerHooks...)
	server := listenUDP(t, "udp4", "127.0.0.1:0")
	c, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000) })
	if err != nil {
		t.Skipf("UDP_SEGMENT: %v", err)
	}
	if _, err := c.Write(make([]byte, 9500)); err != nil {
		t.Fatal(err)
	}
	receive(t, server, 10, nil)
	f.readPeers()
	lp, rp := ports(c)
	for _, e := range []*PeerEvent{f.peer(lp, rp), f.peer(rp, lp)} {
		if e == nil || e.Sent+e.Received != 9500 || e.SentPackets+e.ReceivedPackets != 10 {
			t.Errorf("%+v", e)
		}
	}
}

// TestKernelUDPNoTraffic: a socket that connects and closes, as getaddrinfo
// does, says nothing.
func TestKernelUDPNoTraffic(t *testing.T) {
	f := start(t, Config{})
	f.need(peerHooks...)
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	cookie, err := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	unix.Close(s)
	f.readPeers()
	for _, e := range f.peers {
		if e.Cookie == cookie {
			t.Errorf("%+v", e)
		}
	}
}

// TestKernelUDPBaseline: a datagram socket older than the probe has its owner.
func TestKernelUDPBaseline(t *testing.T) {
	requireRoot(t)
	server := listenUDP(t, "udp4", "127.0.0.1:0")
	c, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f := start(t, Config{NoIOHooks: true})
	f.need(append(peerHooks, "bootstrap_sockets")...)
	if _, err := c.Write(make([]byte, 11)); err != nil {
		t.Fatal(err)
	}
	receive(t, server, 1, nil)
	f.readPeers()
	lp, rp := ports(c)
	for _, e := range []*PeerEvent{f.peer(lp, rp), f.peer(rp, lp)} {
		if e == nil || e.Owner.PID != hostPID(t, f) || e.Owner.How != OwnerBootstrap || e.Sent+e.Received != 11 {
			t.Errorf("%+v", e)
		}
	}
}

// TestKernelPeerIdle: a silent peer is dropped, told as such, and starts anew.
func TestKernelPeerIdle(t *testing.T) {
	f := start(t, Config{PeerIdle: time.Nanosecond})
	f.need(peerHooks...)
	server := listenUDP(t, "udp4", "127.0.0.1:0")
	c, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lp, rp := ports(c)
	for range 2 {
		if _, err := c.Write(make([]byte, 7)); err != nil {
			t.Fatal(err)
		}
		receive(t, server, 1, nil)
		f.peers = nil
		f.readPeers()
		if e := f.peer(lp, rp); e == nil || !e.Idle || e.Released || e.Sent != 7 {
			t.Fatalf("%+v", e)
		}
	}
}

// TestKernelICMP: an echo request makes a flow, its reply belongs to it, other
// people's replies do not.
func TestKernelICMP(t *testing.T) {
	f := start(t, Config{})
	f.need(peerHooks...)
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	other, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	const id = 0xbeef
	for seq := range uint16(3) {
		m := make([]byte, 8+56)
		m[0] = 8
		binary.BigEndian.PutUint16(m[4:], id)
		binary.BigEndian.PutUint16(m[6:], seq)
		binary.BigEndian.PutUint16(m[2:], checksum(m))
		if err := unix.Sendto(s, m, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
	}
	f.until("echo replies", f.readPeers, func() bool {
		e := f.peer(id, id)
		return e != nil && e.ReceivedPackets == 3
	})
	e := f.peer(id, id)
	if e.Sent != 3*56 || e.SentPackets != 3 || e.Received != 3*56 || e.Key.Proto != flows.ICMP || e.Owner.PID != hostPID(t, f) || e.Role != RoleClient {
		t.Errorf("%+v", *e)
	}
	cookie, err := unix.GetsockoptUint64(other, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range f.peers {
		if e.Cookie == cookie {
			t.Errorf("the other raw socket got an entry: %+v", e)
		}
	}
}

func checksum(b []byte) uint16 {
	var n uint32
	for i := 0; i+1 < len(b); i += 2 {
		n += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for n>>16 != 0 {
		n = n&0xffff + n>>16
	}
	return ^uint16(n)
}

// TestPeerOverflow: what does not fit into the map is in the socket's catch-all
// entry; not an octet is lost.
func TestPeerOverflow(t *testing.T) {
	f := start(t, Config{})
	f.need(peerHooks...)
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	cookie, err := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	const peers, size = 70_000, 3
	sent := 0
	for i := range peers {
		to := &unix.SockaddrInet4{Port: 1 + i%35_000, Addr: [4]byte{127, 9, 0, byte(1 + i/35_000)}}
		switch err := unix.Sendto(s, make([]byte, size), 0, to); {
		case err == nil:
			sent++
		case !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EPERM):
			t.Fatal(err)
		}
	}
	f.readPeers()
	var packets, octets, overflow uint64
	for _, e := range f.peers {
		if e.Cookie != cookie {
			continue
		}
		packets += e.SentPackets
		octets += e.Sent
		if e.Overflow {
			overflow += e.SentPackets
			if !e.Key.Dst.IsZero() || e.Owner.PID != hostPID(t, f) {
				t.Errorf("%+v", e)
			}
		}
	}
	if packets != uint64(sent) || octets != uint64(sent*size) || overflow == 0 {
		t.Errorf("%d packets, %d octets, %d in overflow; sent %d", packets, octets, overflow, sent)
	}
	if st := f.set.Stats(); st.OverflowPackets < overflow || st.PeerLostPackets != 0 {
		t.Errorf("stats %+v", st)
	}
}

// A peer that speaks again between the reading of its entry as idle and the taking of
// it stays who began: the answer must not look like a call. Ports of many clients come
// again after a minute, such as those of a container's queries to Docker's resolver.
func TestKernelIdlePeerSpeaks(t *testing.T) {
	f := start(t, Config{})
	f.need(peerHooks...)
	m := f.set.maps[objSocket]["udp_peer"]
	const second = uint64(time.Second)
	now := 1000 * second
	k := peerKey{Cookie: 1 << 60, RemotePort: 36895, Proto: unix.IPPROTO_UDP}
	old := peerValue{RxPackets: 1, RxBytes: 30, TxPackets: 1, TxBytes: 54, First: 800 * second, Last: 801 * second, FirstIsIngress: 1}
	asked := old
	asked.RxPackets, asked.RxBytes, asked.Last = 2, 60, now
	if err := m.Put(&k, &asked); err != nil {
		t.Fatal(err)
	}
	report := func(read peerValue) PeerEvent {
		t.Helper()
		p := &f.set.peers
		p.keys, p.values = []peerKey{k}, []peerValue{read}
		var h recorder
		f.set.report("udp_peer", now, &h)
		if len(h.peers) != 1 {
			t.Fatalf("%d events", len(h.peers))
		}
		return h.peers[0]
	}
	if e := report(old); e.Idle || e.Role != RoleServer || e.Received != 60 || e.Sent != 54 {
		t.Errorf("%+v", e)
	}
	var v peerValue
	if err := m.Lookup(&k, &v); err != nil || v != asked {
		t.Errorf("the entry: %v, %+v", err, v)
	}
	// The answer was faster, and made an entry of its own.
	answer := peerValue{TxPackets: 1, TxBytes: 70, First: now + 5, Last: now + 5}
	if err := m.Put(&k, &answer); err != nil {
		t.Fatal(err)
	}
	putBack(m, &k, &asked)
	if err := m.Lookup(&k, &v); err != nil || v.FirstIsIngress != 1 || v.TxBytes != 124 || v.RxBytes != 60 || v.First != old.First || v.Last != now+5 {
		t.Errorf("the entry of both: %v, %+v", err, v)
	}
	// And who stays silent is gone.
	now += 100 * second
	if e := report(v); !e.Idle || m.Lookup(&k, &v) == nil {
		t.Errorf("%+v, or the entry is still there", e)
	}
}
