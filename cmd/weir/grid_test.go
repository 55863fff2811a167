package main

import (
	"testing"
	"time"
)

// TestCaseJ6_GridWhenClockIsSet: the clock goes on, is set back twice and forward, and
// no two intervals have one end; none waits for longer than it should.
func TestCaseJ6_GridWhenClockIsSet(t *testing.T) {
	const interval = 10 * time.Second
	now := time.Unix(1790000003, 0)
	g := newGrid(interval, now)
	if want := time.Unix(1790000010, 0); !g.next.Equal(want) {
		t.Fatalf("the first interval ends at %v, want %v", g.next, want)
	}
	told := map[int64]bool{}
	run := func(d time.Duration) (ends int) {
		t.Helper()
		for end := now.Add(d); now.Before(end); now = now.Add(100 * time.Millisecond) {
			if !g.due(now) {
				continue
			}
			at := g.next.UnixNano()
			if told[at] {
				t.Fatalf("%v is the end of two intervals", g.next)
			}
			told[at] = true
			if off := time.Duration(at % int64(interval)); off > 10 {
				t.Fatalf("%v is not on the grid", g.next)
			}
			ends++
			g.move(now)
		}
		return ends
	}
	for _, set := range []time.Duration{0, -time.Hour, -2 * time.Minute, 0, 3 * time.Hour, -time.Second, -30 * time.Minute} {
		now = now.Add(set)
		if n := run(time.Hour); n < 360 || n > 361 {
			t.Errorf("%d intervals in the hour after the clock was set by %v", n, set)
		}
	}
}
