package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich"
	"github.com/weir-probe/weir/correlate/enrich/address"
	"github.com/weir-probe/weir/correlate/enrich/container"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/correlate/enrich/container/docker"
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
	docker    *docker.Client
	addresses *address.Table
	chain     *enrich.Chain
}

var _ correlate.Enricher = (*enrich.Chain)(nil)

func newIdentities(cfg *Config, log *slog.Logger) (*identities, error) {
	w := &identities{
		cgroups:   cgroup.New(cgroup.Config{Logger: log}),
		docker:    docker.New(docker.Config{Host: cfg.Docker, Logger: log}),
		addresses: address.New(address.Config{}),
	}
	w.resolver = container.New(w.cgroups, w.docker)
	w.processes = process.New(process.Config{
		Cmdline: process.RedactorConfig{Mode: process.CmdlineMode(cfg.Cmdline)}, Unit: w.resolver.Unit, Logger: log,
	})
	var err error
	w.chain, err = enrich.New(enrich.Config{
		Processes: w.processes, Containers: w.resolver, Addresses: []enrich.Addresses{w.docker}, Host: w.addresses,
		Hostname: cfg.Host, Subnets: cfg.subnets(),
	})
	return w, err
}

// subnets returns the named networks; Validate has parsed them.
func (c *Config) subnets() []enrich.Subnet {
	var out []enrich.Subnet
	for cidr, name := range c.Subnets {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			out = append(out, enrich.Subnet{Prefix: p.Masked(), Name: name})
		}
	}
	return out
}

// start runs what works in the background.
func (w *identities) start(ctx context.Context, g *errgroup.Group) {
	for _, run := range []func(context.Context) error{w.processes.Run, w.cgroups.Run, w.docker.Run, w.addresses.Run} {
		g.Go(func() error { return run(ctx) })
	}
}

// bootstrap learns what exists; the hooks are attached already.
func (w *identities) bootstrap(ctx context.Context) error {
	return errors.Join(w.cgroups.Bootstrap(ctx), w.addresses.Bootstrap())
}

func (w *identities) tick(now int64) {
	w.cgroups.Tick(now)
	w.resolver.Tick(now)
	w.processes.Tick(now)
}

// resync compares the tables with the host after events were lost.
func (w *identities) resync() {
	w.processes.Resync()
	w.cgroups.Resync()
}

// runtimeStatus is what the API says of a container runtime.
type runtimeStatus struct {
	Name      string `json:"name"`
	Socket    string `json:"socket"`
	Connected bool   `json:"connected"`
	Version   string `json:"version,omitempty"`
	Error     string `json:"error,omitempty"`
}

func (w *identities) status() any {
	s := w.docker.Status()
	return []runtimeStatus{{"docker", s.Socket, s.Connected, s.Version, s.Error}}
}

// self writes the row of stage enrich.
func (w *identities) self(s *sink.Self, t time.Time) {
	p, g, d, r := w.processes.Stats(), w.cgroups.Stats(), w.docker.Stats(), w.resolver.Stats()
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageEnrich, n, v) }
	s.Stage(t, sink.StageEnrich,
		sink.SelfProcesses.Is(uint64(p.Processes)), sink.SelfContainers.Is(uint64(d.Containers)),
		m(sink.SelfLookups, r.Lookups), m(sink.SelfResolved, r.Named), m(sink.SelfMisses, r.ByID+r.NoGroup),
		m(sink.SelfErrors, d.Failures+d.BadEvents+d.InspectsFailed+g.WalkErrors),
		m(sink.SelfEvicted, d.Evicted+g.Evicted+r.Evicted), m(sink.SelfLost, d.Refused+g.Refused+d.InspectsDropped))
}

// examineRuntimes asks the runtimes whether they answer.
func examineRuntimes(ctx context.Context, cfg *Config) []check {
	c := check{Area: "containers", Name: "docker", State: good}
	d := docker.New(docker.Config{Host: cfg.Docker})
	ask, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	go d.Run(ask) //nolint: it ends with ask
	for {
		s := d.Status()
		switch {
		case s.Connected:
			c.Detail = fmt.Sprintf("Docker %s at %s", s.Version, s.Socket)
			return []check{c}
		case s.Error != "" || ask.Err() != nil:
			c.State, c.Detail = limited, oneLine(s.Error)
			c.Remedy = "containers will have an id but no name; mount the socket or name another with --docker"
			return []check{c}
		}
		select {
		case <-ask.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
