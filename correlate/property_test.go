package correlate

import (
	"testing"

	"github.com/weir-probe/weir/flows"
)

// check runs a world and compares every record with the truth: no wrong process
// at either end, no end joined with another connection's, payload told once, no octet
// on the wire lost or told twice, and to the right connection where it can be
// told.
func check(t *testing.T, seed uint64, cookies bool, pairs int) {
	w := newWorld(seed, cookies, pairs)
	byClient := map[uint64]*talk{}
	var truth uint64
	for _, k := range w.talks {
		byClient[k.cookies[0]] = k
		truth += k.wireOut + k.wireIn
	}
	j := newTest()
	var wire uint64
	w.run(j, func(r *Record) {
		wire += r.Delta.ToServer.WireOctets + r.Delta.ToClient.WireOctets
		for _, e := range []*Endpoint{&r.Client, &r.Server} {
			if e.Cookie == 0 && e.Process != nil {
				t.Errorf("a process without its socket: %+v", e)
			}
			if e.Process != nil && e.Process.PID != pidOf(e.Cookie) {
				t.Errorf("socket %d is told to be of process %d", e.Cookie, e.Process.PID)
			}
		}
		k := byClient[r.Client.Cookie]
		if k == nil {
			return
		}
		if r.Server.Cookie != 0 && r.Server.Cookie != k.cookies[1] {
			t.Errorf("client %d with server %d, want %d", r.Client.Cookie, r.Server.Cookie, k.cookies[1])
		}
		if c := r.Server.Cookie; c == 0 && (k.proto == flows.TCP || cookies || pairs == 1) && r.Final {
			t.Errorf("%v of client %d ended without its server", k.proto, r.Client.Cookie)
		}
		if r.Start != k.start {
			t.Errorf("client %d began at %d, told as %d", r.Client.Cookie, k.start, r.Start)
		}
		k.told[0] += r.Delta.ToServer.Payload
		k.told[1] += r.Delta.ToClient.Payload
		k.toldOut += r.Delta.ToServer.WireOctets
		k.toldIn += r.Delta.ToClient.WireOctets
		if r.Final {
			k.finals++
		}
	})
	exact := cookies || pairs == 1
	for _, k := range w.talks {
		if k.finals != 1 || k.told[0] > k.sent || k.told[1] > k.rcvd ||
			(k.proto == flows.TCP || exact) && k.told != [2]uint64{k.sent, k.rcvd} { // else a datagram server may have told some of them alone
			t.Errorf("client %d (%v %v): told %v of %d, %d octets in %d ends", k.cookies[0], k.client, k.client.NetNS, k.told, k.sent, k.rcvd, k.finals)
		}
		if k.toldOut > k.wireOut || k.toldIn > k.wireIn || exact && (k.toldOut != k.wireOut || k.toldIn != k.wireIn) {
			t.Errorf("client %d (%v %v): told %d, %d octets on the wire of %d, %d", k.cookies[0], k.client, k.client.NetNS, k.toldOut, k.toldIn, k.wireOut, k.wireIn)
		}
	}
	if wire != truth {
		t.Errorf("%d octets on the wire in records, %d were", wire, truth)
	}
	if n := len(j.conns) + len(j.sockets) + len(j.tuples) + len(j.pairs) + len(j.peers); n != 0 {
		t.Errorf("left: %d connections, %d sockets, %d tuples, %d pairs, %d peers", len(j.conns), len(j.sockets), len(j.tuples), len(j.pairs), len(j.peers))
	}
	if t.Failed() {
		t.Fatalf("seed %d, cookies %v, %d pairs: %+v", seed, cookies, pairs, j.Stats())
	}
}

// Whatever the order of events, every record names the right owners and totals
// are the truth.
func TestCaseC_AnyWorld(t *testing.T) {
	for seed := range uint64(300) {
		check(t, seed, true, 2)
		check(t, seed, false, 1)
		check(t, seed, false, 2)
	}
}

func FuzzJoiner(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(1000+seed, seed%2 == 0, uint8(seed%3))
	}
	f.Fuzz(func(t *testing.T, seed uint64, cookies bool, pairs uint8) {
		check(t, seed, cookies, 1+int(pairs%3))
	})
}
