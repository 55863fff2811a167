package capture

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/test/machine"
)

// inNamespaces runs f in a new network namespace with lo and one end of a veth
// pair (wa, 10.77.0.1) up; the other end (wb, 10.77.0.2) is in the second one.
func inNamespaces(t *testing.T, f func(a, b netns.NsHandle)) {
	t.Helper()
	machine.Root(t, "makes network namespaces")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	origin, err := netns.Get()
	must(t, err)
	defer origin.Close()
	defer netns.Set(origin)

	b, err := netns.New()
	if err != nil {
		t.Skipf("cannot make a network namespace: %v", err)
	}
	defer b.Close()
	up(t, "lo", "")
	a, err := netns.New()
	must(t, err)
	defer a.Close()
	up(t, "lo", "")
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wa"}, PeerName: "wb"}))
	peer, err := netlink.LinkByName("wb")
	must(t, err)
	must(t, netlink.LinkSetNsFd(peer, int(b)))
	up(t, "wa", "10.77.0.1/24")
	must(t, netns.Set(b))
	up(t, "wb", "10.77.0.2/24")
	must(t, netns.Set(a))
	f(a, b)
}

func up(t *testing.T, name, addr string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	must(t, err)
	if addr != "" {
		a, err := netlink.ParseAddr(addr)
		must(t, err)
		must(t, netlink.AddrAdd(link, a))
	}
	must(t, netlink.LinkSetUp(link))
}

// measure runs traffic under a live capture and returns the records.
func measure(t *testing.T, c LiveConfig, traffic func()) ([]flows.Record, MeteredStats) {
	t.Helper()
	live, err := OpenLive(c)
	must(t, err)
	m := NewMetered(live, MeteredConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	traffic()

	// The ring hands a block over after Poll at the latest.
	deadline := time.Now().Add(5 * time.Second)
	for seen := uint64(0); time.Now().Before(deadline); {
		now := m.Stats().Source.Packets
		if now > 0 && now == seen {
			break
		}
		seen = now
		time.Sleep(4 * DefaultLiveConfig().Poll)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("Run returned %v, want the context's error", err)
	}
	var r recorder
	m.Flush(&r)
	stats := m.Stats()
	must(t, m.Close())
	must(t, m.Close())
	if stats.Source.Dropped > 0 {
		t.Skipf("the kernel dropped %d packets: machine too busy", stats.Source.Dropped)
	}
	checkConservation(t, r.records, stats)
	return r.records, stats
}

// transfer sends there octets to a server at addr that answers with back octets.
// Both sockets belong to the namespaces current at their making.
func transfer(t *testing.T, l net.Listener, dial func() net.Conn, there, back int) {
	t.Helper()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.CopyN(io.Discard, c, int64(there))
			if err == nil {
				_, err = c.Write(make([]byte, back))
			}
			c.Close()
		}
		served <- err
	}()
	c := dial()
	_, err := c.Write(make([]byte, there))
	must(t, err)
	_, err = io.Copy(io.Discard, c)
	must(t, err)
	c.Close()
	must(t, <-served)
}

func onlyTCP(t *testing.T, records []flows.Record) flows.Record {
	t.Helper()
	var tcp []flows.Record
	for _, r := range records {
		if r.Key.Proto == flows.TCP {
			tcp = append(tcp, r)
		}
	}
	if len(tcp) != 1 {
		t.Fatalf("%d TCP records, want 1: %+v", len(tcp), tcp)
	}
	return tcp[0]
}

func TestCaseE2_LoopbackOnce(t *testing.T) {
	inNamespaces(t, func(_, _ netns.NsHandle) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		records, _ := measure(t, LiveConfig{}, func() {
			transfer(t, l, func() net.Conn {
				c, err := net.Dial("tcp4", l.Addr().String())
				must(t, err)
				return c
			}, 100_000, 200_000)
		})
		r := onlyTCP(t, records)
		checkTransfer(t, r, 100_000, 200_000)
	})
}

func checkTransfer(t *testing.T, r flows.Record, there, back uint64) {
	t.Helper()
	g := spell(&r)
	if g.Initiator != "known" || r.EndReason != flows.EndOfFlow || r.SynAck == 0 {
		t.Errorf("record = %+v", g)
	}
	if g.There.Payload != there || g.Back.Payload != back || g.There.Retransmits+g.Back.Retransmits != 0 {
		t.Errorf("payload %d there, %d back, retransmits %d, %d; want %d, %d, none",
			g.There.Payload, g.Back.Payload, g.There.Retransmits, g.Back.Retransmits, there, back)
	}
}

// A veth pair hands over segmentation super-packets: they count as the segments
// they stand for, whose headers are in the octets.
func TestCaseE3_SuperPackets(t *testing.T) {
	if !segmentSizesKnown() {
		t.Skip("needs Linux 6.2 for segment sizes in the ring")
	}
	inNamespaces(t, func(a, b netns.NsHandle) {
		must(t, netns.Set(b))
		l, err := net.Listen("tcp4", "10.77.0.2:0")
		must(t, err)
		defer l.Close()
		must(t, netns.Set(a))
		const there, back = 1_000_000, 10
		records, stats := measure(t, LiveConfig{Interfaces: []string{"w?"}}, func() {
			transfer(t, l, func() net.Conn {
				c, err := net.Dial("tcp4", l.Addr().String())
				must(t, err)
				return c
			}, there, back)
		})
		r := onlyTCP(t, records)
		checkTransfer(t, r, there, back)
		g := spell(&r).There
		const segment = 1448 // MTU 1500 with timestamps
		if least := uint64(there / segment); g.Packets < least {
			t.Errorf("%d packets there, want at least %d segments", g.Packets, least)
		}
		// SYN is 74 octets, every other segment has 66 octets of headers.
		if want := there + g.Packets*66 + 8; g.Octets != want {
			t.Errorf("%d octets there, want %d", g.Octets, want)
		}
		if stats.Source.Opaque != 0 {
			t.Errorf("%d ring headers were not found", stats.Source.Opaque)
		}
		if stats.Packets >= stats.Meter.Packets {
			t.Errorf("%d frames stand for %d packets: no super-packet was seen", stats.Packets, stats.Meter.Packets)
		}
	})
}

func TestLiveInterfaceFilter(t *testing.T) {
	inNamespaces(t, func(_, _ netns.NsHandle) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		live, err := OpenLive(LiveConfig{Interfaces: []string{"wa"}})
		must(t, err)
		defer live.Close()
		c, err := net.Dial("tcp4", l.Addr().String())
		must(t, err)
		c.Close()
		batch := make([]Packet, 64)
		deadline := time.Now().Add(5 * time.Second)
		for live.Stats().Ignored < 4 && time.Now().Before(deadline) {
			n, err := live.ReadBatch(context.Background(), batch)
			must(t, err)
			for _, p := range batch[:n] {
				if p.Interface == 1 {
					t.Fatal("a packet of lo was delivered to a capture on wa")
				}
			}
		}
		if live.Stats().Ignored < 4 {
			t.Error("packets of lo are not counted as ignored")
		}

		_, err = OpenLive(LiveConfig{Interfaces: []string{"nosuch0"}})
		if err == nil || !strings.Contains(err.Error(), "nosuch0") {
			t.Errorf("unknown interface: error %v", err)
		}
	})
}

// What else goes on without a pause does not keep a packet waiting for a full batch.
func TestLiveBesideOtherTraffic(t *testing.T) {
	inNamespaces(t, func(a, b netns.NsHandle) {
		live, err := OpenLive(LiveConfig{Interfaces: []string{"lo"}})
		must(t, err)
		defer live.Close()
		wanted, err := net.Dial("udp", "127.0.0.1:9")
		must(t, err)
		defer wanted.Close()
		other, err := net.Dial("udp", "10.77.0.2:9")
		must(t, err)
		defer other.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := make(chan int, 1)
		go func() {
			batch := make([]Packet, 256)
			for {
				n, err := live.ReadBatch(ctx, batch)
				if n > 0 || err != nil {
					got <- n
					return
				}
			}
		}()
		_, err = wanted.Write([]byte("x"))
		must(t, err)
		for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			select {
			case n := <-got:
				if n == 0 {
					t.Error("no packet")
				}
				return
			default:
			}
			if time.Since(begin) > 20*time.Second {
				t.Fatal("the packet is held back as long as there are others")
			}
			other.Write([]byte("y")) //nolint:errcheck // refused, mostly
		}
	})
}

// A packet with a VLAN tag: the tag may be stripped to the ring header, the
// octets count it, and the flow is counted once though eth0 and eth0.7 show it.
func TestLiveVLANOnce(t *testing.T) {
	inNamespaces(t, func(a, b netns.NsHandle) {
		for _, side := range []struct {
			ns         netns.NsHandle
			name, addr string
		}{{b, "wb", "10.78.0.2/24"}, {a, "wa", "10.78.0.1/24"}} {
			must(t, netns.Set(side.ns))
			parent, err := netlink.LinkByName(side.name)
			must(t, err)
			err = netlink.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "v7", ParentIndex: parent.Attrs().Index}, VlanId: 7})
			if err != nil {
				t.Skipf("cannot make a VLAN interface: %v", err)
			}
			up(t, "v7", side.addr)
		}
		must(t, netns.Set(b))
		server, err := net.ListenPacket("udp4", "10.78.0.2:5000")
		must(t, err)
		defer server.Close()
		must(t, netns.Set(a))
		client, err := net.Dial("udp4", "10.78.0.2:5000")
		must(t, err)
		defer client.Close()
		records, stats := measure(t, LiveConfig{}, func() {
			for range 3 {
				_, err := client.Write(make([]byte, 500))
				must(t, err)
				buffer := make([]byte, 1000)
				n, from, err := server.ReadFrom(buffer)
				must(t, err)
				_, err = server.WriteTo(buffer[:n], from)
				must(t, err)
				_, err = client.Read(buffer)
				must(t, err)
			}
		})
		found := false
		for _, r := range records {
			if r.Key.Proto != flows.UDP || (r.Key.SrcPort != 5000 && r.Key.DstPort != 5000) {
				continue
			}
			found = true
			for _, c := range r.Dir {
				if c.Packets != 3 || c.Payload != 1500 || (c.Octets != 3*542 && c.Octets != 3*546) {
					t.Errorf("direction = %+v, want 3 packets of 500 octets payload, 542 or (tagged) 546 octets", c)
				}
			}
		}
		if !found {
			t.Error("no UDP flow")
		}
		if stats.Meter.DuplicatePackets == 0 {
			t.Error("no packet was seen at two interfaces")
		}
	})
}
