package tls

import (
	"errors"
	"log/slog"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weir-probe/weir/kprobes"
)

// Kernel has the programs, and knows the selected groups (kprobes.Set).
type Kernel interface {
	UserProgram(name string) *ebpf.Program
	SelectTLS(group kprobes.TLSGroup, on bool) error
}

var _ Kernel = (*kprobes.Set)(nil)

// Group is a control group whose processes are looked into, and its directory.
type Group struct {
	ID  kprobes.TLSGroup
	Dir string
}

// Config bounds a Manager. The zero value means the defaults.
type Config struct {
	// Proc is where the processes are (default /proc).
	Proc string
	// Round is the time between two looks at all selected processes (default 10 s).
	Round time.Duration
	// MaxFiles bounds the libraries and programs with probes (default 256): past it
	// the rest is not looked into, and counted.
	MaxFiles int
	// Log receives what was attached and what could not be; nil discards.
	Log *slog.Logger
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Proc: "/proc", Round: 10 * time.Second, MaxFiles: 256}
}

// Validate checks ranges.
func (c Config) Validate() error {
	if c.Round < 0 || c.MaxFiles < 0 {
		return errors.New("tls: times and limits must not be negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Proc == "" {
		c.Proc = d.Proc
	}
	if c.Round == 0 {
		c.Round = d.Round
	}
	if c.MaxFiles == 0 {
		c.MaxFiles = d.MaxFiles
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
