package cases

import (
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
)

// wantTimes compares a finished connection's times with what its client's kernel and
// clock said of it: the connection's end may bring a smaller RTT, none a larger minimum.
func wantTimes(t *testing.T, r row, connectMicros int, truth tcpInfo) {
	t.Helper()
	if c := r.seconds("connect_sum_seconds"); c <= 0 || c > float64(connectMicros+1)/1e6 {
		t.Errorf("connect took %v s, the client waited %d µs", c, connectMicros)
	}
	least, avg, most := r.seconds("rtt_min_seconds"), r.seconds("rtt_avg_seconds"), r.seconds("rtt_max_seconds")
	if least <= 0 || least > float64(truth.minRTT)/1e6 || least > avg || avg > most {
		t.Errorf("RTT %v, %v, %v s; the kernel says %+v", least, avg, most, truth)
	}
	if r.seconds("jitter_seconds") < 0 {
		t.Errorf("no jitter in %v", r)
	}
}

// The RTT of a loopback and of a virtual wire is the kernel's.
func TestCaseG6_RoundTrips(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 17)
	for _, c := range []struct {
		name, address string
		at            *netlab.NS
	}{{"lo", "127.0.0.1", b.near}, {"veth", b.there, b.far}} {
		t.Run(c.name, func(t *testing.T) {
			s := spawn(t, c.at, "steps", strings.Fields("listen "+c.address+":0 accept read 3000 write 3000 drain close")...)
			port := s.number()
			p := spawn(t, b.near, "steps", "connect-timed", endpoint(c.address, port), "write", "3000", "read", "3000", "acked", "info", "close")
			took, truth := p.number(), p.info()
			s.hears("ok")
			p.ended()
			s.ended()
			r := rows.final(t, 1, both(b.mine, serverPort(port)))[0]
			wantTimes(t, r, took, truth)
		})
	}
}

// A server that delays its acknowledgements, by 40 ms and more, makes the smoothed
// RTT larger, and neither the smallest RTT nor the time to connect.
func TestCaseG10_DelayedAcknowledgements(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 18)
	// Each time the server has nothing to send with its acknowledgement of the first octet.
	const times = 12
	s, port := b.server(t, "accept delay-acks write 1"+strings.Repeat(" read 2 delay-acks write 1", times)+" drain close")
	doing := "connect-timed " + endpoint(b.there, port) + " read 1" + strings.Repeat(" write 1 acked write 1 read 1", times) + " info close"
	c := spawn(t, b.near, "steps", strings.Fields(doing)...)
	took, truth := c.number(), c.info()
	s.hears("ok")
	c.ended()
	s.ended()
	const delay = 40_000 // µs, TCP_ATO_MIN
	if truth.rtt < delay/4 {
		t.Fatalf("nothing was delayed: %+v", truth)
	}
	r := rows.final(t, 1, b.mine)[0]
	wantTimes(t, r, took, truth)
	if least, most := r.seconds("rtt_min_seconds"), r.seconds("rtt_max_seconds"); most < float64(truth.rtt)/2e6 || least >= most {
		t.Errorf("RTT from %v to %v s; the kernel says %+v", least, most, truth)
	}
}
