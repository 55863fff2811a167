package correlate

import (
	"testing"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// What a client elsewhere waits for is only in the packets; a client that lives here
// knows better.
func TestSynAck(t *testing.T) {
	for _, here := range []bool{false, true} {
		j := newTest()
		k := tcpKey("172.17.0.2", 40000, "172.17.0.3", 80, 11)
		t0 := 100 * sec
		server := k.Reverse()
		server.NetNS = 12
		j.Socket(payload(bases(sock(8, server, kprobes.RoleServer, 20, "nginx", t0), 2000, 1000), 5000, 300))
		if here {
			j.Socket(payload(bases(sock(7, k, kprobes.RoleClient, 10, "curl", t0), 1000, 2000), 300, 5000))
		}
		f := flow(k, t0, t0+sec/2, 800, 6000)
		f.SynAck = 3e6
		j.Flow(f)
		r := only(t, tick(j, t0+3*sec, Running))
		want := [2]int64{3e6, 0}
		if here {
			want = [2]int64{0, 1e6}
		}
		if got := [2]int64{r.SynAck, r.Connect}; got != want || r.SynAckTotal != r.SynAck {
			t.Errorf("client here %v: SYN to SYN-ACK %d (%d), connect %d, want %v", here, r.SynAck, r.SynAckTotal, r.Connect, want)
		}
	}
}

// Who asks about a connection takes nothing from its rows.
func TestDescribeTakesNoTimes(t *testing.T) {
	rows := func(look bool) Record {
		given := false
		once := func(flows.Addr, uint32, int64) int64 { // a wait is one connection's
			if given {
				return 0
			}
			given = true
			return 4e6
		}
		j := New(Config{HostNetNS: 1, Waited: once}, &plainEnricher{})
		k := tcpKey("172.17.0.2", 40000, "172.17.0.3", 80, 11)
		t0 := 100 * sec
		j.Socket(payload(bases(sock(7, k, kprobes.RoleClient, 10, "curl", t0), 1000, 2000), 300, 5000))
		if look {
			j.Describe(time.Unix(0, t0+sec), func([]Side) bool { return true }, func(*Record) bool { return true })
		}
		return only(t, tick(j, t0+3*sec, Running))
	}
	got, want := rows(true), rows(false)
	if got.Resolve != want.Resolve || got.Connect != want.Connect || got.Accept != want.Accept || want.Resolve == 0 || want.Connect == 0 {
		t.Errorf("asked about: resolve %d, connect %d, accept %d; else %d, %d, %d", got.Resolve, got.Connect, got.Accept, want.Resolve, want.Connect, want.Accept)
	}
}
