package tcx

import (
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/clock"
)

func tcpFrame(t testing.TB, back bool, tcp layers.TCP, n int) []byte {
	h := ip4(layers.IPProtocolTCP)
	tcp.SrcPort, tcp.DstPort = 4000, 80
	if back {
		h.SrcIP, h.DstIP = ipB, ipA
		tcp.SrcPort, tcp.DstPort = 80, 4000
	}
	return frame(t, eth(layers.EthernetTypeIPv4), h, &tcp, body(n))
}

// connection runs a whole TCP connection of five packets with n octets sent.
func (b *bench) connection(n int) {
	b.t.Helper()
	b.run(hookEgress, tcpFrame(b.t, false, layers.TCP{SYN: true}, 0), nil)
	b.run(hookIngress, tcpFrame(b.t, true, layers.TCP{SYN: true, ACK: true}, 0), nil)
	b.run(hookEgress, tcpFrame(b.t, false, layers.TCP{ACK: true, PSH: true}, n), nil)
	b.run(hookEgress, tcpFrame(b.t, false, layers.TCP{ACK: true, FIN: true}, 0), nil)
	b.run(hookIngress, tcpFrame(b.t, true, layers.TCP{ACK: true, FIN: true}, 0), nil)
}

func (b *bench) table() *ebpf.Map { return b.coll.Maps["flow_table"] }

// C1: a port pair used again is another flow, whenever it is looked at.
func TestPortReuse(t *testing.T) {
	for _, between := range []bool{false, true} {
		b := newBench(t, Config{}, nil)
		var s sink
		for i := range 3 {
			b.connection(100 + i)
			if between {
				collect(t, b.Meter, &s)
			}
		}
		collect(t, b.Meter, &s)
		byStart := make(map[int64]flows.Counters)
		ends := 0
		for _, r := range s.records {
			c := byStart[r.Start]
			c.Add(r.Dir[0])
			byStart[r.Start] = c
			if r.EndReason == flows.EndOfFlow {
				ends++
			}
			if r.Initiator != flows.InitiatorSrc {
				t.Errorf("initiator %d of %+v", r.Initiator, r)
			}
		}
		if len(byStart) != 3 || ends != 2 {
			t.Fatalf("%d instances, %d ended, want 3 and 2: %+v", len(byStart), ends, s.records)
		}
		seen := map[uint64]bool{}
		for _, c := range byStart {
			if c.Packets != 3 {
				t.Errorf("%d packets, want 3", c.Packets)
			}
			seen[c.Payload] = true
		}
		if !seen[100] || !seen[101] || !seen[102] {
			t.Errorf("payloads %v, want 100, 101, 102", seen)
		}
		st, err := b.Stats()
		if err != nil || st.Reused != 2 || st.FlowsSeen != 3 || st.InstancesOrphaned != 0 {
			t.Errorf("stats %+v, %v", st, err)
		}
	}
}

// With the ring full, the new connection is counted into the old entry.
func TestPortReuseRingFull(t *testing.T) {
	b := newBench(t, Config{}, func(s *ebpf.CollectionSpec) { s.Maps["flow_events"].MaxEntries = 4096 })
	const n = 60 // a record takes 192 octets
	for range n {
		b.connection(100)
	}
	var s sink
	collect(t, b.Meter, &s)
	total := s.total(port(80))
	st, err := b.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if total[0].Payload != 100*n || st.ReusedMerged == 0 || st.Reused+st.ReusedMerged != n-1 {
		t.Errorf("payload %d of %d, stats %+v", total[0].Payload, 100*n, st)
	}
	if uint64(len(s.records)) != st.Reused+1 {
		t.Errorf("%d records, want one per instance: %d", len(s.records), st.Reused+1)
	}
}

// A reuse that falls between the reading of a batch and its evaluation must not
// count the old instance twice.
func TestPortReuseBehindBatch(t *testing.T) {
	b := newBench(t, Config{}, nil)
	var s sink
	b.connection(100)
	collect(t, b.Meter, &s)
	b.connection(200) // ends the first: its record waits in the ring
	var k flowKey
	var stale flowVal
	it := b.table().Iterate()
	if !it.Next(&k, &stale) {
		t.Fatal("no entry")
	}
	boot := b.clock.Boot(time.Now().UnixNano())
	clear(b.finished)
	b.connection(300) // ends the second, which `stale` shows alive
	if err := b.visit(&k, &stale, boot, &s); err != nil {
		t.Fatal(err)
	}
	if err := b.visit(&k, &stale, boot, &s); err != nil {
		t.Fatal(err)
	}
	collect(t, b.Meter, &s)
	if got := s.total(port(80))[0].Payload; got != 600 {
		t.Errorf("payload %d, want 600: %+v", got, s.records)
	}
}

func TestEndOfFlow(t *testing.T) {
	udp := frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(), body(10))
	syn := tcpFrame(t, false, layers.TCP{SYN: true}, 0)
	open := func(b *bench) {
		b.run(hookEgress, syn, nil)
		b.run(hookIngress, tcpFrame(b.t, true, layers.TCP{SYN: true, ACK: true}, 0), nil)
	}
	tests := []struct {
		name   string
		send   func(*bench)
		after  time.Duration
		reason flows.EndReason
	}{
		{"closed", func(b *bench) { b.connection(5) }, 3 * time.Second, flows.EndOfFlow},
		{"closed, lingering", func(b *bench) { b.connection(5) }, time.Second, flows.EndNone},
		{"refused", func(b *bench) {
			b.run(hookEgress, syn, nil)
			b.run(hookIngress, tcpFrame(b.t, true, layers.TCP{RST: true, ACK: true}, 0), nil)
		}, 3 * time.Second, flows.EndOfFlow},
		{"one FIN", func(b *bench) {
			open(b)
			b.run(hookEgress, tcpFrame(b.t, false, layers.TCP{ACK: true, FIN: true}, 0), nil)
		}, 3 * time.Second, flows.EndNone},
		{"tcp idle", open, 301 * time.Second, flows.EndIdle},
		{"tcp not idle", open, 299 * time.Second, flows.EndNone},
		{"syn unanswered", func(b *bench) { b.run(hookEgress, syn, nil) }, 61 * time.Second, flows.EndIdle},
		{"udp idle", func(b *bench) { b.run(hookEgress, udp, nil) }, 61 * time.Second, flows.EndIdle},
		{"udp not idle", func(b *bench) { b.run(hookEgress, udp, nil) }, 59 * time.Second, flows.EndNone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{}, nil)
			tt.send(b)
			var s sink
			if err := b.Collect(time.Now().Add(tt.after), &s, nil); err != nil {
				t.Fatal(err)
			}
			if len(s.records) != 1 || s.records[0].EndReason != tt.reason || s.records[0].Initiator != flows.InitiatorSrc {
				t.Fatalf("records %+v, want one with end reason %v", s.records, tt.reason)
			}
			n := 0
			for it := b.table().Iterate(); it.Next(new(flowKey), new(flowVal)); {
				n++
			}
			if gone := n == 0; gone != (tt.reason != flows.EndNone) || gone != (b.flows.len() == 0) {
				t.Errorf("%d entries and %d states left", n, b.flows.len())
			}
			if r := s.records[0]; r.Key.NetNS != b.self || r.Start == 0 || r.End < r.Start || time.Since(time.Unix(0, r.Start)) > time.Minute {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// A record per change and none without; Start stays.
func TestDelta(t *testing.T) {
	b := newBench(t, Config{}, nil)
	f := frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(), body(10))
	var s sink
	for i := range 3 {
		for range i {
			b.run(hookIngress, f, nil)
		}
		collect(t, b.Meter, &s)
		collect(t, b.Meter, &s)
		b.clock = clock.At(b.clock.Unix(1) - 1 + 1e9) // a step of the wall clock must not make another instance
	}
	if len(s.records) != 2 || s.records[0].Dir[0].Packets != 1 || s.records[1].Dir[0].Packets != 2 || s.records[0].Start != s.records[1].Start {
		t.Errorf("%+v", s.records)
	}
}

// One hook owns a direction; another one takes over when the owner is silent.
func TestOwnerAndTakeover(t *testing.T) {
	b := newBench(t, Config{}, nil)
	f := frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(), body(10))
	for range 3 {
		b.run(hookEgress, f, nil)
		b.run(hookIngress, f, nil)
	}
	if in, out := b.ledger(hookIngress), b.ledger(hookEgress); in.Dup.Packets != 3 || in.Flow.Packets != 0 || out.Flow.Packets != 3 {
		t.Fatalf("ingress %+v egress %+v", in, out)
	}
	var k flowKey
	var v flowVal
	if !b.table().Iterate().Next(&k, &v) {
		t.Fatal("no entry")
	}
	v.Dir[0].LastNs -= 3e9
	v.Dir[0].Tick-- // silence moves both
	if err := b.table().Update(&k, &v, ebpf.UpdateExist); err != nil {
		t.Fatal(err)
	}
	b.run(hookIngress, f, nil)
	b.run(hookEgress, f, nil)
	if in, out := b.ledger(hookIngress), b.ledger(hookEgress); in.Flow.Packets != 1 || out.Dup.Packets != 1 {
		t.Errorf("after the takeover: ingress %+v egress %+v", in, out)
	}
	if st, err := b.Stats(); err != nil || st.Takeovers != 1 {
		t.Errorf("stats %+v, %v", st, err)
	}
}

// E8: nothing is silent when the table is full, and room is used again.
func TestOverflow(t *testing.T) {
	b := newBench(t, Config{MaxFlows: 4}, nil)
	send := func(n int) (octets uint64) {
		for i := range n {
			f := frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), &layers.UDP{SrcPort: layers.UDPPort(1000 + i), DstPort: 53}, body(10))
			b.run(hookIngress, f, nil)
			octets += uint64(len(f))
		}
		return octets
	}
	octets := send(10) + send(10)
	l := b.ledger(hookIngress)
	if l.Flow.Packets != 8 || l.Overflow.Packets != 12 || l.Seen != (Sum{20, octets}) || l.Flow.Octets+l.Overflow.Octets != octets {
		t.Fatalf("ledger %+v", l)
	}
	var s sink
	if err := b.Collect(time.Now().Add(time.Hour), &s, nil); err != nil {
		t.Fatal(err)
	}
	if s.sum() != l.Flow || len(s.records) != 4 {
		t.Errorf("records %v of %d flows, ledger %v", s.sum(), len(s.records), l.Flow)
	}
	send(4)
	if l := b.ledger(hookIngress); l.Flow.Packets != 12 || l.Overflow.Packets != 12 {
		t.Errorf("after room was made: %+v", l)
	}
}

// onEveryCPU runs f on each CPU.
func onEveryCPU(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all) //nolint:errcheck // it was so before
	for cpu := range ebpf.MustPossibleCPU() {
		if !all.IsSet(cpu) {
			continue
		}
		var one unix.CPUSet
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		f()
	}
}

// What was deleted and is made again begins at zero on every CPU: a device's
// ledger, which is per CPU, and a flow, which is not.
func TestCaseE9_NothingStale(t *testing.T) {
	t.Run("near", func(t *testing.T) { nothingStale(t, newBench(t, Config{}, nil)) })
	t.Run("its place taken", func(t *testing.T) {
		b := newBench(t, Config{}, nil)
		b.closeLedger(&device{ifindex: 1})
		b.near[1] = 1 + nearDevices
		if err := b.openLedger(1); err != nil {
			t.Fatal(err)
		}
		if in, _ := b.line(1, hookIngress); in != b.coll.Maps["flow_devices"] {
			t.Fatal("the ledger is not in flow_devices")
		}
		nothingStale(t, b)
		b.closeLedger(&device{ifindex: 1})
		if b.near[1] != 1+nearDevices {
			t.Error("the place of another device was given up")
		}
	})
}

func nothingStale(t *testing.T, b *bench) {
	f := frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(), body(10))
	cpus := uint64(0)
	onEveryCPU(t, func() { b.run(hookIngress, f, nil); cpus++ })
	if l := b.ledger(hookIngress); l.Flow.Packets != cpus {
		t.Fatalf("%d CPUs, ledger %+v", cpus, l)
	}
	var s sink
	if err := b.Collect(time.Now().Add(time.Hour), &s, nil); err != nil { // idle: deleted
		t.Fatal(err)
	}
	b.closeLedger(&device{ifindex: 1})
	if err := b.openLedger(1); err != nil {
		t.Fatal(err)
	}
	if l := b.ledger(hookIngress); l != (Ledger{}) {
		t.Errorf("a new ledger begins with %+v", l)
	}
	s = sink{}
	onEveryCPU(t, func() { b.run(hookIngress, f, nil) })
	collect(t, b.Meter, &s)
	if got := s.sum(); got != (Sum{cpus, cpus * uint64(len(f))}) {
		t.Errorf("the flow made again has %v, want %d packets", got, cpus)
	}
}

// Of a busy flow the clock is read once a tick, and at its end.
func TestBusyFlowIsStamped(t *testing.T) {
	b := newBench(t, Config{}, nil)
	send := func(flags layers.TCP) uint64 {
		t.Helper()
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
			t.Fatal(err)
		}
		flags.SrcPort, flags.DstPort = 1, 2
		b.run(hookEgress, frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), &flags), nil)
		return uint64(now.Nano())
	}
	last := func() uint64 {
		var k flowKey
		var v flowVal
		if !b.table().Iterate().Next(&k, &v) {
			t.Fatal("no entry")
		}
		return v.last()
	}
	for range 50 {
		send(layers.TCP{ACK: true})
	}
	time.Sleep(30 * time.Millisecond) // more than a tick of the slowest kernel
	if sent, stamped := send(layers.TCP{ACK: true}), last(); stamped < sent {
		t.Errorf("sent at %d, stamped %d", sent, stamped)
	}
	if sent, stamped := send(layers.TCP{ACK: true, FIN: true}), last(); stamped < sent {
		t.Errorf("the end was sent at %d, stamped %d", sent, stamped)
	}
}

// A packet at a device without a ledger is left alone.
func TestStray(t *testing.T) {
	b := newBench(t, Config{}, nil)
	b.closeLedger(&device{ifindex: 1})
	b.run(hookIngress, frame(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp()), nil)
	st, err := b.Stats()
	if err != nil || st.Stray != 1 {
		t.Errorf("stats %+v, %v", st, err)
	}
	if err := b.table().Lookup(new(flowKey), new(flowVal)); err == nil || b.table().Iterate().Next(new(flowKey), new(flowVal)) {
		t.Error("a flow was made")
	}
}

// Whatever the frame, it is in exactly one line of the ledger.
func FuzzParse(f *testing.F) {
	b := newBench(f, Config{MaxFlows: 64}, nil)
	f.Add(frame(f, eth(layers.EthernetTypeIPv6), ip6(0), body(64)))
	f.Add(frame(f, eth(layers.EthernetTypeQinQ), &layers.Dot1Q{Type: layers.EthernetTypeIPv4}, ip4(layers.IPProtocolTCP), &layers.TCP{SYN: true}))
	f.Add(frame(f, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolICMPv4), body(8)))
	f.Fuzz(func(t *testing.T, data []byte) {
		b.t = t
		for hook := range 2 {
			for _, p := range b.progs[hook] {
				before := b.ledger(hook)
				ret, err := p.Run(&ebpf.RunOptions{Data: data, Context: &skb{}})
				if err != nil {
					return // the test run refuses what no device delivers
				}
				l := b.ledger(hook)
				if int32(ret) != -1 || l.SKBs != before.SKBs+1 || l.SKBOctets != before.SKBOctets+uint64(len(data)) {
					t.Fatalf("returned %d, before %+v after %+v", int32(ret), before, l)
				}
				checkBalance(t, map[string]Device{"lo": {Ingress: l}}, l.Flow)
			}
		}
	})
}

// Records of the ring are read without trust.
func FuzzEvent(f *testing.F) {
	f.Add(make([]byte, 184))
	f.Add(append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 2}, make([]byte, 87)...))
	f.Add(append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 175)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := collector{flows: newStates(), finished: make(map[flows.Key]uint64)}
		var s sink
		c.event(raw, &s)
		if uint64(len(s.records)+len(s.nats))+c.count.badEvents != 1 {
			t.Errorf("one event became %d records, %d translations, %d errors", len(s.records), len(s.nats), c.count.badEvents)
		}
	})
}
