package probetest

import (
	"testing"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

type recorder struct {
	kprobes.Handler // panics on what is not expected
	sockets         []kprobes.SocketEvent
}

func (r *recorder) Socket(e *kprobes.SocketEvent) {
	r.sockets = append(r.sockets, *e)
	*e = kprobes.SocketEvent{} // a handler may not be able to spoil the script
}

func TestConnection(t *testing.T) {
	client := kprobes.SocketEvent{
		Cookie: 1, Key: Key(flows.Addr{15: 1}, flows.Addr{15: 2}, 10, 80, 3),
		Owner: Owner(7, 70, "a name that is far too long", 5), Sent: 100, Received: 200, SndBase: 11, RcvBase: 22, HasBase: true,
	}
	s := new(Script).Connection(client, 2, Owner(8, 80, "nginx", 6))
	for range 2 { // playing does not use it up
		var r recorder
		s.Play(&r)
		if len(r.sockets) != 2 {
			t.Fatalf("%d events", len(r.sockets))
		}
		c, v := r.sockets[0], r.sockets[1]
		if c.Owner.Comm.String() != "a name that is " || v.Owner.Comm.String() != "nginx" {
			t.Errorf("names %q, %q", c.Owner.Comm, v.Owner.Comm)
		}
		if v.Key != c.Key.Reverse() || v.Sent != 200 || v.SndBase != c.RcvBase || v.Role != kprobes.RoleServer || v.Cookie != 2 {
			t.Errorf("%+v", v)
		}
	}
}
