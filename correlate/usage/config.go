package usage

import (
	"errors"
	"log/slog"
)

// Config bounds a Sampler. The zero value means the defaults.
type Config struct {
	// Proc is where mounts and the host's own counters are found (default /proc).
	Proc string
	// Layout, when not nil, is used instead of the mounts found there.
	Layout *Layout
	// MaxGroups bounds the groups that are read (default 1024); those past it are
	// counted.
	MaxGroups int
	// MaxProcesses bounds the processes (default 4096).
	MaxProcesses int
	// Since is when the births of groups began to be seen (unix ns): what was born
	// later has its counters in the first round already. 0: nothing has.
	Since  int64
	Logger *slog.Logger // nil discards
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{Proc: "/proc", MaxGroups: 1024, MaxProcesses: 4096} }

// Validate checks ranges.
func (c Config) Validate() error {
	if c.MaxGroups < 0 || c.MaxProcesses < 0 {
		return errors.New("usage: max_groups and max_processes must not be negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Proc == "" {
		c.Proc = d.Proc
	}
	if c.MaxGroups == 0 {
		c.MaxGroups = d.MaxGroups
	}
	if c.MaxProcesses == 0 {
		c.MaxProcesses = d.MaxProcesses
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Stats counts what a Sampler did; totals since its start, except Groups and Processes. They
// come with each Round.
type Stats struct {
	Groups     int    // read in this round
	Processes  int    // likewise
	Rounds     uint64 // readings of all groups
	Files      uint64 // read
	Unreadable uint64 // files that are there and cannot be read, or are too large
	Garbage    uint64 // files that are not what they should be
	Fell       uint64 // counters that fell: nothing is told of them in that round
	Ended      uint64 // groups that were gone when they were to be read
	Refused    uint64 // groups not read because there are too many, in each round

	ProcessesEnded   uint64 // processes that were gone when they were to be read
	ProcessesRefused uint64 // not read because there are too many, in each round
}
