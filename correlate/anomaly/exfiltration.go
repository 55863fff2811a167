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
	if w.known[out] { // a new edge's own beginning is no measure
		usual = out.value(float64(p.hourly))
		if w.known[in] && w.v[in]/max(in.value(w.band[in].mid), 1) > total/max(usual, 1)/2 {
			return false // what comes in grew as well
		}
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
