package correlate

import (
	"testing"

	"github.com/weir-probe/weir/kprobes"
)

// One end that says so marks the connection for good: the other may not be in the
// map. One that says nothing of it leaves a connection unmarked.
func TestCaseD13_Redirected(t *testing.T) {
	for _, c := range []struct {
		name             string
		client, server   bool
		want             bool
		packets, payload uint64
	}{
		{"both ends", true, true, true, 300, 5000},
		{"one end", false, true, true, 300, 5000},
		{"neither", false, false, false, 5400, 5000},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := newTest()
			k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
			at := 100 * sec
			event := func(kind kprobes.SocketKind, redirected [2]bool) {
				a := payload(bases(sock(1, k, kprobes.RoleClient, 10, "c", at), 100, 200), c.payload, 70)
				b := payload(bases(sock(2, k.Reverse(), kprobes.RoleServer, 20, "s", at), 200, 100), 70, c.payload)
				a.Kind, a.Redirected, b.Kind, b.Redirected = kind, redirected[0], kind, redirected[1]
				j.Socket(a)
				j.Socket(b)
			}
			event(kprobes.SocketSnapshot, [2]bool{c.client, c.server})
			j.Flow(flow(k, at, at+sec/2, c.packets, 200))
			open := tick(j, at+sec, Running)
			event(kprobes.SocketClosed, [2]bool{}) // the socket has left the map
			for _, r := range append(open, tick(j, at+9*sec, Draining)...) {
				if r.Redirected != c.want || r.Total.ToServer.Payload != c.payload || r.Total.ToServer.WireOctets != c.packets || r.Reporter != ReporterBoth {
					t.Errorf("redirected %v, payload %d, wire %d, reporter %v", r.Redirected, r.Total.ToServer.Payload, r.Total.ToServer.WireOctets, r.Reporter)
				}
			}
			if len(open) != 1 {
				t.Errorf("%d rows", len(open))
			}
		})
	}
}
