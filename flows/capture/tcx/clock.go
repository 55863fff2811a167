package tcx

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock converts CLOCK_BOOTTIME, which the kernel stamps with, to unix time. The
// offset is read again for each Collect: the wall clock is stepped and slewed.
type clock struct {
	offset int64 // unix ns − boot ns
}

func (c *clock) sync() error {
	var boot, wall unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return err
	}
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &wall); err != nil {
		return err
	}
	c.offset = wall.Nano() - boot.Nano()
	return nil
}

func (c *clock) unix(bootNs uint64) int64 { return int64(bootNs) + c.offset }

func (c *clock) boot(t time.Time) int64 { return t.UnixNano() - c.offset }
