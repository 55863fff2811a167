package correlate

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/kprobes"
)

// life is what is told of one connection, both ends here: snapshots and ends of
// the two sockets, and its packets.
func life() []func(*Joiner) {
	k := tcpKey("10.0.0.1", 40000, "10.0.0.2", 80, 1)
	end := func(role kprobes.Role, snd, rcv uint32, sent, rcvd uint64) *kprobes.SocketEvent {
		key, cookie, pid := k, uint64(7), uint32(70)
		if role == kprobes.RoleServer {
			key, cookie, pid = k.Reverse(), 8, 80
			key.NetNS = 2
		}
		return payload(bases(sock(cookie, key, role, pid, fmt.Sprint("p", pid), 10*sec), snd, rcv), sent, rcvd)
	}
	open := func(ev *kprobes.SocketEvent, after int64) *kprobes.SocketEvent {
		e := *ev
		e.Kind, e.Time, e.State, e.Sent, e.Received, e.SRTT = kprobes.SocketSnapshot, 10*sec+after, kprobes.TCPEstablished, e.Sent/2, e.Received/2, 900
		return &e
	}
	client, server := end(kprobes.RoleClient, 1000, 2000, 100, 300), end(kprobes.RoleServer, 2000, 1000, 300, 100)
	client.Time += 3
	accepted := open(server, 2)
	accepted.Owner.How, accepted.Owner.ProcessID = kprobes.OwnerListener, kprobes.ProcessID{PID: 60, Start: 60}
	syn := open(client, 1)
	syn.State, syn.Established, syn.HasBase, syn.Sent, syn.Received, syn.SRTT = kprobes.TCPSynSent, 0, false, 0, 0, 0
	var all []func(*Joiner)
	for _, ev := range []*kprobes.SocketEvent{syn, open(client, sec/4), client, accepted, server} {
		all = append(all, func(j *Joiner) { c := *ev; j.Socket(&c) })
	}
	return append(all, func(j *Joiner) { j.Flow(flow(k, 10*sec, 10*sec+sec/2, 700, 900)) })
}

// B5: in whatever order two CPUs tell of a connection, one record comes out of
// it, and always the same.
func TestCaseB5_AnyOrder(t *testing.T) {
	events := life()
	var first *Record
	n := 0
	permutations(len(events), func(order []int) {
		n++
		j := New(Config{}, &plainEnricher{})
		for _, i := range order {
			events[i](j)
		}
		got := tick(j, 12*sec, Running)
		if len(got) != 1 || !got[0].Final {
			t.Fatalf("%v: %d records: %+v", order, len(got), got)
		}
		r := &got[0]
		if first == nil {
			first = r
			if r.CloseCause != CloseNormal || r.Client.Process.PID != 70 || r.Server.Process.PID != 80 ||
				r.Total.ToServer.Payload != 100 || r.Total.ToClient.Payload != 300 || r.Reporter != ReporterBoth || r.Total.Opened != 1 {
				t.Fatalf("%+v", r)
			}
			return
		}
		if diff := cmp.Diff(first, r); diff != "" {
			t.Fatalf("%v tells it otherwise:\n%s", order, diff)
		}
	})
	if n != 720 {
		t.Errorf("%d orders", n)
	}
}

// permutations calls f with every order of n things.
func permutations(n int, f func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var rec func(int)
	rec = func(k int) {
		if k == n {
			f(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			rec(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	rec(0)
}
