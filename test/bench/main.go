// Command bench measures what Weir costs. It builds the program, makes its own
// network (a bridge and two namespaces, names wb-*, 10.77.0.0/16) and prints a
// table; it needs root and about six minutes.
//
//	idle   nothing happens
//	held   100 000 flows that all change in each interval, then idle TCP sockets
//	conns  paced short connections: rows of flow_log against connections made
//	pairs  the same work without, with and without Weir (whole program, packet and
//	       socket path), all of it on one CPU; CPU time of the work, which includes
//	       what the kernel does for it. "off" against "off" is the noise. One
//	       thread holding both ends is the least that a message can cost, two
//	       threads switch as two programs do.
//	http   nginx and wrk over kept connections, all protocols parsed; CPU time of
//	       both, the kernel and Weir per request
//
// Weir's own CPU is what its process used, apart from the work's.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

type options struct {
	weir     string
	flags    string
	only     string
	json     string
	rounds   int
	phase    time.Duration
	rate     int
	connTime time.Duration
	flows    int
	sockets  int
	idleTime time.Duration
	keep     bool
}

// Row is one measured value of the table.
type Row struct {
	Group string  `json:"group"`
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Low   float64 `json:"low,omitempty"` // spread, where the value is a median
	High  float64 `json:"high,omitempty"`
	Limit string  `json:"limit,omitempty"`
	Note  string  `json:"note,omitempty"`
}

// bench is one run: where things are, and what came out.
type bench struct {
	options
	dir  string
	rows []Row
}

func main() {
	var o options
	flag.StringVar(&o.weir, "weir", "", "binary to measure (default: build ./cmd/weir)")
	flag.StringVar(&o.flags, "flags", "", "more flags for weir run, e.g. \"--packets off\" to see one path's share")
	flag.StringVar(&o.only, "only", "idle,held,conns,pairs,http", "what to measure")
	flag.StringVar(&o.json, "json", "", "write the results to this file, too")
	flag.IntVar(&o.rounds, "rounds", 8, "pairs: rounds of off, on, off")
	flag.DurationVar(&o.phase, "phase", time.Second, "pairs: length of one workload of one phase, about")
	flag.IntVar(&o.rate, "rate", 2000, "conns: connections per second")
	flag.DurationVar(&o.connTime, "conn-time", 20*time.Second, "conns: how long")
	flag.IntVar(&o.flows, "flows", 100_000, "held: concurrent flows")
	flag.IntVar(&o.sockets, "sockets", 20_000, "held: idle TCP connections, as far as the limit of files allows")
	flag.DurationVar(&o.idleTime, "idle-time", 20*time.Second, "idle: how long")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory of what weir wrote")
	flag.Parse()
	runtime.LockOSThread() // setns is per thread
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("needs root, for network namespaces and BPF")
	}
	b := &bench{options: o}
	if b.dir, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return err
	}
	if o.keep {
		fmt.Fprintln(os.Stderr, "bench: files in", b.dir)
	} else {
		defer os.RemoveAll(b.dir)
	}
	if b.weir == "" {
		b.weir = filepath.Join(b.dir, "weir")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.weir, "./cmd/weir")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build weir (start the bench in the repository's root): %w\n%s", err, out)
		}
	}
	r, err := newRig()
	if err != nil {
		return err
	}
	defer r.close()
	parts := map[string]func(context.Context, *rig) error{
		"pairs": b.pairs, "conns": b.conns, "held": b.held, "idle": b.idle, "http": b.http,
	}
	for _, name := range strings.Split(o.only, ",") {
		part := parts[name]
		if part == nil {
			return fmt.Errorf("-only %q: must be some of idle,held,conns,pairs,http", name)
		}
		fmt.Fprintf(os.Stderr, "bench: %s …\n", name)
		if err := part(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	b.print(os.Stdout)
	return b.writeJSON()
}

func (b *bench) add(r Row) { b.rows = append(b.rows, r) }

// print writes the table.
func (b *bench) print(w *os.File) {
	var u syscall.Utsname
	syscall.Uname(&u)
	fmt.Fprintf(w, "weir bench  %s  linux %s  %d CPUs\n", time.Now().UTC().Format("2006-01-02 15:04"), cString(u.Release[:]), runtime.NumCPU())
	group := ""
	for _, r := range b.rows {
		if r.Group != group {
			group = r.Group
			fmt.Fprintf(w, "\n%s\n", group)
		}
		value, spread := fmt.Sprintf("%.*f", digits(r.Value), r.Value), ""
		if r.Low != 0 || r.High != 0 {
			spread = fmt.Sprintf("[%.*f … %.*f]", digits(r.Low), r.Low, digits(r.High), r.High)
		}
		line := fmt.Sprintf("  %-34s %10s %-6s %-19s %-9s %s", r.Name, value, r.Unit, spread, r.Limit, r.Note)
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

func digits(v float64) int {
	switch {
	case v >= 1000 || v == 0:
		return 0
	case v >= 20:
		return 1
	}
	return 3
}

func (b *bench) writeJSON() error {
	if b.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(map[string]any{"time": time.Now().UTC(), "cpus": runtime.NumCPU(), "rows": b.rows}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.json, append(data, '\n'), 0o644)
}

func cString(b []int8) string {
	var s strings.Builder
	for _, c := range b {
		if c == 0 {
			break
		}
		s.WriteByte(byte(c))
	}
	return s.String()
}
