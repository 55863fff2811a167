package anomaly

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

func inside(i int) correlate.Endpoint {
	return correlate.Endpoint{Addr: addr(fmt.Sprintf("172.18.%d.%d", 9+i/200, 1+i%200)), Kind: correlate.KindExternal, Name: "external"}
}

func TestPortScan(t *testing.T) {
	r := learnt(t, Config{})
	as := r.run(3*time.Minute, with(func(now time.Time) (rs []*correlate.Record) {
		for i := range 40 {
			rs = append(rs, refusal(web, db, uint16(1000+40*now.Minute()+i)))
		}
		return rs
	}))
	r.want(as, "port_scan")
	a := as[0]
	if a.Client.Name != "shop/web" || a.Server.Address != "172.18.7.1" || a.Seen < 35 || a.Seen > 45 || a.Client.PID == 0 || !strings.Contains(a.Evidence, "172.18.7.1:1000") || !strings.Contains(a.Evidence, "attempts=40 ") {
		t.Errorf("%+v", a)
	}
	if s := r.d.Stats(); s.Edges != 4+fewTargets {
		t.Errorf("%d edges", s.Edges)
	}
	// What was only tried is forgotten.
	r.run(time.Hour, usual)
	if s := r.d.Stats(); s.Edges != 4 || r.d.attempts != 0 {
		t.Errorf("%d edges, %d only tried", s.Edges, r.d.attempts)
	}
	// From outside, at ports behind which nobody is.
	box := correlate.Endpoint{Local: true, Kind: correlate.KindHost, Name: "box", Addr: addr("192.0.2.1")}
	as = r.run(10*time.Minute, with(func(now time.Time) (rs []*correlate.Record) {
		for i := range 10 {
			rs = append(rs, refusal(elsewhere("", "203.0.113.66"), box, uint16(1000+10*now.Minute()+i)))
		}
		return rs
	}))
	r.want(as, "port_scan")
	if as[0].Client.Name != external || as[0].Client.Address != "203.0.113.66" || !strings.HasPrefix(as[0].Message, "203.0.113.66 tried") {
		t.Errorf("%+v", as[0])
	}
}

func TestHostScan(t *testing.T) {
	r := learnt(t, Config{})
	as := r.run(10*time.Minute, with(func(now time.Time) (rs []*correlate.Record) {
		for i := range 20 { // slow, and some are there: connected, and closed at once
			x := talk(web, inside(20*now.Minute()+i), 22, 0, 0)
			if i%4 != 0 {
				x = refusal(web, inside(20*now.Minute()+i), 22)
			}
			rs = append(rs, x)
		}
		return rs
	}))
	r.want(as, "host_scan")
	if as[0].Client.Name != "shop/web" || !strings.Contains(as[0].Evidence, "ports=1 ") {
		t.Errorf("%+v", as[0])
	}
}

// What is no scan: one server that is down, many that answer, what was always so.
func TestNoScan(t *testing.T) {
	r := learnt(t, Config{})
	var metrics = inService("mon/prometheus", "prometheus:3")
	as := r.run(time.Hour, with(func(now time.Time) (rs []*correlate.Record) {
		for i := range 60 {
			rs = append(rs, refusal(web, inside(i%3), uint16(8080+i%2)))
			x := inService(fmt.Sprintf("app%d/svc", i), "app:1")
			x.Addr[15] = byte(i)
			rs = append(rs, talk(metrics, x, 9100, 200, 20000))
		}
		return rs
	}))
	for _, a := range as {
		if a.Type == PortScan || a.Type == HostScan {
			t.Errorf("%+v", a)
		}
	}
	// A check of all hosts that runs every night.
	r = newRig(t, Config{})
	nightly := with(func(now time.Time) (rs []*correlate.Record) {
		if now.Hour() == 3 && now.Minute() < 10 {
			for i := range 30 {
				rs = append(rs, refusal(pay, inside(30*now.Minute()+i), 22))
			}
		}
		return rs
	})
	r.want(r.run(4*day, nightly), "")
}

// at moves a record within its interval.
func at(r *correlate.Record, d time.Duration) *correlate.Record {
	r.Start = int64(d)
	return r
}

func TestBeacon(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	r := learnt(t, Config{})
	c2 := elsewhere("", "203.0.113.200")
	next := start
	as := r.run(5*time.Hour, with(func(now time.Time) (rs []*correlate.Record) {
		for next.Before(now) {
			next = now
		}
		for next.Before(now.Add(time.Minute)) { // every five minutes, give or take a fifth
			rs = append(rs, at(talk(pay, c2, 443, 300, 200), next.Sub(now)))
			next = next.Add(time.Duration((5 + rnd.Float64()*2 - 1) * float64(time.Minute)))
		}
		return rs
	}))
	r.want(as, "new_destination beacon")
	if a := as[len(as)-1]; a.State == Active && (a.Type != Beacon || a.Client.Name != "shop/pay" || !strings.Contains(a.Message, "every 5m") && !strings.Contains(a.Message, "every 4m")) {
		t.Errorf("%+v", a)
	}
}

// What is none: what somebody does at random, large transfers at regular times, what
// was always so, and what came with a deployment.
func TestNoBeacon(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	r := newRig(t, Config{})
	ntp := elsewhere("", "198.51.100.123")
	base := with(func(now time.Time) []*correlate.Record { return []*correlate.Record{talk(pay, ntp, 123, 48, 48)} })
	r.want(r.run(26*time.Hour, base), "")
	some, sync := elsewhere("", "203.0.113.1"), elsewhere("", "203.0.114.1")
	pay2 := inService("shop/pay", "pay:2")
	r.want(r.run(12*time.Hour, func(now time.Time) []*correlate.Record {
		rs := append(usual(now)[:3], talk(pay2, ntp, 123, 48, 48))
		if rnd.IntN(4) == 0 {
			rs = append(rs, at(talk(pay2, some, 443, 300, 200), time.Duration(rnd.IntN(60))*time.Second))
		}
		if now.Minute()%15 == 0 {
			rs = append(rs, talk(pay2, sync, 443, 100, 5e6))
		}
		rs = append(rs, talk(pay2, db, 5432, 1, 1), talk(pay2, elsewhere("telemetry.example", "203.0.115.1"), 443, 500, 100))
		return rs
	}), "")
	r.want(r.run(12*time.Hour, func(now time.Time) []*correlate.Record {
		rs := base(now)
		if rnd.IntN(4) == 0 {
			rs = append(rs, at(talk(web, some, 443, 300, 200), time.Duration(rnd.IntN(60))*time.Second))
		}
		if now.Minute()%15 == 0 {
			rs = append(rs, talk(web, sync, 443, 100, 5e6))
		}
		return rs
	}), "new_destination new_destination")
}

// question is a DNS message that asks for a name.
func question(name string) []byte {
	b := []byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for l := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(l))), l...)
	}
	return binary.BigEndian.AppendUint16(append(b, 0, 0, 1), 1)
}

// asks is a record of the socket that asked, with a cookie.
func asks(c correlate.Endpoint, cookie uint64) *correlate.Record {
	r := talk(c, inService("net/dns", "dns:1"), 53, 60, 120)
	r.Proto, r.Client.Cookie = flows.UDP, cookie
	return r
}

func TestDNSTunnel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	r := newRig(t, Config{})
	names := with(func(now time.Time) []*correlate.Record {
		for i := range 30 { // an antivirus that asks for hashes all day, a CDN, a service
			r.d.Query(1, question(fmt.Sprintf("%032x.av.sophosxl.example", rnd.Uint64())))
			r.d.Query(1, question(fmt.Sprintf("r%d.cdn.example", i)))
			r.d.Query(1, question("a-very-long-name-of-a-service-that-is-always-the-same.eu-west-1.amazonaws.example"))
		}
		return []*correlate.Record{asks(web, 1)}
	})
	r.want(r.run(26*time.Hour, names), "")
	r.want(r.run(2*time.Hour, func(now time.Time) []*correlate.Record {
		for i := range 30 { // many short ones of a new place, few long ones
			r.d.Query(2, question(fmt.Sprintf("img%d.shop.example", rnd.IntN(1000))))
			r.d.Query(2, question(fmt.Sprintf("static-assets-of-the-shop-%d.eu-central.cloud.example", i%8)))
		}
		return append(names(now), asks(api, 2))
	}), "new_edge")
	as := r.run(10*time.Minute, func(now time.Time) []*correlate.Record {
		for range 20 {
			r.d.Query(3, question(fmt.Sprintf("%016x%016x.t.Evil.co.uk", rnd.Uint64(), rnd.Uint64())))
		}
		return append(names(now), asks(api, 3))
	})
	r.want(as, "dns_tunnel")
	if a := as[0]; !strings.EqualFold(a.Server.Name, "evil.co.uk") || a.Client.Name != "shop/api" || a.Client.Process != "api" || a.Seen < 45 {
		t.Errorf("%+v", a)
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add(question("www.example.com"))
	f.Add(question("a.b.c.d.example.co.uk"))
	f.Add([]byte{})
	f.Add(append(question("x.example.com"), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, ok := parseQuery(b)
		if !ok {
			return
		}
		if q.at < dnsHeader || q.at >= len(b) || q.labels == 0 {
			t.Fatalf("%+v", q)
		}
		if n := nameOf(b, q.at); n == "" || len(n) > 255 {
			t.Fatalf("%q", n)
		}
		d := New(Config{})
		d.Query(1, b)
		if s := d.Stats(); s.BadQueries != 0 {
			t.Fatal("read once and not again")
		}
	})
}

// Everything is bounded, and what does not fit is counted.
func TestBounds(t *testing.T) {
	r := newRig(t, Config{MaxEdges: 50, MaxNames: 60})
	for i := range 3000 {
		a := fmt.Sprintf("10.%d.%d.1", i/250, i%250)
		r.d.Add(talk(web, elsewhere("", a), 443, 1000, 1000))
		r.d.Add(talk(inService(fmt.Sprintf("p%d/x", i), "x"), db, 5432, 1, 1))
		r.d.Add(refusal(elsewhere("", a), web, 80))
		r.d.Query(uint64(i), question(fmt.Sprintf("a.b%d.example", i)))
	}
	r.d.Tick(start.Add(time.Minute))
	s := r.d.Stats()
	if s.Edges > 50 || s.Nodes > 60 || s.Sources > maxSources || s.Domains > maxDomains || len(r.d.places) > maxPlaces || len(r.d.nodes.domains) > 60 {
		t.Errorf("%+v", s)
	}
	if s.Refused < 3000*2-100+3000-maxSources+3000-maxDomains {
		t.Errorf("%d refused", s.Refused)
	}
	r = learnt(t, Config{})
	r.run(time.Minute, with(func(time.Time) (rs []*correlate.Record) {
		for i := range 3000 {
			p := correlate.Endpoint{Local: true, Kind: correlate.KindProcess, Name: fmt.Sprint("tool", i)}
			rs = append(rs, talk(p, db, 5432, 1, 1))
		}
		return rs
	}))
	if s := r.d.Stats(); s.Alarms != maxAlarms || s.Dropped == 0 {
		t.Errorf("%+v", s)
	}
}
