// Package probe builds and runs the real weir for tests: what a test sees is
// what a user would.
package probe

import (
	"bytes"
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

// Build compiles a static command of this module into a directory of the test
// and returns its path. pkg is like "./cmd/weir".
func Build(t testing.TB, pkg string) string {
	t.Helper()
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	out := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Dir = strings.TrimSpace(string(root))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, b)
	}
	return out
}

// Probe is a running weir.
type Probe struct {
	cmd  *exec.Cmd
	log  lockedBuffer
	done chan error
}

// Start runs weir with the arguments; environment entries like INFLUX_TOKEN=x
// come first, up to the first argument without '='. It does not wait for ready.
func Start(t testing.TB, bin string, args ...string) *Probe {
	t.Helper()
	var env []string
	for len(args) > 0 && strings.Contains(args[0], "=") && !strings.HasPrefix(args[0], "-") {
		env, args = append(env, args[0]), args[1:]
	}
	p := &Probe{cmd: exec.Command(bin, args...), done: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.log
	p.cmd.Stdout = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", bin, err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.cmd.Process.Kill()
			<-p.done
		}
		if t.Failed() {
			t.Logf("weir said:\n%s", tail(p.log.String(), 6000))
		}
	})
	return p
}

// PID of the process.
func (p *Probe) PID() int { return p.cmd.Process.Pid }

// Log is what it has written so far.
func (p *Probe) Log() string { return p.log.String() }

// WaitReady waits for the line `ready`.
func (p *Probe) WaitReady(t testing.TB) {
	t.Helper()
	Until(t, 30*time.Second, "weir is ready", func() error {
		select {
		case err := <-p.done:
			p.done <- err
			t.Fatalf("weir ended before it was ready: %v\n%s", err, p.log.String())
		default:
		}
		if !strings.Contains(p.log.String(), "msg=ready") {
			return fmt.Errorf("no ready line yet")
		}
		return nil
	})
}

// Stop asks it to end (SIGTERM) and returns how it did.
func (p *Probe) Stop(t testing.TB) error {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(30 * time.Second):
		p.cmd.Process.Kill()
		t.Fatalf("weir did not end within 30 s of SIGTERM:\n%s", p.log.String())
		return nil
	}
}

// Until polls check until it returns nil.
func Until(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
