package anomaly

import (
	"math"
	"slices"
)

// metric is what a profile knows of an edge, per minute.
type metric uint8

const (
	bytesOut    metric = iota // octets to the server
	bytesIn                   // octets to the client
	connections               // attempts
	failures                  // failed attempts and requests
	retransmits               // per 100 000 segments
	rtt                       // µs
	response                  // µs
	numMetrics
)

// Values are kept as level: log₂(1+v) in 256ths, so that "twice as much" is a
// distance and 16 bits hold anything.
type level = int16

const octave = 256

func levelOf(v float64) level { return level(math.Log2(1+max(v, 0)) * octave) }

func (m metric) value(l float64) float64 { return math.Exp2(l/octave) - 1 }

// hourBucket is what one hour of the day looked like.
// Top and low are of minutes, held and least of what was held (window).
type hourBucket struct{ mid, mad, top, low, held, least level }

const (
	hours     = 24
	perHour   = 60 // minutes of which a level is kept
	fewest    = 10 // levels that say something of an hour
	memory    = 7  // days over which the usual is averaged
	busyScale = 250
)

// profile is the usual of one edge; it holds no pointer.
type profile struct {
	usual [numMetrics][hours]hourBucket
	days  [numMetrics][hours]uint8 // that were averaged, up to memory
	busy  [hours]uint8             // share of minutes with traffic, in 250ths
	seen  [hours]uint8             // days that busy is of
	// hourly and daily are the most octets out in an hour and in a day, peak the most of
	// each metric in a minute, of hours too short to be described, too.
	hourly, daily level
	peak          [numMetrics]level
	// outs are the octets out of the last hours, by their place in the day.
	outs [hours]float32

	// The hour that goes on, in UTC: what a clock change moves by an hour, the hours
	// beside it still know.
	hour     int32 // since the epoch; 0: none
	levels   [numMetrics][perHour]level
	n        [numMetrics]uint8
	minutes  uint8
	active   uint8
	outTotal float64
	tainted  bool // too much went out in it
	// mostHeld and leastHeld are of what was held in it; recent are the last minutes, now
	// the latest, held and sunk what is held of them, where holds says so; asked is of the server,
	// tried how many attempts and requests there are a minute now.
	mostHeld, leastHeld [numMetrics]level
	recent              [numMetrics]window
	held, sunk          [numMetrics]level
	holds               [numMetrics]bool
	tried               float64
	now                 [numMetrics]level
	asked               [len(demanded)]share
	// gap is the longest silence of the last days, minutes; an hour makes it a minute less.
	gap uint8
}

// learn adds the level of one minute to the hour that goes on.
func (p *profile) learn(m metric, l level) {
	if p.n[m] < perHour {
		p.levels[m][p.n[m]] = l
		p.n[m]++
	}
	p.peak[m] = max(p.peak[m], l)
}

// minute counts one with or without traffic.
func (p *profile) minute(active bool) {
	if p.minutes < math.MaxUint8 {
		p.minutes++
		if active {
			p.active++
		}
	}
}

// turn begins another hour, and folds the one before into what is known of its time
// of day.
func (p *profile) turn(hour int32) {
	if p.hour == hour {
		return
	}
	if p.hour != 0 {
		p.passed(hour)
		p.fold(int(p.hour) % hours)
	}
	p.restart(hour)
	p.outTotal, p.tainted = 0, false
}

// restart forgets the hour that goes on, but for what went out in it.
func (p *profile) restart(hour int32) {
	p.hour, p.minutes, p.active = hour, 0, 0
	clear(p.n[:])
	for m := range numMetrics {
		p.mostHeld[m], p.leastHeld[m] = 0, math.MaxInt16
	}
}

func (p *profile) fold(h int) {
	p.gap -= min(p.gap, 1)
	for m := range numMetrics {
		p.peak[m] = max(p.peak[m]-1, 0) // an octave in ten days
		if p.n[m] < fewest {
			continue
		}
		b := describe(p.levels[m][:p.n[m]])
		b.held, b.least = max(p.mostHeld[m], b.mid), min(p.leastHeld[m], b.mid)
		p.usual[m][h] = merge(p.usual[m][h], b, p.days[m][h])
		p.days[m][h] = min(p.days[m][h]+1, memory)
	}
	if p.minutes < fewest {
		return
	}
	share := uint8(busyScale * int(p.active) / int(p.minutes))
	if p.seen[h] == 0 {
		p.busy[h] = share
	} else {
		p.busy[h] = uint8(int(p.busy[h]) + (int(share)-int(p.busy[h]))/int(min(p.seen[h]+1, memory)))
	}
	p.seen[h] = min(p.seen[h]+1, memory)
	p.hourly = most(p.hourly, p.outTotal, p.tainted, 1)
	if p.seen[h] == 1 || h == hours-1 || p.tainted { // once a day: what leaks all day must not be usual by the evening
		p.daily = most(p.daily, p.outDay(h, 1), p.tainted, hours)
	}
}

// most is the most octets that were until now, after an hour, or after some: an octave is
// forgotten in ten days. What is too much makes it twice as much in a day: what goes on is
// usual then.
func most(was level, octets float64, tainted bool, after level) level {
	switch l := levelOf(octets); {
	case tainted:
		return min(was+octave/hours, math.MaxInt16-1)
	case l > was:
		return l
	}
	return max(was-after, 0)
}

// describe sorts ls. The most and the least are without three minutes of an hour: what
// is started anew is away for a moment, and it takes more than three to be told.
func describe(ls []level) hourBucket {
	slices.Sort(ls)
	few := len(ls) / 20
	b := hourBucket{mid: ls[len(ls)/2], low: ls[few], top: ls[len(ls)-1-few]}
	if ls[0] == ls[len(ls)-1] {
		return b
	}
	for i, l := range ls {
		ls[i] = max(l-b.mid, b.mid-l)
	}
	slices.Sort(ls)
	b.mad = ls[len(ls)/2]
	return b
}

// fading is how far the most and the least come nearer in a day, so that what happens
// once a week is remembered.
const fading = octave / 8

// merge forgets old days slowly; the most and the least widen at once.
func merge(old, b hourBucket, days uint8) hourBucket {
	if days == 0 {
		return b
	}
	n := int(min(days+1, memory))
	toward := func(from, to level) level { return from + level((int(to)-int(from))/n) }
	return hourBucket{mid: toward(old.mid, b.mid), mad: toward(old.mad, b.mad), top: max(b.top, old.top-fading), held: max(b.held, old.held-fading), least: min(b.least, old.least+fading), low: min(b.low, old.low+fading)}
}

// band is what is usual at some time.
// crest and trough are the largest and the smallest middle of it.
type band struct{ mid, spread, high, low, held, least, crest, trough float64 } // levels

const (
	madToSigma = 1.4826
	sigmas     = 6
	mostSigma  = 2 * octave // what spread alone may widen a band by
	leastSigma = octave / 4
)

// band returns what is usual of m around an hour of the day: of the hours beside it,
// too, because nothing happens on the dot. ok is false where nothing is known.
func (p *profile) band(m metric, h int) (b band, ok bool) {
	first := true
	for _, i := range [...]int{h, (h + hours - 1) % hours, (h + 1) % hours} {
		if p.days[m][i] == 0 {
			continue
		}
		u := &p.usual[m][i]
		wide := min(sigmas*madToSigma*float64(u.mad), mostSigma)
		high, low := max(float64(u.top), float64(u.mid)+wide), min(float64(u.low), float64(u.mid)-wide)
		if first {
			b = band{mid: float64(u.mid), spread: max(madToSigma*float64(u.mad), leastSigma), high: high, low: low, held: float64(u.held), least: float64(u.least), crest: float64(u.mid), trough: float64(u.mid)}
			first = false
			continue
		}
		b.high, b.low, b.held = max(b.high, high), min(b.low, low), max(b.held, float64(u.held))
		b.least, b.crest, b.trough = min(b.least, float64(u.least)), max(b.crest, float64(u.mid)), min(b.trough, float64(u.mid))
	}
	return b, !first
}

// alwaysBusy says whether there is traffic in nearly every minute around an hour of
// the day.
func (p *profile) alwaysBusy(h int) bool {
	known := false
	for _, i := range [...]int{h, (h + hours - 1) % hours, (h + 1) % hours} {
		if p.seen[i] == 0 {
			continue
		}
		known = true
		if p.busy[i] < busyScale*85/100 {
			return false
		}
	}
	return known && p.seen[h] > 0
}

// most is the largest level of m at any time of the day.
func (p *profile) most(m metric) float64 {
	most := p.peak[m]
	for h := range hours {
		if p.days[m][h] > 0 {
			most = max(most, p.usual[m][h].top)
		}
	}
	return float64(most)
}

// mostEver is the most that was held at any time of the day.
func (p *profile) mostEver(m metric) float64 {
	most := p.mostHeld[m]
	for h := range hours {
		most = max(most, p.usual[m][h].held)
	}
	return float64(most)
}

// seldom says whether there is traffic now and then only: what comes today at another
// hour than yesterday is no wonder.
func (p *profile) seldom(h int) bool { return p.busy[h] < busyScale/2 }

// settle moves what is known of all hours to where the minutes since a change are,
// where they are clearly elsewhere: a deployment changes how much, seldom when. outward
// is the metric of what leaves.
func (p *profile) settle(h int, outward metric) {
	for m := range numMetrics {
		if p.n[m] < fewest || p.days[m][h] == 0 {
			continue
		}
		var now [perHour]level
		n := copy(now[:], p.levels[m][:p.n[m]])
		b := describe(now[:n])
		d := int(b.mid) - int(p.usual[m][h].mid)
		if d > -octave/2 && d < octave/2 {
			p.usual[m][h].top, p.usual[m][h].held = max(p.usual[m][h].top, b.top), max(p.usual[m][h].held, p.mostHeld[m])
			continue
		}
		for i := range hours {
			if p.days[m][i] > 0 {
				p.usual[m][i].move(d)
			}
		}
		if m == outward && d > 0 {
			p.hourly, p.daily = level(min(int(p.hourly)+d, math.MaxInt16)), level(min(int(p.daily)+d, math.MaxInt16))
		}
		p.usual[m][h].top, p.usual[m][h].held = max(p.usual[m][h].top, b.top), max(p.usual[m][h].held, p.mostHeld[m])
		p.usual[m][h].low = min(p.usual[m][h].low, b.low)
	}
}

func (b *hourBucket) move(d int) {
	for _, l := range [...]*level{&b.mid, &b.top, &b.low, &b.held, &b.least} {
		*l = level(min(max(int(*l)+d, 0), math.MaxInt16))
	}
}
