package tls

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/test/machine"
)

// patience is how long a test polls for what must come; nothing is measured with it.
const patience = 30 * time.Second

// recorder keeps what TLS libraries were given.
type recorder struct{ plain []kprobes.PayloadEvent }

func (*recorder) Socket(*kprobes.SocketEvent)   {}
func (*recorder) Peer(*kprobes.PeerEvent)       {}
func (*recorder) Process(*kprobes.ProcessEvent) {}
func (*recorder) Cgroup(*kprobes.CgroupEvent)   {}
func (*recorder) NAT(*flows.NAT)                {}

func (r *recorder) Payload(e *kprobes.PayloadEvent) {
	if e.Plain {
		c := *e
		c.Data = bytes.Clone(e.Data)
		r.plain = append(r.plain, c)
	}
}

// text is what was told of the sockets with that local port and direction, in order.
func (r *recorder) text(port uint16, out bool) string {
	var b strings.Builder
	for _, e := range r.plain {
		if e.Key.SrcPort == port && e.Out == out {
			b.Write(e.Data)
		}
	}
	return b.String()
}

type fixture struct {
	recorder
	t     testing.TB
	set   *kprobes.Set
	m     *Manager
	group string // directory of the control group that is looked into
}

// open looks into a control group of this test's own.
func open(t testing.TB) *fixture {
	t.Helper()
	machine.Root(t, "loads BPF programs")
	set, err := kprobes.Load(kprobes.Config{Payload: true, TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := set.Attach(); err != nil {
		t.Fatal(err)
	}
	if err := set.TLSReady(); err != nil {
		t.Skipf("this kernel does not look inside TLS: %+v", err)
	}
	f := &fixture{t: t, set: set, m: New(Config{Round: 50 * time.Millisecond}, set)}
	f.group = newGroup(t, "selected")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	f.m.Select([]Group{groupAt(t, f.group)})
	f.until("the selection", func() bool { return f.m.Stats().Groups == 1 })
	return f
}

// newGroup makes a control group that goes with the test.
func newGroup(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			dir := filepath.Join(f[1], fmt.Sprintf("weir-tls-%d-%s", os.Getpid(), name))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Skipf("make a control group: %v", err)
			}
			t.Cleanup(func() { removeGroup(t, dir) })
			return dir
		}
	}
	t.Skip("no cgroup v2 hierarchy is mounted")
	return ""
}

// removeGroup removes an empty group; the kernel needs a moment for its last process.
func removeGroup(t testing.TB, dir string) {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := os.Remove(dir)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Error(err)
			return
		}
	}
}

func groupAt(t testing.TB, dir string) Group {
	t.Helper()
	st, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	return Group{ID: kprobes.TLSGroup{ID: st.Sys().(*syscall.Stat_t).Ino}, Dir: dir}
}

// within has a command run in a control group.
func within(t testing.TB, group string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	d, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(d.Fd()), Pdeathsig: syscall.SIGKILL}
	return cmd
}

// until polls ok, taking what the kernel tells meanwhile.
func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if _, err := f.set.Drain(f); err != nil {
			f.t.Fatal(err)
		}
		if ok() {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("no %s within %v; %+v, %+v", what, patience, f.m.Stats(), f.set.TLSStats())
		}
	}
}

// has says whether a file of that kind whose name ends so has probes.
func (f *fixture) has(kind Kind, name string) bool {
	for _, x := range f.m.Files() {
		if x.Kind == kind && strings.HasSuffix(x.Path, name) {
			return true
		}
	}
	return false
}

// command returns the path of a program, or skips the test.
func command(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return p
}
