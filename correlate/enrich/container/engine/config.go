package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Config says where an engine is. The zero value means the defaults.
type Config struct {
	// Host is a path or unix:// URL of the engine's socket.
	Host string
	// Grace is how long a removed container is still known (default 10 min).
	Grace time.Duration
	// MaxContainers bounds what is kept (default 16 384), removed ones included.
	MaxContainers int
	// Timeout bounds every request but the event stream (default 5 s).
	Timeout time.Duration
	// Ping is how often a silent engine is asked whether it still answers
	// (default 30 s).
	Ping time.Duration
	// MinBackoff and MaxBackoff bound the pause before the next attempt (default
	// 500 ms, 15 s).
	MinBackoff, MaxBackoff time.Duration
	// Presence says whether the engine was asked for by name or is one that many
	// hosts do not have.
	Presence Presence
	Logger   *slog.Logger // nil discards
}

// Presence says what it means that there is no engine.
type Presence uint8

const (
	Expected Presence = iota // somebody named it: a missing socket is told
	Possible                 // looked for on every host: a missing socket is usual
)

// DefaultConfig returns the defaults; only Host is left to fill in.
func DefaultConfig() Config {
	return Config{
		Grace: 10 * time.Minute, MaxContainers: 16384,
		Timeout: 5 * time.Second, Ping: 30 * time.Second,
		MinBackoff: 500 * time.Millisecond, MaxBackoff: 15 * time.Second,
	}
}

// Validate checks the address and ranges.
func (c Config) Validate() error {
	if c.Host != "" && !strings.HasPrefix(c.Socket(), "/") {
		return fmt.Errorf("container engine: %q is no local socket: use a path or unix:///path", c.Host)
	}
	if c.Grace < 0 || c.MaxContainers < 0 || c.Timeout < 0 || c.Ping < 0 || c.MinBackoff < 0 || c.MaxBackoff < 0 {
		return errors.New("container engine: durations and limits must not be negative")
	}
	return nil
}

// Socket is the path of the engine's socket.
func (c Config) Socket() string { return strings.TrimPrefix(c.Host, "unix://") }

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Grace == 0 {
		c.Grace = d.Grace
	}
	if c.MaxContainers == 0 {
		c.MaxContainers = d.MaxContainers
	}
	if c.Timeout == 0 {
		c.Timeout = d.Timeout
	}
	if c.Ping == 0 {
		c.Ping = d.Ping
	}
	if c.MinBackoff == 0 {
		c.MinBackoff = d.MinBackoff
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = d.MaxBackoff
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
