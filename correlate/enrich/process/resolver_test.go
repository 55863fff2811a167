package process

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/kprobes"
)

// run starts the table's background and returns a function that ticks until ok.
func run(t *testing.T, tab *Table) func(ok func() bool) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tab.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	now := time.Now().UnixNano()
	return func(ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not in 10 s: %+v", tab.Stats())
			}
			now++
			tab.Tick(now)
		}
	}
}

// child starts a process that waits, and returns what the kernel would say of it.
func child(t *testing.T) (*kprobes.Owner, *exec.Cmd) {
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s, err := readAny("/proc", uint32(cmd.Process.Pid))
		if err == nil && s.comm == "sleep" {
			o := owner(pid(s.pid, s.start+3_141_592), "sleep")
			o.UID = uint32(os.Getuid())
			return o, cmd
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestLostEventsAreMadeUpFromProc(t *testing.T) {
	o, cmd := child(t)
	tab := newTable(Config{})
	until := run(t, tab)
	p, pending := tab.Lookup(o, 1)
	if p.Name != "sleep" || p.Exe != "" || !pending {
		t.Fatalf("at once: %+v, pending %v", p, pending)
	}
	until(func() bool { p, pending = tab.Lookup(o, 1); return !pending })
	if p.Cmdline != "sleep 300" || !strings.HasPrefix(p.Exe, "/") || p.PPID != uint32(os.Getpid()) {
		t.Errorf("resolved: %+v", p)
	}
	// the same PID at another time is somebody else's, and is not believed
	other := *o
	other.Start -= 5 * tick
	until(func() bool { p, pending = tab.Lookup(&other, 1); return !pending })
	if p.Cmdline != "" || tab.Stats().Reused != 1 {
		t.Errorf("reused PID: %+v, %+v", p, tab.Stats())
	}
	// its end is found though no event tells it
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	tab.Resync()
	until(func() bool { return tab.Stats().Swept == 1 })
}

func TestExecOfScriptLearnsItsPath(t *testing.T) {
	o, _ := child(t)
	tab := newTable(Config{})
	until := run(t, tab)
	ev := execEvent(o.ProcessID, 1, "sleep", "sleep", "sleep", "300") // no absolute path
	tab.Process(ev)
	var p *correlate.Process
	pending := true
	until(func() bool { p, pending = tab.Lookup(o, 1); return !pending })
	if p.Name != "sleep" || !strings.HasSuffix(p.Exe, "/sleep") {
		t.Errorf("%+v", p)
	}
}

func TestScanFindsWhatRuns(t *testing.T) {
	o, _ := child(t)
	tab := newTable(Config{Scan: true})
	until := run(t, tab)
	until(func() bool { return tab.live[o.PID] != 0 })
	p, pending := tab.Lookup(o, 1)
	if p.Cmdline != "sleep 300" || pending || tab.Stats().Unknown != 1 {
		t.Errorf("%+v, pending %v, %+v", p, pending, tab.Stats())
	}
	if again := lookup(t, tab, o, 2); again != p {
		t.Error("looked up twice, two processes")
	}
}

func TestParseStat(t *testing.T) {
	const tail = " S 1 2 2 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 1\n"
	s, err := parseStat([]byte("7 (a) b (c\n)" + tail))
	if err != nil || s.comm != "a) b (c\n" || s.ppid != 1 || s.start != 12345*tick || s.kernel {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "7", "7 (x", "7 (x) S 1", "7 )x("} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (a) b (c\n) S 1 2 2 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStat(b); err == nil && s.start%tick != 0 {
			t.Errorf("start %d is no whole tick", s.start)
		}
	})
}
