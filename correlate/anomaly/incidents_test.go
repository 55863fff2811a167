package anomaly

import (
	"fmt"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// label says what happens in the world at a time, and what is right to say of it.
type label struct {
	what     string
	from, to time.Time
	wants    []Type // nothing: it is harmless
	may      []Type // what is true as well, and counts for nothing
	client   string // "" : anybody
	server   string
	found    map[Type]bool
}

// scenario makes one incident or harmless change that begins at t; it returns its
// label and how long the world is busy with it.
type scenario struct {
	name string
	make func(w *world, t time.Time) label
}

func (w *world) between(lo, hi int) time.Duration {
	return time.Duration(lo+w.rnd.IntN(hi-lo+1)) * time.Minute
}

func (w *world) pick(links ...int) int { return links[w.rnd.IntN(len(links))] }

func (w *world) in(lo, hi float64) float64 { return lo + w.rnd.Float64()*(hi-lo) }

// busyLinks carry megabytes a minute all day, onLinks something every minute.
var (
	busyLinks     = []int{0, 1, 2, 3, 4, 6, 12}
	onLinks       = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}
	responseLinks = []int{1, 2, 3, 5, 6, 8, 10}
	outLinks      = []int{8, 11, 18, 12}
	services      = []string{"shop/web", "shop/api", "shop/auth", "shop/search", "shop/img", "shop/db", "shop/worker", "shop/cache", "mon/grafana"}
)

func (w *world) apply(l label, e effect, wants ...Type) label {
	e.from, e.to = l.from, l.to
	w.effects = append(w.effects, e)
	l.wants = wants
	if e.link >= 0 {
		l.client, l.server = w.links[e.link].c, w.links[e.link].s
	}
	return l
}

// visits is somebody who talks to an end at times that next gives.
func (w *world) visits(c string, s correlate.Endpoint, port uint16, out, in float64, next func() time.Duration) func(time.Time, time.Duration) []*correlate.Record {
	var at time.Time
	return func(now time.Time, step time.Duration) (rs []*correlate.Record) {
		if at.Before(now) {
			at = now.Add(time.Duration(w.rnd.Int64N(int64(step))))
		}
		for at.Before(now.Add(step)) {
			rs = append(rs, talkAt(at.Sub(now), w.end(c, 0), s, port, uint64(out*w.noise(0.2)), uint64(in*w.noise(0.2))))
			at = at.Add(next())
		}
		return rs
	}
}

func talkAt(d time.Duration, c, s correlate.Endpoint, port uint16, out, in uint64) *correlate.Record {
	return at(talk(c, s, port, out, in), d)
}

func every(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// somewhere is a place elsewhere that nobody has been to.
func (w *world) somewhere() (string, correlate.Endpoint) {
	w.sites++
	a := fmt.Sprintf("45.%d.%d.%d", w.sites/200%200, w.sites%200, 1+w.rnd.IntN(250))
	if w.rnd.IntN(2) == 0 {
		return fmt.Sprintf("45.%d.%d.0/24", w.sites/200%200, w.sites%200), elsewhere("", a)
	}
	name := fmt.Sprintf("evil%d.example", w.sites)
	return name, elsewhere("x."+name, a)
}

// incidentsOfOneSize are there or not.
var incidentsOfOneSize = []scenario{
	{"a service talks to another it never talked to", func(w *world, t time.Time) label {
		var c, s string
		for c == s || w.linked(c, s) {
			c, s = services[w.rnd.IntN(len(services))], services[w.rnd.IntN(len(services))]
		}
		w.links = append(w.links, link{c: c, s: s, every: 1000 * time.Hour}) // never again
		l := label{from: t, to: t.Add(w.between(1, 30))}
		l = w.apply(l, effect{link: -1, extra: w.visits(c, w.end(s, 0), uint16(1000+w.rnd.IntN(9000)), 2000, 5000, every(time.Minute))}, NewEdge)
		l.client, l.server = c, s
		return l
	}},
	{"a service talks to a new place elsewhere", func(w *world, t time.Time) label {
		name, s := w.somewhere()
		c := services[w.rnd.IntN(len(services))]
		l := w.apply(label{from: t, to: t.Add(w.between(1, 10))}, effect{link: -1, extra: w.visits(c, s, 443, 3000, 20000, every(time.Minute))}, NewDestination)
		l.client, l.server, l.may = c, name, []Type{Beacon}
		return l
	}},
	{"a container nobody knows is started", func(w *world, t time.Time) label {
		w.sites++
		c := fmt.Sprintf("x%d/miner", w.sites)
		_, s := w.somewhere()
		l := w.apply(label{from: t, to: t.Add(w.between(10, 60))}, effect{link: -1, extra: w.visits(c, s, 3333, 500, 500, every(20*time.Second))}, NewService)
		l.server = c
		return l
	}},
}

// surge is f times the traffic of a link: more connections, of a link that has many, more
// in each, or both.
func (w *world) surge(t time.Time, link int, f, many float64) label {
	e := effect{link: link}
	switch k := w.rnd.IntN(3); {
	case k == 0 && w.links[link].conns >= many:
		e.conns = f
	case k == 1 && link != 12 && link != 0:
		e.out, e.in = f, f
	default:
		e.out, e.in, e.conns = f, f, f
	}
	return w.apply(label{from: t, to: t.Add(w.between(10, 60))}, e, Volume)
}

// incidents are of each type, several ways each, and of a clear size.
var incidents = append(incidentsOfOneSize[:len(incidentsOfOneSize):len(incidentsOfOneSize)], []scenario{
	{"ports of a host are tried", func(w *world, t time.Time) label {
		n, d := 100+w.rnd.IntN(900), w.between(1, 15)
		return w.scan(t, d, n, PortScan)
	}},
	{"a network is swept", func(w *world, t time.Time) label {
		return w.scan(t, w.between(1, 12), 80+w.rnd.IntN(170), HostScan)
	}},
	{"much more traffic", func(w *world, t time.Time) label {
		return w.surge(t, w.pick(busyLinks...), w.in(10, 40), 60)
	}},
	{"much less traffic", func(w *world, t time.Time) label {
		f := 1 / w.in(60, 200)
		return w.apply(label{from: t, to: t.Add(w.between(15, 60))}, effect{link: w.pick(0, 1, 2, 3), out: f, in: f}, Volume)
	}},
	{"data leaves to a place that is known", func(w *world, t time.Time) label {
		l := w.apply(label{from: t, to: t.Add(w.between(8, 40))}, effect{link: w.pick(outLinks...), addOut: w.in(150e6, 600e6)}, Exfiltration)
		l.may = []Type{Volume}
		return l
	}},
	{"data leaves to a new place", func(w *world, t time.Time) label {
		name, s := w.somewhere()
		c := services[w.rnd.IntN(len(services))]
		l := w.apply(label{from: t, to: t.Add(w.between(4, 30))}, effect{link: -1, extra: w.visits(c, s, 443, w.in(8e6, 60e6), 2e5, every(20*time.Second))}, Exfiltration, NewDestination)
		l.client, l.server = c, name
		return l
	}},
	{"data leaves slowly", func(w *world, t time.Time) label {
		name, s := w.somewhere()
		c := services[w.rnd.IntN(len(services))]
		l := w.apply(label{from: t, to: t.Add(w.between(90, 120))}, effect{link: -1, extra: w.visits(c, s, 443, w.in(1.2e6, 2.8e6), 2e4, every(20*time.Second))}, Exfiltration, NewDestination)
		l.client, l.server = c, name
		return l
	}},
	{"a beacon", func(w *world, t time.Time) label { return w.beacon(label{from: t}, w.in(20, 600), w.in(0, 0.25)) }},
	{"connections are refused", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(8, 40))}, effect{link: w.pick(1, 3, 5, 6, 8, 10, 11, 13), conns: 0.1, out: 0.3, in: 0.3, fails: w.in(60, 500)}, Failures)
	}},
	{"requests fail", func(w *world, t time.Time) label {
		i := w.pick(5, 6, 8, 10, 13)
		l := w.apply(label{from: t, to: t.Add(w.between(8, 40))}, effect{link: i, errors: w.links[i].conns * w.in(2, 8)}, Failures)
		return l
	}},
	{"segments are lost", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(8, 40))}, effect{link: w.pick(busyLinks...), resending: w.in(0.04, 0.15)}, Retransmits)
	}},
	{"round trips take long", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(10, 40))}, effect{link: w.pick(onLinks...), addRTT: w.in(100, 500)}, Latency)
	}},
	{"responses take long", func(w *world, t time.Time) label {
		i := w.pick(responseLinks...)
		return w.apply(label{from: t, to: t.Add(w.between(10, 40))}, effect{link: i, rtt: w.in(6, 20), addRTT: w.in(8, 40)}, Latency)
	}},
	{"an edge goes quiet", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(20, 60))}, effect{link: w.pick(onLinks...), silent: true}, Quiet)
	}},
	{"a tunnel through DNS", func(w *world, t time.Time) label {
		return w.tunnel(label{from: t, to: t.Add(w.between(15, 40))}, w.in(15, 120))
	}},
	{"owners are not known", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(10, 40))}, effect{link: -1, unowned: w.in(0.5, 1)}, AttributionLoss)
	}},
}...)

func (w *world) linked(c, s string) bool {
	for _, l := range w.links {
		if l.c == c && l.s == s {
			return true
		}
	}
	return false
}

// scan is n ports of a host, or n hosts, in d; from inside or outside.
func (w *world) scan(t time.Time, d time.Duration, n int, kind Type) label {
	c := services[w.rnd.IntN(len(services))]
	outside := w.rnd.IntN(3) == 0
	from := elsewhere("", fmt.Sprintf("46.1.%d.%d", w.rnd.IntN(200), 1+w.rnd.IntN(200)))
	box := correlate.Endpoint{Local: true, Kind: correlate.KindHost, Name: "box", Addr: addr("192.0.2.1")}
	sent := 0
	l := w.apply(label{from: t, to: t.Add(d)}, effect{link: -1, extra: func(now time.Time, step time.Duration) (rs []*correlate.Record) {
		for until := min(n, int(float64(n)*float64(now.Add(step).Sub(t))/float64(d))); sent < until; sent++ {
			client, server, port := w.end(c, 0), box, uint16(1+sent*7%10000)
			if outside {
				client = from
			} else if kind == PortScan {
				server = inside(0)
			}
			if kind == HostScan {
				server, port = inside(sent), 22
				if outside {
					server.Kind, server.Local, server.Name = correlate.KindHost, true, "box"
				}
			}
			r := refusal(client, server, port)
			if sent%10 == 0 { // somebody is there
				r = talk(client, server, port, 0, 0)
			}
			rs = append(rs, r)
		}
		return rs
	}}, kind)
	if l.client = c; outside {
		l.client = external
	}
	return l
}
