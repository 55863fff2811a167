package anomaly

import (
	"fmt"
	"math"
)

// view is one edge in one minute, as the rules look at it.
type view struct {
	e       *edge
	t       int64
	minutes float64
	hour    int
	v       [numMetrics]float64
	ok      [numMetrics]bool
	band    [numMetrics]band
	known   [numMetrics]bool // band is
	// grown is by how much more replicas than usual may widen a band, levels; fewer
	// likewise.
	grown, shrunk float64
	strange       [numMetrics]bool // above its band: not to be learnt
	freeze        bool             // nothing of the minute is to be learnt
}

// judgeEdge ends minutes of an edge: what is out of its band is told, the rest learnt.
// Where owners are missing, what is not seen may be there all the same.
func (d *Detector) judgeEdge(e *edge, t int64, minutes float64) {
	e.score = 0
	if e.profile == nil {
		if e.sums.active() && e.told {
			e.minutes++
		}
		if e.minutes < profileAfter {
			d.judgeBare(e, t, minutes)
			return
		}
		e.profile = new(profile)
	}
	p := e.profile
	d.settle(e, p, t)
	p.turn(hourAt(t - 1))
	w := viewOf(e, t, minutes)
	if t <= d.steady || d.lost || e.settling && d.changing(e, t) {
		p.letGo()
		e.rising, e.silent = 0, 0
		return
	}
	if e.settling || d.learning() {
		e.rising, e.silent = 0, 0
	} else {
		d.judgeView(&w, p)
	}
	w.learn(p)
}

// viewOf looks at what e did in the minutes that end at t.
func viewOf(e *edge, t int64, minutes float64) view {
	w := view{e: e, t: t, minutes: minutes, hour: int(hourAt(t-1)) % hours}
	w.v, w.ok = e.sums.values(minutes)
	return w
}

// judgeBare judges an edge of which too little is known for more.
func (d *Detector) judgeBare(e *edge, t int64, minutes float64) {
	if t <= d.steady || d.learning() || !e.sums.active() {
		return
	}
	if src := d.scans.sources[e.c.lookup()]; !e.told && src != nil && src.targets() > fewTargets {
		return // that it fails everywhere is told once
	}
	w := viewOf(e, t, minutes)
	d.exfiltration(&w, nil)
	d.failing(&w, nil)
}

// settle begins and ends the time in which an edge is left alone.
func (d *Detector) settle(e *edge, p *profile, t int64) {
	until := max(e.settles, e.c.settles, e.s.settles)
	switch {
	case t < until && !e.settling:
		e.settling = true
		p.restart(hourAt(t - 1))
	case t >= until && e.settling:
		e.settling = false
		out, _, _ := e.outward()
		p.settle(int(p.hour)%hours, out)
		p.restart(hourAt(t - 1))
		if t-e.last > int64(d.cfg.Relearn)/2 {
			p.busy, p.seen = [hours]uint8{}, [hours]uint8{} // the deployment ended it
		}
	}
}

// changing says whether a deployment is still going on: what fails in its first
// minutes is not what will be usual.
func (d *Detector) changing(e *edge, t int64) bool {
	relearn := int64(d.cfg.Relearn)
	return t <= max(e.settles, e.c.settles, e.s.settles)-relearn+min(5*minute, relearn/4)
}

// compare puts what is usual beside what was seen.
func (d *Detector) compare(w *view, p *profile) {
	for m := range numMetrics {
		w.band[m], w.known[m] = p.band(m, w.hour)
		if p.seldom(w.hour) {
			w.band[m].high = max(w.band[m].high, p.most(m))
			w.band[m].held = max(w.band[m].held, p.most(m))
		}
	}
	if d.now < w.e.born+int64(d.cfg.Learn) {
		w.known = [numMetrics]bool{}
	}
	w.replicas()
	more, less := w.explained(p)
	w.grown, w.shrunk = max(w.grown, more), max(w.shrunk, less)
}

func (d *Detector) judgeView(w *view, p *profile) {
	d.compare(w, p)
	w.e.score = max(d.most(w), d.least(w, p))
	exfil := d.exfiltration(w, p)
	d.failing(w, p)
	if w.known[bytesOut] {
		d.volume(w, p, exfil)
		d.resending(w, p)
		d.slow(w, p)
		d.quiet(w, p)
	}
}

// replicas widens the bands where there are more or fewer of a service than mostly.
func (w *view) replicas() {
	for _, n := range [...]*node{w.e.c, w.e.s} {
		if r := n.replicas; r != nil && r.now > 0 && r.usual > 0 {
			x := math.Log2(float64(r.now)/r.usual) * octave
			w.grown, w.shrunk = max(w.grown, x), max(w.shrunk, -x)
		}
	}
}

// worst is the metric of ms that is held farthest above its range; ok if one is. Each
// that is, or that is so in this minute, is not to be learnt.
func (d *Detector) worst(w *view, p *profile, k kind, ms ...metric) (worst metric, ok bool) {
	goesOn := d.alarms.active[w.e.alarm[k]] != nil
	for _, m := range ms {
		rises := d.rises(w, p, m, goesOn)
		w.strange[m] = w.strange[m] || rises || d.high(w, m)
		if rises && (!ok || w.heldScore(p, m) > w.heldScore(p, worst)) {
			worst, ok = m, true
		}
	}
	if ok {
		w.e.score = max(w.e.score, w.heldScore(p, worst))
	}
	return worst, ok
}

// volume looks for too much and too little.
func (d *Detector) volume(w *view, p *profile, exfil bool) {
	if m, ok := d.worst(w, p, isHigh, bytesOut, bytesIn, connections); ok && !exfil {
		d.report(w, isHigh, m, p.held[m], "more")
	}
	for _, m := range [...]metric{bytesOut, bytesIn} {
		w.freeze = w.freeze || d.low(w, p, m)
		if w.falls(p, m, w.e.limits.Bytes) {
			w.freeze = true
			w.e.score = max(w.e.score, w.distance(m, p.sunk[m]))
			d.report(w, isLow, m, p.sunk[m], "less")
			break
		}
	}
}

// units of what volume looks at.
var units = [...]string{bytesOut: "bytes/min to the server", bytesIn: "bytes/min to the client", connections: "connections/min"}

// report tells of a volume.
func (d *Detector) report(w *view, k kind, m metric, l level, more string) {
	seen, score := m.value(float64(l)), w.distance(m, l)
	if d.still(w, k, seen, score) {
		return
	}
	x := d.of(Volume, w.e)
	x.Expected, x.Seen, x.Score = m.value(w.band[m].mid), seen, score
	x.Message = fmt.Sprintf("%s than usual from %s to %s: %.0f %s, usually %.0f", more, x.Client.Name, x.Server.Name, x.Seen, units[m], x.Expected)
	x.Evidence = fmt.Sprintf("to_server_bytes_per_min=%.0f to_client_bytes_per_min=%.0f connections_per_min=%.0f least_before=%.0f most_held_before=%.0f most_before=%.0f expected_growth=%.1f",
		w.v[bytesOut], w.v[bytesIn], w.v[connections], m.value(w.band[m].low), m.value(w.band[m].held), m.value(w.band[m].high), math.Exp2(w.grown/octave))
	d.judged(w, k, x)
}

// still says whether what an edge was found to do goes on. What goes on for long is
// the new usual: then the edge is learnt anew.
func (d *Detector) still(w *view, k kind, seen, score float64) bool {
	f := w.e.alarm[k]
	if f == 0 {
		return false
	}
	al := d.alarms.goesOn(f, w.t, seen, score)
	if al != nil && w.t-al.Time >= int64(d.cfg.Accept) {
		w.e.settles = w.t + int64(d.cfg.Relearn)
	}
	return al != nil
}

// judged tells of an edge, and remembers it there.
func (d *Detector) judged(w *view, k kind, x Anomaly) {
	w.e.alarm[k] = d.begin(x, calm)
}

// learn adds the minute to the profile, but for what is strange in it.
func (w *view) learn(p *profile) {
	if w.freeze {
		return
	}
	p.minute(w.e.sums.active())
	if out, _, ok := w.e.outward(); ok && !w.strange[out] { // a minute's surge is told as such
		p.outTotal += w.v[out] * w.minutes
	}
	for m := range numMetrics {
		if w.ok[m] && !w.strange[m] {
			p.learn(m, p.now[m])
			if p.holds[m] {
				p.mostHeld[m] = max(p.mostHeld[m], p.held[m]-level(w.grown))
				p.leastHeld[m] = min(p.leastHeld[m], p.sunk[m]+level(w.shrunk))
			}
		}
	}
}

// octets writes a number of them for people.
func octets(n float64) string {
	for _, u := range [...]string{"B", "kB", "MB", "GB"} {
		if n < 1000 {
			return fmt.Sprintf("%.3g %s", n, u)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.3g TB", n)
}
