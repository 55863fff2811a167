package correlate

import (
	"testing"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// older makes a socket event one of a socket from before the probe, whose own
// sequence numbers do not tell its role.
func older(ev *kprobes.SocketEvent) *kprobes.SocketEvent {
	ev.Kind, ev.Role, ev.Baseline, ev.SYN, ev.Opened, ev.State = kprobes.SocketSnapshot, kprobes.RoleUnknown, true, 0, 0, kprobes.TCPEstablished
	return ev
}

func listener(port uint16, ns uint32, at int64) *kprobes.SocketEvent {
	return &kprobes.SocketEvent{Kind: kprobes.SocketSnapshot, Role: kprobes.RoleListener, Time: at, Key: tcpKey("0.0.0.0", port, "0.0.0.0", 0, ns)}
}

// Who opened a connection that is older than the probe: by the numbers both ends
// know, else by who listens, else by the ports; else nobody can tell, and the
// lower address and port stands as the client, in whatever order things are told.
func TestCaseG1_ConnectionsOlderThanTheProbe(t *testing.T) {
	const low, high, service, other = "10.0.0.1", "10.0.0.2", 5432, 50000
	t0 := 100 * sec
	type world struct {
		name           string
		cport, sport   uint16
		client, server bool // which end is here
		listens        bool
		flow           bool
		want           InitiatorMethod
	}
	for _, w := range []world{
		{"both here", other, service, true, true, false, true, InitiatorSequence},
		{"both here, ports the wrong way round", service, other, true, true, false, false, InitiatorSequence},
		{"client here", other, service, true, false, false, true, InitiatorPort},
		{"server here, listening", other, service, false, true, true, true, InitiatorListener},
		{"server here, listening on an ephemeral port", other, 40001, false, true, true, true, InitiatorListener},
		{"server here", other, service, false, true, false, true, InitiatorPort},
		{"packets only", other, service, false, false, false, true, InitiatorPort},
		{"nobody tells, client here", 40000, 40001, true, false, false, true, InitiatorUnknown},
		{"nobody tells, server here", 40000, 40001, false, true, false, true, InitiatorUnknown},
		{"nobody tells, packets only", 40000, 40001, false, false, false, true, InitiatorUnknown},
	} {
		for order := range 2 {
			for _, swap := range []bool{false, true} { // the client's address orders first, or last
				if swap && w.want == InitiatorUnknown {
					continue // then the other end is the presumed client
				}
				a, b := low, high
				if swap {
					a, b = high, low
				}
				k := tcpKey(a, w.cport, b, w.sport, 11)
				back := k.Reverse()
				back.NetNS = 12
				j := newTest()
				if w.listens {
					j.Socket(listener(w.sport, 12, t0))
				}
				var steps []func()
				if w.client {
					steps = append(steps, func() {
						j.Socket(payload(older(bases(sock(7, k, 0, 10, "cli", t0), 999, 2000)), 300, 5000))
					})
				}
				if w.server {
					steps = append(steps, func() {
						j.Socket(payload(older(bases(sock(8, back, 0, 20, "srv", t0), 2000, 1000)), 5000, 300))
					})
				}
				if w.flow {
					f := flow(k, t0, t0+sec, 400, 6000)
					f.Initiator = flows.InitiatorUnknown
					for d := range f.Dir {
						f.Dir[d].Flags = flows.ACK
					}
					steps = append(steps, func() { j.Flow(f) })
				}
				for i := range steps {
					steps[(i+order)%len(steps)]()
				}
				r := only(t, tick(j, t0+5*sec, Running))
				if r.Client.Addr != addr(a) || r.Client.Port != w.cport || r.Server.Port != w.sport || r.Initiator != w.want {
					t.Errorf("%s: %v:%d → %v:%d by %v, want by %v", w.name, r.Client.Addr, r.Client.Port, r.Server.Addr, r.Server.Port, r.Initiator, w.want)
				}
				if w.flow && (r.Delta.ToServer.WireOctets != 400 || r.Delta.ToClient.WireOctets != 6000) {
					t.Errorf("%s: wire %+v", w.name, r.Delta)
				}
			}
		}
	}
}

// A role that the kernel could not tell at first and can at the end corrects the
// guess.
func TestCaseG1_RoleKnownLater(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 5432, "10.0.0.2", 50000, 11) // the ports say server: it is the client
	ev := payload(older(sock(7, k, 0, 10, "cli", t0)), 100, 7)
	j.Socket(ev)
	if r := only(t, tick(j, t0+2*sec, Running)); r.Server.Name != "cli" || r.Initiator != InitiatorPort || r.Delta.ToClient.Payload != 100 {
		t.Errorf("guessed: %+v", r)
	}
	ev.Kind, ev.Role, ev.Time, ev.Sent = kprobes.SocketClosed, kprobes.RoleClient, t0+3*sec, 150
	j.Socket(ev)
	r := only(t, tick(j, t0+5*sec, Running))
	if r.Client.Name != "cli" || r.Initiator != InitiatorSequence || r.Delta.ToServer.Payload != 50 || r.Total.ToClient.Payload != 7 || !r.Final {
		t.Errorf("told: %+v", r)
	}
}

// Two clients that called each other are one connection, whoever is told first.
func TestCaseG4_TwoCallers(t *testing.T) {
	for order := range 2 {
		j := newTest()
		t0 := 100 * sec
		k := tcpKey("10.0.0.1", 9000, "10.0.0.2", 9001, 11)
		back := k.Reverse()
		back.NetNS = 12
		evs := []*kprobes.SocketEvent{
			payload(bases(sock(7, k, kprobes.RoleClient, 10, "first", t0), 1000, 2000), 300, 5000),
			payload(bases(sock(8, back, kprobes.RoleClient, 20, "second", t0+1e6), 2000, 1000), 5000, 300),
		}
		for i := range evs {
			j.Socket(evs[(i+order)%2])
		}
		j.Flow(flow(k, t0, t0+sec/2, 800, 6000))
		r := only(t, tick(j, t0+2*sec, Running))
		if r.Client.Name != "first" || r.Server.Name != "second" || r.Reporter != ReporterBoth || r.Delta.Opened != 1 ||
			r.Delta.ToServer.Payload != 300 || r.Delta.ToClient.Payload != 5000 || r.Delta.ToServer.WireOctets != 800 {
			t.Errorf("order %d: %+v", order, r)
		}
		if tick(j, t0+60*sec, Running); len(j.conns)+len(j.sockets)+len(j.pairs) != 0 {
			t.Errorf("left: %d connections, %d sockets, %d pairs", len(j.conns), len(j.sockets), len(j.pairs))
		}
	}
}

// A connection to itself is told once, in one direction.
func TestCaseC7_SelfInTheJoiner(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("127.0.0.1", 9000, "127.0.0.1", 9000, 1)
	f := flow(k, t0, t0+sec/2, 1500, 0)
	f.Dir[flows.Reverse], f.Key.NetNS = flows.Counters{}, 1
	f.Cookie[flows.Forward] = 7
	j.Socket(payload(bases(sock(7, k, kprobes.RoleClient, 10, "me", t0), 1000, 1000), 600, 600))
	j.Flow(f)
	r := only(t, tick(j, t0+2*sec, Running))
	d := r.Delta
	if r.Reporter != ReporterBoth || r.Client.Name != "me" || r.Server.Name != "me" || d.ToServer.Payload != 600 || d.ToClient != (Traffic{}) || d.ToServer.WireOctets != 1500 {
		t.Errorf("got %+v", r)
	}
}

// A socket that is connected to itself is both ends of its row, whoever opened it.
func TestCaseC7_BothEndsAreTheSocket(t *testing.T) {
	j := newTest()
	ev := sock(7, tcpKey("10.0.0.1", 4000, "10.0.0.1", 4000, 9), kprobes.RoleClient, 70, "talker", 100*sec)
	ev.Opener = owner(60, "maker")
	j.Socket(ev)
	r := only(t, tick(j, 102*sec, Running))
	for name, e := range map[string]*Endpoint{"client": &r.Client, "server": &r.Server} {
		if e.Process == nil || e.Process.PID != 70 || e.Cookie != 7 || !e.Local {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if r.Reporter != ReporterBoth || r.Attribution != AttributionExact {
		t.Errorf("reporter %v, attribution %v", r.Reporter, r.Attribution)
	}
}
