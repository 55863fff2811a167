package usage

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// statOf is /proc/PID/stat of a process that began at a tick and has used user ticks.
func statOf(pid int, comm string, user, start uint64) string {
	return fmt.Sprintf("%d (%s) S 1 1 1 0 -1 4194560 100 0 0 0 %d 50 0 0 20 0 4 0 %d 22773760 3 18446744073709551615 1 1 0 0\n", pid, comm, user, start)
}

func processes(s *Sampler, asked int64, ps ...Process) *Round {
	r := s.Begin()
	r.Asked = asked
	r.Processes = append(r.Processes, ps...)
	s.read(r)
	return r
}

func TestProcess(t *testing.T) {
	x := newTree(t)
	const hostile = "x) R 9 (y z"
	x.write(map[string]string{
		"7/stat": statOf(7, hostile, 100, 5000), "7/io": "rchar: 9\nread_bytes: 10\nwrite_bytes: 20\ncancelled_write_bytes: 1\n", "7/fd/0": "",
	})
	s := x.sampler()
	p := Process{PID: 7, Start: 5000*tick + 123, Born: 1}
	r := processes(s, 2, p)
	if len(r.ProcessSamples) != 1 {
		t.Fatalf("%+v", r)
	}
	now := &r.ProcessSamples[0].Reading
	if now.Has(CPUUser) || now.Has(ReadOctets) || now.Get(Threads) != 4 || now.Get(Resident) != 3*pageSize || !now.Has(OpenFiles) {
		t.Errorf("first reading: gauges only: %+v", now)
	}
	x.write(map[string]string{"7/stat": statOf(7, hostile, 130, 5000), "7/io": "read_bytes: 15\nwrite_bytes: 20\n"})
	now = &processes(s, 3, p).ProcessSamples[0].Reading
	for v, want := range map[Value]uint64{CPUUser: 30 * tick, CPUSystem: 0, ReadOctets: 5, WriteOctets: 0} {
		if !now.Has(v) || now.Get(v) != want {
			t.Errorf("value %d: %d, want %d", v, now.Get(v), want)
		}
	}
}

// Whoever has the number of a process that ended is not it.
func TestProcessNumberUsedAgain(t *testing.T) {
	x := newTree(t)
	x.write(map[string]string{"7/stat": statOf(7, "a", 100, 5000)})
	s := x.sampler()
	for start, want := range map[uint64]int{5000 * tick: 1, 5001*tick - 1: 1, 5001 * tick: 1, 5003 * tick: 0, 0: 0} {
		if r := processes(s, 1, Process{PID: 7, Start: start}); len(r.ProcessSamples) != want {
			t.Errorf("start %d: %d samples", start, len(r.ProcessSamples))
		}
	}
	if s.stats.ProcessesEnded != 2 {
		t.Errorf("%+v", s.stats)
	}
}

// All that a process born since the round before has used belongs to this one.
func TestProcessBornMeanwhile(t *testing.T) {
	x := newTree(t)
	x.write(map[string]string{"7/stat": statOf(7, "a", 100, 5000)})
	s := x.sampler()
	processes(s, 10)
	r := processes(s, 20, Process{PID: 7, Start: 5000 * tick, Born: 15})
	if got := r.ProcessSamples[0].Get(CPUUser); got != 100*tick {
		t.Errorf("%d", got)
	}
}

func TestProcessBounds(t *testing.T) {
	x := newTree(t)
	s := New(Config{Proc: x.dir, Layout: x.layout(), MaxProcesses: 2})
	var all []Process
	for pid := range 3 {
		x.write(map[string]string{fmt.Sprintf("%d/stat", pid): statOf(pid, "a", 1, 1)})
		all = append(all, Process{PID: uint32(pid), Start: tick})
	}
	r := processes(s, 1, all...)
	if len(r.ProcessSamples) != 2 || r.Stats.ProcessesRefused != 1 || r.Stats.Processes != 2 {
		t.Errorf("%d of them, %+v", len(r.ProcessSamples), r.Stats)
	}
	if r = processes(s, 2); len(s.processes) != 0 || r.Stats.Processes != 0 {
		t.Error("remembered without being asked for")
	}
}

func TestProcessGarbage(t *testing.T) {
	whole := statOf(7, "a", 100, 5000)
	for cut := range len(whole) - len(" 18446744073709551615 1 1 0 0\n") {
		var r Reading
		if _, ok := parseProcessStat([]byte(whole[:cut]), &r); ok && cut < strings.Index(whole, " 3 184")+2 {
			t.Errorf("%q is understood", whole[:cut])
		} else if !ok && r != (Reading{}) {
			t.Errorf("%q leaves %+v", whole[:cut], r)
		}
	}
	x := newTree(t)
	x.write(map[string]string{"7/stat": "7 (a) what?\n"})
	if r := processes(x.sampler(), 1, Process{PID: 7}); len(r.ProcessSamples) != 0 || r.Stats.Garbage != 1 {
		t.Errorf("%+v", r)
	}
}

// ownCPU is what this process has used.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// This process, as the kernel tells it.
func TestProcessLive(t *testing.T) {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Skip(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	start, err := strconv.ParseUint(fields[statStart], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Proc: "/proc"})
	p := Process{PID: uint32(os.Getpid()), Start: start * tick}
	processes(s, 1, p)
	for began := ownCPU(t); ownCPU(t)-began < 50*time.Millisecond; { // of CPU, told in steps of 10: others may have it meanwhile
	}
	r := processes(s, 2, p)
	if len(r.ProcessSamples) != 1 || r.Stats.Unreadable != 0 || r.Stats.Garbage != 0 {
		t.Fatalf("%+v", r)
	}
	now := &r.ProcessSamples[0].Reading
	if now.Get(CPUUser)+now.Get(CPUSystem) < tick || now.Get(Resident) < 1<<20 || now.Get(Threads) < 1 || !now.Has(ReadOctets) {
		t.Errorf("%+v", now)
	}
}

func TestProcessesWithoutAllocation(t *testing.T) {
	x := newTree(t)
	x.write(map[string]string{"7/stat": statOf(7, "a", 100, 5000), "7/io": "read_bytes: 15\nwrite_bytes: 20\n"})
	s := x.sampler()
	p := Process{PID: 7, Start: 5000 * tick}
	one := func() { processes(s, 1, p) }
	one()
	if n := testing.AllocsPerRun(100, one); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzProcessStat(f *testing.F) {
	f.Add([]byte(statOf(7, "a) b", 100, 5000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reading
		if _, ok := parseProcessStat(b, &r); !ok && r != (Reading{}) {
			t.Errorf("garbage leaves %+v", r)
		}
	})
}
