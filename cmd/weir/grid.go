package main

import "time"

// grid hands out the ends of intervals: multiples of the interval since the epoch, the
// same on every host.
type grid struct {
	interval time.Duration
	next     time.Time
	newest   time.Time // end that was handed out
	steps    int64     // of the clock, back
}

func newGrid(interval time.Duration, now time.Time) *grid {
	g := &grid{interval: interval}
	g.move(now)
	return g
}

// due says whether the interval ends by now. A clock that was set back by more than an
// interval ends it, too: nobody shall wait until it has been that late once more.
func (g *grid) due(now time.Time) bool {
	return !now.Before(g.next) || g.next.Sub(now) > g.interval+time.Duration(g.steps)
}

// move begins the next interval. Times that were handed out already do not come again:
// rows of one series and time replace each other. After a step of the clock by so much
// they are a nanosecond off.
func (g *grid) move(now time.Time) {
	if g.next.Sub(now) > g.interval+time.Duration(g.steps) && !g.next.IsZero() {
		g.steps++
	}
	if g.next.After(g.newest) {
		g.newest = g.next
	}
	g.next = now.Truncate(g.interval).Add(g.interval)
	if !g.next.After(g.newest) {
		g.next = g.next.Add(time.Duration(g.steps))
	}
}
