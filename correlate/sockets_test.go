package correlate

import (
	"maps"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/kprobes"
)

// What an owner holds is told by owner, and no more once it is closed.
func TestOpenSockets(t *testing.T) {
	j := New(Config{}, &plainEnricher{})
	held := func() map[uint32]Sockets {
		m := map[uint32]Sockets{}
		j.OpenSockets(func(o *kprobes.Owner, s Sockets) {
			x := m[o.PID]
			x.Add(s)
			m[o.PID] = x
		})
		return m
	}
	owner := func(pid uint32) kprobes.Owner { return kprobes.Owner{ProcessID: kprobes.ProcessID{PID: pid, Start: 1}} }
	open := func(cookie uint64, pid uint32, port uint16, kind kprobes.SocketKind) {
		j.Socket(&kprobes.SocketEvent{Kind: kind, Role: kprobes.RoleClient, Time: sec, Cookie: cookie, Owner: owner(pid), Opener: owner(pid), Key: tcpKey("10.0.0.1", port, "10.0.0.2", 80, 1)})
	}
	listen := func(kind kprobes.SocketKind, waiting uint32) {
		j.Socket(&kprobes.SocketEvent{Kind: kind, Role: kprobes.RoleListener, Time: sec, Cookie: 99, Owner: owner(8), Opener: owner(8), Key: tcpKey("0.0.0.0", 80, "0.0.0.0", 0, 1), Waiting: waiting, Backlog: 128})
	}
	open(1, 7, 1001, kprobes.SocketSnapshot)
	open(2, 7, 1002, kprobes.SocketSnapshot)
	open(3, 8, 1003, kprobes.SocketSnapshot)
	listen(kprobes.SocketSnapshot, 5)
	listen(kprobes.SocketSnapshot, 3)
	want := map[uint32]Sockets{7: {Open: 2}, 8: {Open: 1, Listeners: 1, Queue: Queue{3, 128}}}
	if got := held(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	open(1, 7, 1001, kprobes.SocketClosed)
	listen(kprobes.SocketClosed, 0)
	want = map[uint32]Sockets{7: {Open: 1}, 8: {Open: 1}}
	if got := held(); !maps.Equal(got, want) {
		t.Errorf("after the ends: %v, want %v", got, want)
	}
	j.Tick(time.Unix(2, 0), Running, func(*Record) {})
	if len(j.listeners) != 0 {
		t.Error("an ended listener is remembered")
	}
}

// A snapshot may find a socket in the middle of connect(), without a port yet.
func TestSnapshotWithoutPort(t *testing.T) {
	j := newTest()
	t0 := 100 * sec
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	early := sock(7, k, kprobes.RoleClient, 10, "curl", t0)
	early.Kind, early.Key.SrcPort, early.State, early.Established = kprobes.SocketSnapshot, 0, kprobes.TCPSynSent, 0
	j.Socket(early)
	j.Socket(sock(7, k, kprobes.RoleClient, 10, "curl", t0))
	j.Flow(flow(k, t0, t0+sec/2, 800, 6000))
	r := only(t, tick(j, t0+3*sec, Running))
	if r.Client.Port != 40000 || r.Client.Process.PID != 10 || r.Total.ToServer.WireOctets != 800 {
		t.Errorf("client %+v, %+v", r.Client, r.Total.ToServer)
	}
	// One that has found none is told at its end.
	failed := sock(8, k, kprobes.RoleClient, 10, "curl", t0+4*sec)
	failed.Key.SrcPort, failed.State, failed.Errno = 0, kprobes.TCPSynSent, int32(unix.EADDRNOTAVAIL)
	j.Socket(failed)
	if r := only(t, tick(j, t0+8*sec, Running)); r.Client.Port != 0 || r.Client.Process.PID != 10 {
		t.Errorf("without a port: %+v", r.Client)
	}
}
