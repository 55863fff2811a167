package correlate

import (
	"testing"

	"github.com/weir-probe/weir/kprobes"
)

func TestCensusBuriesLostSockets(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	open := func(cookie uint64, port uint16) *kprobes.SocketEvent {
		ev := sock(cookie, tcpKey("10.0.0.1", port, "10.0.0.2", 80, 1), kprobes.RoleClient, 10, "c", t0)
		ev.Kind, ev.State = kprobes.SocketSnapshot, kprobes.TCPEstablished
		return ev
	}
	gone, alive := open(1, 1000), open(2, 1001)
	j.Socket(gone)
	j.Socket(alive)
	tell := func() error { j.Socket(alive); return nil }
	if err := j.Census(tell); err != nil {
		t.Fatal(err)
	}
	if rs := tick(j, t0+2*sec, Running); len(rs) != 2 || rs[0].Final || rs[1].Final {
		t.Fatalf("missing once is no proof: %+v", rs)
	}
	if err := j.Census(tell); err != nil {
		t.Fatal(err)
	}
	for _, r := range tick(j, t0+4*sec, Running) {
		if r.Final != (r.Client.Port == 1000) || (r.Active == 1) != (r.Client.Port == 1001) {
			t.Errorf("port %d: final %v, active %d", r.Client.Port, r.Final, r.Active)
		}
	}
	if j.Stats().Buried != 1 {
		t.Errorf("buried %d", j.Stats().Buried)
	}
}
