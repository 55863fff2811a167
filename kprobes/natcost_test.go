package kprobes

import (
	"testing"
)

// BenchmarkEgress is what a packet costs at its socket's egress, without and with
// a look at its conntrack entry.
func BenchmarkEgress(b *testing.B) {
	s, err := Load(Config{})
	if err != nil {
		b.Skip(err)
	}
	defer s.Close()
	if p := probeIndex("peer_egress"); s.programs["peer_egress"] == nil && !s.loadProbe(p) {
		b.Fatal(s.status[p].Reason)
	}
	// Ethernet, IPv4, TCP
	pkt := make([]byte, 14+20+20)
	pkt[12], pkt[14], pkt[17], pkt[23] = 8, 0x45, 40, 6
	for _, name := range []string{"peer_egress", "peer_egress_nat"} {
		b.Run(name, func(b *testing.B) {
			p := s.programs[name]
			if p == nil {
				b.Skip("not on this kernel")
			}
			_, d, err := p.Benchmark(pkt, b.N, nil)
			if err != nil {
				b.Skip(err)
			}
			b.ReportMetric(float64(d.Nanoseconds()), "ns/packet")
		})
	}
}
