package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// probe is a running weir.
type probe struct {
	cmd  *exec.Cmd
	file string // line protocol it writes
	log  bytes.Buffer
	done chan error
}

var probes atomic.Int64

// start runs weir with both paths on and waits until its hooks are attached.
func (b *bench) start(ctx context.Context, flags ...string) (*probe, error) {
	n := strconv.FormatInt(probes.Add(1), 10)
	p := &probe{file: filepath.Join(b.dir, n+".lp"), done: make(chan error, 1)}
	args := append([]string{"run", "--sink", "file:" + p.file, "--journal", filepath.Join(b.dir, n),
		"--listen", "", "--docker", "/nonexistent", "--host", "bench"}, flags...)
	p.cmd = exec.CommandContext(ctx, b.weir, append(args, strings.Fields(b.flags)...)...)
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 10 * time.Second
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start weir: %w", err)
	}
	ready := make(chan struct{})
	go func() {
		seen := false
		for s := bufio.NewScanner(stderr); s.Scan(); {
			fmt.Fprintln(&p.log, s.Text())
			if !seen && strings.Contains(s.Text(), "ready") {
				seen = true
				close(ready)
			}
		}
		p.done <- p.cmd.Wait()
	}()
	select {
	case <-ready:
		return p, nil
	case err := <-p.done:
		return nil, fmt.Errorf("weir ended before it was ready: %v\n%s", err, &p.log)
	case <-time.After(30 * time.Second):
		p.stop()
		return nil, fmt.Errorf("weir was not ready in 30 s\n%s", &p.log)
	}
}

// stop lets weir drain and end.
func (p *probe) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := <-p.done; err != nil {
		return fmt.Errorf("weir: %w\n%s", err, &p.log)
	}
	return nil
}

// cpu is what weir's threads used so far, user and system.
func (p *probe) cpu() time.Duration {
	var sum time.Duration
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	for _, t := range tasks {
		data, err := os.ReadFile(t)
		if f := strings.Fields(string(data)); err == nil && len(f) > 0 {
			ns, _ := strconv.ParseInt(f[0], 10, 64)
			sum += time.Duration(ns)
		}
	}
	return sum
}

// memory returns weir's resident set and its peak so far in MiB.
func (p *probe) memory() (rss, peak float64) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for _, l := range strings.Split(string(data), "\n") {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			rss = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	return rss, peak
}

// line is one row of weir's line protocol. The values this program asks for hold
// no escapes.
type line struct {
	tags   string
	fields map[string]string
	time   int64
}

func (l *line) num(field string) float64 {
	v, _ := strconv.ParseFloat(strings.TrimRight(l.fields[field], "iu"), 64)
	return v
}

// lines reads the rows of a measurement whose tags hold a text.
func (p *probe) lines(measurement, tag string) ([]line, error) {
	f, err := os.Open(p.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []line
	s := bufio.NewScanner(f)
	for s.Buffer(nil, 1<<20); s.Scan(); {
		part := strings.Split(s.Text(), " ")
		if len(part) < 3 || !strings.HasPrefix(part[0], measurement+",") || !strings.Contains(part[0], tag) {
			continue
		}
		l := line{tags: part[0], fields: map[string]string{}}
		for _, kv := range strings.Split(strings.Join(part[1:len(part)-1], " "), ",") {
			k, v, _ := strings.Cut(kv, "=")
			l.fields[k] = v
		}
		l.time, _ = strconv.ParseInt(part[len(part)-1], 10, 64)
		out = append(out, l)
	}
	return out, s.Err()
}

// lost sums every lost counter of weir_self, by stage and field.
func (p *probe) lost() (total float64, where string, err error) {
	rows, err := p.lines("weir_self", "stage=")
	if err != nil {
		return 0, "", err
	}
	by := map[string]float64{}
	for i := range rows {
		if v := rows[i].num("lost"); v > 0 {
			_, stage, _ := strings.Cut(rows[i].tags, "stage=")
			by[stage] += v
			total += v
		}
	}
	for stage, v := range by {
		where += fmt.Sprintf(" %s=%.0f", stage, v)
	}
	return total, strings.TrimSpace(where), nil
}
