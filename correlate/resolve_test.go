package correlate

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// question is what Waited was asked.
type question struct {
	to    flows.Addr
	netns uint32
	began int64
}

// resolving returns a joiner that is told of a wait of 7, 8, 9… ns by the n-th answer
// to a question for 203.0.113.x, and what it asked.
func resolving() (*Joiner, *[]question) {
	var asked []question
	j := New(Config{HostNetNS: 1, Waited: func(a flows.Addr, netns uint32, began int64) int64 {
		asked = append(asked, question{a, netns, began})
		return int64(6 + len(asked))
	}}, &plainEnricher{})
	return j, &asked
}

// Every connection is asked for once, in the order in which they began whatever the
// order in which they were told, and says in its first record how long it had waited.
func TestWaitsForDNS(t *testing.T) {
	j, asked := resolving()
	t0 := 100 * sec
	to := addr("203.0.113.9")
	tcp := func(cookie uint64, port uint16, start int64) *kprobes.SocketEvent {
		return sock(cookie, tcpKey("10.0.0.1", port, "203.0.113.9", 443, 5), kprobes.RoleClient, 10, "curl", start)
	}
	late := tcp(1, 4001, t0+3000)
	late.Opened = t0 // the socket was there before the name was known
	open := tcp(2, 4002, t0+1000)
	open.Kind = kprobes.SocketSnapshot
	refused := tcp(3, 4003, t0+2000)
	refused.Established, refused.Errno, refused.State = 0, int32(syscall.ECONNREFUSED), kprobes.TCPSynSent
	local := tcp(4, 4004, t0+4000)
	local.NoSYN, local.Established, local.Errno, local.Time = true, 0, int32(syscall.EADDRNOTAVAIL), t0+4001
	for _, ev := range []*kprobes.SocketEvent{late, open, refused, local} {
		j.Socket(ev)
	}
	quic := tcpKey("10.0.0.1", 4005, "203.0.113.9", 443, 5)
	quic.Proto = flows.UDP
	j.Peer(datagrams(5, quic, kprobes.RoleClient, 10, "curl", t0+500, 100, 100))
	// None of these went anywhere after asking for a name: from before the probe, and
	// somebody else's connection to a server here.
	old := tcp(6, 4006, t0)
	old.Baseline, old.SYN, old.Established = true, 0, 0
	j.Socket(old)
	j.Socket(sock(7, tcpKey("10.0.0.1", 80, "203.0.113.9", 4007, 5), kprobes.RoleServer, 20, "nginx", t0))
	seen := tcpKey("10.0.0.1", 4008, "203.0.113.9", 443, 0)
	j.Flow(flow(seen, t0, t0+1, 100, 100))

	want := map[uint16]int64{4005: 7, 4002: 8, 4003: 9, 4001: 10, 4004: 11}
	wait, total := map[uint16]int64{}, map[uint16]int64{}
	for _, r := range append(tick(j, t0+4*sec, Running), tick(j, t0+5*sec, Draining)...) {
		if r.Resolve != 0 {
			if wait[r.Client.Port] != 0 {
				t.Errorf("port %d waited twice", r.Client.Port)
			}
			wait[r.Client.Port] = r.Resolve
		}
		if r.ResolveTotal != 0 {
			total[r.Client.Port] = r.ResolveTotal
		}
	}
	if d := cmp.Diff(want, wait); d != "" {
		t.Errorf("waits by port (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want, total); d != "" {
		t.Errorf("in every record (-want +got):\n%s", d)
	}
	if want := []question{{to, 5, t0 + 500}, {to, 5, t0 + 1000}, {to, 5, t0 + 2000}, {to, 5, t0 + 3000}, {to, 5, t0 + 4000}}; !slices.Equal(*asked, want) {
		t.Errorf("asked %v, want %v", *asked, want)
	}
}

// What comes while an interval is told, and is told with it, is asked for, too; and of
// a flow that packets began and a socket joined the wait is not lost.
func TestWaitsForDNSDuringTick(t *testing.T) {
	j, asked := resolving()
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 4001, "203.0.113.9", 443, 5)
	j.Socket(sock(1, tcpKey("10.0.0.1", 4000, "203.0.113.9", 443, 5), kprobes.RoleClient, 10, "curl", t0))
	var got []int64
	j.Tick(time.Unix(0, t0+2*sec), Running, func(r *Record) {
		if r.Client.Port == 4000 {
			j.Socket(sock(2, k, kprobes.RoleClient, 10, "curl", t0+1))
		}
		got = append(got, r.Resolve)
	})
	if !slices.Equal(got, []int64{7, 8}) || len(*asked) != 2 {
		t.Errorf("waits %v, asked %v", got, *asked)
	}

	j, _ = resolving()
	server := sock(4, k.Reverse(), kprobes.RoleServer, 20, "nginx", t0)
	client := sock(3, k, kprobes.RoleClient, 10, "curl", t0)
	server.Kind = kprobes.SocketSnapshot
	j.Socket(bases(server, 2, 1))
	tick(j, t0+sec, Running)
	j.Socket(bases(client, 1, 2))
	if r := only(t, tick(j, t0+2*sec, Running)); r.Resolve != 7 || r.Reporter != ReporterBoth {
		t.Errorf("told %d of a wait of 7, reporter %v", r.Resolve, r.Reporter)
	}
}

// asOf names an end without a socket after the time it is asked for.
type asOf struct{ times []int64 }

func (a *asOf) Enrich(e *Endpoint, owner, _ *kprobes.Owner, now int64) bool {
	if owner == nil {
		a.times = append(a.times, now)
	}
	return false
}

// An end elsewhere is called what it was called when it was connected to, which may be
// long after the socket was made.
func TestNamedAsOfTheSYN(t *testing.T) {
	names := &asOf{}
	j := New(Config{}, names)
	t0 := 100 * sec
	ev := sock(1, tcpKey("10.0.0.1", 4001, "203.0.113.9", 443, 5), kprobes.RoleClient, 10, "curl", t0+9*sec/10)
	ev.Opened = t0
	j.Socket(ev)
	j.Peer(datagrams(2, tcpKey("10.0.0.1", 4002, "203.0.113.9", 443, 5), kprobes.RoleClient, 10, "curl", t0+sec, 100, 100))
	tick(j, t0+2*sec, Running)
	if want := []int64{t0 + 9*sec/10, t0 + sec}; !slices.Equal(names.times, want) {
		t.Errorf("asked as of %v, want %v", names.times, want)
	}
}

func TestWaitsForDNSDoNotAllocate(t *testing.T) {
	j := New(Config{Waited: func(flows.Addr, uint32, int64) int64 { return 1 }}, &plainEnricher{})
	for i := range uint64(100) {
		ev := sock(i+1, tcpKey("10.0.0.1", uint16(4000+i), "203.0.113.9", 443, 5), kprobes.RoleClient, 10, "curl", 100*sec-int64(i))
		j.Socket(ev)
	}
	if n := testing.AllocsPerRun(10, func() {
		for _, c := range j.conns {
			c.resolved = resolveUnknown
		}
		j.askWaits()
	}); n != 0 {
		t.Errorf("%v allocations for 100 connections", n)
	}
}

// How long a connection lay in its listener's queue: until accept(2) where that was
// seen, else until its process read or wrote; told once, and in every later record.
func TestWaitsForAccept(t *testing.T) {
	t0 := 100 * sec
	for _, x := range []struct {
		name   string
		change func(*kprobes.SocketEvent)
		want   int64
	}{
		{"accepted", func(ev *kprobes.SocketEvent) { ev.Accepted, ev.OwnerAt = t0+6e6, t0+9e6 }, 5e6},
		{"read", func(ev *kprobes.SocketEvent) { ev.OwnerAt = t0 + 9e6 }, 8e6},
		{"accepted before", func(ev *kprobes.SocketEvent) { ev.Accepted = t0 }, 0},
		{"nobody has it", func(ev *kprobes.SocketEvent) { ev.OwnerAt, ev.Owner.How = t0+9e6, kprobes.OwnerListener }, 0},
		{"from before the probe", func(ev *kprobes.SocketEvent) { ev.Accepted, ev.Baseline = t0+6e6, true }, 0},
		{"not established", func(ev *kprobes.SocketEvent) { ev.Accepted, ev.Established = t0+6e6, 0 }, 0},
		{"the client's", func(ev *kprobes.SocketEvent) { ev.OwnerAt, ev.Role = t0+9e6, kprobes.RoleClient }, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			j := newTest()
			ev := sock(1, tcpKey("10.0.0.1", 80, "203.0.113.9", 4000, 5), kprobes.RoleServer, 20, "nginx", t0) // established at +1 ms
			ev.Kind = kprobes.SocketSnapshot
			x.change(ev)
			j.Socket(ev)
			if r := only(t, tick(j, t0+sec, Running)); r.Accept != x.want || r.AcceptTotal != x.want {
				t.Errorf("first record: %d, in all %d", r.Accept, r.AcceptTotal)
			}
			if r := only(t, tick(j, t0+2*sec, Draining)); r.Accept != 0 || r.AcceptTotal != x.want {
				t.Errorf("last record: %d, in all %d", r.Accept, r.AcceptTotal)
			}
		})
	}
}
