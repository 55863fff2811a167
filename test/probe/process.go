package probe

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything that must happen may take on a busy machine.
const patience = 60 * time.Second

// Process is a running weir.
type Process struct {
	Stdout, Stderr *Output

	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Spawn starts a command, which is killed with the test.
func Spawn(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	return SpawnBy(t, (*exec.Cmd).Start, cmd)
}

// SpawnBy is Spawn with another way to start a command: in a namespace.
func SpawnBy(t testing.TB, start func(*exec.Cmd) error, cmd *exec.Cmd) *Process {
	t.Helper()
	p, err := launch(start, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.End()
		if t.Failed() {
			s := p.Log()
			t.Logf("%v said:\n%s", cmd.Args[1:], s[max(0, len(s)-6000):])
		}
	})
	return p
}

// Launch starts a command that more than one test looks at: whoever calls it ends it.
func Launch(cmd *exec.Cmd) (*Process, error) { return launch((*exec.Cmd).Start, cmd) }

func launch(start func(*exec.Cmd) error, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Stdout: newOutput(), Stderr: newOutput(), cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.Stdout, p.Stderr
	if err := start(cmd); err != nil {
		return nil, fmt.Errorf("start %v: %w", cmd.Args, err)
	}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	return p, nil
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is what it has written to standard error so far.
func (p *Process) Log() string { return p.Stderr.String() }

// WaitReady waits for the line `ready`.
func (p *Process) WaitReady(t testing.TB) { t.Helper(); p.WaitLog(t, "msg=ready") }

// WaitLog waits for the text on standard error.
func (p *Process) WaitLog(t testing.TB, text string) { t.Helper(); p.WaitLogs(t, text, 1) }

// WaitLogs waits until the text has come n times.
func (p *Process) WaitLogs(t testing.TB, text string, n int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		s, changed := p.Stderr.state()
		if strings.Count(s, text) >= n {
			return
		}
		select {
		case <-changed:
		case <-p.done:
			if s := p.Log(); strings.Count(s, text) < n {
				t.Fatalf("weir ended (%v) without saying %q:\n%s", p.err, text, s)
			}
			return
		case <-deadline:
			t.Fatalf("weir did not say %q %d times:\n%s", text, n, s)
		}
	}
}

// Signal sends a signal; a process that is gone does not mind.
func (p *Process) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal weir: %v", err)
	}
}

// Status waits for the end and returns the exit status, -1 for a signal.
func (p *Process) Status(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("weir did not end:\n%s", p.Log())
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stop asks it to end and wants status 0.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if s := p.Status(t); s != 0 {
		t.Fatalf("exit status %d after SIGTERM", s)
	}
}

// End kills a process that Launch started and waits for its end.
func (p *Process) End() error {
	_ = p.cmd.Process.Kill() // gone already
	<-p.done
	return p.err
}

// Output collects what a process writes and tells who waits.
type Output struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func newOutput() *Output { return &Output{changed: make(chan struct{})} }

// Write is the process's end of it.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

// String is all of it so far.
func (o *Output) String() string { s, _ := o.state(); return s }

// state is all of it so far, and what is closed when there is more.
func (o *Output) state() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String(), o.changed
}
