package conntrack

import (
	"errors"
	"log/slog"
	"time"
)

// Config says what is watched. The zero value watches nothing.
type Config struct {
	// Host watches the namespace that the program runs in.
	Host bool
	// Others watches the namespaces that Seen tells of.
	Others bool
	// HostNetNS is the inode of the program's namespace.
	HostNetNS uint32
	// MaxNamespaces bounds the others (default 64): each takes a descriptor and up
	// to BufferBytes of the kernel's memory.
	MaxNamespaces int
	// MaxPending bounds what waits for Drain (default 65536).
	MaxPending int
	// BufferBytes is the size of a socket's receive buffer (default 8 MiB: at 1
	// MiB events are lost from some 2000 connections per second on).
	BufferBytes int
	// Retry is how long after a failure a namespace is tried again, and Forget how
	// long one without a socket event is kept: watching keeps it alive (default
	// 30 s and 1 min).
	Retry, Forget time.Duration
	// Log receives what could not be watched; nil discards.
	Log *slog.Logger
}

// DefaultConfig returns the defaults spelled out.
func DefaultConfig() Config {
	return Config{MaxNamespaces: 64, MaxPending: 1 << 16, BufferBytes: 8 << 20, Retry: 30 * time.Second, Forget: time.Minute}
}

// Validate checks ranges.
func (c Config) Validate() error {
	if c.MaxNamespaces < 0 || c.MaxPending < 0 || c.BufferBytes < 0 || c.Retry < 0 || c.Forget < 0 {
		return errors.New("conntrack: limits must not be negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.MaxNamespaces == 0 {
		c.MaxNamespaces = d.MaxNamespaces
	}
	if c.MaxPending == 0 {
		c.MaxPending = d.MaxPending
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = d.BufferBytes
	}
	if c.Retry == 0 {
		c.Retry = d.Retry
	}
	if c.Forget == 0 {
		c.Forget = d.Forget
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
