package correlate

import (
	"slices"
	"testing"

	"github.com/weir-probe/weir/kprobes"
)

// What a listener had no room for is told once, from when it was known to its end, though
// the kernel's two counters disagree for a moment, and though they wrap.
func TestListenerDrops(t *testing.T) {
	for _, c := range []struct {
		name    string
		counts  []uint32 // as told at the end of each interval; the last by its end
		records []uint32
	}{
		{"from what it was", []uint32{3, 3, 5, 5, 6}, []uint32{2, 1}},
		{"seems to fall", []uint32{3, 5, 4, 4, 5, 6, 6}, []uint32{2, 1}},
		{"wraps", []uint32{1<<32 - 2, 1<<32 - 1, 3, 3}, []uint32{1, 4}},
		{"its end knows no more", []uint32{3, 4, 0}, []uint32{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := newTest()
			var got []uint32
			for i, n := range c.counts {
				ev := sock(90, tcpKey("10.0.0.9", 80, "0.0.0.0", 0, 7), kprobes.RoleListener, 5, "srv", int64(90+i)*sec)
				ev.Kind, ev.State, ev.Drops = kprobes.SocketSnapshot, kprobes.TCPListen, n
				if i == len(c.counts)-1 {
					ev.Kind = kprobes.SocketClosed
				}
				j.Socket(ev)
				for _, r := range tick(j, int64(90+i)*sec, Running) {
					got = append(got, r.Delta.AcceptQueueDrops)
					if r.Server.Process == nil || r.Server.Process.PID != 5 || r.Client.Kind != KindUnknown {
						t.Errorf("%+v", r)
					}
				}
			}
			if !slices.Equal(got, c.records) {
				t.Errorf("told %v, want %v", got, c.records)
			}
			if len(j.listeners) != 0 {
				t.Error("it is not forgotten")
			}
		})
	}
}
