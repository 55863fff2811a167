package kprobes

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// segment is a TCP segment of n octets in an Ethernet frame, as BPF_PROG_TEST_RUN
// takes it.
func segment(n int) []byte {
	b := make([]byte, 14+20+32+n)
	b[12] = 0x08
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], []byte{127, 0, 0, 1, 127, 0, 0, 1})
	ip[20+12], ip[20+13] = 8<<4, 0x10
	return b
}

// BenchmarkPayloadRun measures the program alone, with its packet in the cache:
// a pure ACK, and a segment whose octets are not copied.
func BenchmarkPayloadRun(b *testing.B) {
	f := attach(b, Config{Payload: true})
	f.need(payloadHooks...)
	for _, x := range []struct {
		name string
		n    int
	}{{"ack", 0}, {"uncopied", 1000}} {
		b.Run(x.name, func(b *testing.B) {
			_, d, err := f.set.programs["payload_egress"].Benchmark(segment(x.n), b.N, b.ResetTimer)
			if err != nil {
				b.Skipf("this kernel does not run the program on its own: %v", err)
			}
			b.ReportMetric(float64(d.Nanoseconds()), "ns/packet")
		})
	}
}

// BenchmarkPayloadLive measures both programs under real traffic over loopback with
// BPF_ENABLE_STATS (whose two clock readings, some 20 ns, are in it): questions
// with answers of 64 octets, each copied; 64 KiB at a time, hardly any copied.
func BenchmarkPayloadLive(b *testing.B) {
	f := start(b, Config{Payload: true})
	f.need(payloadHooks...)
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Skip(err)
	}
	defer stats.Close()
	read := func() (n uint64, d time.Duration) {
		for _, p := range payloadHooks {
			i, err := f.set.programs[p].Stats()
			if err != nil {
				b.Fatal(err)
			}
			n, d = n+i.RunCount, d+i.Runtime
		}
		return n, d
	}
	for _, x := range []struct {
		name string
		talk func(client, server net.Conn)
	}{
		{"copied", func(c, s net.Conn) { pass(b, c, s, make([]byte, 64)); pass(b, s, c, make([]byte, 64)) }},
		{"bulk", func(c, s net.Conn) { pass(b, c, s, make([]byte, 64<<10)) }},
	} {
		b.Run(x.name, func(b *testing.B) {
			client, server := pipe(b, "tcp4", "127.0.0.1:0")
			lost := f.set.PayloadStats().Lost
			n, d := read()
			for i := range b.N {
				x.talk(client, server)
				if i%256 == 0 {
					if _, err := f.set.Drain(&silent{}); err != nil {
						b.Fatal(err)
					}
				}
			}
			n2, d2 := read()
			b.ReportMetric(float64(d2-d)/float64(n2-n), "ns/packet")
			b.ReportMetric(float64(n2-n)/float64(b.N), "packets/op")
			b.ReportMetric(float64(f.set.PayloadStats().Lost-lost), "lost")
		})
	}
}
