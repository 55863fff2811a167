package anomaly

import (
	"fmt"
	"slices"
	"time"

	"github.com/weir-probe/weir/correlate"
)

const (
	// beaconKept is how many intervals are remembered.
	beaconKept = 24
	// maxBeacons bounds the edges whose connections are timed.
	maxBeacons = 512
	// What is nearer than that to the one before belongs to it, what is further away
	// begins anew; ns.
	beaconMerge = int64(time.Second)
	beaconReset = int64(4 * time.Hour)
	// beaconWatch is how long an edge is new.
	beaconWatch = int64(7 * 24 * time.Hour)
)

// beacon times the connections of an edge to a new place elsewhere.
type beacon struct {
	last      int64 // start of the latest connection
	intervals [beaconKept]float32
	n         int // that are valid, up to beaconKept
	at        int // where the next goes
	octets    uint64
	conns     uint64
	fresh     bool // something came since it was judged
	alarm     uint64
}

// watch has an edge's connections timed.
func (d *Detector) watch(e *edge) {
	if d.beacons >= maxBeacons {
		d.stats.Refused++
		return
	}
	d.beacons++
	e.beacon = new(beacon)
}

// connected takes a new connection.
func (b *beacon) connected(r *correlate.Record) {
	b.octets += r.Delta.ToServer.Payload + r.Delta.ToClient.Payload
	b.conns += uint64(r.Delta.Opened)
	switch d := r.Start - b.last; {
	case b.last == 0 || d > beaconReset:
		*b = beacon{last: r.Start, octets: b.octets, conns: b.conns, alarm: b.alarm}
	case d < beaconMerge:
		b.last = max(b.last, r.Start)
	default:
		b.last = r.Start
		b.intervals[b.at] = float32(float64(d) / 1e9)
		b.at = (b.at + 1) % beaconKept
		b.n = min(b.n+1, beaconKept)
		b.fresh = true
	}
}

const (
	// How regular it must be: the spread of the intervals by their median, and the
	// share of them near it.
	beaconSpread = 0.2
	beaconNear   = 0.4
	beaconShare  = 0.8
)

// period returns the median interval, s, and its relative spread; ok for regular ones.
func (b *beacon) period() (median, spread float64, ok bool) {
	var s [beaconKept]float32
	v := s[:copy(s[:], b.intervals[:b.n])]
	slices.Sort(v)
	m := v[len(v)/2]
	near := 0
	for i, x := range v {
		v[i] = max(x-m, m-x)
		if v[i] <= beaconNear*m {
			near++
		}
	}
	slices.Sort(v)
	median, spread = float64(m), float64(v[len(v)/2]/m)
	return median, spread, spread <= beaconSpread && float64(near) >= beaconShare*float64(b.n)
}

// beaconing looks for small connections at regular times.
func (d *Detector) beaconing(e *edge, t int64) {
	b := e.beacon
	if t-e.born > beaconWatch && b.alarm == 0 {
		e.beacon = nil
		d.beacons--
		return
	}
	if !b.fresh || b.n < e.limits.BeaconTurn {
		return
	}
	b.fresh = false
	size := float64(b.octets) / float64(max(b.conns, 1))
	median, spread, ok := b.period()
	if !ok || size > e.limits.BeaconSize {
		return
	}
	if b.alarm != 0 && d.alarms.goesOn(b.alarm, t, median, 0) != nil {
		return
	}
	x := d.of(Beacon, e)
	x.Expected, x.Seen, x.Score = 1, spread, beaconSpread/max(spread, 0.01)
	x.Message = fmt.Sprintf("%s connects to %s every %s, give or take %.0f %%, for %s each time", x.Client.Name, x.Server.Name,
		time.Duration(median*1e9).Round(time.Second), 100*spread, octets(size))
	x.Evidence = fmt.Sprintf("period_seconds=%.1f spread=%.3f intervals=%d connections=%d mean_bytes=%.0f", median, spread, b.n, b.conns, size)
	b.alarm = d.begin(x, max(calm, int64(4*median*1e9)))
}
