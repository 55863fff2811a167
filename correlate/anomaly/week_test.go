//go:build !race

// A measurement in one goroutine: under the race detector it takes minutes and finds
// nothing that the other tests do not.

package anomaly

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
)

var (
	weeks     = flag.Int("weeks", 3, "weeks that TestWeek plays, each with a seed of its own")
	roughs    = flag.Int("roughs", 2, "rough weeks that TestRoughWeek plays")
	firstSeed = flag.Uint64("seed", 5001, "seed of the first")
	stepFlag  = flag.Duration("step", time.Minute, "interval of the probe in them")
	tableFile = flag.String("table", "", "file to write the table to, between its markers")
	misses    = flag.Bool("misses", false, "say what was missed and what was told wrongly")
)

// tally counts what is right and wrong of a type.
type tally struct{ incidents, found, told, right int }

func (t tally) precision() float64 { return ratio(t.right, t.told) }
func (t tally) recall() float64    { return ratio(t.found, t.incidents) }

func ratio(a, b int) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}

// week plays one week in w: a day to learn, then six with each incident twice and each
// harmless change once or twice, in an order of the seed's making, one after the other.
func week(t *testing.T, w *world, each []scenario, seed uint64, step time.Duration, sum *[numTypes]tally) (n int) {
	r := newRig(t, Config{})
	r.step = step
	w.query = func(cookie uint64, b []byte) { r.d.Query(cookie, b) }
	all := slices.Concat(each, each)
	w.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	end := start.Add(7 * day)
	r.run(26*time.Hour, func(now time.Time) []*correlate.Record { return w.interval(now, step) })
	var labels []label
	for _, s := range all {
		if r.now.Add(2 * time.Hour).After(end) {
			break
		}
		l := s.make(w, r.now.Add(time.Duration(w.rnd.IntN(60))*time.Second).Truncate(step))
		switch l.what {
		case jump:
			r.skew += l.to.Sub(l.from).Truncate(step)
			l.to = l.from.Add(10 * time.Minute)
		case away:
			b := r.d.AppendState(nil)
			r.now = l.to.Truncate(time.Minute)
			d, err := Restore(Config{}, b, r.now.Add(r.skew))
			if err != nil {
				t.Fatal(err)
			}
			r.d = d
		}
		l.what, l.found = s.name, map[Type]bool{}
		labels = append(labels, l)
		r.run(max(l.to.Sub(r.now), 0)+25*time.Minute, func(now time.Time) []*correlate.Record { return w.interval(now, step) })
		w.effects = slices.DeleteFunc(w.effects, func(e effect) bool { return e.to.Before(r.now) })
	}
	r.run(max(end.Sub(r.now), 0), func(now time.Time) []*correlate.Record { return w.interval(now, step) })
	verdicts(t, seed, labels, r.all, sum)
	return len(labels)
}

// verdicts says of each anomaly whether it is right, and of each incident whether it was
// found.
func verdicts(t *testing.T, seed uint64, labels []label, all []Anomaly, sum *[numTypes]tally) {
	for _, a := range all {
		if a.State != Active {
			continue
		}
		verdict, near := judgeAnomaly(&a, labels)
		switch verdict {
		case right:
			sum[a.Type].told++
			sum[a.Type].right++
		case wrong:
			sum[a.Type].told++
			if *misses {
				t.Logf("seed %d: wrong: %s %s: %s [%s] during %q", seed, time.Unix(0, a.Time).UTC().Format("Mon 15:04"), a.Type, a.Message, a.Evidence, near)
			}
		}
	}
	for _, l := range labels {
		for _, want := range l.wants {
			sum[want].incidents++
			if l.found[want] {
				sum[want].found++
			} else if *misses {
				t.Logf("seed %d: missed: %s %s to %s: %q %s → %s", seed, want, l.from.Format("Mon 15:04"), l.to.Format("15:04"), l.what, l.client, l.server)
			}
		}
	}
}

type verdict int

const (
	wrong verdict = iota
	right
	neither
)

// lateness is how long after its end something may be told of an incident.
const lateness = 12 * time.Minute

func judgeAnomaly(a *Anomaly, labels []label) (v verdict, near string) {
	at := time.Unix(0, a.Time)
	for i := range labels {
		l := &labels[i]
		if at.Before(l.from) || at.After(l.to.Add(lateness)) {
			continue
		}
		near = l.what
		if slices.Contains(l.may, a.Type) {
			v = max(v, neither)
		}
		sameClient := l.client == "" || a.Client.Name == clientName(l.client)
		sameServer := l.server == "" || a.Server.Name == serverName(l.server)
		if slices.Contains(l.wants, a.Type) && sameClient && sameServer {
			l.found[a.Type] = true
			return right, near
		}
	}
	return v, near
}

func clientName(s string) string {
	if s == "net" {
		return external
	}
	return s
}

// serverName is how the detector calls what the world calls otherwise.
func serverName(s string) string {
	if _, ok := places[s]; ok && s != "office" {
		return domain(s)
	}
	return s
}

// TestWeek measures how right the detectors are. What they must reach is that of a
// world made for it: that it has what a real one has, no test can say.
func TestWeek(t *testing.T) {
	all := slices.Concat(incidents, harmless)
	measure(t, "weeks", *firstSeed, *weeks, *weeks, func(seed uint64, step time.Duration, sum *[numTypes]tally) int {
		return week(t, newWorld(seed), all, seed, step, sum)
	}, func(x Type, s tally) {
		if *weeks > 1 && (s.incidents == 0 || s.precision() < 0.95 || s.recall() < 0.95) {
			t.Errorf("%s: precision %.3f (%d of %d), recall %.3f (%d of %d)", x, s.precision(), s.right, s.told, s.recall(), s.found, s.incidents)
		}
	})
}

// TestRoughWeek measures it where noise is of all kinds and incidents of all sizes, small
// ones among them that nobody could tell from it: what is told must be right all the same.
func TestRoughWeek(t *testing.T) {
	all := slices.Concat(roughIncidents, incidentsOfOneSize, harmless, roughHarmless)
	measure(t, "rough", *firstSeed+3000, *roughs, *roughs/2, func(seed uint64, step time.Duration, sum *[numTypes]tally) int {
		return week(t, newRoughWorld(seed), all, seed, step, sum)
	}, func(x Type, s tally) {
		if *roughs > 1 && (s.incidents == 0 || s.precision() < 0.95 || s.recall() < 0.3) {
			t.Errorf("%s: precision %.3f (%d of %d), recall %.3f (%d of %d)", x, s.precision(), s.right, s.told, s.recall(), s.found, s.incidents)
		}
	})
}

// measure plays n weeks, for a table also fine ones at short intervals, has each
// detector's tally checked, and writes the tables between the markers of which.
func measure(t *testing.T, which string, first uint64, n, fine int, play func(uint64, time.Duration, *[numTypes]tally) int, check func(Type, tally)) {
	steps := []time.Duration{*stepFlag}
	if *tableFile != "" {
		steps = []time.Duration{time.Minute, 10 * time.Second}
	}
	tables := ""
	for _, step := range steps {
		var sum [numTypes]tally
		events := 0
		if step < time.Minute {
			n = fine
		}
		for seed := first; seed < first+uint64(n); seed++ {
			events += play(seed, step, &sum)
		}
		table := fmt.Sprintf("Intervals of %s, %d weeks (seeds %d to %d), %d incidents and harmless changes:\n\n", step, n, first, first+uint64(n)-1, events) + tableOf(&sum)
		t.Log("\n" + table)
		tables += "\n" + table
		for i, s := range sum {
			check(Type(i), s)
		}
	}
	if *tableFile != "" {
		writeTable(t, *tableFile, which, tables)
	}
}

func tableOf(sum *[numTypes]tally) string {
	var b strings.Builder
	b.WriteString("| detector | incidents | found | told | of them right | precision | recall |\n|---|---|---|---|---|---|---|\n")
	for i, s := range sum {
		fmt.Fprintf(&b, "| `%s` | %d | %d | %d | %d | %.3f | %.3f |\n", Type(i), s.incidents, s.found, s.told, s.right, s.precision(), s.recall())
	}
	return b.String()
}

// writeTable puts a table between its markers in a file.
func writeTable(t *testing.T, name, which, table string) {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+which+": begin -->\n", "<!-- "+which+": end -->"
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for %s", name, which)
	}
	if err := os.WriteFile(name, []byte(before+begin+strings.TrimRight(table, "\n")+"\n\n"+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
