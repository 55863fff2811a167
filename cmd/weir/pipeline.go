package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/cmd/weir/internal/api"
	"github.com/weir-probe/weir/cmd/weir/internal/telemetry"
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// pipeline is the whole of `weir run`: the only place that knows every part.
//
//	kprobes.Set ┐
//	            ├─ collector (joiner, aggregator) ─ queue ─ journal ─ deliverers ─ sinks
//	packetPath  ┘     ▲   └─ events ─ alerts ─ receivers
//	                  identities (processes, cgroups, containers, addresses)
type pipeline struct {
	cfg      *Config
	log      *slog.Logger
	kernel   *kernelSide // borrowed: it outlives a reload
	delivery *delivery
	queue    *queue
	col      *collector
	api      *api.Server
	ready    atomic.Bool
	reload   atomic.Bool // the end is not the end: another pipeline takes over
	notify   string      // NOTIFY_SOCKET
}

// drainTime is how long the end of a run waits for its sinks; what is not
// delivered by then stays in the journal.
const drainTime = 5 * time.Second

// queueBytes bounds what waits for the journal's disk.
const queueBytes = 32 << 20

// newPipeline opens everything that can fail for a reason the user can mend,
// cheapest first, and attaches to the kernel last. kernel is what an earlier
// pipeline left, or nil: then p.kernel is new, and the caller closes it.
func newPipeline(ctx context.Context, cfg *Config, e env, log *slog.Logger, kernel *kernelSide) (*pipeline, error) {
	p := &pipeline{cfg: cfg, log: log, kernel: kernel, queue: newQueue(queueBytes), notify: lookup(e.environ, "NOTIFY_SOCKET")}
	if err := p.open(ctx, e); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pipeline) open(ctx context.Context, e env) (err error) {
	cfg, log := p.cfg, p.log
	memory := newMemoryGuard() // before what the kernel side needs to start
	if cfg.Listen != "" {
		if p.api, err = p.openAPI(); err != nil {
			return err
		}
	}
	if p.delivery, err = openDelivery(cfg, e, log); err != nil {
		return err
	}
	if p.kernel == nil {
		p.kernel, err = openKernelSide(ctx, cfg, log)
	} else {
		err = p.kernel.adapt(ctx, cfg, log)
	}
	if err != nil {
		return err
	}
	p.col = &collector{
		interval: cfg.Interval, log: log, kernelSide: p.kernel, out: newOutput(cfg.Rows, p.kernel.self, p.queue),
		own: cfg.ownNamespace(), delivery: p.delivery.self, info: p.info(), memory: memory, questions: make(chan func()),
	}
	p.kernel.places.restore(cfg, p.col.out)
	p.col.out.log.NewEdge = p.kernel.odd.isNew
	tellEvents(p.col.out.events, p.kernel.alerts, p.kernel.odd.ongoing())
	return nil
}

func (p *pipeline) openAPI() (*api.Server, error) {
	return api.Listen(p.cfg.Listen, api.Source{
		Ready: func() error {
			if !p.ready.Load() {
				return errors.New("starting: hooks are being attached")
			}
			return nil
		},
		Edges: func() any {
			if p.ready.Load() {
				return p.col.out.view.Snapshot()
			}
			return nil
		},
		Status: func() any { return p.status() },
		Connections: func(ctx context.Context, terms []string) ([]byte, error) {
			if !p.ready.Load() {
				return nil, errors.New("starting: no connection is known yet")
			}
			return p.col.describe(ctx, terms)
		},
	}, p.log)
}

func (p *pipeline) info() sink.Info {
	i := sink.Info{Version: version, Kernel: kernelRelease(), Started: p.kernel.started, OutOfSight: vantageNames(), RestartNeeded: strings.Join(p.kernel.waits, ",")}
	for _, s := range p.kernel.sockets.Status() {
		switch s.State {
		case kprobes.StateAttached:
			i.HooksAttached++
		case kprobes.StateFallback:
			i.HooksFallback++
		case kprobes.StateMissing, kprobes.StateFailed:
			i.HooksMissing++
		}
	}
	return i
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// status is the API's answer to "what do you do here".
func (p *pipeline) status() any {
	if !p.ready.Load() {
		return map[string]any{"ready": false, "version": version}
	}
	return map[string]any{
		"ready": true, "version": version, "kernel": kernelRelease(), "hooks": p.kernel.sockets.Status(),
		"packets": p.kernel.packets.Status(), "nat": p.kernel.nat(), "runtimes": p.kernel.who.status(), "tls": p.kernel.inside.files(), "restart_needed": p.kernel.waits, "health": p.col.out.view.Snapshot().Health, "alerts": p.kernel.alerts.Status(),
	}
}

// run captures until ctx is done, then drains in the order of the data path.
func (p *pipeline) run(ctx context.Context) error {
	defer p.close()
	// Background work ends after the collector's last tick, which still needs it.
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	g, back := errgroup.WithContext(back)
	g.Go(func() error { return p.kernel.packets.Run(back) })
	g.Go(func() error { return p.kernel.nats.Run(back) })
	p.kernel.who.start(back, g)
	g.Go(func() error { return p.kernel.used.run(back) })
	p.kernel.inside.start(back, g)
	g.Go(func() error { return p.kernel.odd.run(back) })
	g.Go(func() error { return p.kernel.places.run(back) })
	if p.api != nil {
		g.Go(func() error { return p.api.Run(back) })
	}
	if err := p.kernel.learn(ctx, p.col, p.log); err != nil {
		return err
	}
	p.col.drain()
	stopDelivery := p.delivery.start(ctx, p.queue)
	stopAlerts := startAlerts(ctx, p.kernel.alerts)
	p.ready.Store(true)
	p.log.Info("ready", "hooks", p.col.info.HooksAttached, "missing", p.col.info.HooksMissing, "packets", p.kernel.packets.Status().Mode, "nat", p.kernel.nat(), "interval", p.cfg.Interval.String())
	p.tell("READY=1")

	collect, stopCollect := context.WithCancel(ctx)
	defer stopCollect()
	stop := context.AfterFunc(back, stopCollect) // a part that failed ends the run
	defer stop()
	err := p.col.run(collect, p.phase)
	drain, drainAlerts := drainTime, drainTime
	if p.phase() == correlate.Draining {
		p.tell("STOPPING=1")
	} else if drainAlerts = 0; p.cfg.Journal.Dir != "" {
		drain = 0 // the journal keeps it for the next pipeline
	}
	stopBack()
	p.queue.close()
	var alerts sync.WaitGroup
	alerts.Go(func() { stopAlerts(drainAlerts) })
	err = errors.Join(err, stopDelivery(drain))
	alerts.Wait()
	p.delivery = nil
	return errors.Join(err, g.Wait())
}

// phase says what the collector's last tick is: the end, or a pause.
func (p *pipeline) phase() correlate.Phase {
	if p.reload.Load() {
		return correlate.Running
	}
	return correlate.Draining
}

func (p *pipeline) tell(state string) {
	if err := telemetry.Notify(p.notify, state); err != nil {
		p.log.Debug("notify the service manager", "err", err)
	}
}

// close releases what is still held, but the kernel side; it may be called more
// than once.
func (p *pipeline) close() {
	if p.api != nil {
		p.api.Close()
	}
	if p.delivery != nil {
		p.delivery.close()
		p.delivery = nil
	}
}

// canTable says whether a live table can be shown: nobody reads the rows, and a
// person looks at standard output.
func (c *Config) canTable(out any) bool {
	f, ok := out.(*os.File)
	return ok && len(c.Sinks) == 0 && isTerminal(f)
}
