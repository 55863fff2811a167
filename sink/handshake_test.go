package sink

import (
	"fmt"
	"slices"
	"testing"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows/l7"
)

func handshake(alpn string, notAfter int64, ns ...int64) *correlate.Tally {
	return &correlate.Tally{
		Protocol: l7.TLS, Operation: "TLS 1.2", Status: "ok", ServerName: "shop.test", ALPN: alpn, Requests: uint32(len(ns)),
		Response: *small(1e6), Handshake: *small(ns...), NotAfter: notAfter,
	}
}

func TestHandshakesInL7(t *testing.T) {
	a := NewAggregator(testConfig())
	expires := at(100).UnixNano()
	a.Add(asked(record(web, db), small(1e6), handshake("h2", expires+5, 2e6, 4e6)))
	a.Add(asked(record(web, db), small(1e6), handshake("h2", expires, 6e6)))
	a.Add(asked(record(web, db), small(1e6), handshake("h2", 0, 8e6))) // resumed
	rows := of(points(t, a.Flush(at(1))), MeasurementL7)
	if len(rows) != 1 {
		t.Fatalf("rows %v", rows)
	}
	r := rows[0]
	if r.int(HandshakeTime.Count) != 4 || r.fields[HandshakeTime.Sum] != 0.02 || r.fields[HandshakeTime.Max] != 0.008 || r.int(Response.Count) != 3 {
		t.Errorf("times in %v", r.fields)
	}
	if r.tags[TagALPN] != "h2" || r.int(FieldNotAfter) != expires || r.fields[FieldCertificateLeft] != 990.0 {
		t.Errorf("row %v", r)
	}
	a.Add(asked(record(web, db), small(1e6), handshake("h2", 0, 8e6)))
	r = of(points(t, a.Flush(at(2))), MeasurementL7)[0]
	if r.fields[FieldNotAfter] != nil || r.fields[FieldCertificateLeft] != nil || r.int(HandshakeTime.Count) != 1 {
		t.Errorf("an interval without a certificate: %v", r.fields)
	}
}

func TestExpiredCertificate(t *testing.T) {
	a := NewAggregator(testConfig())
	a.Add(asked(record(web, db), small(), handshake("", at(0).UnixNano(), 1)))
	if r := of(points(t, a.Flush(at(1))), MeasurementL7)[0]; r.fields[FieldCertificateLeft] != -10.0 {
		t.Errorf("row %v", r.fields)
	}
}

// What clients make up is one series, and no handshake is lost by it.
func TestHostileALPN(t *testing.T) {
	a := NewAggregator(testConfig())
	for i := range 500 {
		a.Add(asked(record(web, db), small(), handshake(fmt.Sprintf("x,=\" \\\n\xff%d", i), 0, 1)))
	}
	a.Add(asked(record(web, db), small(), handshake("http/1.1", 0, 1)))
	counts := map[string]int64{}
	for _, r := range of(points(t, a.Flush(at(1))), MeasurementL7) {
		counts[r.tags[TagALPN]] += r.int(HandshakeTime.Count)
	}
	if len(counts) != 2 || counts[Other] != 500 || counts["http/1.1"] != 1 || a.Stats().ALPNOther != 500 {
		t.Errorf("handshakes by ALPN: %v", counts)
	}
}

func TestHandshakeInFlowLog(t *testing.T) {
	l := NewFlowLog(testConfig())
	r := asked(record(web, db), small(), handshake("h2", 7, 3e6))
	r.Requests.Life.Handshake = &correlate.Handshake{Version: "TLS 1.2", ServerName: "shop.test", ALPN: "a \"b\\\n", Took: 3e6, NotAfter: 7}
	l.Add(r, at(1))
	l.Add(asked(record(web, db), small(), handshake("", 0)), at(1)) // of no handshake
	ps := points(t, l.Flush(at(1)))
	f := ps[0].fields
	if f[LogTLSVersion] != "TLS 1.2" || f[TagServerName] != "shop.test" || f[TagALPN] != "a \"b\\ " || f[LogHandshake] != 0.003 || f[FieldNotAfter] != int64(7) {
		t.Errorf("row %v", f)
	}
	for _, name := range []string{LogTLSVersion, TagServerName, TagALPN, LogHandshake, FieldNotAfter} {
		if ps[1].fields[name] != nil {
			t.Errorf("%s in %v", name, ps[1].fields)
		}
	}
}

func TestALPNIsSorted(t *testing.T) {
	if !slices.IsSorted(registeredALPN[:]) || alpnTag("h3") != "h3" || alpnTag("istio") != Other || alpnTag("") != "" {
		t.Error("a registered protocol is not found, or another is")
	}
}

func TestHandshakesDoNotAllocate(t *testing.T) {
	a := NewAggregator(testConfig())
	r := asked(record(web, db), small(1e6), handshake("h2", 1, 2e6, 3e6), handshake("made up", 0, 4e6))
	checkIntervals(t, a, func() { a.Add(r) })
}

// Series of handshakes leave nothing behind.
func TestHandshakeSeriesExpire(t *testing.T) {
	c := testConfig()
	a := NewAggregator(c)
	for i := range 50 {
		tl := handshake(registeredALPN[i%len(registeredALPN)], 1, 1)
		tl.ServerName = fmt.Sprint(i)
		a.Add(asked(record(web, db), small(), tl))
	}
	for n := 1; n < 10; n++ {
		a.Flush(at(n).Add(c.SeriesExpiry))
		a.Flush(at(n).Add(3 * c.SeriesExpiry))
	}
	if len(a.names.ids) != 0 || a.Stats().L7Series != 0 {
		t.Errorf("%d series and the names %v are held", a.Stats().L7Series, a.names.ids)
	}
}
