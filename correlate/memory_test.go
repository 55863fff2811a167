package correlate

import (
	"runtime"
	"testing"
	"time"

	"github.com/weir-probe/weir/kprobes"
)

// BenchmarkHeld100k reports what 100 000 open connections cost in memory and in
// one tick: with one end here, and with both.
func BenchmarkHeld100k(b *testing.B) {
	const n = 100_000
	for _, ends := range []int{1, 2} {
		b.Run([]string{1: "client", 2: "both"}[ends], func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			j := newTest()
			t0 := 100 * sec
			for i := range n {
				k := tcpKey("172.17.0.2", uint16(i%60000+1), "172.17.0.3", uint16(80+i/60000), 11)
				c := bases(sock(uint64(2*i+1), k, kprobes.RoleClient, 10, "curl", t0), uint32(i), uint32(i+n))
				c.Kind = kprobes.SocketSnapshot
				j.Socket(c)
				if ends == 2 {
					s := bases(sock(uint64(2*i+2), k.Reverse(), kprobes.RoleServer, 20, "nginx", t0), uint32(i+n), uint32(i))
					s.Kind = kprobes.SocketSnapshot
					j.Socket(s)
				}
				j.Flow(flow(k, t0, t0+sec, 100, 100))
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			now := t0
			for b.Loop() {
				now += sec
				j.Tick(time.Unix(0, now), Running, func(*Record) {})
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/conn")
			runtime.KeepAlive(j)
		})
	}
}
