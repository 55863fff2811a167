//go:build !race

// A measurement in one goroutine: under the race detector it takes minutes and finds
// nothing that the other tests do not.

package anomaly

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// dose is one kind of incident in several sizes.
type dose struct {
	of    Type
	what  string
	sizes []float64
	lasts time.Duration
	make  func(w *world, t time.Time, d time.Duration, size float64)
}

func onLink(set func(e *effect, size float64), links ...int) func(*world, time.Time, time.Duration, float64) {
	return func(w *world, t time.Time, d time.Duration, size float64) {
		e := effect{link: w.pick(links...), from: t, to: t.Add(d)}
		set(&e, size)
		w.effects = append(w.effects, e)
	}
}

// doses say where each detector begins to see something.
var doses = []dose{
	{Volume, "times the usual traffic of an edge, for 20 minutes", []float64{1.5, 2, 3, 5, 8, 12, 20}, 20 * time.Minute,
		onLink(func(e *effect, f float64) { e.out, e.in = f, f }, 1, 2, 3, 4)},
	{Volume, "the usual traffic of an edge divided by this, for 20 minutes", []float64{1.5, 2, 4, 8, 16, 32, 64}, 20 * time.Minute,
		onLink(func(e *effect, f float64) { e.out, e.in = 1/f, 1/f }, 1, 2, 3, 4)},
	{Exfiltration, "MB a minute more to a known place, for 20 minutes", []float64{1, 3, 5, 10, 20, 50, 100}, 20 * time.Minute,
		onLink(func(e *effect, mb float64) { e.addOut = mb * 1e6 }, 8, 11, 18)},
	{Exfiltration, "MB a minute to a new place, for 90 minutes", []float64{0.1, 0.3, 1, 2, 3, 10}, 90 * time.Minute,
		func(w *world, t time.Time, d time.Duration, mb float64) {
			_, s := w.somewhere()
			w.effects = append(w.effects, effect{link: -1, from: t, to: t.Add(d), extra: w.visits("shop/db", s, 443, mb*1e6, 1e3, every(time.Minute))})
		}},
	{Exfiltration, "MB an hour to a new place, for a day", []float64{1, 2, 5, 10, 20, 50}, 24 * time.Hour,
		func(w *world, t time.Time, d time.Duration, mb float64) {
			_, s := w.somewhere()
			w.effects = append(w.effects, effect{link: -1, from: t, to: t.Add(d), extra: w.visits("shop/db", s, 443, mb*1e6/30, 1e3, every(2*time.Minute))})
		}},
	{Failures, "% of the connections of an edge that has 60 to 500 a minute by day, for 15 minutes", []float64{1, 2, 5, 10, 15, 20, 40}, 15 * time.Minute,
		func(w *world, t time.Time, d time.Duration, percent float64) {
			i := w.pick(1, 2, 3, 5, 6)
			w.effects = append(w.effects, effect{link: i, from: t, to: t.Add(d), fails: w.links[i].conns * w.load(t) * percent / 100 / (1 - percent/100)})
		}},
	{Failures, "failed connections a minute beside 20 to 200 others, for 15 minutes", []float64{2, 5, 10, 20, 40, 80, 160, 320}, 15 * time.Minute,
		onLink(func(e *effect, n float64) { e.fails = n }, 3, 5, 8, 10, 13)},
	{Retransmits, "% of the segments sent again, for 15 minutes", []float64{0.2, 0.5, 1, 2, 3, 5, 10}, 15 * time.Minute,
		onLink(func(e *effect, p float64) { e.resending = p / 100 }, busyLinks...)},
	{Latency, "ms more of each round trip and response, for 15 minutes", []float64{0.5, 1, 2, 5, 10, 30, 100}, 15 * time.Minute,
		onLink(func(e *effect, ms float64) { e.addRTT = ms }, 1, 3, 4, 5, 13)},
	{Latency, "% more of responses that take 15 to 120 ms, for 15 minutes", []float64{10, 20, 30, 50, 75, 100, 200}, 15 * time.Minute,
		onLink(func(e *effect, p float64) { e.rtt = 1 + p/100 }, 1, 6, 8)},
	{Quiet, "minutes without traffic", []float64{2, 5, 8, 10, 12, 15, 20}, 0,
		onLink(func(e *effect, m float64) { e.silent, e.to = true, e.from.Add(time.Duration(m)*time.Minute) }, onLinks...)},
	{PortScan, "ports tried in ten minutes", []float64{5, 10, 20, 30, 40, 50, 60, 100}, 10 * time.Minute, scanDose(PortScan)},
	{HostScan, "hosts tried in ten minutes", []float64{5, 10, 20, 30, 40, 50, 60, 100}, 10 * time.Minute, scanDose(HostScan)},
	{Beacon, "% jitter of a connection every minute, for 30 minutes", []float64{0, 10, 20, 30, 40, 60, 90}, 30 * time.Minute,
		func(w *world, t time.Time, d time.Duration, percent float64) {
			_, s := w.somewhere()
			next := func() time.Duration { return time.Duration(60e9 * (1 + percent/100*(2*w.rnd.Float64()-1))) }
			w.effects = append(w.effects, effect{link: -1, from: t, to: t.Add(d), extra: w.visits("shop/db", s, 443, 300, 300, next)})
		}},
	{DNSTunnel, "names a minute, 32 octets each, for 20 minutes", []float64{0.5, 1, 2, 4, 6, 10, 30}, 20 * time.Minute,
		func(w *world, t time.Time, d time.Duration, n float64) {
			w.sites++
			name := fmt.Sprintf("t%d.example", w.sites)
			w.effects = append(w.effects, effect{link: -1, from: t, to: t.Add(d), extra: func(_ time.Time, step time.Duration) []*correlate.Record {
				for range w.round(n * step.Minutes()) {
					w.query(2, question(fmt.Sprintf("%016x%016x.%s", w.rnd.Uint64(), w.rnd.Uint64(), name)))
				}
				return nil
			}})
		}},
	{AttributionLoss, "% of the records without an owner, for 15 minutes", []float64{5, 10, 15, 20, 30, 40, 60}, 15 * time.Minute,
		func(w *world, t time.Time, d time.Duration, percent float64) {
			w.effects = append(w.effects, effect{link: -1, from: t, to: t.Add(d), unowned: percent / 100})
		}},
}

func scanDose(kind Type) func(*world, time.Time, time.Duration, float64) {
	return func(w *world, t time.Time, d time.Duration, n float64) { w.scan(t, d, int(n), kind) }
}

// trials is how often each size is tried for the table, at different times of the day,
// what lasts a day at every sixth of them; a test tries it every fourth hour.
const trials = 24

// TestSensitivity says from what size on something is found: the largest must be,
// nearly always, the smallest hardly ever.
func TestSensitivity(t *testing.T) {
	const seed = 77
	w := newWorld(seed)
	r := newRig(t, Config{})
	w.query = func(cookie uint64, b []byte) { r.d.Query(cookie, b) }
	run := func(d time.Duration) []Anomaly {
		return r.run(d, func(now time.Time) []*correlate.Record { return w.interval(now, time.Minute) })
	}
	count := trials / 4
	if *tableFile != "" {
		count = trials
	}
	run(3 * day)
	var states [][]byte // one per hour of a day
	for range count {
		run(trials / time.Duration(count) * time.Hour)
		states = append(states, r.d.AppendState(nil))
	}
	every := trials / time.Duration(count) * time.Hour
	origin := r.now.Add(-trials * time.Hour)
	var table strings.Builder
	for _, dose := range doses {
		var head, found strings.Builder
		rate := make([]float64, len(dose.sizes))
		for i, size := range dose.sizes {
			hits, tried := 0, 0
			for k, state := range states {
				if dose.lasts > 6*time.Hour && k%6 != 0 {
					continue
				}
				tried++
				var err error
				r.now = origin.Add(time.Duration(k+1) * every)
				if r.d, err = Restore(Config{}, state, r.now); err != nil {
					t.Fatal(err)
				}
				w.effects = nil
				clear(w.bursts)
				run(7 * time.Minute)
				dose.make(w, r.now, dose.lasts, size)
				for _, a := range run(dose.lasts + 25*time.Minute) {
					if a.Type == dose.of && a.State == Active {
						hits++
						break
					}
				}
			}
			rate[i] = float64(hits) / float64(tried)
			fmt.Fprintf(&head, " %g |", size)
			fmt.Fprintf(&found, " %.0f %% |", 100*rate[i])
		}
		fmt.Fprintf(&table, "\n`%s`: %s\n\n| size |%s\n|---|%s\n| found |%s\n", dose.of, dose.what, head.String(), strings.Repeat("---|", len(dose.sizes)), found.String())
		small, large := rate[0], rate[len(rate)-1]
		if dose.of == Beacon { // the other way round: jitter hides it
			small, large = large, small
		}
		if small > 0.1 || large < 0.9 {
			t.Errorf("%s, %s: the smallest is found in %.0f %%, the largest in %.0f %%", dose.of, dose.what, 100*small, 100*large)
		}
	}
	t.Log(table.String())
	if *tableFile != "" {
		writeTable(t, *tableFile, "sensitivity", table.String())
	}
}
