package process

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/kprobes"
)

const sec = int64(time.Second)

func comm(s string) (c kprobes.Comm) {
	copy(c[:15], s)
	return c
}

func pid(pid uint32, start uint64) kprobes.ProcessID {
	return kprobes.ProcessID{PID: pid, Start: start}
}

func owner(id kprobes.ProcessID, c string) *kprobes.Owner {
	return &kprobes.Owner{ProcessID: id, Comm: comm(c), How: kprobes.OwnerIO}
}

func execEvent(id kprobes.ProcessID, at int64, filename, exe string, argv ...string) *kprobes.ProcessEvent {
	return &kprobes.ProcessEvent{
		Kind: kprobes.ProcessExec, ProcessID: id, Parent: pid(1, 1), Time: at, Comm: comm(base(filename)),
		Filename: []byte(filename), Exe: []byte(exe), Cmdline: []byte(strings.Join(argv, "\x00") + "\x00"),
	}
}

func forkEvent(id, parent kprobes.ProcessID, at int64, c string) *kprobes.ProcessEvent {
	return &kprobes.ProcessEvent{Kind: kprobes.ProcessFork, ProcessID: id, Parent: parent, Time: at, Comm: comm(c)}
}

func exitEvent(id kprobes.ProcessID, at int64) *kprobes.ProcessEvent {
	return &kprobes.ProcessEvent{Kind: kprobes.ProcessExit, ProcessID: id, Time: at}
}

func newTable(cfg Config) *Table {
	if cfg.Wall == nil {
		cfg.Wall = func(b uint64) int64 { return int64(b) + 1000*sec }
	}
	return New(cfg)
}

func lookup(t *testing.T, tab *Table, o *kprobes.Owner, now int64) *correlate.Process {
	t.Helper()
	p, _ := tab.Lookup(o, now)
	if p == nil {
		t.Fatalf("no process for %v", o.ProcessID)
	}
	return p
}

func TestExecEventTellsAll(t *testing.T) {
	tab := newTable(Config{Unit: func(v2, _ uint64) (string, bool) { return map[uint64]string{5: "web.service"}[v2], true }})
	id := pid(100, 7)
	tab.Process(execEvent(id, 1, "/usr/bin/curl", "curl", "curl", "--password", "x"))
	o := owner(id, "curl")
	o.UID, o.CgroupV2 = 4_000_000, 5
	p, pending := tab.Lookup(o, 2)
	want := correlate.Process{
		PID: 100, Start: 7 + 1000*sec, Booted: 7, Name: "curl", Exe: "/usr/bin/curl", Cmdline: "curl --password [redacted]",
		User: "4000000", UID: 4_000_000, PPID: 1, Unit: "web.service",
	}
	if *p != want || pending {
		t.Errorf("got %+v, pending %v", p, pending)
	}
	if again, _ := tab.Lookup(o, 3); again != p {
		t.Error("the same owner got another Process")
	}
}

func TestForkInheritsUntilExec(t *testing.T) {
	tab := newTable(Config{})
	parent, child := pid(100, 7), pid(101, 8)
	tab.Process(execEvent(parent, 1, "/usr/sbin/nginx", "nginx", "nginx", "-g", "daemon off;"))
	tab.Process(forkEvent(child, parent, 2, "nginx"))
	p := lookup(t, tab, owner(child, "nginx"), 3)
	if p.Name != "nginx" || p.Cmdline != "nginx -g daemon off;" || p.PID != 101 || p.PPID != 100 {
		t.Errorf("child: %+v", p)
	}
	tab.Process(execEvent(child, 4, "/bin/sh", "dash", "sh"))
	if q := lookup(t, tab, owner(child, "sh"), 5); q.Name != "sh" || q.Cmdline != "sh" {
		t.Errorf("after exec: %+v", q)
	}
	// forked before the parent's exec, told after it
	again, late := execEvent(parent, 5, "/bin/sleep", "sleep", "sleep", "9"), forkEvent(pid(102, 9), parent, 6, "nginx")
	again.Exec = 1
	tab.Process(again)
	tab.Process(late)
	if q := lookup(t, tab, owner(pid(102, 9), "nginx"), 7); q.Name != "nginx" || q.Cmdline != "nginx -g daemon off;" {
		t.Errorf("late child: %+v", q)
	}
	if p.Name != "nginx" {
		t.Error("a published Process changed")
	}
	if q := lookup(t, tab, owner(parent, "nginx"), 5); q.Name != "nginx" || q.PID != 100 {
		t.Errorf("parent: %+v", q)
	}
}

// A4: the image at connect and the current one are told apart, in whatever order
// the events arrive.
func TestExecAroundConnect(t *testing.T) {
	id := pid(100, 7)
	sh, wget := execEvent(id, 1, "/bin/sh", "dash", "sh", "-c", "exec wget x"), execEvent(id, 2, "/usr/bin/wget", "wget", "wget", "x")
	sh.Exec, wget.Exec = 3, 4
	t.Run("exec told before the socket", func(t *testing.T) {
		tab := newTable(Config{})
		tab.Process(sh)
		tab.Process(wget)
		if p := lookup(t, tab, ran(id, "wget", 4), 3); p.Cmdline != "wget x" {
			t.Errorf("%+v", p)
		}
		// opened by the shell before its exec
		if p := lookup(t, tab, ran(id, "sh", 3), 3); p.Name != "sh" || p.PID != 100 {
			t.Errorf("%+v", p)
		}
		// an image nobody told of is not one of the others
		if p := lookup(t, tab, ran(id, "init", 2), 3); p.Name != "init" || p.Cmdline != "" {
			t.Errorf("%+v", p)
		}
	})
	t.Run("socket told before the exec", func(t *testing.T) {
		tab := newTable(Config{})
		tab.Process(sh)
		p, pending := tab.Lookup(ran(id, "wget", 4), 2)
		if p.Name != "wget" || p.Cmdline != "" || !pending {
			t.Errorf("the shell's command line for wget's socket: %+v, pending %v", p, pending)
		}
		tab.Process(wget)
		if p, pending := tab.Lookup(ran(id, "wget", 4), 3); p.Cmdline != "wget x" || pending {
			t.Errorf("%+v, pending %v", p, pending)
		}
	})
	t.Run("the exec was lost", func(t *testing.T) {
		tab := newTable(Config{})
		tab.Process(sh)
		tab.Lookup(ran(id, "wget", 4), 2)
		tab.Tick(3)
		tab.Tick(4)
		if p := lookup(t, tab, ran(id, "wget", 4), 5); p.Name != "wget" || p.Cmdline != "" {
			t.Errorf("%+v", p)
		}
		if p := lookup(t, tab, ran(id, "sh", 3), 5); p.Cmdline != "sh -c exec wget x" {
			t.Errorf("%+v", p)
		}
	})
	t.Run("images of one name", func(t *testing.T) {
		tab := newTable(Config{})
		for i, arg := range []string{"a.py", "b.py", "c.py", "d.py", "e.py"} {
			ev := execEvent(id, int64(i), "/usr/bin/python3", "python3", "python3", arg)
			ev.Exec = uint32(i + 1)
			tab.Process(ev)
		}
		for exec, want := range []string{"", "", "python3 b.py", "python3 c.py", "python3 d.py", "python3 e.py"} {
			if p := lookup(t, tab, ran(id, "python3", uint32(exec)), 9); exec > 0 && p.Cmdline != want {
				t.Errorf("image %d is %+v, want %q", exec, p, want)
			}
		}
	})
	t.Run("comm set by prctl", func(t *testing.T) {
		tab := newTable(Config{})
		tab.Process(sh)
		if p := lookup(t, tab, ran(id, "MainThread", 3), 2); p.Name != "sh" || p.Cmdline != "sh -c exec wget x" {
			t.Errorf("%+v", p)
		}
	})
}

// ran is owner for one of several images of a process.
func ran(id kprobes.ProcessID, c string, exec uint32) *kprobes.Owner {
	o := owner(id, c)
	o.Exec = exec
	return o
}

// A2, A3: an ended process is still known, and the next one with its PID is another.
func TestExitGraceAndPIDReuse(t *testing.T) {
	tab := newTable(Config{})
	first, second := pid(100, 7), pid(100, 9)
	tab.Process(execEvent(first, 1, "/usr/bin/curl", "curl", "curl"))
	tab.Process(exitEvent(first, 2))
	tab.Process(execEvent(second, 3, "/usr/bin/wget", "wget", "wget"))
	tab.Tick(59 * sec)
	if a, b := lookup(t, tab, owner(first, "curl"), 4), lookup(t, tab, owner(second, "wget"), 4); a.Name != "curl" || b.Name != "wget" || a.Start == b.Start {
		t.Errorf("%+v, %+v", a, b)
	}
	tab.Tick(61 * sec)
	if s := tab.Stats(); s.Processes != 1 || s.Exited != 0 {
		t.Errorf("%+v", s)
	}
	// the end of the second is lost; a third shows that it must have ended
	tab.Process(execEvent(pid(100, 11), 62*sec, "/bin/ls", "ls", "ls"))
	if s := tab.Stats(); s.Exited != 1 {
		t.Errorf("%+v", s)
	}
}

func TestUsersOfOneProcess(t *testing.T) {
	passwd := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(passwd, []byte("root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:\nbad\n:x:5:\ntoor:x:0:0::/:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tab := newTable(Config{Passwd: passwd})
	tab.users.reload()
	id := pid(100, 7)
	tab.Process(execEvent(id, 1, "/usr/sbin/nginx", "nginx", "nginx"))
	asRoot, asWWW := owner(id, "nginx"), owner(id, "nginx")
	asWWW.UID = 33
	a, b := lookup(t, tab, asRoot, 2), lookup(t, tab, asWWW, 2)
	if a.User != "root" || b.User != "www-data" {
		t.Errorf("%q, %q", a.User, b.User)
	}
	if n := testing.AllocsPerRun(100, func() { tab.Lookup(asRoot, 3); tab.Lookup(asWWW, 3) }); n != 0 {
		t.Errorf("%v allocations when both are asked for in turn", n)
	}
}

func TestKernelThreads(t *testing.T) {
	tab := newTable(Config{})
	tab.Process(&kprobes.ProcessEvent{Kind: kprobes.ProcessExisting, ProcessID: pid(50, 1), Parent: pid(2, 1), Comm: comm("kworker/u8:1")})
	tab.Process(forkEvent(pid(51, 2), pid(2, 1), 1, "nfsd"))
	for id, c := range map[kprobes.ProcessID]string{pid(50, 1): "kworker/u8:1", pid(51, 2): "nfsd"} {
		if p, pending := tab.Lookup(owner(id, c), 2); p.Name != KernelName || p.Cmdline != "["+c+"]" || pending {
			t.Errorf("%s: %+v, pending %v", c, p, pending)
		}
	}
	// a helper started by the kernel is a program like any other
	tab.Process(execEvent(pid(51, 2), 3, "/sbin/modprobe", "kmod", "/sbin/modprobe", "x"))
	if p := lookup(t, tab, owner(pid(51, 2), "modprobe"), 4); p.Name != "modprobe" {
		t.Errorf("%+v", p)
	}
	if p, _ := tab.Lookup(&kprobes.Owner{}, 1); p != nil {
		t.Errorf("no owner, but %+v", p)
	}
}

func TestTableIsBounded(t *testing.T) {
	tab := newTable(Config{MaxProcesses: 10, MaxExited: 4})
	for i := range uint32(30) {
		id := pid(100+i, uint64(i+1))
		tab.Process(execEvent(id, int64(i), "/bin/ls", "ls", "ls"))
		if i < 20 {
			tab.Process(exitEvent(id, int64(i)))
		}
	}
	s := tab.Stats()
	if s.Processes != 10 || s.Exited != 0 || s.Evicted != 20 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
	tab.Process(execEvent(pid(500, 99), 40, "/bin/ls", "ls", "ls"))
	if tab.Stats().Refused != 1 {
		t.Errorf("%+v", tab.Stats())
	}
	if p := lookup(t, tab, owner(pid(500, 99), "ls"), 41); p.Name != "ls" || p.PID != 500 {
		t.Errorf("a refused process must still be named by its socket: %+v", p)
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	tab := newTable(Config{})
	id := pid(100, 7)
	tab.Process(execEvent(id, 1, "/usr/bin/curl", "curl", "curl"))
	o := owner(id, "curl")
	tab.Lookup(o, 1)
	if n := testing.AllocsPerRun(100, func() { tab.Lookup(o, 1); tab.Tick(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A16: 50 000 processes in bounded memory.
func TestFiftyThousandProcesses(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tab := newTable(Config{})
	for i := range uint32(50_000) {
		ev := execEvent(pid(i+10, uint64(i)), 1, "/usr/bin/app", "app", "app", "--listen", "0.0.0.0:8080", "--config", "/etc/app.yml")
		ev.Kind = kprobes.ProcessExisting
		tab.Process(ev)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := (after.HeapAlloc - before.HeapAlloc) / 50_000
	t.Logf("%d octets per process", per)
	if per > 1024 {
		t.Errorf("%d octets per process", per)
	}
	if n := tab.Stats().Processes; n != 50_000 {
		t.Errorf("%d processes", n)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if (Config{Grace: -1}).Validate() == nil || (Config{Cmdline: RedactorConfig{Mode: "x"}}).Validate() == nil {
		t.Error("bad values accepted")
	}
}

func BenchmarkForkExecExit(b *testing.B) {
	tab := newTable(Config{})
	ev := execEvent(pid(1, 1), 1, "/usr/bin/curl", "curl", "curl", "http://x")
	i := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		i++
		id := pid(uint32(i%30000+10), i)
		tab.Process(forkEvent(id, pid(1, 1), int64(i), "sh"))
		ev.ProcessID, ev.Time = id, int64(i)
		tab.Process(ev)
		tab.Process(exitEvent(id, int64(i)))
	}
}
