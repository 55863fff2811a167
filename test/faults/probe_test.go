package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// weir is the binary under test, built once.
var weir string

func TestMain(m *testing.M) {
	os.Exit(build(m))
}

func build(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // every test skips
	}
	dir, err := os.MkdirTemp("", "weir-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	_ = os.Chmod(dir, 0o755) // nobody runs it, too
	weir = filepath.Join(dir, "weir")
	cmd := exec.Command("go", "build", "-o", weir, "github.com/weir-probe/weir/cmd/weir")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build weir: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: runs the probe")
	}
}

// patience is how long anything that must happen may take on a busy machine.
const patience = 60 * time.Second

// output collects what a process writes and tells who waits.
type output struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

func (o *output) state() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String(), o.changed
}

func (o *output) String() string { s, _ := o.state(); return s }

// probe is a running weir.
type probe struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr *output
	stdout *output
	done   chan struct{}
	err    error
}

// spawn starts a command, which is ended with the test.
func spawn(t *testing.T, cmd *exec.Cmd) *probe {
	t.Helper()
	p := &probe{t: t, cmd: cmd, stderr: newOutput(), stdout: newOutput(), done: make(chan struct{})}
	cmd.Stderr, cmd.Stdout = p.stderr, p.stdout
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %v: %v", cmd.Args, err)
	}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
		if t.Failed() {
			s := p.stderr.String()
			t.Logf("%v said:\n%s", cmd.Args[1:], s[max(0, len(s)-4000):])
		}
	})
	return p
}

// common is what every run here has: fast, silent, away from the host's own weir.
var common = []string{"--interval", "1s", "--packets", "off", "--docker", "/nonexistent", "--host", "h"}

// command is `weir run` with what every run here has, and args.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(weir, append(append([]string{"run"}, common...), args...)...)
	cmd.Env = environment()
	return cmd
}

// environment is ours without what configures weir.
func environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "WEIR_") && !strings.HasPrefix(kv, "INFLUX_") && !strings.HasPrefix(kv, "NOTIFY_SOCKET") {
			env = append(env, kv)
		}
	}
	return append(env, "WEIR_CONFIG=/dev/null")
}

// run starts `weir run` and waits until it is ready.
func run(t *testing.T, args ...string) *probe {
	t.Helper()
	p := spawn(t, command(args...))
	p.waitLog("msg=ready")
	return p
}

// waitLog waits for the text on standard error.
func (p *probe) waitLog(text string) { p.t.Helper(); p.waitLogs(text, 1) }

// waitLogs waits until the text has come n times.
func (p *probe) waitLogs(text string, n int) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		s, changed := p.stderr.state()
		if strings.Count(s, text) >= n {
			return
		}
		select {
		case <-changed:
		case <-p.done:
			if strings.Count(p.stderr.String(), text) >= n {
				return
			}
			p.t.Fatalf("weir ended (%v) without saying %q", p.err, text)
		case <-deadline:
			p.t.Fatalf("weir did not say %q %d times", text, n)
		}
	}
}

func (p *probe) signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal weir: %v", err)
	}
}

// status waits for the end and returns the exit status, -1 for a signal.
func (p *probe) status() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatal("weir did not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop asks it to end and wants status 0.
func (p *probe) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if s := p.status(); s != 0 {
		p.t.Fatalf("exit status %d after SIGTERM", s)
	}
}

// until polls a condition that nothing announces.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
