package tcx

import (
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
)

// discard is a Handler that counts.
type discard struct{ flows, nats int }

func (d *discard) Flow(*flows.Record) { d.flows++ }
func (d *discard) NAT(*flows.NAT)     { d.nats++ }

// synthetic returns n established TCP flows, as the kernel would hold them.
func synthetic(n int, now uint64) ([]flowKey, []flowVal) {
	keys, vals := make([]flowKey, n), make([]flowVal, n)
	for i := range keys {
		k := &keys[i]
		k.A = [16]byte{10: 0xff, 11: 0xff, 12: 10, 15: 1}
		k.B = [16]byte{10: 0xff, 11: 0xff, 12: 10, 13: 1}
		binary.BigEndian.PutUint16(k.B[14:], uint16(i>>12))
		k.APort, k.BPort, k.Proto = uint16(i&0xfff)+20000, 443, 6
		v := &vals[i]
		v.StartNs = now + uint64(i)
		for d := range v.Dir {
			v.Dir[d] = flowDir{Packets: 10, Octets: 10_000, Payload: 9_000, LastNs: now, Cookie: uint64(2*i + d), Owner: 4}
			v.Dir[d].Flags[4] = 1
		}
		v.Dir[0].Flags[8] = 1
	}
	return keys, vals
}

func (b *bench) fill(keys []flowKey, vals []flowVal) {
	b.t.Helper()
	if _, err := b.table().BatchUpdate(keys, vals, nil); err != nil {
		b.t.Fatal(err)
	}
}

func bootNow(t testing.TB) uint64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	return uint64(ts.Nano())
}

func cpu(t testing.TB) time.Duration {
	t.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// BenchmarkCollect100k reports the CPU time of one full Collect over 100 000
// flows that all changed, and the Go memory that holds their state.
func BenchmarkCollect100k(b *testing.B) {
	const n = 100_000
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	bench := newBench(b, Config{}, nil)
	keys, vals := synthetic(n, bootNow(b))
	bench.fill(keys, vals)
	var h discard
	if err := bench.Collect(time.Now(), &h, nil); err != nil || h.flows != n {
		b.Fatalf("%d flows, %v", h.flows, err)
	}
	var used time.Duration
	rounds := 0
	for b.Loop() {
		b.StopTimer()
		for i := range vals {
			vals[i].Dir[0].Packets++
			vals[i].Dir[0].Octets += 100
		}
		bench.fill(keys, vals)
		b.StartTimer()
		start := cpu(b)
		if err := bench.Collect(time.Now(), &h, nil); err != nil {
			b.Fatal(err)
		}
		used += cpu(b) - start
		rounds++
	}
	if h.flows != n*(rounds+1) {
		b.Errorf("%d records of %d changes", h.flows, n*(rounds+1))
	}
	keys, vals = nil, nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(used.Microseconds())/1000/float64(rounds), "cpu-ms/op")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB-heap")
	runtime.KeepAlive(bench)
}

// BenchmarkPacket is the kernel's time per packet of an established flow.
func BenchmarkPacket(b *testing.B) {
	bench := newBench(b, Config{}, nil)
	f := frame(b, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 2, ACK: true}, body(1000))
	const repeat = 100_000
	for b.Loop() {
		if _, err := bench.progs[hookEgress][0].Run(&ebpf.RunOptions{Data: f, Repeat: repeat}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/repeat, "ns/packet")
}

// The state of 100 000 flows is small, and an update of one allocates nothing.
func TestStateMemory(t *testing.T) {
	const n = 100_000
	keys, vals := synthetic(n, 1e12)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cfg := DefaultConfig()
	c := &collector{cfg: &cfg, flows: newStates(), finished: make(map[flows.Key]uint64)}
	var h discard
	visit := func(i int) {
		if err := c.visit(&keys[i], &vals[i], 1e12, &h); err != nil {
			t.Fatal(err)
		}
	}
	for i := range keys {
		visit(i)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := after.HeapAlloc - before.HeapAlloc; used > 20<<20 {
		t.Errorf("%d flows take %d octets, want at most 20 MB", n, used)
	} else {
		t.Logf("%d flows take %.1f MB", n, float64(used)/(1<<20))
	}
	i := 0
	if allocs := testing.AllocsPerRun(1000, func() {
		vals[i].Dir[0].Packets++
		visit(i)
		i++
	}); allocs != 0 {
		t.Errorf("%v allocations per update", allocs)
	}
	runtime.KeepAlive(c)
}

// A Collect in steady state allocates per batch at most, not per flow; an event
// allocates nothing.
func TestAllocations(t *testing.T) {
	b := newBench(t, Config{}, nil)
	keys, vals := synthetic(3000, bootNow(t))
	b.fill(keys, vals)
	var h discard
	now := time.Now()
	allocs := testing.AllocsPerRun(20, func() {
		if err := b.Collect(now, &h, nil); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 10 {
		t.Errorf("%v allocations per Collect of 3000 flows", allocs)
	}
	nat := append([]byte{8: eventNAT}, make([]byte, 87)...)
	if allocs := testing.AllocsPerRun(100, func() { b.event(nat, &h) }); allocs != 0 || h.nats == 0 {
		t.Errorf("%v allocations per event, %d events", allocs, h.nats)
	}
}

// Every kind of entry is deleted in bounded steps, with nothing lost.
func TestEvictBounded(t *testing.T) {
	b := newBench(t, Config{}, nil)
	const n = maxEvict + 3000
	keys, vals := synthetic(n, bootNow(t))
	b.fill(keys, vals)
	var s sink
	calls := 0
	for range 2 {
		if err := b.Collect(time.Now().Add(time.Hour), &s, func() { calls++ }); err != nil {
			t.Fatal(err)
		}
	}
	ends := 0
	for i := range s.records {
		if s.records[i].EndReason == flows.EndIdle {
			ends++
		}
	}
	if ends != n || s.sum() != (Sum{20 * n, 20_000 * n}) || b.flows.len() != 0 || calls < n/batchFlows {
		t.Errorf("%d of %d ended, %v, %d states left, %d callbacks", ends, n, s.sum(), b.flows.len(), calls)
	}
}
