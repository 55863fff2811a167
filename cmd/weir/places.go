package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-probe/weir/sink"
)

// places keeps which series have a place in the budgets, over reloads in memory and over
// restarts in a file beside the journal. It belongs to the collector's goroutine, but for
// run.
type places struct {
	of    string // whose they are
	last  sink.Standing
	saver stateSaver
	saved time.Time
}

const (
	placesName  = "series.state"
	placesEvery = 10 * time.Minute
)

// newPlaces reads what an earlier run has left.
func newPlaces(cfg *Config, log *slog.Logger) *places {
	p := &places{of: placesOf(cfg), saver: stateSaver{path: placesPath(cfg), what: "which series there are is not saved", log: log, queue: make(chan *state, 1)}}
	if p.saver.path == "" {
		return p
	}
	b, err := os.ReadFile(p.saver.path)
	if err == nil {
		p.last, err = sink.ReadStanding(b, p.of)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Warn("which series there were is not known: their budget begins anew", "file", p.saver.path, "err", err)
	}
	return p
}

func placesPath(cfg *Config) string {
	if cfg.Journal.Dir == "" {
		return ""
	}
	return filepath.Join(cfg.Journal.Dir, placesName)
}

// placesOf is what has to be the same for a series to be the same.
func placesOf(cfg *Config) string {
	return fmt.Sprintf("%s\n%s\n%s", version, cfg.Host, cfg.Rows.Granularity)
}

// restore gives a new output the places of the one before.
func (p *places) restore(cfg *Config, out *output) {
	p.saver.path = placesPath(cfg)
	if of := placesOf(cfg); of != p.of {
		p.of, p.last = of, nil
	}
	out.restore(p.last)
}

// tick saves from time to time.
func (p *places) tick(end time.Time, out *output) {
	if p.saved.IsZero() { // the first time soon: the probe may not live for long
		p.saved = end.Add(saveNews - placesEvery)
	}
	if p.saver.path == "" || end.Sub(p.saved) < placesEvery {
		return
	}
	if s := p.saver.spare(); s != nil {
		p.saved = end
		s.data = out.standing().Append(s.data[:0], p.of)
		p.saver.queue <- s // has room: spare said so
	}
}

func (p *places) run(ctx context.Context) error {
	p.saver.run(ctx)
	return nil
}

// finish keeps the places of an output that ends, and saves them.
func (p *places) finish(out *output) {
	p.last = out.standing()
	p.saver.finish(p.last.Append(nil, p.of))
}
