package anomaly

import (
	"fmt"
	"math"

	"github.com/weir-probe/weir/flows"
)

// failing looks for attempts and requests that fail; an edge of which nothing is known
// yet, and then p may be nil, must fail mostly.
func (d *Detector) failing(w *view, p *profile) {
	t := w.e.limits
	seen, all, is := w.v[failures], w.attempted(), false
	if w.known[failures] {
		if _, is = d.worst(w, p, isFailing, failures); is {
			seen, all = w.held(p, failures), p.tried
		}
	} else {
		is = seen >= bareFailures*t.Failures && w.failed() >= max(t.FailShare, 0.5)
		w.strange[failures] = is
		if w.e.failing = streak(w.e.failing, is); w.e.failing < fewFailing {
			is = false
		}
	}
	if !is || d.still(w, isFailing, seen, 0) {
		return
	}
	x := d.of(Failures, w.e)
	x.Seen, x.Score = seen, seen/t.Failures
	if w.known[failures] {
		x.Expected, x.Score = failures.value(w.band[failures].mid), w.heldScore(p, failures)
	}
	all = max(all, seen)
	x.Message = fmt.Sprintf("%.0f of %.0f connections and requests a minute from %s to %s fail", seen, all, x.Client.Name, x.Server.Name)
	x.Evidence = fmt.Sprintf("failures_per_min=%.0f share=%.2f most_before=%.0f", seen, seen/all, failures.value(w.band[failures].held))
	d.judged(w, isFailing, x)
}

// Where nothing is known it takes so many minutes, and so many times the failures: a client
// that insists on a server that is not there is no news.
const (
	fewFailing   = 4
	bareFailures = 4
)

// streak counts the minutes in which something is so, less those in which it is not.
func streak(n uint8, is bool) uint8 {
	if is {
		return min(n+1, 2*fewFailing)
	}
	return n - min(n, 1)
}

func (d *Detector) resending(w *view, p *profile) {
	_, is := d.worst(w, p, isResending, retransmits)
	seen, score := w.held(p, retransmits)/1e5, w.heldScore(p, retransmits)
	if !is || d.still(w, isResending, seen, score) {
		return
	}
	x := d.of(Retransmits, w.e)
	x.Expected, x.Seen, x.Score = retransmits.value(w.band[retransmits].mid)/1e5, seen, score
	x.Message = fmt.Sprintf("%.1f %% of the segments between %s and %s are sent again", 100*x.Seen, x.Client.Name, x.Server.Name)
	x.Evidence = fmt.Sprintf("segments=%d sent_again=%d most_before=%.4f", w.e.sums.segments, w.e.sums.again, retransmits.value(w.band[retransmits].held)/1e5)
	d.judged(w, isResending, x)
}

// slow looks for latency.
func (d *Detector) slow(w *view, p *profile) {
	m, is := d.worst(w, p, isSlow, rtt, response)
	if !is || d.still(w, isSlow, w.held(p, m)/1e6, w.heldScore(p, m)) {
		return
	}
	x := d.of(Latency, w.e)
	x.Expected, x.Seen, x.Score = m.value(w.band[m].mid)/1e6, w.held(p, m)/1e6, w.heldScore(p, m)
	what := map[metric]string{rtt: "round trips", response: "responses"}[m]
	x.Message = fmt.Sprintf("%s from %s to %s take %.1f ms, usually %.1f ms", what, x.Client.Name, x.Server.Name, 1e3*x.Seen, 1e3*x.Expected)
	x.Evidence = fmt.Sprintf("seconds=%.6f usual_seconds=%.6f most_before_seconds=%.6f", x.Seen, x.Expected, m.value(w.band[m].held)/1e6)
	d.judged(w, isSlow, x)
}

// quiet looks for an edge that always has traffic at this time and has none.
func (d *Detector) quiet(w *view, p *profile) {
	if w.e.sums.active() || !p.alwaysBusy(w.hour) {
		// A long one is no habit.
		p.gap, w.e.silent = max(p.gap, min(w.e.silent, uint8(min(2*w.e.limits.QuietMin, maxQuiet)))), 0
		return
	}
	w.freeze = true
	if e := w.e; e.s.net != (flows.Addr{}) && d.places[placeKey{hash(e.c.name), e.network, e.port, e.proto}].named != nil {
		return // it has a name now
	}
	s := &w.e.silent
	*s = uint8(min(float64(*s)+w.minutes, math.MaxUint8))
	least := w.e.limits.QuietMin
	if gap := int(p.gap); int(*s) < max(least, gap+min(gap, least)/2) {
		return
	}
	if d.still(w, isQuiet, 0, float64(*s)/float64(least)) {
		return
	}
	x := d.of(Quiet, w.e)
	x.Expected, x.Score = bytesOut.value(w.band[bytesOut].mid)+bytesIn.value(w.band[bytesIn].mid), float64(*s)/float64(least)
	x.Since = w.e.last
	x.Message = fmt.Sprintf("nothing from %s to %s for %d minutes, where there is always something", x.Client.Name, x.Server.Name, *s)
	x.Evidence = fmt.Sprintf("usual_bytes_per_min=%.0f busy_minutes=%d%%", x.Expected, 100*int(p.busy[w.hour])/busyScale)
	d.judged(w, isQuiet, x)
}
