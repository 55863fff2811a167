package anomaly

import (
	"fmt"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// harmless is what happens every week and must not be told, though it looks like it.
var harmless = []scenario{
	{"a deployment", func(w *world, t time.Time) label { return w.deploy(t) }},
	{"a deployment", func(w *world, t time.Time) label { return w.deploy(t) }},
	{"a deployment", func(w *world, t time.Time) label { return w.deploy(t) }},
	{"a deployment that talks to something new", func(w *world, t time.Time) label {
		l := w.deploy(t)
		c := l.client
		_, s := w.somewhere()
		to := services[w.rnd.IntN(len(services))]
		visit := w.visits(c, s, 443, 2000, 900, every(time.Minute))
		w.effects = append(w.effects, effect{link: -1, from: t.Add(time.Minute), to: t.Add(1000 * time.Hour), extra: visit})
		if to != c && !w.linked(c, to) {
			w.links = append(w.links, link{c: c, s: to, port: 7000, out: 2e5, in: 4e5, conns: 5, rtt: 0.2, since: t.Add(2 * time.Minute)})
		}
		return l
	}},
	{"more replicas, more load", func(w *world, t time.Time) label {
		c := []string{"shop/web", "shop/api", "shop/worker", "shop/img"}[w.rnd.IntN(4)]
		was, d := max(w.count[c], 1), w.between(60, 180)
		w.effects = append(w.effects,
			effect{link: -1, from: t, to: t.Add(d), extra: func(time.Time, time.Duration) []*correlate.Record { w.count[c] = was + 3; return nil }},
			effect{link: -1, from: t.Add(d), to: t.Add(d + time.Minute), extra: func(time.Time, time.Duration) []*correlate.Record { w.count[c] = was; return nil }},
			effect{link: -1, from: t, to: t.Add(d), load: 1.5})
		return label{from: t, to: t.Add(d)}
	}},
	{"many people at once", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(20, 90))}, effect{link: -1, load: w.in(1.4, 2)})
	}},
	{"a short burst", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(2 * time.Minute)}, effect{link: w.pick(busyLinks...), out: 20, in: 20, conns: 20})
	}},
	{"a container is started anew", func(w *world, t time.Time) label {
		s := services[w.rnd.IntN(len(services))]
		w.effects = append(w.effects, effect{link: -1, from: t, to: t.Add(time.Minute), extra: func(time.Time, time.Duration) []*correlate.Record {
			w.restarts[s] = (w.restarts[s] + 1) % 2
			return nil
		}})
		for i := range w.links {
			if w.links[i].c == s || w.links[i].s == s {
				w.effects = append(w.effects, effect{link: i, from: t, to: t.Add(2 * time.Minute), out: 0.2, in: 0.2, fails: 60})
			}
		}
		return label{from: t, to: t.Add(5 * time.Minute)}
	}},
	{"a service is away for some minutes", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(3, 7))}, effect{link: w.pick(onLinks...), silent: true})
	}},
	{"a backup out of its time", func(w *world, t time.Time) label {
		l := label{from: t, to: t.Add(w.between(15, 30))}
		l = w.apply(l, effect{link: -1, extra: func(_ time.Time, step time.Duration) []*correlate.Record {
			return []*correlate.Record{talk(w.end("ops/backup", 0), w.end("vault.s3.example", 0), 443, uint64(350e6*step.Minutes()*w.noise(0.2)), 5e5)}
		}})
		return l
	}},
	{"a large download", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(4, 10))}, effect{link: -1, extra: func(_ time.Time, step time.Duration) []*correlate.Record {
			return []*correlate.Record{talk(w.end("shop/feeder", 0), elsewhere("deb.mirror.example", "192.0.9.9"), 443, uint64(2e6*step.Minutes()), uint64(400e6*step.Minutes()))}
		}})
	}},
	{"names of a known domain, addresses of a known network", func(w *world, t time.Time) label {
		n := 0
		return w.apply(label{from: t, to: t.Add(w.between(10, 30))}, effect{link: -1, extra: func(time.Time, time.Duration) []*correlate.Record {
			n++
			return []*correlate.Record{talk(w.end("shop/img", 0), elsewhere(fmt.Sprintf("n%d.media.s3.example", n), fmt.Sprintf("100.%d.%d.4", 64+w.rnd.IntN(60), n%250)), 443, 3000, 9e5)}
		}})
	}},
	{"names are lost for a while", func(w *world, t time.Time) label {
		l := label{from: t, to: t.Add(w.between(20, 60))}
		w.effects = append(w.effects,
			effect{link: -1, from: l.from, to: l.to, extra: func(time.Time, time.Duration) []*correlate.Record { w.names = false; return nil }},
			effect{link: -1, from: l.to, to: l.to.Add(time.Minute), extra: func(time.Time, time.Duration) []*correlate.Record { w.names = true; return nil }})
		return l
	}},
	{"a client insists on a server that is not there", func(w *world, t time.Time) label {
		c := services[w.rnd.IntN(len(services))]
		return w.apply(label{from: t, to: t.Add(w.between(20, 90))}, effect{link: -1, extra: func(_ time.Time, step time.Duration) (rs []*correlate.Record) {
			for i := range w.round(12 * step.Minutes()) {
				rs = append(rs, refusal(w.end(c, 0), inside(300+i%3), uint16(8000+i%3)))
			}
			return rs
		}})
	}},
	{"new targets are scraped", func(w *world, t time.Time) label {
		l := w.apply(label{from: t, to: t.Add(w.between(20, 60))}, effect{link: -1, extra: func(_ time.Time, step time.Duration) (rs []*correlate.Record) {
			for i := range w.round(25 * step.Minutes()) {
				rs = append(rs, talk(w.end("mon/prometheus", 0), replica("shop/api", w.end("shop/api", 0).Contain.Image, 1+i%3), 9100, 100, 9000), refusal(w.end("mon/prometheus", 0), inside(500+i), 9100))
			}
			return rs
		}})
		l.may = []Type{Failures}
		return l
	}},
	{"somebody looks at a new place now and then", func(w *world, t time.Time) label {
		name, s := w.somewhere()
		c := services[w.rnd.IntN(len(services))]
		next := func() time.Duration { return time.Duration(w.rnd.ExpFloat64() * float64(3*time.Minute)) }
		l := w.apply(label{from: t, to: t.Add(w.between(60, 100))}, effect{link: -1, extra: w.visits(c, s, 443, 800, 4000, next)}, NewDestination)
		l.client, l.server = c, name
		return l
	}},
	{"large files come from a new place at regular times", func(w *world, t time.Time) label {
		name, s := w.somewhere()
		c := services[w.rnd.IntN(len(services))]
		l := w.apply(label{from: t, to: t.Add(w.between(60, 100))}, effect{link: -1, extra: w.visits(c, s, 443, 2000, 3e6, every(4*time.Minute))}, NewDestination)
		l.client, l.server = c, name
		return l
	}},
	{"many names of a new domain, short ones", func(w *world, t time.Time) label {
		w.sites++
		return w.apply(label{from: t, to: t.Add(w.between(15, 40))}, effect{link: -1, extra: func(_ time.Time, step time.Duration) []*correlate.Record {
			for range w.round(40 * step.Minutes()) {
				w.query(1, question(fmt.Sprintf("a%d.shard.cdn%d.example", w.rnd.IntN(2000), 1000+w.sites)))
			}
			return nil
		}})
	}},
	{"long names of a new domain, few", func(w *world, t time.Time) label {
		w.sites++
		return w.apply(label{from: t, to: t.Add(w.between(15, 40))}, effect{link: -1, extra: func(_ time.Time, step time.Duration) []*correlate.Record {
			for range w.round(60 * step.Minutes()) {
				w.query(1, question(fmt.Sprintf("d%d-some-distribution-of-assets.eu-central-1.front%d.example", w.rnd.IntN(12), w.sites)))
			}
			return nil
		}})
	}},
	{"packets are lost for a moment", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(2 * time.Minute)}, effect{link: w.pick(busyLinks...), resending: 0.2})
	}},
	{"a little slower", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(10, 40))}, effect{link: w.pick(1, 2, 3, 4, 5, 9, 10), addRTT: w.in(1, 3)})
	}},
	{"slow for a moment", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(3 * time.Minute)}, effect{link: w.pick(onLinks...), addRTT: 300})
	}},
	{"some connections fail", func(w *world, t time.Time) label {
		i := w.pick(onLinks...)
		return w.apply(label{from: t, to: t.Add(w.between(10, 40))}, effect{link: i, fails: min(w.in(0.01, 0.04)*w.links[i].conns*w.load(t), 12)})
	}},
	{"owners are not known for a moment", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(time.Minute)}, effect{link: -1, unowned: 0.8})
	}},
	{"a direction that is guessed wrong", func(w *world, t time.Time) label {
		return w.apply(label{from: t, to: t.Add(w.between(5, 20))}, effect{link: -1, extra: func(time.Time, time.Duration) []*correlate.Record {
			r := talk(w.end("shop/db", 0), w.end("shop/api", 0), 41234, 500, 500)
			r.Initiator = correlate.InitiatorUnknown
			return []*correlate.Record{r}
		}})
	}},
	{"the probe is away for a while", func(w *world, t time.Time) label {
		return label{what: away, from: t, to: t.Add(w.between(2, 40))}
	}},
}

// away is the label of a time in which the probe is stopped.
const away = "away"

// deploy gives a service another version, which behaves somewhat differently.
func (w *world) deploy(t time.Time) label {
	s := services[w.rnd.IntN(len(services))]
	l := label{from: t, to: t.Add(35 * time.Minute), client: s}
	w.effects = append(w.effects, effect{link: -1, from: t, to: t.Add(time.Minute), extra: func(time.Time, time.Duration) []*correlate.Record {
		w.version[s]++
		return nil
	}})
	for i := range w.links {
		if w.links[i].c != s && w.links[i].s != s {
			continue
		}
		f := w.in(0.4, 2.5)
		w.effects = append(w.effects,
			effect{link: i, from: t, to: t.Add(2 * time.Minute), out: 0.3, in: 0.3, fails: 40},
			effect{link: i, from: t.Add(time.Minute), to: t.Add(1000 * time.Hour), out: f, in: f, conns: f, rtt: w.in(0.7, 1.8)})
	}
	return l
}
