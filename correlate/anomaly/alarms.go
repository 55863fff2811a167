package anomaly

import (
	"slices"
	"time"
)

const (
	// maxAlarms bounds what may go on at once.
	maxAlarms = 1024
	// calm is how long an anomaly must not be seen to be over, once that of what
	// happens once.
	calm = int64(10 * time.Minute)
	once = int64(time.Hour)
)

// alarm is an anomaly that goes on.
type alarm struct {
	Anomaly
	seen   int64 // when it was last
	lasts  int64 // how long after seen it is over
	silent bool  // a silence matched when it began, or since
}

// alarms are what goes on, by fingerprint.
type alarms struct {
	active map[uint64]*alarm
	out    []Anomaly // since the last tick
	cfg    *Config
	off    [numTypes]bool
	stats  *Stats
}

func newAlarms(cfg *Config, stats *Stats) alarms {
	a := alarms{active: map[uint64]*alarm{}, cfg: cfg, stats: stats}
	for _, name := range cfg.Off {
		if t, ok := typeNamed(name); ok {
			a.off[t] = true
		}
	}
	return a
}

// goesOn notes that what f identifies is still there, and says whether it was known.
func (a *alarms) goesOn(f uint64, t int64, seen, score float64) *alarm {
	al := a.active[f]
	if al == nil {
		return nil
	}
	al.seen = t
	if score > al.Score {
		al.Score, al.Seen = score, seen
	}
	return al
}

// begin tells of a new anomaly.
func (a *alarms) begin(x Anomaly, lasts int64) {
	if a.off[x.Type] {
		return
	}
	if len(a.active) >= maxAlarms {
		a.stats.Dropped++
		return
	}
	al := &alarm{Anomaly: x, seen: x.Time, lasts: lasts}
	a.active[x.Fingerprint] = al
	if a.silenced(&x, x.Time) {
		al.silent = true
		a.stats.Silenced++
		return
	}
	x.Ongoing = a.among(&x)
	a.stats.Told[x.Type]++
	a.out = append(a.out, x)
}

// silenced says whether a silence holds for x at t.
func (a *alarms) silenced(x *Anomaly, t int64) bool {
	now := time.Unix(0, t)
	return slices.ContainsFunc(a.cfg.Silences, func(s Silence) bool { return s.matches(x, now) })
}

// among is how many of x's type, between ends of its names, go on and are told.
func (a *alarms) among(x *Anomaly) (n int) {
	for _, al := range a.active {
		if !al.silent && al.Type == x.Type && al.Client.Name == x.Client.Name && al.Server.Name == x.Server.Name {
			n++
		}
	}
	return n
}

// ongoing are those that go on and were told.
func (a *alarms) ongoing() (list []Anomaly) {
	for _, al := range a.active {
		if !al.silent {
			list = append(list, al.Anomaly)
		}
	}
	return list
}

// expire ends what has not been seen for long enough, and for whoever was told of it what
// nobody wants to hear of any more.
func (a *alarms) expire(t int64) {
	for f, al := range a.active {
		told := !al.silent
		switch {
		case t-al.seen >= al.lasts:
			delete(a.active, f)
		case told && (a.off[al.Type] || a.silenced(&al.Anomaly, t)):
			al.silent = true
			a.stats.Silenced++
		default:
			continue
		}
		if !told {
			continue
		}
		x := al.Anomaly
		x.State, x.Time, x.Ongoing = Resolved, t, a.among(&al.Anomaly)
		a.stats.Resolved++
		a.out = append(a.out, x)
	}
}
