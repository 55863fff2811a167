package anomaly

import (
	"fmt"
	"math"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// jump is the label of a clock that is set.
const jump = "jump"

// Links of the shop that more people make busier, as far as they go: a worker takes from
// its queue what it can.
var crowded = []struct {
	link int
	most float64
}{{0, math.Inf(1)}, {1, math.Inf(1)}, {2, math.Inf(1)}, {3, math.Inf(1)}, {4, math.Inf(1)}, {5, math.Inf(1)}, {6, math.Inf(1)}, {7, math.Inf(1)}, {8, math.Inf(1)},
	{12, math.Inf(1)}, {13, math.Inf(1)}, {9, 2}, {10, 2}, {11, 2}}

// crowd is f times as many people at the front; each service behind it follows a while
// later, and not quite.
func (w *world) crowd(l label, f float64) {
	for i, c := range crowded {
		x := min(f, c.most)
		if i > 0 {
			x = math.Pow(x, w.in(0.8, 1))
		}
		late := time.Duration(min(i, 1)) * time.Duration(w.rnd.IntN(120)) * time.Second
		w.effects = append(w.effects, effect{link: c.link, from: l.from.Add(late), to: l.to.Add(late), out: x, in: x, conns: x, rtt: math.Pow(x, 0.15)})
	}
}

// roughIncidents are of any size: each octave of a range is as likely as the next.
var roughIncidents = []scenario{
	{"more traffic", func(w *world, t time.Time) label {
		return w.surge(t, w.pick(busyLinks...), w.logIn(2, 30), 200)
	}},
	{"a crowd", func(w *world, t time.Time) label {
		l := label{from: t, to: t.Add(w.between(15, 90)), wants: []Type{Volume}, client: "net", server: "shop/web",
			may: []Type{Latency}} // round trips do take longer
		w.crowd(l, w.logIn(4, 15))
		return l
	}},
	{"less traffic", func(w *world, t time.Time) label {
		f := 1 / w.logIn(8, 200)
		return w.apply(label{from: t, to: t.Add(w.between(15, 60))}, effect{link: w.pick(0, 1, 2, 3), out: f, in: f}, Volume)
	}},
	{"data leaves to a place that is known", func(w *world, t time.Time) label {
		l := w.apply(label{from: t, to: t.Add(w.between(8, 60))}, effect{link: w.pick(outLinks...), addOut: w.logIn(5e6, 500e6)}, Exfiltration)
		l.may = []Type{Volume}
		return l
	}},
	{"data leaves to a new place", func(w *world, t time.Time) label {
		return w.leak(label{from: t, to: t.Add(w.between(4, 60))}, w.logIn(1e6, 100e6))
	}},
	{"data leaves slowly", func(w *world, t time.Time) label {
		return w.leak(label{from: t, to: t.Add(w.between(60, 300))}, w.logIn(0.3e6, 3e6))
	}},
	{"connections fail", func(w *world, t time.Time) label {
		i := w.pick(1, 2, 3, 5, 6, 8, 10, 13)
		return w.apply(label{from: t, to: t.Add(w.between(8, 40))}, effect{link: i, fails: w.links[i].conns * w.load(t) * w.logIn(0.1, 2)}, Failures)
	}},
	{"requests fail", func(w *world, t time.Time) label {
		i := w.pick(1, 2, 3, 5, 6, 8, 13)
		return w.apply(label{from: t, to: t.Add(w.between(8, 40))}, effect{link: i, errors: w.links[i].conns * w.load(t) * w.logIn(0.1, 2)}, Failures)
	}},
	{"a retry storm", func(w *world, t time.Time) label {
		i, f := w.pick(1, 2, 3, 5, 6, 8), w.logIn(2, 20)
		l := w.apply(label{from: t, to: t.Add(w.between(8, 30))}, effect{link: i, conns: f, out: 0.5, in: 0.2, fails: w.links[i].conns * w.load(t) * f * w.in(0.3, 2)}, Failures)
		l.may = []Type{Volume}
		return l
	}},
	{"segments are lost", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(8, 40))}, effect{link: w.pick(busyLinks...), resending: w.logIn(0.01, 0.15)}, Retransmits)
	}},
	{"responses take longer", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(10, 60))}, effect{link: w.pick(0, 1, 6, 8, 11, 12, 18), rtt: w.logIn(1.3, 20)}, Latency)
	}},
	{"the network takes longer", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(10, 60))}, effect{link: w.pick(onLinks...), addRTT: w.logIn(5, 300)}, Latency)
	}},
	{"an edge goes quiet", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(8, 60))}, effect{link: w.pick(onLinks...), silent: true}, Quiet)
	}},
	{"ports of a host are tried", func(w *world, t time.Time) label {
		return w.scan(t, w.between(1, 30), int(w.logIn(20, 900)), PortScan)
	}},
	{"a network is swept", func(w *world, t time.Time) label {
		return w.scan(t, w.between(1, 30), int(w.logIn(20, 250)), HostScan)
	}},
	{"a beacon", func(w *world, t time.Time) label {
		return w.beacon(label{from: t}, w.logIn(20, 600), w.in(0, 0.5))
	}},
	{"a tunnel through DNS", func(w *world, t time.Time) label {
		return w.tunnel(label{from: t, to: t.Add(w.between(15, 60))}, w.logIn(3, 120))
	}},
	{"owners are not known", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(8, 40))}, effect{link: -1, unowned: w.in(0.25, 1)}, AttributionLoss)
	}},
}

// leak is data that leaves to a new place, octets a minute.
func (w *world) leak(l label, perMinute float64) label {
	name, s := w.somewhere()
	c := services[w.rnd.IntN(len(services))]
	l = w.apply(l, effect{link: -1, extra: w.visits(c, s, 443, perMinute/3, perMinute/300, every(20*time.Second))}, Exfiltration, NewDestination)
	l.client, l.server = c, name
	return l
}

// roughHarmless is what happens in rough weeks beside what happens in all, and must not
// be told.
var roughHarmless = []scenario{
	{"a small crowd", func(w *world, t time.Time) label {
		l := label{from: t, to: t.Add(w.between(15, 90))}
		w.crowd(l, w.in(1.3, 2.2))
		return l
	}},
	{"an hour's job at another time", func(w *world, t time.Time) label {
		n := 0
		return w.apply(label{from: t, to: t.Add(4 * time.Minute)}, effect{link: -1, extra: func(time.Time, time.Duration) []*correlate.Record {
			n++
			return []*correlate.Record{talk(w.end("ops/cron", 0), w.end("shop/api", n), 8080, uint64(2e4*w.pareto(1.2, 50)), 2e4)}
		}})
	}},
	{"a large upload to a known place, once", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(time.Minute)}, effect{link: w.pick(outLinks...), addOut: w.logIn(5e6, 80e6)})
	}},
	{"a small upload to a new place", func(w *world, t time.Time) label {
		name, s := w.somewhere()
		l := w.apply(label{from: t, to: t.Add(2 * time.Minute)}, effect{link: -1, extra: w.visits("shop/worker", s, 443, w.logIn(1e5, 2e6), 1e4, every(time.Minute))}, NewDestination)
		l.client, l.server = "shop/worker", name
		return l
	}},
	{"the clock is set forward", func(w *world, t time.Time) label {
		return label{what: jump, from: t, to: t.Add(time.Duration(w.logIn(1, 1800)) * time.Second)}
	}},
	{"the clock is set back", func(w *world, t time.Time) label {
		return label{what: jump, from: t, to: t.Add(-time.Duration(w.logIn(1, 1800)) * time.Second)}
	}},
	{"responses wander", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(20, 90))}, effect{link: w.pick(responseLinks...), rtt: w.in(1.05, 1.2)})
	}},
	{"an unusual mix", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(20, 90))}, effect{link: w.pick(onLinks...), out: w.in(0.7, 1.5), in: w.in(0.7, 1.5), conns: w.in(0.8, 1.3)})
	}},
}

// tunnel asks for so many names a minute.
func (w *world) tunnel(l label, perMinute float64) label {
	w.sites++
	c, name := services[w.rnd.IntN(len(services))], fmt.Sprintf("t%d.example", w.sites)
	long := 12 + w.rnd.IntN(14)
	l = w.apply(l, effect{link: -1, extra: func(_ time.Time, step time.Duration) []*correlate.Record {
		for range w.round(perMinute * step.Minutes()) {
			w.query(2, question(fmt.Sprintf("%0*x%0*x.%s", long, w.rnd.Uint64(), long, w.rnd.Uint64(), name)))
		}
		return []*correlate.Record{w.dns(c, 2)}
	}}, DNSTunnel)
	l.server, l.may = name, []Type{NewEdge} // that it asks the resolver at all
	return l
}

// beacon connects to a new place twenty times or more, every period seconds.
func (w *world) beacon(l label, period, jitter float64) label {
	name, s := w.somewhere()
	c := services[w.rnd.IntN(len(services))]
	next := func() time.Duration { return time.Duration(period * (1 + jitter*(2*w.rnd.Float64()-1)) * 1e9) }
	l.to = l.from.Add(time.Duration(20*period) * time.Second)
	l = w.apply(l, effect{link: -1, extra: w.visits(c, s, 443, w.in(100, 3000), w.in(100, 3000), next)}, Beacon, NewDestination)
	l.client, l.server = c, name
	return l
}
