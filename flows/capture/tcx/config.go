package tcx

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"time"
)

// Mode is how the program is attached to a device.
type Mode string

const (
	ModeAuto Mode = "auto" // tcx, and where the kernel has none (< 6.6) tc
	ModeTCX  Mode = "tcx"
	ModeTC   Mode = "tc" // filter of a clsact qdisc
)

// Config of a Meter; a zero field has its default.
type Config struct {
	Mode Mode // default auto
	// Interfaces are globs (path.Match) of device names; one that begins with '!'
	// excludes. With no including glob every device is metered, lo too, but for
	// those that carry no IP packets by their link type (CAN, netlink monitor,
	// 802.11 monitor).
	Interfaces []string
	MaxFlows   uint32 // entries of flow_table, about 220 octets each in the kernel; default 131072
	// TCPIdle and OtherIdle end a flow without packets: default 5 min, and 60 s
	// for all but TCP and for TCP that was seen in one direction only.
	TCPIdle, OtherIdle time.Duration
	// Linger is how long an ended TCP connection stays to collect late packets
	// (last ACK, repeated FIN); default 2 s.
	Linger time.Duration
	// WithoutNAT leaves the conntrack entries of packets unread.
	WithoutNAT bool
	Log        *slog.Logger // nil discards
}

// DefaultConfig returns the values zero fields stand for.
func DefaultConfig() Config {
	return Config{
		Mode:      ModeAuto,
		MaxFlows:  131072,
		TCPIdle:   5 * time.Minute,
		OtherIdle: time.Minute,
		Linger:    2 * time.Second,
		Log:       slog.New(slog.DiscardHandler),
	}
}

// Validate reports the first field that cannot be used, and its remedy.
func (c *Config) Validate() error {
	switch c.Mode {
	case "", ModeAuto, ModeTCX, ModeTC:
	default:
		return fmt.Errorf("mode %q of the packet meter: use auto, tcx or tc", c.Mode)
	}
	for _, glob := range c.Interfaces {
		if _, err := path.Match(strings.TrimPrefix(glob, "!"), ""); err != nil || strings.TrimPrefix(glob, "!") == "" {
			return fmt.Errorf("interface glob %q: use a name or a pattern like veth*", glob)
		}
	}
	if c.TCPIdle < 0 || c.OtherIdle < 0 || c.Linger < 0 {
		return errors.New("flow timeout is negative: use 0 for the default")
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Mode == "" {
		c.Mode = d.Mode
	}
	if c.MaxFlows == 0 {
		c.MaxFlows = d.MaxFlows
	}
	if c.TCPIdle == 0 {
		c.TCPIdle = d.TCPIdle
	}
	if c.OtherIdle == 0 {
		c.OtherIdle = d.OtherIdle
	}
	if c.Linger == 0 {
		c.Linger = d.Linger
	}
	if c.Log == nil {
		c.Log = d.Log
	}
	return c
}

// wants says whether a device of that name is to be metered.
func (c *Config) wants(name string) bool {
	including, included := false, false
	for _, glob := range c.Interfaces {
		exclude := strings.HasPrefix(glob, "!")
		hit, _ := path.Match(strings.TrimPrefix(glob, "!"), name) // validated
		switch {
		case exclude && hit:
			return false
		case !exclude:
			including = true
			included = included || hit
		}
	}
	return included || !including
}
