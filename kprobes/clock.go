package kprobes

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// clockSlack is how far the wall clock may drift from CLOCK_BOOTTIME before the
// offset follows it, ns: reading two clocks one after the other is never exact,
// and a socket's Opened must not differ by that noise in every snapshot.
const clockSlack = 1_000_000

// clock converts the kernel's CLOCK_BOOTTIME into unix time. All times of one
// event are converted with one offset: their differences are exact and never
// negative, whatever NTP does to the wall clock.
type clock struct {
	offset int64 // unix ns minus boottime ns
}

// refresh reads both clocks again.
func (c *clock) refresh() error {
	var before, wall, after unix.Timespec
	for _, r := range []struct {
		id int32
		ts *unix.Timespec
	}{{unix.CLOCK_BOOTTIME, &before}, {unix.CLOCK_REALTIME, &wall}, {unix.CLOCK_BOOTTIME, &after}} {
		if err := unix.ClockGettime(r.id, r.ts); err != nil {
			return fmt.Errorf("read clock %d: %w", r.id, err)
		}
	}
	c.follow(wall.Nano() - (before.Nano()/2 + after.Nano()/2))
	return nil
}

func (c *clock) follow(offset int64) {
	if d := offset - c.offset; d > clockSlack || d < -clockSlack {
		c.offset = offset
	}
}

// unix converts ns of CLOCK_BOOTTIME; 0 means "did not happen" and stays 0.
func (c *clock) unix(boot uint64) int64 {
	if boot == 0 {
		return 0
	}
	return int64(boot) + c.offset
}

// bootTime returns CLOCK_BOOTTIME in ns.
func bootTime() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("read clock: %w", err)
	}
	return uint64(ts.Nano()), nil
}
