package flows

import (
	"errors"
	"fmt"
	"time"
)

// MeterConfig bounds a Meter. A zero field means the default.
type MeterConfig struct {
	// MaxFlows bounds the flow cache; at the limit the longest idle flow is ended
	// with EndLackOfResources. Default 65536, about 400 octets each.
	MaxFlows int
	// IdleTimeout ends a flow without packets (IPFIX flowIdleTimeout): anything but
	// an established TCP connection. Default 60s.
	IdleTimeout time.Duration
	// TCPIdleTimeout ends an established TCP connection without packets. It is long
	// because a connection found again in its middle has lost its opener. Default 1h.
	TCPIdleTimeout time.Duration
	// ActiveTimeout is the least time between two records of a living flow (IPFIX
	// flowActiveTimeout). 0, the default, reports each changed flow at every Collect.
	ActiveTimeout time.Duration
	// Linger is how long a TCP flow is kept after RST or both FINs, for what comes
	// late. Default 2s.
	Linger time.Duration
	// Takeover is how long the observation point that counts one direction of a
	// flow may be silent before another one takes over. Default 2s.
	Takeover time.Duration
	// MaxFragments bounds the table that finds the flow of later fragments; the
	// oldest datagram is forgotten at the limit. Default 1024.
	MaxFragments int
}

// DefaultMeterConfig returns the configuration that the zero value stands for.
func DefaultMeterConfig() MeterConfig {
	return MeterConfig{
		MaxFlows:       65536,
		IdleTimeout:    time.Minute,
		TCPIdleTimeout: time.Hour,
		Linger:         2 * time.Second,
		Takeover:       2 * time.Second,
		MaxFragments:   1024,
	}
}

// Validate says what is wrong with the configuration.
func (c MeterConfig) Validate() error {
	if c.MaxFlows < 0 || c.MaxFlows > 1<<30 {
		return fmt.Errorf("flow meter: max flows is %d, want 1 to %d (0 for the default)", c.MaxFlows, 1<<30)
	}
	if c.MaxFragments < 0 || c.MaxFragments > 1<<24 {
		return fmt.Errorf("flow meter: max fragments is %d, want 1 to %d (0 for the default)", c.MaxFragments, 1<<24)
	}
	if c.IdleTimeout < 0 || c.TCPIdleTimeout < 0 || c.ActiveTimeout < 0 || c.Linger < 0 || c.Takeover < 0 {
		return errors.New("flow meter: a timeout is negative, want 0 (the default) or more")
	}
	return nil
}

func (c MeterConfig) withDefaults() MeterConfig {
	d := DefaultMeterConfig()
	if c.MaxFlows == 0 {
		c.MaxFlows = d.MaxFlows
	}
	if c.MaxFragments == 0 {
		c.MaxFragments = d.MaxFragments
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = d.IdleTimeout
	}
	if c.TCPIdleTimeout == 0 {
		c.TCPIdleTimeout = d.TCPIdleTimeout
	}
	if c.Linger == 0 {
		c.Linger = d.Linger
	}
	if c.Takeover == 0 {
		c.Takeover = d.Takeover
	}
	return c
}

// MeterStats counts what a Meter has done since it was made. Observed =
// counted in flows + Duplicate + UnknownFragment, in packets and in octets;
// of what was counted in flows, Lost never reached a record.
type MeterStats struct {
	Packets, Octets                                uint64 // given to Observe
	DuplicatePackets, DuplicateOctets              uint64 // seen at a second observation point
	UnknownFragmentPackets, UnknownFragmentOctets  uint64 // later fragments whose first one was not seen
	LostPackets, LostOctets                        uint64 // of ended flows, no room to keep their record until Collect
	FlowsCreated, FlowsReused, FlowsEvicted, Flows uint64 // made; made because a port pair was reused; ended for lack of room; held now
	Records                                        uint64 // emitted
}
