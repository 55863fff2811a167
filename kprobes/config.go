package kprobes

import (
	"fmt"
	"log/slog"
	"time"
)

// Config says how the socket path is loaded. The zero value is the default.
type Config struct {
	// NoIOHooks leaves out the two programs that run at every send and receive
	// (0.2 to 0.3 µs each): who uses a socket is then known from connect, accept
	// and TCP reads only.
	NoIOHooks bool
	// CgroupRoot is a directory of the root of the cgroup v2 hierarchy; empty
	// means the one in /proc/self/mountinfo.
	CgroupRoot string
	// NoCgroupMount forbids mounting cgroup2 on a private, immediately detached
	// directory where the host has no v2 hierarchy mounted.
	NoCgroupMount bool
	// PeerIdle is how long a datagram peer may be silent before its entry is
	// dropped; 0 means 60 s.
	PeerIdle time.Duration
	// Payload has the beginning of each turn of TCP connections copied, and DNS and
	// QUIC datagrams (PayloadEvent), PayloadOctets of each turn (0: 4096, the most;
	// PayloadNone: only when turns begin and end).
	Payload       bool
	PayloadOctets int
	// PayloadRate is how many exchanges per second and CPU are told in full of sockets
	// with PayloadSampleIn or Out (0: 2500).
	PayloadRate int
	// TLS loads the programs that look inside TLS libraries (amd64 only, with Payload);
	// package tls attaches them. Without it none of them is loaded.
	TLS bool
	// Log receives what could not be attached; nil discards.
	Log *slog.Logger
}

// PayloadNone as Config.PayloadOctets copies nothing of TCP connections.
const PayloadNone = -1

const defaultPayloadRate = 2500

// payloadWindows is how many windows of the kernel's budget a second has (L7_WINDOW_SHIFT).
const payloadWindows = 1e9 / (1 << 26)

// DefaultConfig returns the defaults spelled out.
func DefaultConfig() Config { return Config{PeerIdle: time.Minute} }

// Validate says what is wrong with c.
func (c *Config) Validate() error {
	if c.PeerIdle < 0 {
		return fmt.Errorf("peer idle time %v is negative: use 0 for the default of 60s", c.PeerIdle)
	}
	if c.PayloadOctets < PayloadNone || c.PayloadOctets > maxPayloadOctets {
		return fmt.Errorf("payload octets %d: want 0 to %d", c.PayloadOctets, maxPayloadOctets)
	}
	if c.PayloadRate < 0 {
		return fmt.Errorf("payload rate %d is negative: use 0 for the default of %d", c.PayloadRate, defaultPayloadRate)
	}
	return c.validateTLS()
}

func (c Config) withDefaults() Config {
	if c.PeerIdle == 0 {
		c.PeerIdle = DefaultConfig().PeerIdle
	}
	if c.PayloadOctets == 0 {
		c.PayloadOctets = maxPayloadOctets
	}
	if c.PayloadRate == 0 {
		c.PayloadRate = defaultPayloadRate
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
