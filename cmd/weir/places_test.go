package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// The places of series outlive a reload in memory and a restart, a crash too, in a file;
// under another host name there are no series yet; a file that is damaged is said.
func TestPlaces(t *testing.T) {
	cfg, _, out, logged := anomalyRig(t, "")
	log := slog.New(slog.NewTextHandler(logged, nil))
	path := filepath.Join(cfg.Journal.Dir, placesName)
	held := func(p *places, host string) uint64 {
		t.Helper()
		c := *cfg
		c.Host = host
		_, _, o, _ := anomalyRig(t, "")
		p.restore(&c, o)
		return o.edges.Stats().Series
	}
	p := newPlaces(cfg, log)
	p.restore(cfg, out)
	r := &correlate.Record{Proto: flows.TCP, Client: serviceEnd("web"), Server: serviceEnd("db"), Reporter: correlate.ReporterBoth}
	r.Server.Port, r.Server.Listened, r.Delta.Opened = 5432, true, 1
	now := time.Now()
	out.add(r, now)
	out.edges.Flush(now)
	p.tick(now, out)
	p.tick(now.Add(saveNews), out)
	p.saver.write(<-p.saver.queue, false)
	if n := held(newPlaces(cfg, log), cfg.Host); n != 1 {
		t.Errorf("%d places after a crash", n)
	}
	os.Remove(path)
	p.finish(out)
	if n := held(p, cfg.Host); n != 1 {
		t.Errorf("%d places after a reload", n)
	}
	if n := held(newPlaces(cfg, log), cfg.Host); n != 1 {
		t.Errorf("%d places after a restart", n)
	}
	if n := held(newPlaces(cfg, log), "other"); n != 0 {
		t.Errorf("%d places under another name", n)
	}
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ToUpper(b), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := held(newPlaces(cfg, log), cfg.Host); n != 0 || !strings.Contains(logged.String(), "begins anew") || !strings.Contains(logged.String(), path) {
		t.Errorf("%d places of a damaged file, logged %s", n, logged)
	}
	cfg.Journal.Dir = ""
	p = newPlaces(cfg, log)
	p.restore(cfg, out)
	p.tick(now.Add(24*time.Hour), out)
	p.finish(out)
}
