package anomaly

import (
	"fmt"
	"math"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// weather is what makes a week rough: noise that is wide, slow, heavy-tailed, and common
// to several links at once; days that are unlike each other; growth; replicas that come
// and go. Nothing of it is an incident. A world without has none of it.
type weather struct {
	of      []climate // of each link
	today   float64   // factor of this day
	day     int
	holiday int
	pool    []correlate.Endpoint // a cloud's addresses without names
}

// apart is how long after a moment of a kind the next begins at the earliest: what makes
// up most of ten minutes is no moment any more.
const apart = 10 * time.Minute

// climate is one link's share in it.
type climate struct {
	sigma      float64 // of one minute, log
	load, slow wander
	failing    float64 // share of connections, always
	// Moments, and what they are: a burst's factor, shares of connections and segments.
	bursts, fails, loses, waits time.Time
	burst, failed, lost, waited float64
}

// wander is a random walk that is drawn back: what goes up slowly, stays, and comes down.
type wander struct{ sigma, minutes, at float64 }

func (x *wander) step(w *world, minutes float64) {
	keep := math.Exp(-minutes / x.minutes)
	x.at = keep*x.at + x.sigma*math.Sqrt(1-keep*keep)*w.rnd.NormFloat64()
}

// pareto is a factor of at least 1 with a heavy tail, cut at most.
func (w *world) pareto(alpha, most float64) float64 {
	return min(math.Pow(1-w.rnd.Float64(), -1/alpha), most)
}

// logIn is between lo and hi, each octave as likely as the next.
func (w *world) logIn(lo, hi float64) float64 { return lo * math.Pow(hi/lo, w.rnd.Float64()) }

// newRoughWorld is a world with weather, and with links of little traffic that is of any
// size.
func newRoughWorld(seed uint64) *world {
	w := newWorld(seed)
	w.links = append(w.links,
		link{c: "shop/worker", s: "shop/search", port: 9200, out: 4e4, in: 2e5, conns: 0.5, rtt: 0.2, any: true},
		link{c: "shop/auth", s: "ldap.office.example", port: 636, out: 2e3, in: 2e4, conns: 0.3, rtt: 9, any: true},
		link{c: "office", s: "shop/db", port: 5432, out: 5e3, in: 4e5, conns: 0.2, rtt: 9, any: true},
		link{c: "mon/grafana", s: "shop/db", port: 5432, out: 1e4, in: 3e5, conns: 1, rtt: 0.2, any: true},
		link{c: "ops/cron", s: "shop/api", port: 8080, out: 2e4, in: 2e4, conns: 3, rtt: 0.2, every: time.Hour, lasts: 4 * time.Minute, any: true},
	)
	x := &weather{holiday: 2 + w.rnd.IntN(5), day: -1}
	for range w.links {
		x.of = append(x.of, climate{
			sigma:   w.in(0.1, 0.5),
			load:    wander{sigma: w.in(0.05, 0.25), minutes: w.logIn(10, 300)},
			slow:    wander{sigma: w.in(0.03, 0.2), minutes: w.logIn(10, 300)},
			failing: w.logIn(0.0005, 0.02),
		})
	}
	for i := range 12 {
		x.pool = append(x.pool, elsewhere("", fmt.Sprintf("151.%d.%d.%d", 10+i, 3*i, 1+w.rnd.IntN(250))))
	}
	w.weather = x
	return w
}

// step changes the weather.
func (x *weather) step(w *world, now time.Time, step time.Duration) {
	minutes := step.Minutes()
	if d := now.YearDay(); d != x.day {
		x.day = d
		x.today = w.noise(0.12)
		if int(now.Sub(start)/day) == x.holiday {
			x.today *= 0.5
		}
	}
	x.scale(w, now)
	service := ""
	if w.rnd.Float64() < 0.01*minutes { // everything that a service does bursts
		service = services[w.rnd.IntN(len(services))]
	}
	for i := range x.of {
		c := &x.of[i]
		c.load.step(w, minutes)
		c.slow.step(w, minutes)
		moment := func(perMinute float64, until *time.Time, longest int) bool {
			if w.rnd.Float64() >= perMinute*minutes || now.Before(until.Add(apart)) {
				return false
			}
			*until = now.Add(time.Duration(min(w.rnd.ExpFloat64()*60, float64(longest))) * time.Second)
			return true
		}
		often := 0.003
		if service != "" && (w.links[i].c == service || w.links[i].s == service) {
			often = 1 / minutes // now
		}
		if moment(often, &c.bursts, 240) {
			c.burst = 1 + w.pareto(1.2, 40)
		}
		if moment(0.003, &c.fails, 180) {
			c.failed = w.logIn(0.03, 0.8)
		}
		if moment(0.003, &c.loses, 180) {
			c.lost = w.logIn(0.005, 0.1)
		}
		if moment(0.005, &c.waits, 180) {
			c.waited = w.pareto(1, 100)
		}
	}
}

// scale has replicas follow the load, not quite.
func (x *weather) scale(w *world, now time.Time) {
	if now.Minute()%10 != 0 || now.Second() != 0 {
		return
	}
	for i, name := range [...]string{"shop/web", "shop/img", "shop/worker"} {
		w.count[name] = max(1, int(math.Round(float64(2+i)*w.load(now)*w.noise(0.2))))
	}
}

// factor is what the weather makes of the load of a link.
func (x *weather) factor(l *link, i int, now time.Time) float64 {
	c := &x.of[i]
	f := math.Exp(c.load.at)
	if !l.steady {
		f *= x.today * math.Pow(1.1, now.Sub(start).Hours()/(24*7))
	}
	if now.Before(c.bursts) {
		f *= c.burst
	}
	return f
}

// visits of the cloud's addresses.
func (x *weather) visits(w *world, step time.Duration) (rs []*correlate.Record) {
	for range w.round(step.Minutes() / 3) {
		rs = append(rs, talk(w.end("shop/worker", 0), x.pool[w.rnd.IntN(len(x.pool))], 443, uint64(3e3*w.pareto(1.2, 300)), uint64(2e4*w.pareto(1.2, 300))))
	}
	return rs
}

// noiseOf is how much a link's minutes differ, and the factors, shares of what else
// happens to it.
type noise struct{ sigma, slow, failing, losing float64 }

func (w *world) noiseOf(i int, now time.Time) noise {
	n := noise{sigma: 0.25, slow: w.noise(0.2), failing: 0.004, losing: 0.001 * w.noise(0.5)}
	if w.weather == nil || i >= len(w.weather.of) {
		return n
	}
	c := &w.weather.of[i]
	n.sigma, n.failing = c.sigma, c.failing
	n.slow *= math.Exp(c.slow.at)
	if now.Before(c.fails) {
		n.failing = c.failed
	}
	if now.Before(c.loses) {
		n.losing = c.lost
	}
	if now.Before(c.waits) {
		n.slow *= c.waited
	}
	return n
}
