package tcx

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
)

// bridged is what a container host looks like: two namespaces behind one bridge.
type bridged struct {
	host, a, b *ns
}

func newBridged(t testing.TB) *bridged {
	t.Helper()
	r := &bridged{newNS(t), newNS(t), newNS(t)}
	// Without snooping: a bridge that snoops reports its membership some time later, and
	// that may be while hooks are being attached.
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: new(bool)}
	if err := r.host.nl.LinkAdd(br); err != nil {
		t.Skipf("needs the bridge module: %v", err)
	}
	r.host.up(t, "br0")
	r.host.addr(t, "br0", "10.77.0.1/24")
	for i, n := range []*ns{r.a, r.b} {
		name := [2]string{"va", "vb"}[i]
		r.host.veth(t, name, n, "eth0")
		if err := r.host.nl.LinkSetMaster(r.host.link(t, name), br); err != nil {
			t.Fatal(err)
		}
		n.addr(t, "eth0", [2]string{"10.77.0.2/24", "10.77.0.3/24"}[i])
		n.route(t, "10.77.0.1")
	}
	return r
}

// E1, E3: one connection over veth, bridge and veth is one flow, payload exact,
// packets on the wire and not super-packets; every device's ledger agrees with
// the device's own counters.
func TestBridgeCountsOnce(t *testing.T) {
	for _, mode := range []Mode{ModeAuto, ModeTC} {
		t.Run(string(mode), func(t *testing.T) {
			r := newBridged(t)
			m := r.host.meter(t, Config{Mode: mode})
			const octets, reply = 4 << 20, 100_000
			_, got := serve(t, r.b, "10.77.0.3:8080", reply)
			client := send(t, r.a, "10.77.0.3:8080", octets)
			server := <-got
			if client.read != reply || server.read != octets {
				t.Fatalf("client %+v, server %+v", client, server)
			}
			devs := settle(t, m)
			var s sink
			collect(t, m, &s)
			checkBalance(t, devs, s.sum())
			checkCounters(t, devs)

			var tcp []flows.Record
			for _, rec := range s.records {
				if rec.Key.Proto == flows.TCP {
					tcp = append(tcp, rec)
				}
			}
			if len(tcp) != 1 {
				t.Fatalf("%d TCP records, want 1: %+v", len(tcp), tcp)
			}
			rec := tcp[0]
			there, back := rec.Dir[to(&rec, 8080)], rec.Dir[to(&rec, 8080).Opposite()]
			if !within(there.Payload, octets, client.again) || !within(back.Payload, reply, server.again) {
				t.Errorf("payload %d and %d, want %d and %d, sent again %d and %d",
					there.Payload, back.Payload, octets, reply, client.again, server.again)
			}
			if least := uint64(octets / 1448); there.Packets < least || there.Octets < octets+least*66 {
				t.Errorf("%d packets with %d octets: super-packets were not taken apart", there.Packets, there.Octets)
			}
			if rec.Initiator != flows.InitiatorSrc == (to(&rec, 8080) == flows.Forward) {
				t.Errorf("initiator %d of %v", rec.Initiator, rec.Key)
			}
			if rec.Cookie[0] == 0 || rec.Cookie[1] == 0 || rec.Cookie[0] == rec.Cookie[1] {
				t.Errorf("cookies %v: the containers' sockets are not named", rec.Cookie)
			}
			if rec.Key.NetNS != 0 {
				t.Errorf("namespace %d on a veth, want 0: not known", rec.Key.NetNS)
			}
			if st := m.Status(); st.Devices[0].Mode == "" || (mode == ModeTC && st.Devices[0].Mode != ModeTC) {
				t.Errorf("status %+v", st)
			}
		})
	}
}

// E2: loopback, IPv4 and IPv6, TCP and UDP: each packet once, namespace known.
func TestKernelLoopback(t *testing.T) {
	n := newNS(t)
	m := n.meter(t, Config{})
	_, got := serve(t, n, "127.0.0.1:8080", 5000)
	client := send(t, n, "127.0.0.1:8080", 200_000)
	server := <-got
	datagrams(t, n, n, "127.0.0.1:5353", 10, 100)
	v6 := n.hasV6()
	if v6 {
		datagrams(t, n, n, "[::1]:5354", 3, 100)
	}
	devs := settle(t, m)
	var s sink
	collect(t, m, &s)
	checkBalance(t, devs, s.sum())
	checkCounters(t, devs)
	for _, rec := range s.records {
		if rec.Key.NetNS != m.self {
			t.Errorf("namespace %d of %v, want %d", rec.Key.NetNS, rec.Key, m.self)
		}
	}
	tcp, udp := s.total(port(8080)), s.total(port(5353))
	if p := tcp[0].Payload + tcp[1].Payload; !within(p, 205_000, client.again+server.again) {
		t.Errorf("TCP payload %d, want 205000", p)
	}
	want := flows.Counters{Packets: 10, Octets: 10 * (14 + 20 + 8 + 100), Payload: 1000}
	if udp[0] != want && udp[1] != want {
		t.Errorf("UDP %+v, want %+v", udp, want)
	}
	want6 := flows.Counters{Packets: 3, Octets: 3 * (14 + 40 + 8 + 100), Payload: 300}
	if udp := s.total(port(5354)); v6 && udp[0] != want6 && udp[1] != want6 {
		t.Errorf("UDP over IPv6 %+v, want %+v", udp, want6)
	}
	if lo := devs["lo"]; lo.Ingress.Flow.Packets != 0 || lo.Ingress.Dup != lo.Egress.Flow {
		t.Errorf("egress owns lo, ingress sees the same again: %+v", lo)
	}
}

// What the kernel bench runs on older kernels: load, attach, count over a veth,
// in whichever way that kernel has, and in the old way.
func TestKernelVeth(t *testing.T) {
	for _, mode := range []Mode{ModeAuto, ModeTC} {
		t.Run(string(mode), func(t *testing.T) {
			n, other := newNS(t), newNS(t)
			n.veth(t, "v0", other, "v1")
			n.addr(t, "v0", "10.77.1.1/24")
			other.addr(t, "v1", "10.77.1.2/24")
			m := n.meter(t, Config{Mode: mode})
			for _, d := range m.Status().Devices {
				if d.State != StateAttached {
					t.Fatalf("%+v", d)
				}
			}
			t.Logf("status %+v", m.Status())
			checkFeatures(t, m, mode)
			_, got := serve(t, other, "10.77.1.2:8080", 3000)
			client := send(t, n, "10.77.1.2:8080", 1_000_000)
			server := <-got
			datagrams(t, n, other, "10.77.1.2:5353", 5, 50)
			devs := settle(t, m)
			var s sink
			collect(t, m, &s)
			checkBalance(t, devs, s.sum())
			checkCounters(t, devs)
			tcp := s.total(port(8080))
			if p := tcp[0].Payload + tcp[1].Payload; !within(p, 1_003_000, client.again+server.again) {
				t.Errorf("payload %d, want 1003000", p)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			qdiscs, err := n.nl.QdiscList(n.link(t, "v0"))
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range qdiscs {
				if q.Type() == "clsact" {
					t.Error("the clsact qdisc stayed behind")
				}
			}
		})
	}
}

// checkFeatures fails where a fallback was taken that this kernel does not need.
func checkFeatures(t *testing.T, m *Meter, mode Mode) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	version := major*100 + minor
	want := mode
	if mode == ModeAuto {
		want = ModeTC
		if version >= 606 {
			want = ModeTCX
		}
	}
	s := m.Status()
	for _, d := range s.Devices {
		if d.Mode != want {
			t.Errorf("%s is attached by %s on %d.%d, want %s", d.Name, d.Mode, major, minor, want)
		}
	}
	if s.NAT.Available != (version >= 602) {
		t.Errorf("NAT on %d.%d: %+v", major, minor, s.NAT)
	}
}

// A tun device has no link header: the IP header is where the frame begins.
func TestTunHasNoHeader(t *testing.T) {
	n := newNS(t)
	tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI, Queues: 1}
	n.do(t, func() error {
		// Opens /dev/net/tun for the thread's namespace.
		return netlink.LinkAdd(tun)
	})
	if len(tun.Fds) == 0 {
		t.Skip("needs /dev/net/tun")
	}
	f := tun.Fds[0]
	defer f.Close()
	n.up(t, "tun0")
	n.addr(t, "tun0", "10.77.2.1/24")
	m := n.meter(t, Config{Interfaces: []string{"tun*"}})
	go io.Copy(io.Discard, f)
	n.do(t, func() error {
		c, err := net.Dial("udp", "10.77.2.9:5353")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(make([]byte, 100))
		return err
	})
	// And one that comes in.
	in := frame(t, ip4(17), udp(), body(11))
	if _, err := f.Write(in); err != nil {
		t.Fatal(err)
	}
	devs := settle(t, m)
	var s sink
	collect(t, m, &s)
	checkBalance(t, devs, s.sum())
	checkCounters(t, devs)
	out, back := s.total(port(5353)), s.total(port(53))
	if want := (flows.Counters{Packets: 1, Octets: 128, Payload: 100}); out[0] != want && out[1] != want {
		t.Errorf("egress %+v, want %+v", out, want)
	}
	if want := (flows.Counters{Packets: 1, Octets: uint64(len(in)), Payload: 11}); back[0] != want {
		t.Errorf("ingress %+v, want %+v", back, want)
	}
	if len(m.Status().Devices) != 2 || devs["tun0"].LinkType == "ether" {
		t.Errorf("status %+v", m.Status())
	}
}

// E10: read every 50 ms under a busy sender; the sum is the ledger's.
func TestCollectUnderLoad(t *testing.T) {
	for name, evict := range map[string]bool{"reading": false, "deleting": true} {
		t.Run(name, func(t *testing.T) {
			n := newNS(t)
			m := n.meter(t, Config{})
			var stop atomic.Bool
			sender := n.start(func() error {
				c, err := net.Dial("udp", "127.0.0.1:9") // nobody listens: refused is as good
				if err != nil {
					return err
				}
				defer c.Close()
				buf := make([]byte, 32)
				for !stop.Load() {
					c.Write(buf)
				}
				return nil
			})
			var s sink
			var shift time.Duration
			if evict {
				shift = time.Hour // everything is idle: deleted while it counts
			}
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if err := m.Collect(time.Now().Add(shift), &s, nil); err != nil {
					t.Fatal(err)
				}
			}
			stop.Store(true)
			if err := <-sender; err != nil {
				t.Fatal(err)
			}
			devs := settle(t, m)
			collect(t, m, &s)
			if !evict {
				checkBalance(t, devs, s.sum())
				return
			}
			// A counter held by a program at the moment of the delete is lost with
			// the entry (kernel.md: up to 5 ppm); nothing may ever be doubled.
			want, got := devs["lo"].Egress.Flow, s.sum()
			want.Packets += devs["lo"].Ingress.Flow.Packets
			t.Logf("%d of %d packets, %d deletes", got.Packets, want.Packets, len(s.records))
			if got.Packets > want.Packets || want.Packets-got.Packets > 2+want.Packets/10_000 {
				t.Errorf("records have %d packets, ledger %d", got.Packets, want.Packets)
			}
		})
	}
}
