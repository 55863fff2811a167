package cri

import (
	"testing"
	"time"
)

// Lists take a tenth of the time in the long run, and what was saved at once.
func TestAllowance(t *testing.T) {
	now := time.Unix(1000, 0)
	a := allowance{left: savings, at: now}
	const took = 200 * time.Millisecond
	var listed, inARow time.Duration
	begun := now
	for now.Sub(begun) < 10*time.Minute {
		start := now
		now = now.Add(took)
		listed += took
		pause := a.on(start, now)
		if pause == minPause && inARow == listed-took {
			inARow = listed
		}
		now = now.Add(pause)
	}
	if inARow < savings/2 {
		t.Errorf("only %v of lists without a pause, %v are saved", inARow, savings)
	}
	if share := float64(listed) / float64(now.Sub(begun)); share > 0.105 || share < 0.095 {
		t.Errorf("%.3f of the time is spent on lists", share)
	}
}
