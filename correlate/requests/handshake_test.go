package requests

import (
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
	"github.com/weir-probe/weir/flows/l7/tls"
	"github.com/weir-probe/weir/kprobes"
)

// shake plays a recorded handshake as a server's socket sees it.
func shake(k *Tracker, cookie uint64, pieces []l7test.Chunk) {
	s := tcp(k, cookie, kprobes.RoleServer)
	for _, p := range pieces {
		if len(p.Data) > 0 {
			s.say(p.Dir == l7.ToClient, p.Time, string(p.Data))
		}
	}
}

// What a real handshake of TLS 1.2 shows is told with its connection: how long it
// took as a whole, when the certificate expires, and what was agreed on.
func TestHandshakeIsTold(t *testing.T) {
	streams := l7test.Capture(t, "../../flows/l7/tls/testdata/tls12.pcap")
	want := l7test.Run(tls.Spec, streams[0])[0]
	took := want.ResponseLast - want.RequestFirst
	k := New(Config{}, []l7.Spec{tls.Spec}, nil)
	shake(k, 2, streams[0])
	r := recordOf(0, 2)
	k.Take(r)
	if len(r.Requests.Messages) != 1 {
		t.Fatalf("told %+v", r.Requests)
	}
	tl := r.Requests.Messages[0]
	var h dist.Histogram
	tl.Handshake.AddTo(&h)
	if h.Count != 1 || h.Sum != uint64(took) || took <= want.ResponseFirst-want.RequestLast || tl.NotAfter != want.NotAfter || tl.ALPN != "http/1.1" {
		t.Errorf("told %+v, %+v, want %d ns", tl, h, took)
	}
	life := correlate.Handshake{Version: "TLS 1.2", ServerName: "www.example.test", ALPN: "http/1.1", Took: took, NotAfter: want.NotAfter}
	if got := r.Requests.Life.Handshake; got == nil || *got != life {
		t.Errorf("life %+v, want %+v", got, life)
	}
	k.Take(r)
	if len(r.Requests.Messages) != 0 || r.Requests.Life.Handshake == nil {
		t.Errorf("told again %+v, or forgotten", r.Requests)
	}
}

// A handshake that fails has no duration; what was seen of the certificate is told.
func TestFailedHandshake(t *testing.T) {
	streams := l7test.Capture(t, "../../flows/l7/tls/testdata/tls12.pcap")
	k := New(Config{}, []l7.Spec{tls.Spec}, nil)
	shake(k, 2, streams[3])
	r := recordOf(0, 2)
	k.Take(r)
	tl := r.Requests.Messages[0]
	if tl.Status != "unknown_ca" || tl.Errors != 1 || tl.Handshake.Count() != 0 || tl.NotAfter == 0 || r.Requests.Life.Handshake.Took != 0 {
		t.Errorf("told %+v, life %+v", tl, r.Requests.Life.Handshake)
	}
}

// Distributions of handshakes go back to where they came from.
func TestHandshakesAreGivenBack(t *testing.T) {
	k := New(Config{MaxHistograms: 8}, toySpecs(), nil)
	at := ms
	for round := range 20 {
		s := tcp(k, uint64(round+1), kprobes.RoleServer)
		s.say(false, at, "?x\n")
		st := k.streams[streamKey{cookie: uint64(round + 1)}]
		for i := range int64(10) {
			k.told(st, &l7.Message{Protocol: l7.TLS, Outcome: l7.Answered, Operation: []byte("TLS 1.2"), Status: []byte("ok"), NotAfter: 9 - i,
				RequestFirst: at, RequestLast: at, ResponseFirst: at + i, ResponseLast: at + 2*i + 1})
		}
		tl := st.tallies[0]
		if tl.Handshake.Count() != 10 || tl.NotAfter == 0 || tl.NotAfter > 1 {
			t.Fatalf("round %d: %d handshakes, expiry %d", round, tl.Handshake.Count(), tl.NotAfter)
		}
		r := recordOf(0, uint64(round+1))
		r.Final = true
		k.Take(r)
		at += 1000 * ms
		k.Tick(time.Unix(0, at))
	}
	if k.Stats().Untimed != 0 {
		t.Errorf("%d durations had no room", k.Stats().Untimed)
	}
}
