package anomaly

import (
	"fmt"
	"math"

	"github.com/weir-probe/weir/flows"
)

// failing looks for attempts and requests that fail; an edge of which nothing is known
// yet must fail mostly.
func (d *Detector) failing(w *view) {
	t := &d.cfg.Thresholds
	all, share := w.attempted(), w.failed()
	is := d.high(w, failures)
	if !w.known[failures] {
		is = w.v[failures] >= t.Failures && share >= max(t.FailShare, 0.5)
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
	is := d.high(w, retransmits)
	w.strange[retransmits] = is
	if w.confirmed(isResending, is) && !d.still(w, isResending, w.v[retransmits]/1e5, w.score(retransmits)) {
		x := d.of(Retransmits, w.e)
		x.Expected, x.Seen, x.Score = retransmits.value(w.band[retransmits].mid)/1e5, w.v[retransmits]/1e5, w.score(retransmits)
		x.Message = fmt.Sprintf("%.1f %% of the segments between %s and %s are sent again", 100*x.Seen, x.Client.Name, x.Server.Name)
		x.Evidence = fmt.Sprintf("segments=%d sent_again=%d most_before=%.4f", w.e.sums.segments, w.e.sums.again, retransmits.value(w.band[retransmits].high)/1e5)
		d.judged(w, isResending, x)
	}
}

// slow looks for latency.
func (d *Detector) slow(w *view) {
	worst, is := rtt, false
	for _, m := range [...]metric{rtt, response} {
		if !d.high(w, m) {
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
