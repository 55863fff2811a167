package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weir-probe/weir/sink/live"
)

func runCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Capture, join and write: the probe",
		Long: "Attributes the traffic of this host and writes one row per edge and interval. Without a sink it keeps\n" +
			"its history in the journal and, on a terminal, shows a table of edges. SIGTERM drains and ends, SIGHUP\n" +
			"reads the configuration again. Each flag has an environment variable (--interval: WEIR_INTERVAL); the\n" +
			"token comes from INFLUX_TOKEN, WEIR_INFLUXDB_TOKEN or --influxdb-token-file.",
		Args: cobra.NoArgs,
	}
	flags := bindFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runProbe(cmd.Context(), flags, e)
	}
	return cmd
}

// runProbe runs pipelines until the context ends, one after the other: SIGHUP
// drains the old one and starts one with the configuration read again.
func runProbe(ctx context.Context, flags *flagSet, e env) error {
	cfg, err := flags.load(e)
	if err != nil {
		return err
	}
	if cfg.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.Duration)
		defer cancel()
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	reload := func() (*Config, error) { return rehearse(flags, e) }
	p, err := newPipeline(ctx, &cfg, e, newLog(&cfg, e), nil)
	if err != nil {
		return err
	}
	kernel := p.kernel
	defer kernel.close()
	for {
		next, err := runOnce(ctx, p, e, hup, reload)
		if err != nil || next == nil {
			return err
		}
		if p, err = successor(ctx, next, p, e); err != nil {
			return err
		}
	}
}

// rehearse reads the configuration again and opens what can be opened while the
// old one is at work: only one that passes ends it.
func rehearse(flags *flagSet, e env) (*Config, error) {
	cfg, err := flags.load(e)
	if err != nil {
		return nil, err
	}
	alerts, err := newAlerts(&cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	alerts.Close()
	for _, spec := range cfg.Sinks {
		if spec == "none" {
			continue
		}
		s, err := openSink(&cfg, spec, e, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err = s.Close(ctx)
		cancel()
		if err != nil {
			return nil, err
		}
	}
	return &cfg, nil
}

// successor opens the pipeline of the next configuration, or of the old one
// again where that can't be, on the kernel side that the old one leaves.
func successor(ctx context.Context, next *Config, old *pipeline, e env) (*pipeline, error) {
	log := newLog(next, e)
	p, err := newPipeline(ctx, next, e, log, old.kernel)
	if err == nil {
		log.Info("configuration read again", "file", next.file)
		return p, nil
	}
	log.Error("configuration not taken, going on with the old one", "err", err)
	return newPipeline(ctx, old.cfg, e, newLog(old.cfg, e), old.kernel)
}

// runOnce runs one pipeline; next is the configuration to go on with when
// SIGHUP ended it.
func runOnce(parent context.Context, p *pipeline, e env, hup <-chan os.Signal, reload func() (*Config, error)) (next *Config, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
			}
			c, err := reload()
			if err == nil {
				next = c
				p.reload.Store(true)
				return
			}
			p.log.Error("configuration not taken, going on with the old one", "err", err)
		}
	})
	if p.cfg.canTable(e.stdout) {
		wg.Go(func() { showTable(ctx, e.stdout, p.col.out.view, p.cfg.Interval) })
	}
	err = p.run(ctx)
	cancel()
	wg.Wait()
	// Told to end in the middle of a reload: the next pipeline has nothing to do
	// but to tell what is still open, which this one left to it.
	return next, err
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// showTable redraws the table of edges after each interval.
func showTable(ctx context.Context, w io.Writer, v *live.View, interval time.Duration) {
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	fmt.Fprintf(w, "weir: first rows in %s …\n", interval)
	var shown *live.Snapshot
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s := v.Snapshot()
		if s == shown || s.Time.IsZero() {
			continue
		}
		shown = s
		width, height := 120, 40
		if f, ok := w.(*os.File); ok {
			if x, y, err := term.GetSize(int(f.Fd())); err == nil {
				width, height = x, y
			}
		}
		fmt.Fprint(w, "\x1b[H\x1b[2J")
		if err := s.Table(w, width, height-1); errors.Is(err, io.ErrClosedPipe) {
			return
		}
	}
}
