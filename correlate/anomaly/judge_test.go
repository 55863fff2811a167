package anomaly

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
)

// tide is the load of a day, most at 14:00, between 0.25 and 1, with noise.
func tide(now time.Time, rnd *rand.Rand) float64 {
	h := float64(now.Hour()) + float64(now.Minute())/60
	return (0.625 + 0.375*math.Cos((h-14)/24*2*math.Pi)) * math.Exp(0.25*rnd.NormFloat64())
}

// shop is what goes on, with scale applied to the records of some edge.
func shop(rnd *rand.Rand, change func(now time.Time, rs []*correlate.Record) []*correlate.Record) func(time.Time) []*correlate.Record {
	return func(now time.Time) []*correlate.Record {
		l := tide(now, rnd)
		n := func(x float64) uint64 { return uint64(x * l * math.Exp(0.1*rnd.NormFloat64())) }
		rs := []*correlate.Record{
			talk(web, api, 8080, n(4e6), n(20e6)), talk(api, db, 5432, n(5e6), n(30e6)),
			talk(api, mail, 587, n(1e6), n(1e5)), talk(elsewhere("", "203.0.113.77"), web, 443, n(3e6), n(60e6)),
		}
		for _, r := range rs {
			r.Delta.Opened = uint32(n(100))
			r.Delta.RTT = correlate.RTT{Sum: uint64(400e3 * math.Exp(0.3*rnd.NormFloat64())), Count: 1}
			r.Delta.ToServer.Retransmits = uint64(rnd.IntN(3))
		}
		if change != nil {
			rs = change(now, rs)
		}
		return rs
	}
}

// change runs two days of the shop, then a change for some time; it returns what was
// told since.
func change(t *testing.T, d time.Duration, f func(now time.Time, rs []*correlate.Record) []*correlate.Record) (*rig, []Anomaly) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(7, 7))
	r := newRig(t, Config{})
	r.want(r.run(2*day+10*time.Hour, shop(rnd, nil)), "")
	return r, r.run(d, shop(rnd, f))
}

const (
	webAPI = iota
	apiDB
	apiMail
	netWeb
)

func TestVolume(t *testing.T) {
	r, as := change(t, 30*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[apiDB].Delta.ToClient.Payload *= 8
		return rs
	})
	r.want(as, "volume")
	a := as[0]
	if a.Client.Name != "shop/api" || a.Server.Name != "shop/db" || a.Score < 3 || a.Seen < 3*a.Expected || a.Expected < 10e6 || a.Expected > 60e6 {
		t.Errorf("%+v", a)
	}
	rnd := rand.New(rand.NewPCG(8, 8))
	after := r.run(30*time.Minute, shop(rnd, nil))
	if len(after) != 1 || after[0].State != Resolved || after[0].Fingerprint != a.Fingerprint {
		t.Errorf("after it: %+v", after)
	}
	r, as = change(t, 20*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[apiDB].Delta.ToClient.Payload /= 40
		rs[apiDB].Delta.ToServer.Payload /= 40
		return rs
	})
	r.want(as, "volume")
	r, as = change(t, 20*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[webAPI].Delta.Opened *= 10
		return rs
	})
	r.want(as, "volume")
}

// What is no strange volume: a short burst, twice as many replicas with twice as
// much, a little more.
func TestUsualVolume(t *testing.T) {
	r, as := change(t, 3*day, func(now time.Time, rs []*correlate.Record) []*correlate.Record {
		if now.Minute() < 2 {
			rs[apiDB].Delta.ToClient.Payload *= 8
		}
		for i := range rs {
			rs[i].Delta.ToServer.Payload += rs[i].Delta.ToServer.Payload / 4
		}
		return rs
	})
	r.want(as, "")
	r, as = change(t, 5*time.Hour, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		more := []*correlate.Record{}
		for i := range 4 {
			x := *rs[webAPI]
			serve(&x, replica("shop/api", "api:1", i+2))
			more = append(more, &x)
		}
		return append(rs, more...)
	})
	r.want(as, "")
}

// A backup at night is usual from the second time on, at an hour that is its own.
func TestBackup(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	s3 := elsewhere("backups.s3.example", "198.51.100.3")
	backup := func(hour int) func(time.Time, []*correlate.Record) []*correlate.Record {
		return func(now time.Time, rs []*correlate.Record) []*correlate.Record {
			if now.Hour() == hour && now.Minute() < 25 {
				rs = append(rs, talk(db, s3, 443, 200e6+uint64(rnd.IntN(50e6)), 1e5))
			}
			return rs
		}
	}
	r := newRig(t, Config{})
	r.want(r.run(5*day, shop(rnd, backup(2))), "")
	r.want(r.run(4*time.Hour, shop(rnd, nil)), "")
	r.want(r.run(4*time.Hour, shop(rnd, backup(6))), "") // out of its time, but no more than ever
}

func TestExfiltration(t *testing.T) {
	r, as := change(t, 20*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[apiMail].Delta.ToServer.Payload += 80e6
		return rs
	})
	r.want(as, "exfiltration")
	if a := as[0]; a.Client.Name != "shop/api" || a.Server.Name != "example.com" || a.Seen < 80e6 || a.Score < 2 {
		t.Errorf("%+v", a)
	}
	// To a new place, at once.
	r, as = change(t, 5*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		return append(rs, talk(db, elsewhere("", "203.0.113.5"), 443, 50e6, 1e4))
	})
	r.want(as, "new_destination exfiltration")
	// Slowly: no minute is more than ten times the usual.
	r, as = change(t, 58*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		return append(rs, talk(db, elsewhere("", "203.0.113.5"), 443, 4e6, 1e4))
	})
	r.want(as, "new_destination exfiltration")
	// Out of a server here.
	r, as = change(t, 10*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[netWeb].Delta.ToClient.Payload += 2e9
		return rs
	})
	r.want(as, "exfiltration")
}

// What is none: more of everything, and downloads.
func TestNoExfiltration(t *testing.T) {
	r, as := change(t, 20*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[netWeb].Delta.ToClient.Payload *= 20
		rs[netWeb].Delta.ToServer.Payload *= 20
		return rs
	})
	r.want(as, "volume")
	r, as = change(t, 20*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		return append(rs, talk(db, elsewhere("deb.example.org", "203.0.113.5"), 443, 1e5, 500e6))
	})
	r.want(as, "new_destination")
}

func TestFailures(t *testing.T) {
	fail := func(rs []*correlate.Record, n uint32) []*correlate.Record {
		rs[apiDB].Delta.Failed[correlate.FailRefused] = n
		return rs
	}
	r, as := change(t, 15*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record { return fail(rs, 200) })
	r.want(as, "failures")
	if a := as[0]; a.Seen < 199 || a.Score < 3 || a.Expected > 5 {
		t.Errorf("%+v", a)
	}
	// Requests that fail count, too.
	r, as = change(t, 15*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[webAPI].Requests = &correlate.Requests{Errors: 300, Response: &dist.Small{}, Messages: []*correlate.Tally{{Requests: 400}}}
		return rs
	})
	r.want(as, "failures")
	// To something that never was there.
	r, as = change(t, 15*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		for range 40 {
			rs = append(rs, refusal(api, pay, 9000))
		}
		return rs
	})
	r.want(as, "failures")
	// Few, short, or beside many that do not fail.
	r, as = change(t, 5*time.Hour, func(now time.Time, rs []*correlate.Record) []*correlate.Record {
		switch {
		case now.Minute() < 2:
			return fail(rs, 200)
		case now.Minute()%2 == 0:
			return fail(rs, 7)
		}
		return rs
	})
	r.want(as, "")
}

func TestRetransmits(t *testing.T) {
	r, as := change(t, 15*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[apiDB].Delta.ToClient.Retransmits = rs[apiDB].Delta.ToClient.Payload / 1400 / 20
		return rs
	})
	r.want(as, "retransmits")
	if a := as[0]; a.Seen < 0.03 || a.Seen > 0.07 || a.Expected > 0.01 {
		t.Errorf("%+v", a)
	}
	r, as = change(t, 5*time.Hour, func(now time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[apiDB].Delta.ToClient.Retransmits = rs[apiDB].Delta.ToClient.Payload / 1400 / 100 // 1 %
		if now.Minute() < 2 {
			rs[webAPI].Delta.ToClient.Retransmits = rs[webAPI].Delta.ToClient.Payload / 1400 / 10
		}
		return rs
	})
	r.want(as, "")
}

func TestLatency(t *testing.T) {
	slow := func(ns uint64) func(time.Time, []*correlate.Record) []*correlate.Record {
		return func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
			rs[apiDB].Delta.RTT.Sum += ns
			return rs
		}
	}
	r, as := change(t, 15*time.Minute, slow(40e6))
	r.want(as, "latency")
	if a := as[0]; a.Seen < 0.03 || a.Expected > 0.002 {
		t.Errorf("%+v", a)
	}
	r, as = change(t, 2*time.Hour, slow(3e6)) // ten times as much, and yet nothing
	r.want(as, "")
	r, as = change(t, 4*time.Minute, slow(40e6))
	r.want(as, "")
}

func TestQuiet(t *testing.T) {
	const d = time.Hour
	r, as := change(t, d, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		return append(rs[:apiDB], rs[apiMail:]...)
	})
	r.want(as, "quiet")
	if a := as[0]; a.Server.Name != "shop/db" || time.Unix(0, a.Since).After(r.now.Add(-d)) {
		t.Errorf("%+v", a)
	}
	r, as = change(t, 9*time.Minute, func(_ time.Time, rs []*correlate.Record) []*correlate.Record { return rs[:apiDB] })
	r.want(as, "")
	// An edge that is quiet now and then, and one that a deployment ended.
	rnd := rand.New(rand.NewPCG(5, 5))
	r = newRig(t, Config{})
	cron := func(every int) func(now time.Time, rs []*correlate.Record) []*correlate.Record {
		return func(now time.Time, rs []*correlate.Record) []*correlate.Record {
			if now.Minute()%every == 0 {
				rs = append(rs, talk(pay, db, 5432, 1e6, 1e6))
			}
			return rs
		}
	}
	r.want(r.run(2*day, shop(rnd, cron(5))), "")
	r.want(r.run(day, shop(rnd, cron(20))), "")
	r, as = change(t, 5*time.Hour, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		serve(rs[webAPI], inService("shop/api", "api:2"))
		rs[apiDB].Client = inService("shop/api", "api:2")
		return append(rs[:apiMail], rs[netWeb])
	})
	r.want(as, "")
}

// What a deployment changes is the new usual, without a word, and in its measure.
func TestRelearn(t *testing.T) {
	next := func(f float64) func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		return func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
			serve(rs[webAPI], inService("shop/api", "api:2"))
			rs[apiDB].Client, rs[apiMail].Client = inService("shop/api", "api:2"), inService("shop/api", "api:2")
			rs[apiDB].Delta.ToClient.Payload = uint64(f * float64(rs[apiDB].Delta.ToClient.Payload))
			rs[apiDB].Delta.RTT.Sum += 20e6
			return rs
		}
	}
	r, as := change(t, 2*day, next(10))
	r.want(as, "")
	r.want(r.run(20*time.Minute, shop(rand.New(rand.NewPCG(9, 9)), next(200))), "volume")
}

// What lasts is accepted in the end.
func TestAccept(t *testing.T) {
	r, as := change(t, 4*day, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
		rs[apiDB].Delta.ToClient.Payload *= 8
		return rs
	})
	r.want(as, "volume")
	if n := len(r.d.alarms.active); n != 0 {
		t.Errorf("%d go on after three days", n)
	}
}

// Owners that are missing for a day are so for good: the rest is judged again.
func TestAttributionLossIsAccepted(t *testing.T) {
	r, as := change(t, 2*day, func(now time.Time, rs []*correlate.Record) []*correlate.Record {
		for range 60 {
			rs = append(rs, talk(elsewhere("", "198.51.100.1"), elsewhere("", "203.0.113.1"), 443, 1000, 1000))
		}
		if now.Sub(start) > 3*day+16*time.Hour {
			rs[apiDB].Delta.ToClient.Payload *= 8
		}
		return rs
	})
	r.want(as, "attribution_loss volume")
}

// Traffic whose owner is not known is one anomaly, and no other.
func TestAttributionLoss(t *testing.T) {
	for how, lose := range map[string]func(*correlate.Record){
		"the process is not known": func(x *correlate.Record) {
			x.Client = correlate.Endpoint{Local: true, Kind: correlate.KindHost, Name: "box", Addr: x.Client.Addr}
		},
		"nothing but addresses": func(x *correlate.Record) {
			x.Client = elsewhere("", x.Client.Addr.String())
			serve(x, elsewhere("", x.Server.Addr.String()))
		},
	} {
		r, as := change(t, time.Hour, func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
			for _, x := range rs[:3] {
				lose(x)
			}
			var all []*correlate.Record
			for range 10 {
				all = append(all, rs...)
			}
			return all
		})
		t.Log(how)
		r.want(as, "attribution_loss")
		r.want(r.run(time.Hour, shop(rand.New(rand.NewPCG(2, 2)), nil)), "")
	}
	// Now and then one is usual, and so is what nobody answers.
	_, as := change(t, time.Hour, func(now time.Time, rs []*correlate.Record) []*correlate.Record {
		var all []*correlate.Record
		for range 10 {
			all = append(all, rs...)
		}
		box := correlate.Endpoint{Local: true, Kind: correlate.KindHost, Name: "box", Addr: addr("192.0.2.1")}
		for i := range 30 {
			all = append(all, refusal(elsewhere("", "203.0.113.77"), box, uint16(i%5)))
		}
		return append(all, talk(box, db, 5432, 1, 1))
	})
	for _, a := range as {
		if a.Type == AttributionLoss {
			t.Errorf("%+v", a)
		}
	}
}

// Owners that are missing from a start on are missing: what was usual is known from before.
func TestAttributionLossSinceTheStart(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	world := shop(rnd, nil)
	r := newRig(t, Config{})
	r.want(r.run(2*day, world), "")
	d, err := Restore(r.d.cfg, r.d.AppendState(nil), r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.d = d
	r.want(r.run(time.Hour, func(now time.Time) (rs []*correlate.Record) {
		for range 10 {
			for _, x := range world(now) {
				x.Client = elsewhere("", x.Client.Addr.String())
				serve(x, elsewhere("", x.Server.Addr.String()))
				rs = append(rs, x)
			}
		}
		return rs
	}), "attribution_loss")
}
