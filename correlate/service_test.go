package correlate

import (
	"testing"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// A server is told with the service that its client asked for, which knows an address of
// that and not the server's; looked up once in the life of a connection.
func TestServiceAskedFor(t *testing.T) {
	t0 := 100 * sec
	asked := 0
	j := New(Config{HostNetNS: 1, Service: func(a flows.Addr, netns uint32, began int64) string {
		if asked++; a != addr("10.96.0.7") || netns != 11 || began != t0 {
			t.Errorf("asked for %s in %d at %d", a, netns, began)
		}
		return "api"
	}}, &plainEnricher{})
	c := tcpKey("10.1.0.2", 40000, "10.96.0.7", 80, 11)
	s := tcpKey("10.1.0.3", 8080, "10.1.0.2", 40000, 12)
	for _, kind := range []kprobes.SocketKind{kprobes.SocketSnapshot, kprobes.SocketClosed} {
		client := bases(sock(7, c, kprobes.RoleClient, 10, "web", t0), 1000, 2000)
		server := bases(sock(8, s, kprobes.RoleServer, 20, "api", t0), 2000, 1000)
		client.Kind, server.Kind = kind, kind
		if kind == kprobes.SocketSnapshot {
			client.State, server.State = kprobes.TCPEstablished, kprobes.TCPEstablished
		}
		j.Socket(client)
		j.Socket(server)
		r := only(t, tick(j, t0+2*sec, Running))
		if r.Server.Service != "api" || r.Client.Service != "" || r.Server.Addr != addr("10.1.0.3") || r.Reporter != ReporterBoth {
			t.Errorf("%+v", r)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	// Without the client's socket nobody knows what it asked for.
	j.Socket(bases(sock(9, s, kprobes.RoleServer, 20, "api", 200*sec), 2001, 1001))
	if r := only(t, tick(j, 203*sec, Running)); r.Server.Service != "" || asked != 1 {
		t.Errorf("%+v", r)
	}
}
