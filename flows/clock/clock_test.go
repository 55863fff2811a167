package clock

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestClock(t *testing.T) {
	var c Clock
	if err := c.Refresh(); err != nil {
		t.Fatal(err)
	}
	first := c.offset
	if c.Unix(0) != 0 || c.Unix(5) != first+5 || c.Boot(c.Unix(5)) != 5 {
		t.Errorf("Unix(0) = %d, Unix(5) = %d, and back %d", c.Unix(0), c.Unix(5), c.Boot(c.Unix(5)))
	}
	boot, err := BootTime()
	if d := time.Since(time.Unix(0, c.Unix(boot))); err != nil || d.Abs() > time.Second {
		t.Errorf("boot time converts to a wall time %v off, %v", d, err)
	}
	c.follow(first + Slack/2)
	if c.offset != first {
		t.Error("noise moved the offset")
	}
	c.follow(first - 3*Slack)
	if c.offset != first-3*Slack {
		t.Error("a step of the wall clock was not followed")
	}
}

// A thread that is preempted between its readings reads again.
func TestReadPreempted(t *testing.T) {
	const offset = 1_700_000_000_000_000_000
	for name, pauses := range map[string][]int64{
		"not at all":     {100, 100, 100},
		"before":         {5_000_000, 100, 100},
		"in between":     {100, 3_000_000, 100, 100, 100, 100},
		"after":          {100, 100, 3_000_000, 100, 100, 100},
		"slow, and once": {3000, 3000, 3000, 3000, 9_000_000},
	} {
		boot, call := int64(1000), 0
		got, err := read(func(id int32) (int64, error) {
			pause := pauses[min(call, 2)]
			if call < len(pauses) {
				pause = pauses[call]
			}
			boot += pause
			call++
			if id == unix.CLOCK_REALTIME {
				return boot + offset, nil
			}
			return boot, nil
		})
		if d := got - offset; err != nil || d > 3000 || d < -3000 {
			t.Errorf("%s: %d ns off, %v", name, got-offset, err)
		}
		if call > 3*attempts {
			t.Errorf("%s: %d readings", name, call)
		}
	}
	if _, err := read(func(int32) (int64, error) { return 0, errors.New("no clock") }); err == nil {
		t.Error("no error without a clock")
	}
}

func TestRefreshAllocates(t *testing.T) {
	var c Clock
	if n := testing.AllocsPerRun(100, func() { _ = c.Refresh() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
