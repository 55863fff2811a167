package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
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
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(128 << 20) // the collector works harder before the probe grows
	}
	if cfg.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.Duration)
		defer cancel()
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		again, err := runOnce(ctx, &cfg, e, hup)
		if err != nil || !again {
			return err
		}
		log := newLog(&cfg, e)
		next, err := flags.load(e)
		if err != nil {
			log.Error("configuration not taken, going on with the old one", "err", err)
			continue
		}
		cfg = next
		log.Info("configuration read again", "file", cfg.file)
	}
}

// runOnce runs one pipeline; again is true when SIGHUP ended it.
func runOnce(parent context.Context, cfg *Config, e env, hup <-chan os.Signal) (again bool, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	log := newLog(cfg, e)
	p, err := newPipeline(ctx, cfg, e, log)
	if err != nil {
		return false, err
	}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		select {
		case <-hup:
			again = true
			cancel()
		case <-ctx.Done():
		}
	}()
	if cfg.canTable(e.stdout) {
		wg.Add(1)
		go func() { defer wg.Done(); showTable(ctx, e.stdout, p.col.out.view, cfg.Interval) }()
	}
	err = p.run(ctx)
	cancel()
	wg.Wait()
	return again && parent.Err() == nil, err
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
