package anomaly

import (
	"math"
	"slices"
)

// lately is how many minutes are looked at together, and enough how many of them make
// what is held: what that many reach, or are below. No burst of five minutes moves it, and
// it varies less than half as much as a minute does: so a shift that lasts is seen where
// a minute says nothing.
const (
	lately = 9
	enough = 6
)

// window is the levels of the last minutes of one metric, in no order that matters.
type window struct {
	levels [lately]level
	at, n  uint8
}

// add takes a level and says whether it changes anything.
func (w *window) add(l level) bool {
	if w.n == lately && w.levels[w.at] == l {
		w.at = (w.at + 1) % lately
		return false
	}
	w.levels[w.at] = l
	w.at = (w.at + 1) % lately
	w.n = min(w.n+1, lately)
	return true
}

// held is the level that enough minutes reach, and the one that enough are not above; ok
// when there are enough minutes at all.
func (w *window) held() (l, below level, ok bool) {
	s := w.levels
	slices.Sort(s[:])
	return s[lately-enough], s[enough-1], w.n == lately
}

// hold takes the minute into the windows.
func (p *profile) hold(w *view) {
	for m := range numMetrics {
		if !w.ok[m] {
			continue
		}
		p.now[m] = levelOf(w.v[m])
		if p.recent[m].add(p.now[m]) {
			p.held[m], p.sunk[m], p.holds[m] = p.recent[m].held()
		}
	}
	p.tried += (w.attempted() - p.tried) / lately
	p.asks(w)
}

// letGo forgets the last minutes: what follows is not to be compared with them.
func (p *profile) letGo() {
	p.recent, p.holds, p.asked, p.tried = [numMetrics]window{}, [numMetrics]bool{}, [len(demanded)]share{}, 0
}

// rises says whether m is held above all that it was held at around this time of the day,
// and above how far it strays from its middle at any time, and at least floor: by some of
// the octaves of factor where it hardly strays, by all of them where it does or is not
// known for long.
func (w *view) rises(p *profile, m metric, floor, factor float64, goesOn bool) bool {
	if !p.holds[m] || !w.known[m] || p.held[m] < levelOf(floor) {
		return false
	}
	b, most, l := &w.band[m], math.Log2(factor)*octave, float64(p.held[m])-w.grown
	if l <= b.held+leastMargin/2*most {
		return false
	}
	stray := p.strays(m)
	margin := min(max(2*stray, leastMargin*most), most) * (1 + 1/float64(max(p.days[m][w.hour], 1)))
	if goesOn {
		margin /= 2
	}
	return l > max(b.held, b.crest+stray)+margin
}

const (
	// leastMargin is which share of the factor's octaves it takes at least.
	leastMargin = 0.4
	// seldomStrays is how many hours of a day may be unlike the others: a nightly job says
	// nothing of the afternoon.
	seldomStrays = 2
)

// strays is how far above its middle m is held, at most, in an hour: of all hours that are
// known but some, since how much something wanders does not depend on the time.
func (p *profile) strays(m metric) float64 {
	return p.widest(m, func(u *hourBucket) level { return u.held - u.mid })
}

// sinks is how far below.
func (p *profile) sinks(m metric) float64 {
	return p.widest(m, func(u *hourBucket) level { return u.mid - u.least })
}

func (p *profile) widest(m metric, of func(*hourBucket) level) float64 {
	var s [hours]level
	n := 0
	for h := range hours {
		if p.days[m][h] > 0 {
			s[n] = max(of(&p.usual[m][h]), 0)
			n++
		}
	}
	slices.Sort(s[:n])
	return float64(s[max(n-1-seldomStrays, 0)])
}

// falls says whether m has sunk far below all that it was held at around this time of the
// day, and below how far it sinks at any time, on an edge that always has some. Of silence,
// also of one that began within a minute, quiet tells.
func (w *view) falls(p *profile, m metric, floor float64) bool {
	b, l := &w.band[m], float64(p.sunk[m])+w.shrunk
	if p.now[m] == 0 || !p.holds[m] || !w.known[m] || b.mid <= float64(levelOf(floor)) || p.sunk[m] == 0 || l >= b.least-fallen {
		return false
	}
	return l < min(b.least, b.trough-p.sinks(m))-fallen && p.alwaysBusy(w.hour)
}

// fallen is how far: to a quarter. Holidays are quiet, too.
const fallen = 2 * octave

// held is the value that is held, and heldScore its score.
func (w *view) held(p *profile, m metric) float64      { return m.value(float64(p.held[m])) }
func (w *view) heldScore(p *profile, m metric) float64 { return w.distance(m, p.held[m]) }

// distance is how many widths of its spread a level of m is from the middle.
func (w *view) distance(m metric, l level) float64 {
	return math.Abs(float64(l)-w.band[m].mid) / w.band[m].spread
}
