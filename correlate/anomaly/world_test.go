package anomaly

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows"
)

// link is one edge of the world, as it is usually; per minute, at a load of 1.
type link struct {
	c, s           string
	port           uint16
	out, in, conns float64
	rtt, response  float64       // ms; 0: none
	every          time.Duration // 0: always
	lasts          time.Duration // of every
	steady         bool          // the same day and night
	since          time.Time     // a deployment made it
	any            bool          // of any size, now and then
}

// effect changes the world for a time.
type effect struct {
	from, to time.Time
	link     int // -1: none
	// Of the link: factors, and what comes on top.
	out, in, conns, rtt      float64 // factors; 0: 1
	addOut, addIn, addRTT    float64 // octets/min, ms
	fails, errors, resending float64 // per minute, per minute, share of segments
	silent                   bool
	// extra makes records of its own.
	extra func(now time.Time, step time.Duration) []*correlate.Record
	// unowned is the share of records that lose their owners.
	unowned float64
	load    float64 // factor of everything
}

type versionKey struct {
	name    string
	version int
}

// world is a host with services on it, in virtual time.
type world struct {
	rnd      *rand.Rand
	links    []link
	version  map[string]int
	images   map[versionKey]string
	count    map[string]int // replicas
	restarts map[string]int
	drift    map[int]float64 // what deployments made of a link
	effects  []effect
	bursts   map[int]time.Time
	names    bool // whether the probe knows names elsewhere
	sites    int
	weather  *weather
	query    func(cookie uint64, b []byte)
}

func newWorld(seed uint64) *world {
	return &world{
		rnd: rand.New(rand.NewPCG(seed, 2026)), names: true,
		version: map[string]int{}, images: map[versionKey]string{}, count: map[string]int{"shop/web": 2, "shop/api": 3}, restarts: map[string]int{}, drift: map[int]float64{}, bursts: map[int]time.Time{},
		links: []link{
			{c: "net", s: "shop/web", port: 443, out: 6e6, in: 120e6, conns: 600, rtt: 30},
			{c: "shop/web", s: "shop/api", port: 8080, out: 8e6, in: 40e6, conns: 500, rtt: 0.2, response: 15},
			{c: "shop/web", s: "shop/img", port: 8081, out: 1e6, in: 90e6, conns: 200, rtt: 0.2, response: 4},
			{c: "shop/api", s: "shop/db", port: 5432, out: 6e6, in: 30e6, conns: 60, rtt: 0.15, response: 2},
			{c: "shop/api", s: "shop/cache", port: 6379, out: 3e6, in: 9e6, conns: 20, rtt: 0.1, response: 0.3},
			{c: "shop/api", s: "shop/auth", port: 9000, out: 5e5, in: 8e5, conns: 200, rtt: 0.2, response: 5},
			{c: "shop/api", s: "shop/search", port: 9200, out: 5e5, in: 6e6, conns: 100, rtt: 0.2, response: 30},
			{c: "shop/api", s: "shop/queue", port: 5672, out: 2e6, in: 1e5, conns: 5, rtt: 0.2},
			{c: "shop/api", s: "pay.bank.example", port: 443, out: 4e5, in: 6e5, conns: 30, rtt: 20, response: 120},
			{c: "shop/worker", s: "shop/queue", port: 5672, out: 1e5, in: 2e6, conns: 3, rtt: 0.2},
			{c: "shop/worker", s: "shop/db", port: 5432, out: 2e6, in: 3e6, conns: 15, rtt: 0.15, response: 6},
			{c: "shop/worker", s: "smtp.mail.example", port: 587, out: 6e5, in: 3e4, conns: 10, rtt: 25},
			{c: "shop/img", s: "media.s3.example", port: 443, out: 2e5, in: 30e6, conns: 40, rtt: 12},
			{c: "shop/auth", s: "shop/db", port: 5432, out: 2e5, in: 4e5, conns: 20, rtt: 0.15, response: 1.5},
			{c: "mon/prometheus", s: "shop/web", port: 9100, out: 3e3, in: 3e5, conns: 4, rtt: 0.2, steady: true},
			{c: "mon/prometheus", s: "shop/api", port: 9100, out: 3e3, in: 3e5, conns: 4, rtt: 0.2, steady: true},
			{c: "mon/prometheus", s: "shop/db", port: 9187, out: 3e3, in: 2e5, conns: 4, rtt: 0.2, steady: true},
			{c: "mon/grafana", s: "mon/prometheus", port: 9090, out: 2e4, in: 3e5, conns: 6, rtt: 0.2},
			{c: "mon/agent", s: "influx.cloud.example", port: 443, out: 2e6, in: 2e4, conns: 6, rtt: 35, steady: true},
			{c: "shop/worker", s: "shop/auth", port: 9000, out: 1e4, in: 2e4, conns: 5, rtt: 0.2, every: 15 * time.Minute, lasts: time.Minute},
			{c: "ops/backup", s: "shop/db", port: 5432, out: 1e5, in: 400e6, conns: 1, rtt: 0.2, every: 24 * time.Hour, lasts: 30 * time.Minute, steady: true},
			{c: "ops/backup", s: "vault.s3.example", port: 443, out: 350e6, in: 5e5, conns: 8, rtt: 14, every: 24 * time.Hour, lasts: 30 * time.Minute, steady: true},
			{c: "shop/feeder", s: "shop/queue", port: 5672, out: 3e4, in: 3e3, conns: 2, rtt: 0.2},
			{c: "office", s: "mon/grafana", port: 3000, out: 5e4, in: 2e6, conns: 10, rtt: 8},
		},
	}
}

// places are the addresses of what is elsewhere; the last octet changes.
var places = map[string]string{
	"pay.bank.example": "192.0.2.10", "smtp.mail.example": "192.0.3.10", "media.s3.example": "192.0.4.10", "vault.s3.example": "192.0.4.200",
	"influx.cloud.example": "192.0.6.10", "ldap.office.example": "192.0.7.10", "office": "198.51.100.7",
}

// end is somebody at either end of a link.
func (w *world) end(name string, i int) correlate.Endpoint {
	if name == "net" {
		return elsewhere("", fmt.Sprintf("203.0.%d.%d", w.rnd.IntN(200), 1+w.rnd.IntN(250)))
	}
	if a, ok := places[name]; ok {
		if name != "office" {
			a = a[:len(a)-1] + fmt.Sprint(w.rnd.IntN(10))
			if !w.names {
				name = ""
			}
		}
		return elsewhere(name, a)
	}
	k := versionKey{name, w.version[name]}
	image, ok := w.images[k]
	if !ok {
		image = fmt.Sprintf("%s:%d", name, w.version[name])
		w.images[k] = image
	}
	e := replica(name, image, 1+i%max(w.count[name], 1)+100*w.restarts[name])
	return e
}

// load is how busy everything is.
func (w *world) load(now time.Time) float64 {
	h := float64(now.Hour()) + float64(now.Minute())/60
	l := 0.6 + 0.4*math.Cos((h-15)/24*2*math.Pi)
	if d := now.Weekday(); d == time.Saturday || d == time.Sunday {
		l *= 0.6
	}
	return l
}

func (w *world) noise(sigma float64) float64 { return math.Exp(sigma * w.rnd.NormFloat64()) }

func factor(f *float64, x float64) {
	if x != 0 {
		*f *= x
	}
}

// interval makes the records of a step that begins at now.
func (w *world) interval(now time.Time, step time.Duration) (rs []*correlate.Record) {
	everything, unowned := 1.0, 0.03
	for i := range w.effects {
		if e := &w.effects[i]; !now.Before(e.from) && now.Before(e.to) {
			factor(&everything, e.load)
			unowned = max(unowned, e.unowned)
			if e.extra != nil {
				rs = append(rs, e.extra(now, step)...)
			}
		}
	}
	load := w.load(now) * everything
	if w.weather != nil {
		w.weather.step(w, now, step)
		rs = append(rs, w.weather.visits(w, step)...)
	}
	for i := range w.links {
		rs = w.tell(rs, i, load, now, step)
	}
	rs = append(rs, w.feed(now, step)...)
	for _, r := range rs {
		if r.Client.Local && r.Delta.FailedTotal() == 0 && w.rnd.Float64() < unowned {
			r.Client = correlate.Endpoint{Local: true, Kind: correlate.KindHost, Name: "box", Addr: r.Client.Addr}
		}
	}
	return rs
}

// tell makes the records of one link: one per replica of the client.
func (w *world) tell(rs []*correlate.Record, i int, load float64, now time.Time, step time.Duration) []*correlate.Record {
	l := &w.links[i]
	if now.Before(l.since) {
		return rs
	}
	if l.steady {
		load = 1
	}
	if l.every != 0 {
		at := now.Sub(now.Truncate(24*time.Hour)) - 2*time.Hour + 24*time.Hour // daily ones at 02:00
		if at%l.every >= l.lasts {
			return rs
		}
	}
	min := step.Minutes()
	sum := effect{out: 1, in: 1, conns: 1, rtt: 1}
	for k := range w.effects {
		e := &w.effects[k]
		if e.link != i || now.Before(e.from) || !now.Before(e.to) {
			continue
		}
		if e.silent {
			return rs
		}
		factor(&sum.out, e.out)
		factor(&sum.in, e.in)
		factor(&sum.conns, e.conns)
		factor(&sum.rtt, e.rtt)
		sum.addOut += e.addOut
		sum.addIn += e.addIn
		sum.addRTT += e.addRTT
		sum.fails += e.fails
		sum.errors += e.errors
		sum.resending = max(sum.resending, e.resending)
	}
	if d := w.drift[i]; d != 0 {
		load *= d
	}
	// Now and then there is a short burst.
	if w.rnd.Float64() < 0.0005*min {
		w.bursts[i] = now.Add(time.Duration(20+w.rnd.IntN(100)) * time.Second)
	}
	if now.Before(w.bursts[i]) {
		load *= 4
	}
	if w.weather != nil && i < len(w.weather.of) {
		load *= w.weather.factor(l, i, now)
	}
	n := max(w.count[l.c], 1)
	for k := range n {
		a := w.noiseOf(i, now)
		x := load * min * w.noise(a.sigma) / float64(n)
		if l.any {
			if x = float64(w.poisson(l.conns*x)) / l.conns * w.pareto(1.2, 100) / 3; x == 0 {
				continue
			}
		}
		r := talk(w.end(l.c, k), w.end(l.s, w.rnd.IntN(8)), l.port, uint64(l.out*x*sum.out+sum.addOut*min/float64(n)), uint64(l.in*x*sum.in+sum.addIn*min/float64(n)))
		d := &r.Delta
		d.Opened = uint32(w.round(l.conns * x * sum.conns))
		r.Final = false
		d.RTT = correlate.RTT{Sum: uint64((l.rtt*a.slow*sum.rtt + sum.addRTT) * 1e6), Count: 1}
		if fail := w.round(l.conns*x*a.failing + sum.fails*min/float64(n)); fail > 0 {
			d.Failed[correlate.FailRefused] = uint32(fail)
		}
		segments := float64(d.ToServer.Payload+d.ToClient.Payload) / payloadPerSegment
		d.ToClient.Retransmits = uint64(w.round(segments * (a.losing + sum.resending)))
		if l.response > 0 {
			r.Requests = w.requests(l.response*a.slow*sum.rtt+sum.addRTT, d.Opened, sum.errors*min/float64(n))
		}
		if d.ToServer.Payload+d.ToClient.Payload > 0 || d.Opened > 0 || d.FailedTotal() > 0 {
			rs = append(rs, r)
		}
	}
	return rs
}

// round keeps the mean of small numbers.
func (w *world) round(x float64) int {
	n := int(x)
	if w.rnd.Float64() < x-float64(n) {
		n++
	}
	return n
}

// poisson is how many of what comes by itself come where x are expected.
func (w *world) poisson(x float64) (n int) {
	for p := w.rnd.Float64(); p > math.Exp(-x); p *= w.rnd.Float64() {
		n++
	}
	return n
}

var pool = dist.NewPool(0)

func (w *world) requests(ms float64, n uint32, errors float64) *correlate.Requests {
	q := &correlate.Requests{Response: &dist.Small{}, Errors: uint64(w.round(errors))}
	for range 3 {
		q.Response.Add(int64(ms*1e6), pool)
	}
	q.Messages = []*correlate.Tally{{Requests: max(n, 3) + uint32(q.Errors)}}
	return q
}

// feed is a service that talks to another place every quarter of an hour, and asks DNS
// for many names.
func (w *world) feed(now time.Time, step time.Duration) (rs []*correlate.Record) {
	for range w.round(step.Minutes() / 15) {
		w.sites++
		name := fmt.Sprintf("www.site%d.example", w.sites)
		if !w.names {
			name = ""
		}
		rs = append(rs, talk(w.end("shop/feeder", 0), elsewhere(name, fmt.Sprintf("198.%d.%d.%d", 18+w.sites/40000, w.sites/200%200, w.sites%200)), 443, 2000, 300000))
	}
	for range w.round(20 * step.Minutes()) {
		w.query(1, question(fmt.Sprintf("img%d.cdn%d.example", w.rnd.IntN(1000), w.rnd.IntN(5))))
		w.query(1, question(fmt.Sprintf("%016x%016x.lookup.av.example", w.rnd.Uint64(), w.rnd.Uint64())))
		w.query(1, question("a-long-name-of-one-endpoint-of-the-cloud-provider.eu-west-1.amazonaws.example"))
	}
	return append(rs, w.dns("shop/feeder", 1))
}

// dns is the record of a socket that asks for names.
func (w *world) dns(c string, cookie uint64) *correlate.Record {
	r := talk(w.end(c, 0), inService("net/dns", "dns:1"), 53, 600, 1200)
	r.Proto, r.Client.Cookie = flows.UDP, cookie
	return r
}
