package anomaly

import (
	"fmt"
	"math"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// outward returns the metrics of what leaves and what comes in, ok for an edge that
// leads elsewhere.
func (e *edge) outward() (out, in metric, ok bool) {
	switch {
	case e.s.kind == correlate.KindExternal:
		return bytesOut, bytesIn, true
	case e.c.kind == correlate.KindExternal:
		return bytesIn, bytesOut, true
	}
	return 0, 0, false
}

// exfiltration looks for what grows outward only: held beyond what was held at any time of
// the day, at once to a new place, or slowly. p is nil of an edge that was busy for some
// minutes only.
func (d *Detector) exfiltration(w *view, p *profile) bool {
	out, in, ok := w.e.outward()
	if !ok {
		return false
	}
	lopsided := w.v[out] > lopsidedness*w.v[in]
	switch {
	case w.known[out]:
		if d.leaps(w, p, out, in) {
			return true
		}
	case !w.e.known && w.e.s.kind == correlate.KindExternal:
		if is := w.v[out] >= w.e.limits.ExfilBytes && lopsided; !is {
			w.e.rising -= min(w.e.rising, 1)
			break
		}
		w.strange[out] = true
		if w.e.rising = min(w.e.rising+1, 10); w.e.rising >= 2 {
			d.exfil(w, out, in, 0, w.v[out], w.v[out]/w.e.limits.ExfilBytes, "a minute")
		}
		return true
	default:
		return false
	}
	return p != nil && lopsided && d.leaking(w, p, out, in)
}

// leaps says whether much more goes out than ever did, and no more comes in.
func (d *Detector) leaps(w *view, p *profile, out, in metric) bool {
	t := w.e.limits
	most, margin := p.mostEver(out), math.Log2(t.Factor)*octave
	if d.alarms.active[w.e.alarm[isExfil]] != nil {
		margin /= 2 // what goes on
	}
	grown := float64(p.held[out]) - most - w.grown
	if !p.holds[out] || p.held[out] < levelOf(t.ExfilBytes) || w.held(p, out) <= lopsidedness*w.held(p, in) ||
		grown <= margin || float64(p.held[in])-p.mostEver(in) >= grown/2 {
		return false
	}
	w.strange[out] = true
	d.exfil(w, out, in, out.value(most), w.held(p, out), w.heldScore(p, out), "a minute")
	return true
}

// leaking looks for what goes out slowly: in an hour, or in a day, more than ever before.
func (d *Detector) leaking(w *view, p *profile, out, in metric) bool {
	if !w.known[out] && w.e.known {
		return false
	}
	t, goesOn := w.e.limits, d.alarms.active[w.e.alarm[isExfil]] != nil
	now, passed := w.v[out]*w.minutes, float64((w.t-1)%int64(time.Hour))/float64(time.Hour)
	for _, over := range [...]struct {
		name         string
		total, least float64
		usual        level
		factor       float64
	}{
		{"an hour", p.outHour(w.hour, passed) + now, t.ExfilHour, p.hourly, hourlyFactor},
		{"a day", p.outDay(w.hour, passed) + now, t.ExfilDay, p.daily, dailyFactor},
	} {
		usual := 0.0
		if w.known[out] { // a new edge's own beginning is no measure
			usual = out.value(float64(over.usual))
		}
		if over.total < over.least || over.total <= over.factor*usual*math.Exp2(w.grown/octave) {
			continue
		}
		if !goesOn && w.known[in] && w.v[in]/max(in.value(w.band[in].mid), 1) > over.total/max(usual, 1)/2 {
			continue // what comes in grew as well
		}
		p.tainted = true
		d.exfil(w, out, in, usual, over.total, over.total/max(over.least, usual), over.name)
		if w.e.settles > w.t { // accepted
			p.hourly, p.daily, w.e.known = max(p.hourly, levelOf(p.outHour(w.hour, passed))), max(p.daily, levelOf(p.outDay(w.hour, passed))), true
		}
		return true
	}
	return false
}

// passed keeps what went out in the hour that ends when hour begins.
func (p *profile) passed(hour int32) {
	p.outs[p.hour%hours] = float32(p.outTotal)
	for h := max(p.hour+1, hour-hours); h < hour; h++ {
		p.outs[h%hours] = 0
	}
}

// outHour is what went out in the last sixty minutes, of hour h as much as has passed: the
// hour before is taken to have been even.
func (p *profile) outHour(h int, passed float64) float64 {
	return p.outTotal + (1-passed)*float64(p.outs[(h+hours-1)%hours])
}

// outDay is what went out in the last 24 hours.
func (p *profile) outDay(h int, passed float64) float64 {
	sum := p.outTotal - passed*float64(p.outs[h])
	for _, o := range p.outs {
		sum += float64(o)
	}
	return sum
}

const (
	// lopsidedness is how much more goes out than comes in.
	lopsidedness = 4
	// hourlyFactor and dailyFactor are above the most in any hour, any day that is known.
	// A day's is larger: a deployment may double what every day has from then on.
	hourlyFactor = 3
	dailyFactor  = 4
)

func (d *Detector) exfil(w *view, out, in metric, expected, seen, score float64, over string) {
	if d.still(w, isExfil, seen, score) {
		return
	}
	x := d.of(Exfiltration, w.e)
	x.Expected, x.Seen, x.Score = expected, seen, score
	from, to := x.Client.Name, x.Server.Name
	if out == bytesIn {
		from, to = to, from
	}
	x.Message = fmt.Sprintf("%s sends %s %s in %s, and little comes back", from, to, octets(seen), over)
	x.Evidence = fmt.Sprintf("out_bytes_per_min=%.0f in_bytes_per_min=%.0f most_before=%.0f edge_age=%s", w.v[out], w.v[in], expected, time.Duration(w.t-w.e.born).Round(time.Minute))
	d.judged(w, isExfil, x)
}
