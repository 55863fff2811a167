package anomaly

import (
	"fmt"
	"math"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
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
// lost says that owners are missing: what is not seen may be there all the same.
func (d *Detector) judgeEdge(e *edge, t int64, minutes float64, lost bool) {
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
	w := view{e: e, t: t, minutes: minutes, hour: int(p.hour) % hours}
	w.v, w.ok = e.sums.values(minutes)
	switch {
	case t <= d.steady || lost:
		e.streak = [numKinds]uint8{}
		return
	case e.settling || d.learning():
		e.streak = [numKinds]uint8{}
	default:
		d.judgeView(&w, p)
	}
	w.learn(p)
}

// judgeBare judges an edge of which too little is known for more.
func (d *Detector) judgeBare(e *edge, t int64, minutes float64) {
	if t <= d.steady || d.learning() || !e.sums.active() {
		return
	}
	if src := d.scans.sources[e.c.lookup()]; !e.told && src != nil && max(src.hosts.set, src.ports.set) > fewTargets {
		return // that it fails everywhere is told once
	}
	w := view{e: e, t: t, minutes: minutes}
	w.v, w.ok = e.sums.values(minutes)
	d.exfiltration(&w, nil)
	d.failing(&w)
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
		p.settle(int(p.hour) % hours)
		p.restart(hourAt(t - 1))
		if t-e.last > int64(d.cfg.Relearn)/2 {
			p.busy, p.seen = [hours]uint8{}, [hours]uint8{} // the deployment ended it
		}
	}
}

func (d *Detector) judgeView(w *view, p *profile) {
	for m := range numMetrics {
		w.band[m], w.known[m] = p.band(m, w.hour)
		if p.seldom(w.hour) {
			w.band[m].high = max(w.band[m].high, p.most(m))
		}
	}
	if d.now < w.e.born+int64(d.cfg.Learn) {
		w.known = [numMetrics]bool{}
	}
	w.replicas()
	exfil := d.exfiltration(w, p)
	d.failing(w)
	if w.known[bytesOut] {
		d.volume(w, exfil)
		d.resending(w)
		d.slow(w)
		d.quiet(w, p)
	}
}

// replicas widens the bands where there are more or fewer of a service than mostly.
func (w *view) replicas() {
	for _, n := range [...]*node{w.e.c, w.e.s} {
		if r := &n.replicas; r.now > 0 && r.usual > 0 {
			x := math.Log2(float64(r.now)/r.usual) * octave
			w.grown, w.shrunk = max(w.grown, x), max(w.shrunk, -x)
		}
	}
}

// above says whether m is out of its band by the factor, and at least floor.
func (w *view) above(m metric, floor, factor float64) bool {
	if !w.ok[m] || !w.known[m] || w.v[m] < floor {
		return false
	}
	return float64(levelOf(w.v[m])) > w.band[m].high+math.Log2(factor)*octave+w.grown
}

// score is how many widths of its spread m is from the middle.
func (w *view) score(m metric) float64 {
	return math.Abs(float64(levelOf(w.v[m]))-w.band[m].mid) / w.band[m].spread
}

// confirmed counts the minutes in which something is so, less those in which it is
// not: what is near the edge of a band comes and goes.
func (w *view) confirmed(k kind, is bool) bool {
	s := &w.e.streak[k]
	if !is {
		*s -= min(*s, 1)
		return false
	}
	*s = min(*s+1, 2*confirm[k])
	return *s >= confirm[k]
}

// volume looks for too much and too little.
func (d *Detector) volume(w *view, exfil bool) {
	t := &d.cfg.Thresholds
	worst, high := bytesOut, false
	for m, floor := range [...]float64{bytesOut: t.Bytes, bytesIn: t.Bytes, connections: t.Conns} {
		m := metric(m)
		if !w.above(m, floor, t.Factor) {
			continue
		}
		w.strange[m] = true
		if !high || w.score(m) > w.score(worst) {
			worst, high = m, true
		}
	}
	if w.confirmed(isHigh, high && !exfil) {
		d.report(w, isHigh, worst, "more")
	}
	low := false
	for _, m := range [...]metric{bytesOut, bytesIn} {
		b := &w.band[m]
		if w.known[m] && w.v[m] > 0 && b.mid > float64(levelOf(t.Bytes)) &&
			float64(levelOf(w.v[m])) < b.low-tooLittle-w.shrunk && w.e.profile.alwaysBusy(w.hour) {
			worst, low, w.freeze = m, true, true
		}
	}
	if w.confirmed(isLow, low) {
		d.report(w, isLow, worst, "less")
	}
}

// tooLittle is how far below the least that was seen traffic must fall: an eighth.
// Holidays are quiet, too.
const tooLittle = 3 * octave

// units of what volume looks at.
var units = [...]string{bytesOut: "bytes/min to the server", bytesIn: "bytes/min to the client", connections: "connections/min"}

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

// exfiltration looks for what grows outward only: in a minute, beyond what the edge
// carries at any time of the day, or slowly over an hour. p is nil of an edge that was
// busy for some minutes only.
func (d *Detector) exfiltration(w *view, p *profile) bool {
	out, in, ok := w.e.outward()
	if !ok {
		return false
	}
	t := &d.cfg.Thresholds
	lopsided := w.v[out] > lopsidedness*w.v[in]
	is, expected, score := false, 0.0, w.v[out]/t.ExfilBytes
	switch {
	case w.known[out]:
		most := max(w.band[out].high, p.most(out))
		expected = out.value(most)
		is = w.v[out] >= t.ExfilBytes && lopsided && float64(levelOf(w.v[out])) > most+math.Log2(t.Factor)*octave+w.grown && !w.above(in, t.Bytes, t.Factor)
		score = w.score(out)
	case !w.e.known && w.e.s.kind == correlate.KindExternal:
		is = w.v[out] >= t.ExfilBytes && lopsided
	default:
		return false
	}
	if is {
		w.strange[out] = true
		if w.confirmed(isExfil, true) {
			d.exfil(w, out, in, expected, w.v[out], score, "a minute")
		}
		return true
	}
	w.confirmed(isExfil, false)
	if p == nil || !lopsided {
		return false
	}
	total, usual := p.outTotal+w.v[out]*w.minutes, 0.0
	if w.known[out] {
		usual = out.value(float64(p.hourly)) // a new edge's own beginning is no measure
	}
	if total >= t.ExfilHour && total > hourlyFactor*usual*math.Exp2(w.grown/octave) && (w.known[out] || !w.e.known) {
		w.strange[out], p.tainted = true, true
		d.exfil(w, out, in, usual, total, total/max(t.ExfilHour, usual), "this hour")
		if w.e.settles > w.t { // accepted
			p.hourly, w.e.known = levelOf(total), true
		}
		return true
	}
	return false
}

const (
	// lopsidedness is how much more goes out than comes in.
	lopsidedness = 4
	// hourlyFactor is above the most in any hour that is known.
	hourlyFactor = 3
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

// failing looks for attempts and requests that fail; an edge of which nothing is known
// yet must fail mostly.
func (d *Detector) failing(w *view) {
	t := &d.cfg.Thresholds
	all := float64(w.e.sums.attempts+w.e.sums.requests) / w.minutes
	share := w.v[failures] / max(all, w.v[failures])
	is := w.v[failures] >= t.Failures && share >= t.FailShare
	if w.known[failures] {
		is = is && w.above(failures, t.Failures, t.Factor)
	} else {
		is = is && share >= max(t.FailShare, 0.5)
	}
	if is {
		w.strange[failures] = true
	}
	if w.confirmed(isFailing, is) && !d.still(w, isFailing, w.v[failures], 0) {
		x := d.of(Failures, w.e)
		x.Seen, x.Score = w.v[failures], w.v[failures]/t.Failures
		if w.known[failures] {
			x.Expected, x.Score = failures.value(w.band[failures].mid), w.score(failures)
		}
		x.Message = fmt.Sprintf("%.0f of %.0f connections and requests a minute from %s to %s fail", w.v[failures], max(all, w.v[failures]), x.Client.Name, x.Server.Name)
		x.Evidence = fmt.Sprintf("failures_per_min=%.0f share=%.2f most_before=%.0f", w.v[failures], share, failures.value(w.band[failures].high))
		d.judged(w, isFailing, x)
	}
}

func (d *Detector) resending(w *view) {
	is := w.ok[retransmits] && w.v[retransmits] >= d.cfg.Thresholds.Retransmit*1e5 && w.above(retransmits, 0, d.cfg.Thresholds.Factor)
	w.strange[retransmits] = is
	if w.confirmed(isResending, is) && !d.still(w, isResending, w.v[retransmits]/1e5, w.score(retransmits)) {
		x := d.of(Retransmits, w.e)
		x.Expected, x.Seen, x.Score = retransmits.value(w.band[retransmits].mid)/1e5, w.v[retransmits]/1e5, w.score(retransmits)
		x.Message = fmt.Sprintf("%.1f %% of the segments between %s and %s are sent again", 100*x.Seen, x.Client.Name, x.Server.Name)
		x.Evidence = fmt.Sprintf("segments=%d sent_again=%d most_before=%.4f", w.e.sums.segments, w.e.sums.again, retransmits.value(w.band[retransmits].high)/1e5)
		d.judged(w, isResending, x)
	}
}

// slow looks for latency; half of the factor will do, for it is a mean and takes
// longer to confirm.
func (d *Detector) slow(w *view) {
	worst, is := rtt, false
	factor := (1 + d.cfg.Thresholds.Factor) / 2
	for _, m := range [...]metric{rtt, response} {
		if !w.ok[m] || !w.known[m] || w.v[m]-m.value(w.band[m].mid) < d.cfg.Thresholds.LatencyMS*1e3 || !w.above(m, 0, factor) {
			continue
		}
		w.strange[m] = true
		if !is || w.score(m) > w.score(worst) {
			worst, is = m, true
		}
	}
	if w.confirmed(isSlow, is) && !d.still(w, isSlow, w.v[worst]/1e6, w.score(worst)) {
		x := d.of(Latency, w.e)
		x.Expected, x.Seen, x.Score = worst.value(w.band[worst].mid)/1e6, w.v[worst]/1e6, w.score(worst)
		what := map[metric]string{rtt: "round trips", response: "responses"}[worst]
		x.Message = fmt.Sprintf("%s from %s to %s take %.1f ms, usually %.1f ms", what, x.Client.Name, x.Server.Name, 1e3*x.Seen, 1e3*x.Expected)
		x.Evidence = fmt.Sprintf("seconds=%.6f usual_seconds=%.6f most_before_seconds=%.6f", x.Seen, x.Expected, worst.value(w.band[worst].high)/1e6)
		d.judged(w, isSlow, x)
	}
}

// quiet looks for an edge that always has traffic at this time and has none.
func (d *Detector) quiet(w *view, p *profile) {
	if w.e.sums.active() || !p.alwaysBusy(w.hour) {
		w.e.streak[isQuiet] = 0
		return
	}
	w.freeze = true
	if e := w.e; e.s.net != (flows.Addr{}) && d.places[placeKey{hash(e.c.name), e.network, e.port, e.proto}].named != nil {
		return // it has a name now
	}
	s := &w.e.streak[isQuiet]
	*s = uint8(min(float64(*s)+w.minutes, math.MaxUint8))
	if int(*s) < d.cfg.Thresholds.QuietMin {
		return
	}
	if d.still(w, isQuiet, 0, float64(*s)/float64(d.cfg.Thresholds.QuietMin)) {
		return
	}
	x := d.of(Quiet, w.e)
	x.Expected, x.Score = bytesOut.value(w.band[bytesOut].mid)+bytesIn.value(w.band[bytesIn].mid), float64(*s)/float64(d.cfg.Thresholds.QuietMin)
	x.Since = w.e.last
	x.Message = fmt.Sprintf("nothing from %s to %s for %d minutes, where there is always something", x.Client.Name, x.Server.Name, *s)
	x.Evidence = fmt.Sprintf("usual_bytes_per_min=%.0f busy_minutes=%d%%", x.Expected, 100*int(p.busy[w.hour])/busyScale)
	d.judged(w, isQuiet, x)
}

// report tells of a volume.
func (d *Detector) report(w *view, k kind, m metric, more string) {
	if d.still(w, k, w.v[m], w.score(m)) {
		return
	}
	x := d.of(Volume, w.e)
	x.Expected, x.Seen, x.Score = m.value(w.band[m].mid), w.v[m], w.score(m)
	x.Message = fmt.Sprintf("%s than usual from %s to %s: %.0f %s, usually %.0f", more, x.Client.Name, x.Server.Name, x.Seen, units[m], x.Expected)
	x.Evidence = fmt.Sprintf("to_server_bytes_per_min=%.0f to_client_bytes_per_min=%.0f connections_per_min=%.0f least_before=%.0f most_before=%.0f",
		w.v[bytesOut], w.v[bytesIn], w.v[connections], m.value(w.band[m].low), m.value(w.band[m].high))
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
	if out, _, ok := w.e.outward(); ok && !w.strange[out] {
		p.outTotal += w.v[out] * w.minutes
	}
	for m := range numMetrics {
		if w.ok[m] && !w.strange[m] {
			p.learn(m, levelOf(w.v[m]))
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
