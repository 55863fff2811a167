package requests

import (
	"errors"
	"time"
)

// Config bounds a Tracker. The zero value means the defaults.
type Config struct {
	// MaxConversations bounds the table (default 131 072): past it the one that was
	// silent for longest goes, and is counted.
	MaxConversations int
	// MaxFollowed bounds those of them that are parsed (default 16 384), MaxHeld the
	// octets that their parsers hold (default 256 MiB): a parser holds some KiB, in the
	// hands of a hostile client up to 100. Past either the one that was silent for
	// longest ends, else there are only turns.
	MaxFollowed, MaxHeld int
	// MaxTallies bounds the combinations of operation and status that all
	// conversations hold in an interval (default 65 536): past it their requests are
	// counted without an operation.
	MaxTallies int
	// MaxHistograms bounds the distributions of more than a few durations
	// (default 16 384): past it requests are counted, not timed.
	MaxHistograms int
	// MaxWaiting bounds the payload that waits for what comes before it, or for its
	// protocol to be recognised, in octets (default 16 MiB).
	MaxWaiting int
	// Idle ends the conversation of a connection, DatagramIdle that of a datagram
	// socket with a peer, after this silence: what is open is unanswered
	// (default 15 min and 15 s).
	Idle, DatagramIdle time.Duration
	// Unclaimed is how long what a conversation told waits for the record of its
	// connection (default 2 min).
	Unclaimed time.Duration
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		MaxConversations: 1 << 17, MaxFollowed: 1 << 14, MaxHeld: 256 << 20, MaxTallies: 1 << 16, MaxHistograms: 1 << 14, MaxWaiting: 16 << 20,
		Idle: 15 * time.Minute, DatagramIdle: 15 * time.Second, Unclaimed: 2 * time.Minute,
	}
}

// Validate checks ranges.
func (c Config) Validate() error {
	if min(c.MaxConversations, c.MaxFollowed, c.MaxHeld, c.MaxTallies, c.MaxHistograms, c.MaxWaiting) < 0 || min(c.Idle, c.DatagramIdle, c.Unclaimed) < 0 {
		return errors.New("requests: limits and times must not be negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	for _, p := range [...]struct{ v, d *int }{
		{&c.MaxConversations, &d.MaxConversations}, {&c.MaxFollowed, &d.MaxFollowed}, {&c.MaxHeld, &d.MaxHeld}, {&c.MaxTallies, &d.MaxTallies},
		{&c.MaxHistograms, &d.MaxHistograms}, {&c.MaxWaiting, &d.MaxWaiting},
	} {
		if *p.v == 0 {
			*p.v = *p.d
		}
	}
	for _, p := range [...]struct{ v, d *time.Duration }{{&c.Idle, &d.Idle}, {&c.DatagramIdle, &d.DatagramIdle}, {&c.Unclaimed, &d.Unclaimed}} {
		if *p.v == 0 {
			*p.v = *p.d
		}
	}
	return c
}
