package process

import (
	"errors"
	"log/slog"
	"time"

	"github.com/weir-probe/weir/flows/clock"
)

// Config bounds a Table. The zero value means the defaults.
type Config struct {
	// Grace is how long a process that ended is still known (default 60 s).
	Grace time.Duration
	// MaxProcesses bounds the table (default 262 144), MaxExited those in it that
	// ended (default 65 536).
	MaxProcesses, MaxExited int
	// Sweep is how often the table is compared with /proc to find processes whose
	// end was not reported (default 5 min).
	Sweep time.Duration
	// Scan reads all of /proc once at the start, for kernels that cannot report
	// the processes that exist already.
	Scan    bool
	Cmdline RedactorConfig
	// Proc and Passwd are where the host's files are (default /proc, /etc/passwd).
	Proc, Passwd string
	// Unit names the systemd unit of a pair of cgroup ids (v2, v1); known is false
	// when the cgroup is not known (yet). Called by the table's owner; nil means
	// no units.
	Unit func(v2, v1 uint64) (unit string, known bool)
	// Wall turns ns of CLOCK_BOOTTIME into unix ns (default: by the clocks' offset
	// at New).
	Wall   func(boot uint64) int64
	Logger *slog.Logger // nil discards
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Grace: time.Minute, MaxProcesses: 1 << 18, MaxExited: 1 << 16, Sweep: 5 * time.Minute,
		Proc: "/proc", Passwd: "/etc/passwd",
	}
}

// Validate checks ranges and the command line policy.
func (c Config) Validate() error {
	if c.Grace < 0 || c.MaxProcesses < 0 || c.MaxExited < 0 || c.Sweep < 0 {
		return errors.New("processes: grace, max_processes, max_exited and sweep must not be negative")
	}
	return c.Cmdline.Validate()
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Grace == 0 {
		c.Grace = d.Grace
	}
	if c.MaxProcesses == 0 {
		c.MaxProcesses = d.MaxProcesses
	}
	if c.MaxExited == 0 {
		c.MaxExited = d.MaxExited
	}
	if c.Sweep == 0 {
		c.Sweep = d.Sweep
	}
	if c.Proc == "" {
		c.Proc = d.Proc
	}
	if c.Passwd == "" {
		c.Passwd = d.Passwd
	}
	if c.Unit == nil {
		c.Unit = func(uint64, uint64) (string, bool) { return "", true }
	}
	if c.Wall == nil {
		var boot clock.Clock
		_ = boot.Refresh() // both clocks are always there
		c.Wall = boot.Unix
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Stats counts what the table did; totals since the start, except Processes and Exited.
type Stats struct {
	Processes int // in the table now, ended ones included
	Exited    int // of those, ended
	// Existing, Forks, Execs, Exits are events taken.
	Existing, Forks, Execs, Exits uint64
	Lookups                       uint64
	// Unknown counts lookups of a process no event had told of.
	Unknown uint64
	// Asked counts questions to /proc, Resolved those answered, Vanished those
	// whose process was gone, Reused those where the PID was another process's by
	// then, Changed those where it ran another image by then.
	Asked, Resolved, Vanished, Reused, Changed uint64
	QueueFull                                  uint64 // questions put off
	Scanned                                    uint64 // processes found by the scan
	Swept                                      uint64 // ends found by comparing with /proc
	Evicted                                    uint64 // ended processes forgotten before their grace time was over
	Refused                                    uint64 // processes not remembered because the table was full
}
