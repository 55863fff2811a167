// Package clock converts the time that the kernel stamps events and packets with,
// CLOCK_BOOTTIME, to unix time, which packets from AF_PACKET and rows have
// (clock_gettime(2)).
package clock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Slack is how far the wall clock may drift from CLOCK_BOOTTIME before the offset
// follows it, ns. Below it a socket's times do not differ from one snapshot to the
// next; above it connections that follow one another on one tuple within a
// millisecond would be taken for each other (case C10).
const Slack = 20_000

const (
	// narrow is the distance of two readings of CLOCK_BOOTTIME, ns, between which the
	// wall clock's is exact enough.
	narrow = 2_000
	// attempts is how often the clocks are read for one that is: a thread that is
	// preempted in between sees milliseconds.
	attempts = 16
)

// Clock converts with one offset until Refresh: the differences of times converted
// meanwhile are exact and never negative, whatever NTP does to the wall clock.
// Not safe for concurrent use.
type Clock struct {
	offset int64 // unix ns minus boottime ns
}

// At is a clock that converts with an offset, unix ns minus boottime ns.
func At(offset int64) Clock { return Clock{offset} }

// Refresh reads both clocks again.
func (c *Clock) Refresh() error {
	offset, err := read(now)
	if err != nil {
		return err
	}
	c.follow(offset)
	return nil
}

func (c *Clock) follow(offset int64) {
	if d := offset - c.offset; d > Slack || d < -Slack {
		c.offset = offset
	}
}

// Unix converts ns of CLOCK_BOOTTIME; 0 means "did not happen" and stays 0.
func (c *Clock) Unix(boot uint64) int64 {
	if boot == 0 {
		return 0
	}
	return int64(boot) + c.offset
}

// Boot converts unix ns to ns of CLOCK_BOOTTIME.
func (c *Clock) Boot(unix int64) int64 { return unix - c.offset }

// BootTime returns CLOCK_BOOTTIME, ns.
func BootTime() (uint64, error) {
	ns, err := now(unix.CLOCK_BOOTTIME)
	return uint64(ns), err
}

func now(id int32) (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0, fmt.Errorf("read clock %d: %w", id, err)
	}
	return ts.Nano(), nil
}

// read returns unix time minus CLOCK_BOOTTIME, of several readings by the one that
// took the least time.
func read(now func(id int32) (int64, error)) (offset int64, err error) {
	least := int64(-1)
	for range attempts {
		var at [3]int64
		for i, id := range [3]int32{unix.CLOCK_BOOTTIME, unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME} {
			if at[i], err = now(id); err != nil {
				return 0, err
			}
		}
		took := at[2] - at[0]
		if least < 0 || took < least {
			least, offset = took, at[1]-at[0]-took/2
		}
		if least <= narrow {
			break
		}
	}
	return offset, nil
}
