package telemetry

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what the probe's process costs.
type Usage struct {
	CPU time.Duration // user + system, since its start
	RSS int64         // octets resident now
}

// ReadUsage asks the kernel.
func ReadUsage() Usage {
	var u Usage
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) == nil {
		u.CPU = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := bytes.Fields(data); len(f) > 1 {
			pages, _ := strconv.ParseInt(string(f[1]), 10, 64)
			u.RSS = pages * int64(os.Getpagesize())
		}
	}
	return u
}
