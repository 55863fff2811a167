package docker

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Config says where the engine is. The zero value means the defaults.
type Config struct {
	// Host is a path or unix:// URL of the engine's socket (default
	// /var/run/docker.sock); Podman's is /run/podman/podman.sock.
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
	Logger                 *slog.Logger // nil discards
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Host: "/var/run/docker.sock", Grace: 10 * time.Minute, MaxContainers: 16384,
		Timeout: 5 * time.Second, Ping: 30 * time.Second,
		MinBackoff: 500 * time.Millisecond, MaxBackoff: 15 * time.Second,
	}
}

// Validate checks the address and ranges.
func (c Config) Validate() error {
	if _, err := socketPath(c.Host); err != nil {
		return err
	}
	if c.Grace < 0 || c.MaxContainers < 0 || c.Timeout < 0 || c.Ping < 0 || c.MinBackoff < 0 || c.MaxBackoff < 0 {
		return errors.New("docker: durations and limits must not be negative")
	}
	return nil
}

func socketPath(host string) (string, error) {
	p := strings.TrimPrefix(host, "unix://")
	if host != "" && !strings.HasPrefix(p, "/") {
		return "", fmt.Errorf("docker: %q is no local socket: use a path or unix:///path", host)
	}
	return p, nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Host == "" {
		c.Host = d.Host
	}
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

// Status is how it stands with the engine.
type Status struct {
	Connected bool
	Socket    string
	Version   string // of the engine, API version in use
	Error     string // of the last attempt, empty when connected
	Since     int64  // unix ns of the last change
}

// Stats counts what the client did; totals since the start, except Containers.
type Stats struct {
	Containers               int
	Events                   uint64
	BadEvents                uint64 // not understood, left out
	Connects, Failures       uint64
	Inspects, InspectsFailed uint64
	InspectsDropped          uint64 // too many at once: the address stays unknown until the next list
	Evicted                  uint64 // removed containers forgotten before their grace time was over
	Refused                  uint64 // containers not remembered because the store was full
}
