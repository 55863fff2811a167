package correlate

import (
	"syscall"
	"testing"

	"github.com/weir-probe/weir/kprobes"
)

// Who reset a connection is counted, and why where the one who did it lives here,
// in whatever order the two ends tell.
func TestCaseF8F9_ReasonsToReset(t *testing.T) {
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	back := k.Reverse()
	back.NetNS = 2
	const t0 = 100 * sec
	end := func(role kprobes.Role, errno syscall.Errno, why kprobes.ResetReason) *kprobes.SocketEvent {
		ev := bases(sock(7, k, kprobes.RoleClient, 10, "c", t0), 1000, 2000)
		if role == kprobes.RoleServer {
			ev = bases(sock(8, back, kprobes.RoleServer, 20, "s", t0), 2000, 1000)
		}
		ev.State, ev.Errno, ev.Reset = kprobes.TCPEstablished, int32(errno), why
		return ev
	}
	const c, s = kprobes.RoleClient, kprobes.RoleServer
	for _, tc := range []struct {
		name string
		ends []*kprobes.SocketEvent
		by   side
		why  ResetReason
	}{
		{"F8 client, alone", []*kprobes.SocketEvent{end(c, 0, kprobes.ResetUnread)}, client, ResetUnread},
		{"F9 client, alone", []*kprobes.SocketEvent{end(c, 0, kprobes.ResetLinger)}, client, ResetLinger},
		{"F8 server", []*kprobes.SocketEvent{end(s, 0, kprobes.ResetUnread), end(c, syscall.ECONNRESET, 0)}, server, ResetUnread},
		{"F9 server, told last", []*kprobes.SocketEvent{end(c, syscall.ECONNRESET, 0), end(s, 0, kprobes.ResetLinger)}, server, ResetLinger},
		{"by a server elsewhere", []*kprobes.SocketEvent{end(c, syscall.ECONNRESET, 0)}, server, ResetUnknown},
		{"unread, but the other was first", []*kprobes.SocketEvent{end(c, syscall.ECONNRESET, kprobes.ResetUnread)}, server, ResetUnknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := newTest()
			var got, total Measures
			for i, ev := range tc.ends { // an interval for each: what is told late is counted once, too
				j.Socket(ev)
				for _, r := range tick(j, t0+2*sec+int64(i)*sec/10, Running) {
					got.ResetByClient += r.Delta.ResetByClient
					got.ResetByServer += r.Delta.ResetByServer
					for by := range got.Resets {
						for why := range got.Resets[by] {
							got.Resets[by][why] += r.Delta.Resets[by][why]
						}
					}
					total = r.Total
				}
			}
			want := Measures{ResetByClient: 1}
			if tc.by == server {
				want = Measures{ResetByServer: 1}
			}
			if tc.why != ResetUnknown {
				want.Resets[tc.by][tc.why] = 1
			}
			if got != want || total.Resets != want.Resets {
				t.Errorf("counted %+v, in all %+v, want %+v", got, total.Resets, want)
			}
		})
	}
}
