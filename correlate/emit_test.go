package correlate

import (
	"testing"
	"time"

	"github.com/weir-probe/weir/kprobes"
)

// Events that come while an interval is told, new connections, second ends that
// merge two into one, packets, are neither lost nor told twice.
func TestEventsDuringTick(t *testing.T) {
	j := newTest()
	const n = 400
	t0 := 100 * sec
	var later []func()
	for i := range uint64(n) {
		k := tcpKey("10.0.0.1", uint16(10000+i), "10.0.0.2", 80, 1)
		far := k.Reverse()
		far.NetNS = 2
		c := payload(bases(sock(2*i+1, k, kprobes.RoleClient, 10, "c", t0), uint32(1000+i), 7), 100+i, 5)
		s := payload(bases(sock(2*i+2, far, kprobes.RoleServer, 20, "s", t0), 7, uint32(1000+i)), 5, 100+i)
		c.Time, s.Time = t0+2*sec-1, t0+2*sec-1 // closed just now: not told to the end yet
		if i%2 == 0 {
			j.Socket(c)
		} else {
			later = append(later, func() { j.Socket(c) })
		}
		later = append(later, func() { j.Socket(s) }, func() { j.Flow(flow(k, t0, t0+sec, 800, 60)) })
	}
	type told struct {
		finals        int
		payload, wire uint64
	}
	got := map[uint16]*told{}
	add := func(r *Record) {
		x := got[r.Client.Port]
		if x == nil {
			x = &told{}
			got[r.Client.Port] = x
		}
		x.payload += r.Delta.ToServer.Payload
		x.wire += r.Delta.ToServer.WireOctets
		if r.Final {
			x.finals++
			if r.Reporter != ReporterBoth {
				t.Errorf("port %d: reporter %s", r.Client.Port, r.Reporter)
			}
		}
	}
	j.Tick(time.Unix(0, t0+2*sec), Running, func(r *Record) {
		add(r)
		for range 3 {
			if len(later) > 0 {
				later[0]()
				later = later[1:]
			}
		}
	})
	for _, f := range later {
		f()
	}
	for at := int64(3); at < 40; at++ {
		j.Tick(time.Unix(0, t0+at*sec), Running, add)
	}
	for i := range uint64(n) {
		x := got[uint16(10000+i)]
		if x == nil || *x != (told{1, 100 + i, 800}) {
			t.Errorf("port %d: %+v", 10000+i, x)
		}
	}
	if c := j.Stats().Connections; len(got) != n || c != 0 {
		t.Errorf("%d connections told, want %d; %d left", len(got), n, c)
	}
}
