package selftest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// worker is a running process that does a task.
type worker struct {
	cmd   *exec.Cmd
	name  string
	log   string
	stdin io.WriteCloser
	words chan string // closed at the end of its output
}

// employ starts a worker in a box, and in its container, and waits until it is ready.
func (x *box) employ(ctx context.Context, dir string, n int, t task) (*worker, error) {
	name := fmt.Sprintf("%02d-%s-%s%s", n, x.name, t.Do, t.Situation)
	t.Log, t.Container = filepath.Join(dir, name+".truth"), x.container
	cmd, err := again(&t)
	if err != nil {
		return nil, err
	}
	w := &worker{cmd: cmd, name: name, log: t.Log, words: make(chan string, 4)}
	out, err := cmd.StdoutPipe()
	if err == nil {
		w.stdin, err = cmd.StdinPipe()
	}
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from a terminal is not for workers
	if x.cgroup != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(x.cgroup.Fd())
	}
	if err := x.do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start worker %s: %w", name, err)
	}
	go func() {
		defer close(w.words)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			w.words <- sc.Text()
		}
	}()
	return w, w.hears(ctx, "ready", patience)
}

// hears waits for a word of the worker.
func (w *worker) hears(ctx context.Context, word string, limit time.Duration) error {
	select {
	case got, ok := <-w.words:
		if ok && got == word {
			return nil
		}
		return fmt.Errorf("worker %s: said %q, not %q (its error is above)", w.name, got, word)
	case <-time.After(limit):
		return fmt.Errorf("worker %s: not %s within %s", w.name, word, limit)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *worker) begin() error {
	if _, err := fmt.Fprintln(w.stdin, "go"); err != nil {
		return fmt.Errorf("worker %s: %w", w.name, err)
	}
	return nil
}

// dismiss ends a worker by the end of its input, and by force when it does not listen.
func (w *worker) dismiss() error {
	w.stdin.Close()
	kill := time.AfterFunc(patience, func() { _ = w.cmd.Process.Kill() })
	defer kill.Stop()
	for range w.words { // until it closes its output
	}
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("worker %s: %w", w.name, err)
	}
	return nil
}

// crew is all the workers of a level.
type crew struct {
	dir     string
	servers []*worker
	callers []*worker
	n       int
}

func (c *crew) employ(ctx context.Context, x *box, t task) (*worker, error) {
	c.n++
	return x.employ(ctx, c.dir, c.n, t)
}

// hire starts everybody; nobody makes traffic yet.
func (c *crew) hire(ctx context.Context, b *bed, all []situation, r Rate, d time.Duration) error {
	for x, tasks := range servers(b) {
		for _, t := range tasks {
			w, err := c.employ(ctx, x, t)
			if w != nil {
				c.servers = append(c.servers, w)
			}
			if err != nil {
				return err
			}
		}
	}
	for i := range all {
		if all[i].skip != "" {
			continue
		}
		for _, x := range all[i].at {
			w, err := c.employ(ctx, x, all[i].plan(r, d))
			if w != nil {
				c.callers = append(c.callers, w)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// work makes the traffic and returns when all of it is over.
func (c *crew) work(ctx context.Context, d time.Duration) error {
	for _, w := range c.callers {
		if err := w.begin(); err != nil {
			return err
		}
	}
	for _, w := range c.callers {
		if err := w.hears(ctx, "done", d+3*patience); err != nil {
			return err
		}
	}
	return nil
}

// dismiss ends everybody, callers first.
func (c *crew) dismiss() (err error) {
	for _, w := range append(c.callers, c.servers...) {
		err = errors.Join(err, w.dismiss())
	}
	c.callers, c.servers = nil, nil
	return err
}

// truth reads what everybody wrote.
func (c *crew) truth() (all []Truth, err error) {
	files, err := filepath.Glob(filepath.Join(c.dir, "*.truth*"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		t, err := readTruth(f)
		if err != nil {
			return nil, err
		}
		all = append(all, t...)
	}
	return all, nil
}

// probe is the weir that looks at all this.
type probe struct {
	cmd  *exec.Cmd
	log  *os.File
	rows string
	done chan error
}

// startProbe runs the probe in the bed's host and waits until it is ready. It
// ends after a time by itself, should nobody be left to end it.
func startProbe(ctx context.Context, b *bed, dir, host string, interval, atMost time.Duration) (*probe, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &probe{rows: filepath.Join(dir, "rows.lp"), done: make(chan error, 1)}
	if p.log, err = os.Create(filepath.Join(dir, "weir.log")); err != nil {
		return nil, err
	}
	p.cmd = exec.Command(exe, "run", "--config", os.DevNull, "--interval", interval.String(), "--host", host, "--journal", "", "--listen", "",
		"--docker", filepath.Join(dir, "no-docker.sock"), "--flow-log-rate", "1000000", "--sink", "file:"+p.rows, "--duration", atMost.String())
	p.cmd.Stderr, p.cmd.SysProcAttr = p.log, &syscall.SysProcAttr{Setpgid: true}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "WEIR_") && !strings.HasPrefix(kv, "INFLUX_") && !strings.HasPrefix(kv, "NOTIFY_SOCKET=") {
			p.cmd.Env = append(p.cmd.Env, kv)
		}
	}
	if err := b.host.do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start weir run: %w", err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	return p, p.ready(ctx)
}

func (p *probe) said() string {
	b, _ := os.ReadFile(p.log.Name())
	return string(b[max(0, len(b)-2000):])
}

func (p *probe) ready(ctx context.Context) error {
	limit := time.After(30 * time.Second)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err := <-p.done:
			p.done <- err
			return fmt.Errorf("weir run ended before it was ready: %w\n%s", err, p.said())
		case <-limit:
			return fmt.Errorf("weir run was not ready within 30 s\n%s", p.said())
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
		if strings.Contains(p.said(), "msg=ready") {
			return nil
		}
	}
}

// stop ends it by SIGTERM, which makes it tell everything.
func (p *probe) stop() error {
	defer p.log.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		p.done <- err
		if err != nil {
			return fmt.Errorf("weir run ended with %w\n%s", err, p.said())
		}
		return nil
	case <-time.After(60 * time.Second):
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("weir run did not end within a minute of SIGTERM\n%s", p.said())
	}
}
