package anomaly

import "math"

// touched takes note of an edge with a record in the interval that goes on.
func (d *Detector) touched(e *edge) {
	if !e.touched {
		e.touched = true
		d.busy = append(d.busy, e)
	}
}

// score ends an interval: each edge that had a record in it gets its score, which is in
// [0, 256]. Where the interval ended a minute, that is the judgement of that minute, else
// of what there is of it: what was counted in the part of a minute is compared with
// whole ones, so that a burst which is usual in a minute is no wonder in ten seconds.
func (d *Detector) score(t int64, judged bool) {
	for i, e := range d.busy {
		if !judged {
			e.score = d.soFar(e, t)
		}
		e.touched, d.busy[i] = false, nil
	}
	d.busy = d.busy[:0]
}

// soFar is the score of the part of a minute that ends at t.
func (d *Detector) soFar(e *edge, t int64) float64 {
	if e.profile == nil || d.learning() || t <= d.steady || d.lost || e.settling || t < max(e.settles, e.c.settles, e.s.settles) {
		return 0
	}
	w := viewOf(e, t, 1)
	d.compare(&w, e.profile)
	return d.most(&w)
}

// most is the score of what is farthest from the usual of all that is above its range.
func (d *Detector) most(w *view) (score float64) {
	for m := range numMetrics {
		if d.high(w, m) {
			score = max(score, w.score(m))
		}
	}
	return score
}

// least is most of what is below its range; the minute must be over.
func (d *Detector) least(w *view, p *profile) (score float64) {
	for _, m := range [...]metric{bytesOut, bytesIn} {
		if d.low(w, p, m) {
			score = max(score, w.score(m))
		}
	}
	return score
}

// high says whether m is above its range by what the thresholds ask for.
func (d *Detector) high(w *view, m metric) bool {
	t := w.e.limits
	switch m {
	case bytesOut, bytesIn:
		return w.above(m, t.Bytes, t.Factor)
	case connections:
		return w.above(m, t.Conns, t.Factor)
	case failures:
		return w.failed() >= t.FailShare && w.above(m, t.Failures, t.Factor)
	case retransmits:
		return w.above(m, t.Retransmit*1e5, t.Factor)
	}
	// Of times, half of the factor will do: a mean takes longer to confirm.
	return w.above(m, m.value(w.band[m].mid)+t.LatencyMS*1e3, (1+t.Factor)/2)
}

// rises is high of what is held; what goes on, goes on for longer than it takes to begin.
func (d *Detector) rises(w *view, p *profile, m metric, goesOn bool) bool {
	t := w.e.limits
	switch m {
	case bytesOut, bytesIn:
		return w.rises(p, m, t.Bytes, t.Factor, goesOn)
	case connections:
		return w.rises(p, m, t.Conns, t.Factor, goesOn)
	case failures:
		return w.held(p, m) >= t.FailShare*p.tried && w.rises(p, m, t.Failures, t.Factor, goesOn)
	case retransmits:
		return w.rises(p, m, t.Retransmit*1e5, t.Factor, goesOn)
	}
	return w.rises(p, m, m.value(w.band[m].mid)+t.LatencyMS*1e3, (1+t.Factor)/2, goesOn)
}

// low says whether there is much less of m than there ever was, on an edge that always
// has some.
func (d *Detector) low(w *view, p *profile, m metric) bool {
	b := &w.band[m]
	return w.known[m] && w.v[m] > 0 && b.mid > float64(levelOf(w.e.limits.Bytes)) &&
		float64(levelOf(w.v[m])) < b.low-tooLittle-w.shrunk && p.alwaysBusy(w.hour)
}

// tooLittle is how far below the least that was seen traffic must fall: an eighth.
// Holidays are quiet, too.
const tooLittle = 3 * octave

// above says whether m is out of its band by the factor, and at least floor.
func (w *view) above(m metric, floor, factor float64) bool {
	if !w.ok[m] || !w.known[m] || w.v[m] < floor {
		return false
	}
	return float64(levelOf(w.v[m])) > w.band[m].high+math.Log2(factor)*octave+w.grown
}

// score is that of the minute.
func (w *view) score(m metric) float64 { return w.distance(m, levelOf(w.v[m])) }

// attempted is how many connections and requests there were a minute, failed which
// share of them came to nothing.
func (w *view) attempted() float64 { return float64(w.e.sums.attempts+w.e.sums.requests) / w.minutes }
func (w *view) failed() float64    { return w.v[failures] / max(w.attempted(), w.v[failures]) }
