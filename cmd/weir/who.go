package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich"
	"github.com/weir-probe/weir/correlate/enrich/address"
	"github.com/weir-probe/weir/correlate/enrich/container"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/correlate/enrich/container/runtimes"
	"github.com/weir-probe/weir/correlate/enrich/netns"
	"github.com/weir-probe/weir/correlate/enrich/process"
	"github.com/weir-probe/weir/sink"
)

// identities is all that can say who is behind an end. The tables belong to the
// collector's goroutine; what their Run methods find out in the background
// reaches them at tick.
type identities struct {
	processes *process.Table
	cgroups   *cgroup.Table
	resolver  *container.Resolver
	runtimes  *runtimes.Set
	addresses *address.Table
	networks  *netns.Table
	outside   outside
	chain     *enrich.Chain
}

var _ correlate.Enricher = (*enrich.Chain)(nil)

func newIdentities(cfg *Config, log *slog.Logger) (*identities, error) {
	w := &identities{
		cgroups:   cgroup.New(cgroup.Config{Logger: log}),
		addresses: address.New(address.Config{}),
		networks:  netns.New(netns.Config{Logger: log}),
	}
	var err error
	if w.runtimes, err = runtimes.New(cfg.runtimes(log)); err != nil {
		return nil, err
	}
	w.resolver = container.New(w.cgroups, w.runtimes)
	w.processes = process.New(process.Config{
		Cmdline: process.RedactorConfig{Mode: process.CmdlineMode(cfg.Cmdline)}, Unit: w.resolver.Unit, Logger: log,
	})
	if w.outside, err = newOutside(&cfg.Names); err != nil {
		return nil, err
	}
	ec := enrich.Config{
		Processes: w.processes, Containers: w.resolver, Groups: w.resolver, Addresses: []enrich.Addresses{w.runtimes}, Host: w.addresses, Networks: w.networks,
		Hostname: cfg.Host, HostNetNS: knownHostNetNS(), Subnets: named(cfg.Subnets), Fleet: cfg.fleet(), Nodes: named(cfg.Nodes),
		Zone: cfg.ownZone(), Zones: cfg.zones(),
		Names: w.outside.names(), Ranges: w.outside.ranges,
	}
	if ec.Zone == "" && len(ec.Zones) > 0 {
		log.Warn("zones are known of others and not of this host: what goes between zones is not told", "remedy", zoneRemedy)
	}
	w.chain, err = enrich.New(ec)
	return w, err
}

// start runs what works in the background.
func (w *identities) start(ctx context.Context, g *errgroup.Group) {
	for _, run := range []func(context.Context) error{w.processes.Run, w.cgroups.Run, w.runtimes.Run, w.addresses.Run, w.networks.Run} {
		g.Go(func() error { return run(ctx) })
	}
}

// bootstrap learns what exists; the hooks are attached already.
func (w *identities) bootstrap(ctx context.Context) error {
	w.networks.Reread()
	return errors.Join(w.cgroups.Bootstrap(ctx), w.addresses.Bootstrap())
}

func (w *identities) tick(now int64) {
	w.cgroups.Tick(now)
	w.resolver.Tick(now)
	w.processes.Tick(now)
	w.outside.tick(now)
}

// resync compares the tables with the host after events were lost.
func (w *identities) resync() {
	w.processes.Resync()
	w.cgroups.Resync()
}

// self writes the row of stage enrich.
func (w *identities) self(s *sink.Self, t time.Time) {
	p, g, d, r := w.processes.Stats(), w.cgroups.Stats(), w.runtimes.Stats(), w.resolver.Stats()
	n := w.networks.Stats()
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageEnrich, n, v) }
	s.Stage(t, sink.StageEnrich,
		sink.SelfProcesses.Is(uint64(p.Processes)), sink.SelfContainers.Is(uint64(d.Containers)),
		m(sink.SelfLookups, r.Lookups), m(sink.SelfResolved, r.Named), m(sink.SelfMisses, r.ByID+r.NoGroup),
		m(sink.SelfErrors, d.Failures+d.BadEvents+d.InspectsFailed+g.WalkErrors+n.Errors),
		m(sink.SelfEvicted, d.Evicted+g.Evicted+r.Evicted), m(sink.SelfLost, d.Refused+g.Refused+d.InspectsDropped+n.Refused),
		m(sink.SelfTruncated, g.Truncated), m(sink.SelfOtherNetwork, w.chain.Stats().OtherNetwork))
	w.outside.self(s, t)
}
