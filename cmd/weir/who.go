package main

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/correlate/enrich/process"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// identities is who can be behind an end.
type identities struct {
	processes *process.Table
	cgroups   *cgroup.Table
	subnets   subnetNames
}

func newIdentities(cfg *Config, log *slog.Logger) *identities {
	return &identities{processes: process.New(process.Config{Logger: log}), cgroups: cgroup.New(cgroup.Config{Logger: log}), subnets: newSubnets(cfg.Subnets)}
}
func (w *identities) Enrich(e *correlate.Endpoint, owner, opener *kprobes.Owner, now int64) bool {
	if owner == nil {
		e.Kind, e.Name = correlate.KindExternal, w.subnets.name(e.Addr.Netip())
		return false
	}
	p, pending := w.processes.Lookup(owner, now)
	e.Process = p
	e.Kind = correlate.KindProcess
	if p != nil {
		e.Name = p.Name
	}
	return pending
}
func (w *identities) start(ctx context.Context, g *errgroup.Group) {
	g.Go(func() error { return w.processes.Run(ctx) })
	g.Go(func() error { return w.cgroups.Run(ctx) })
}
func (w *identities) bootstrap(ctx context.Context) error { return w.cgroups.Bootstrap(ctx) }
func (w *identities) tick(now int64)                      { w.processes.Tick(now); w.cgroups.Tick(now) }
func (w *identities) resync()                             { w.processes.Resync(); w.cgroups.Resync() }
func (w *identities) status() any                         { return nil }
func (w *identities) self(s *sink.Self, t time.Time)      {}

func examineRuntimes(_ context.Context, cfg *Config) []check { return nil }
