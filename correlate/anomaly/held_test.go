package anomaly

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// What is held needs six minutes of nine, whatever the other three are.
func TestWindow(t *testing.T) {
	var w window
	for i := range lately - 1 {
		w.add(level(i))
	}
	if _, _, ok := w.held(); ok {
		t.Error("it knows after eight minutes")
	}
	for i, c := range []struct{ add, want level }{{9000, 3}, {9000, 4}, {9000, 5}, {9000, 6}, {9000, 7}, {9000, 9000}} {
		w.add(c.add)
		if got, _, ok := w.held(); got != c.want || !ok {
			t.Errorf("after %d minutes of a surge %d is held, want %d", i+1, got, c.want)
		}
	}
	for i, want := range []level{9000, 9000, 9000, 9000, 9000, 0} {
		w.add(0)
		if _, got, _ := w.held(); got != want {
			t.Errorf("after %d minutes of next to nothing it has sunk to %d, want %d", i+1, got, want)
		}
	}
}

// steady is an edge whose minutes vary little.
func steady(rnd *rand.Rand, factor float64) func(time.Time) []*correlate.Record {
	return func(time.Time) []*correlate.Record {
		return []*correlate.Record{talk(web, db, 5432, uint64(5e6*factor*math.Exp(0.1*rnd.NormFloat64())), 1000)}
	}
}

// What varies little is told from twice as much on, though no minute is beyond what an
// edge that varies may have; a surge of five minutes is not.
func TestSmallShift(t *testing.T) {
	for _, c := range []struct {
		factor float64
		lasts  time.Duration
		want   string
	}{{1.3, 30 * time.Minute, ""}, {2.2, 15 * time.Minute, "volume"}, {8, 5 * time.Minute, ""}, {1 / 2.5, 30 * time.Minute, ""}, {1 / 6., 30 * time.Minute, "volume"}} {
		rnd := rand.New(rand.NewPCG(3, 3))
		r := newRig(t, Config{})
		r.want(r.run(4*day, steady(rnd, 1)), "")
		r.want(r.run(c.lasts, steady(rnd, c.factor)), c.want)
		if as := r.run(30*time.Minute, steady(rnd, 1)); len(r.all) > 0 && (len(as) != 1 || as[0].State != Resolved) {
			t.Errorf("%g times: after it %+v", c.factor, as)
		}
	}
}

// What is asked of a service explains what it asks of others: more of everything is told
// where it comes in, and what grows by itself is told where it grows.
func TestDemand(t *testing.T) {
	more := func(edges ...int) func(time.Time, []*correlate.Record) []*correlate.Record {
		return func(_ time.Time, rs []*correlate.Record) []*correlate.Record {
			for _, i := range edges {
				d := &rs[i].Delta
				d.ToServer.Payload, d.ToClient.Payload, d.Opened = 8*d.ToServer.Payload, 8*d.ToClient.Payload, 8*d.Opened
			}
			return rs
		}
	}
	r, as := change(t, 40*time.Minute, more(netWeb, webAPI, apiDB, apiMail))
	r.want(as, "volume")
	if as[0].Client.Name != external || as[0].Server.Name != "shop/web" {
		t.Errorf("%+v", as[0])
	}
	r, as = change(t, 40*time.Minute, more(apiDB))
	r.want(as, "volume")
	if as[0].Client.Name != "shop/api" || !strings.Contains(as[0].Evidence, "expected_growth=1.") {
		t.Errorf("%+v", as[0])
	}
}

// Half a megabyte a minute is told within a day, to a new place and to one that is known.
func TestSlowExfiltration(t *testing.T) {
	for name, place := range map[string]correlate.Endpoint{"new": elsewhere("", "203.0.113.5"), "known": mail} {
		rnd := rand.New(rand.NewPCG(5, 5))
		var r *rig
		leak := func(on bool) func(now time.Time) []*correlate.Record {
			return func(now time.Time) []*correlate.Record {
				rs := []*correlate.Record{talk(web, db, 5432, 1e6, 1e6), talk(db, mail, 587, uint64(2e4*math.Exp(0.3*rnd.NormFloat64())), 4000)}
				if on {
					x := talk(db, place, 443, 5e5, 1000)
					x.Server.Port = 587
					rs = append(rs, x)
				}
				return rs
			}
		}
		r = newRig(t, Config{})
		r.want(r.run(3*day, leak(false)), "")
		as := r.run(8*time.Hour, leak(true))
		if got := types(as); !strings.HasSuffix(got, "exfiltration") || strings.Count(got, "exfiltration") != 1 {
			t.Errorf("%s place: %s", name, got)
		}
	}
}

// An hour is the last sixty minutes, whenever it begins, and a day the last 24 hours.
func TestOutHour(t *testing.T) {
	p := &profile{}
	p.turn(1000)
	for h := int32(1000); h < 1030; h++ {
		p.turn(h)
		p.outTotal = 60
	}
	for _, c := range []struct{ passed, hour, day float64 }{{0, 120, 1500}, {0.5, 90, 1470}, {1, 60, 1440}} {
		h := 1029 % hours
		if hour, day := p.outHour(h, c.passed), p.outDay(h, c.passed); hour != c.hour || day != c.day {
			t.Errorf("%.1f of the hour has passed: %g in an hour, %g in a day", c.passed, hour, day)
		}
	}
	p.turn(1040) // nobody looked for ten hours
	if hour, day := p.outHour(1040%hours, 0), p.outDay(1040%hours, 0); hour != 0 || day != 14*60 {
		t.Errorf("after a pause %g in an hour, %g in a day", hour, day)
	}
}

// A clock that is set, either way, makes nothing unusual.
func TestClock(t *testing.T) {
	for _, skew := range []time.Duration{-25 * time.Minute, -2 * time.Second, 4 * time.Minute, 9 * time.Minute, 3 * time.Hour} {
		rnd := rand.New(rand.NewPCG(9, 9))
		r := newRig(t, Config{})
		world := func(now time.Time) []*correlate.Record {
			for range 12 {
				r.d.Query(1, question("a"+strings.Repeat("x", rnd.IntN(30))+now.Format("150405")+".long.names.of.something.av.example"))
			}
			return shop(rnd, nil)(now)
		}
		r.run(34*time.Hour, world)
		r.skew = skew.Truncate(r.step)
		r.want(r.run(2*time.Hour, world), "")
	}
}

// An edge that is silent now and then on some days is told once, not each time.
func TestGaps(t *testing.T) {
	r := newRig(t, Config{})
	silent := func(from, to int) func(now time.Time) []*correlate.Record {
		return func(now time.Time) []*correlate.Record {
			rs := []*correlate.Record{talk(web, api, 8080, 1e5, 1e5)}
			if m := now.Minute(); m < from || m >= to {
				rs = append(rs, talk(web, db, 5432, 1e5, 1e5))
			}
			return rs
		}
	}
	r.run(2*day, silent(0, 0))
	r.want(r.run(6*time.Hour, silent(10, 22)), "quiet")
	r.want(r.run(time.Hour, silent(10, 40)), "quiet") // longer than that is another thing
}

// An edge that falls silent within a minute is quiet: that minute's rest is no less traffic.
func TestSilenceBeginsWithinAMinute(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 11))
	busy := func(now time.Time) []*correlate.Record {
		return append(steady(rnd, 1)(now), talk(web, api, 8080, 1e5, 1e5))
	}
	r := newRig(t, Config{})
	r.want(r.run(4*day, busy), "")
	r.want(r.run(time.Minute, func(now time.Time) []*correlate.Record {
		return append(steady(rnd, 0.02)(now), talk(web, api, 8080, 1e5, 1e5))
	}), "")
	r.want(r.run(20*time.Minute, func(time.Time) []*correlate.Record {
		return []*correlate.Record{talk(web, api, 8080, 1e5, 1e5)}
	}), "quiet")
}
