package main

import (
	"github.com/weir-probe/weir/kprobes"
)

// socketPath is the socket side: the hooks, or nothing.
type socketPath interface {
	Bootstrap(kprobes.Handler) error
	Drain(kprobes.Handler) (int, error)
	Snapshot(kprobes.Handler) error
	SnapshotAll(kprobes.Handler) error
	AllSockets() bool
	Peers(kprobes.Handler) error
	Trouble(kprobes.TroubleHandler) error
	Status() []kprobes.Status
	Stats() kprobes.Stats
	SetPayload(cookie uint64, want kprobes.PayloadWant) error
	PayloadStats() kprobes.PayloadStats
	Close() error
}

var _ socketPath = (*kprobes.Set)(nil)

// openSockets loads and attaches the hooks.
func openSockets(cfg kprobes.Config) (socketPath, error) {
	s, err := kprobes.Load(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.Attach(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// noSockets is a probe that sees packets only: its rows say who by address at
// best. It keeps what doctor would say of the hooks.
type noSockets struct{ status []kprobes.Status }

func (noSockets) Bootstrap(kprobes.Handler) error              { return nil }
func (noSockets) Drain(kprobes.Handler) (int, error)           { return 0, nil }
func (noSockets) Snapshot(kprobes.Handler) error               { return nil }
func (noSockets) SnapshotAll(kprobes.Handler) error            { return nil }
func (noSockets) AllSockets() bool                             { return true }
func (noSockets) Peers(kprobes.Handler) error                  { return nil }
func (noSockets) Trouble(kprobes.TroubleHandler) error         { return nil }
func (n noSockets) Status() []kprobes.Status                   { return n.status }
func (noSockets) Stats() kprobes.Stats                         { return kprobes.Stats{} }
func (noSockets) PayloadStats() kprobes.PayloadStats           { return kprobes.PayloadStats{} }
func (noSockets) SetPayload(uint64, kprobes.PayloadWant) error { return nil }
func (noSockets) Close() error                                 { return nil }
