package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
//	packetPath  ┘     ▲ identities (processes, cgroups, containers, addresses)
type pipeline struct {
	cfg      *Config
	log      *slog.Logger
	sockets  *kprobes.Set
	packets  packetPath
	who      *identities
	delivery *delivery
	queue    *queue
	col      *collector
	api      *api.Server
	ready    atomic.Bool
	notify   string    // NOTIFY_SOCKET
	ended    time.Time // the last look at the kernel
}

// drainTime is how long the end of a run waits for its sinks; what is not
// delivered by then stays in the journal.
const drainTime = 5 * time.Second

// queueBytes bounds what waits for the journal's disk.
const queueBytes = 32 << 20

// newPipeline opens everything that can fail for a reason the user can mend,
// cheapest first, and attaches to the kernel last.
func newPipeline(ctx context.Context, cfg *Config, e env, log *slog.Logger) (*pipeline, error) {
	p := &pipeline{cfg: cfg, log: log, queue: newQueue(queueBytes), notify: lookup(e.environ, "NOTIFY_SOCKET")}
	if err := p.open(ctx, e); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pipeline) open(ctx context.Context, e env) (err error) {
	cfg, log := p.cfg, p.log
	if cfg.Listen != "" {
		if p.api, err = p.openAPI(); err != nil {
			return err
		}
	}
	if p.delivery, err = openDelivery(cfg, e, log); err != nil {
		return err
	}
	if p.sockets, err = kprobes.Load(kprobes.Config{Log: log}); err != nil {
		return fmt.Errorf("socket path: %w", err)
	}
	if p.packets, err = openPackets(ctx, cfg, log); err != nil {
		return err
	}
	if err = p.sockets.Attach(); err != nil {
		return fmt.Errorf("socket path: %w", err)
	}
	if p.who, err = newIdentities(cfg, log); err != nil {
		return err
	}
	jc := cfg.Join
	jc.HostNetNS = hostNetNS()
	p.col = &collector{
		interval: cfg.Interval, log: log, sockets: p.sockets, packets: p.packets, who: p.who,
		join: correlate.New(jc, p.who.chain), out: newOutput(cfg.Rows, p.queue), delivery: p.delivery.self,
		info: p.info(), start: time.Now(),
	}
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
	}, p.log)
}

// hostNetNS is the inode of the namespace whose devices are metered.
func hostNetNS() uint32 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/net", &st) != nil {
		return 0
	}
	return uint32(st.Ino)
}

func (p *pipeline) info() sink.Info {
	i := sink.Info{Version: version, Kernel: kernelRelease()}
	for _, s := range p.sockets.Status() {
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
		"ready": true, "version": version, "kernel": kernelRelease(), "hooks": p.sockets.Status(),
		"packets": p.packets.Status(), "runtimes": p.who.status(), "health": p.col.out.view.Snapshot().Health,
	}
}

// run captures until ctx is done, then drains in the order of the data path.
func (p *pipeline) run(ctx context.Context) error {
	defer p.close()
	// Background work ends after the collector's last tick, which still needs it.
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	g, back := errgroup.WithContext(back)
	g.Go(func() error { return p.packets.Run(back) })
	p.who.start(back, g)
	if p.api != nil {
		g.Go(func() error { return p.api.Run(back) })
	}
	if err := p.bootstrap(ctx); err != nil {
		return err
	}
	stopDelivery := p.delivery.start(ctx, p.queue)
	p.ready.Store(true)
	p.log.Info("ready", "hooks", p.col.info.HooksAttached, "missing", p.col.info.HooksMissing, "packets", p.packets.Status().Mode, "interval", p.cfg.Interval.String())
	p.tell("READY=1")

	collect, stopCollect := context.WithCancel(ctx)
	defer stopCollect()
	stop := context.AfterFunc(back, stopCollect) // a part that failed ends the run
	defer stop()
	err := p.col.run(collect)
	p.ended = time.Now()
	p.tell("STOPPING=1")
	stopBack()
	p.queue.close()
	err = errors.Join(err, stopDelivery(drainTime))
	p.delivery = nil
	return errors.Join(err, g.Wait())
}

func (p *pipeline) tell(state string) {
	if err := telemetry.Notify(p.notify, state); err != nil {
		p.log.Debug("notify the service manager", "err", err)
	}
}

// bootstrap learns what existed before the probe.
func (p *pipeline) bootstrap(ctx context.Context) error {
	if err := p.who.bootstrap(ctx); err != nil {
		p.log.Warn("containers of existing sockets may be unknown", "err", err)
	}
	if err := p.sockets.Bootstrap(p.col); err != nil {
		return fmt.Errorf("find existing sockets: %w", err)
	}
	p.col.drain()
	return nil
}

// close releases what is still held; it may be called more than once.
func (p *pipeline) close() {
	if p.packets != nil {
		p.packets.Close()
	}
	if p.sockets != nil {
		p.sockets.Close()
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
