package cases

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// A server that is slow to accept: a connection waits in its queue from the end of the
// handshake until accept(2), which neither connecting nor answering took.
func TestAcceptQueueWait(t *testing.T) {
	_, rows := own(t)
	b := newPair(t, 80)
	const n, late = 3, 100 // connections one after the other, ms
	server, port := b.server(t, strings.Repeat("wait pause "+strconv.Itoa(late)+" accept say accepted read 1 write 1 close ", n))
	var clients []*process
	var most float64 // seconds of all
	for range n {
		client := b.client(t, port, "wait connect $ write 1 read 1 close")
		began := time.Now()
		client.say("go")
		client.hears("ok") // the handshake is complete
		server.say("go")
		server.hears("accepted")
		most += time.Since(began).Seconds()
		clients = append(clients, client)
	}
	for _, c := range clients {
		c.ended()
	}
	for _, x := range rows.final(t, n, both(b.mine, serverPort(port))) {
		want(t, x, map[string]any{"accept_count": 1})
		if waited, _ := x.fields["accept_sum_seconds"].(float64); waited < late/1e3 {
			t.Errorf("waited %v s for accept, the server slept %v s before it", waited, late/1e3)
		}
	}
	var count int64
	var sum, least, connects float64
	for _, x := range rows.all(t, "flow_latency", func(x row) bool { return x.tag("server_port") == strconv.Itoa(port) && x.time >= b.made }) {
		f := func(name string) float64 { v, _ := x.fields[name].(float64); return v }
		count += max(x.num("accept_count"), 0)
		sum += f("accept_sum_seconds")
		connects += f("connect_sum_seconds")
		if m := f("accept_min_seconds"); m != 0 && (least == 0 || m < least) {
			least = m
		}
	}
	if count != n || sum < n*late/1e3 || sum > most || least < late/1e3 || connects+sum > most {
		t.Errorf("%d waited %v s in all, %v s at least, and connected in %v s; the server was %v s late for each of %d, it took %v s in all", count, sum, least, connects, late/1e3, n, most)
	}
}
