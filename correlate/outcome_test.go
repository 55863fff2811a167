package correlate

import (
	"testing"

	"github.com/weir-probe/weir/kprobes"
)

// What the kernel counts of a connection is SYNs and data in one number: of that
// SYNs are what was sent again before the handshake was complete.
func TestCaseF16_SYNsSentAgain(t *testing.T) {
	const t0 = 100 * sec
	type told struct {
		established int64 // after the SYN, 0 not yet
		retransmits uint32
	}
	for _, tc := range []struct {
		name string
		told []told
		want uint32
	}{
		{"two SYNs lost, told at the end", []told{{2020 * sec / 1000, 2}}, 2},
		{"two SYNs lost, then data", []told{{2020 * sec / 1000, 2}, {2020 * sec / 1000, 9}}, 2},
		{"data only", []told{{20 * sec / 1000, 3}}, 0},
		{"one SYN lost, then data before anything was told", []told{{1020 * sec / 1000, 5}}, 1},
		{"told while waiting", []told{{0, 1}, {3020 * sec / 1000, 2}}, 2},
		{"given up", []told{{0, 1}, {0, 3}}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := newTest()
			var got uint32
			for i, x := range tc.told {
				ev := sock(7, tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1), kprobes.RoleClient, 10, "c", t0)
				ev.SYN, ev.Established, ev.Retransmits = t0, 0, x.retransmits
				if x.established != 0 {
					ev.Established = t0 + x.established
				}
				ev.Kind, ev.Time, ev.State = kprobes.SocketSnapshot, t0+int64(i+4)*sec, kprobes.TCPEstablished
				if i == len(tc.told)-1 {
					ev.Kind, ev.State = kprobes.SocketClosed, kprobes.TCPFinWait2
				}
				j.Socket(ev)
				for _, r := range tick(j, ev.Time+sec/2, Running) {
					got += r.Delta.SYNRetransmits
				}
			}
			if got != tc.want {
				t.Errorf("%d SYNs sent again, want %d", got, tc.want)
			}
		})
	}
}
