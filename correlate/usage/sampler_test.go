package usage

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
)

// tree is a made-up host: directories of control groups, hierarchy by hierarchy.
type tree struct {
	t   testing.TB
	dir string
}

func newTree(t testing.TB) *tree { return &tree{t, t.TempDir()} }

// write makes files: hierarchy/group/file → text.
func (x *tree) write(files map[string]string) {
	x.t.Helper()
	for name, text := range files {
		p := filepath.Join(x.dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			x.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			x.t.Fatal(err)
		}
	}
}

// layout has the named controllers on v1 and all others on v2.
func (x *tree) layout(v1 ...string) *Layout {
	l := new(Layout)
	for i := range controllers {
		m := cgroup.Mount{Hierarchy: cgroup.Unified, Dir: x.dir + "/unified"}
		for _, c := range v1 {
			if c == controllers[i].name {
				m = cgroup.Mount{Hierarchy: cgroup.Legacy, Dir: x.dir + "/" + c}
			}
		}
		l.use(i, m)
	}
	return l
}

func (x *tree) sampler(v1 ...string) *Sampler {
	return New(Config{Proc: x.dir, Layout: x.layout(v1...)})
}

// round reads the groups now.
func round(s *Sampler, asked int64, groups ...Group) *Round {
	r := s.Begin()
	r.Asked = asked
	r.Groups = append(r.Groups, groups...)
	s.read(r)
	return r
}

func wantValues(t *testing.T, what string, r *Reading, want map[Value]uint64) {
	t.Helper()
	for v := range Values {
		x, has := want[v]
		if r.Has(v) != has || r.Get(v) != x {
			t.Errorf("%s: value %d is %d (%v), want %d (%v)", what, v, r.Get(v), r.Has(v), x, has)
		}
	}
}

var (
	v1Files = map[string]string{
		"cpuacct/g/cpuacct.stat":                            "user 100\nsystem 50\n",
		"cpu/g/cpu.stat":                                    "nr_periods 10\nnr_throttled 2\nthrottled_time 1000\n",
		"cpu/g/cpu.cfs_quota_us":                            "50000\n",
		"cpu/g/cpu.cfs_period_us":                           "100000\n",
		"memory/g/memory.usage_in_bytes":                    "4096\n",
		"memory/g/memory.stat":                              "hierarchical_memory_limit 8192\ntotal_inactive_file 96\n",
		"memory/g/memory.oom_control":                       "oom_kill 0\n",
		"blkio/g/blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 0\n",
		"blkio/g/blkio.throttle.io_serviced":                "8:0 Read 1\n8:0 Write 0\n", // an older kernel's
		"pids/g/pids.current":                               "3\n",
		"pids/g/pids.max":                                   "max\n",
	}
	v2Files = map[string]string{
		"unified/g/cpu.stat":        "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 10\nnr_throttled 2\nthrottled_usec 1\n",
		"unified/g/cpu.max":         "50000 100000\n",
		"unified/g/memory.current":  "4096\n",
		"unified/g/memory.max":      "8192\n",
		"unified/g/memory.stat":     "anon 1\ninactive_file 96\n",
		"unified/g/memory.events":   "oom 0\noom_kill 0\n",
		"unified/g/io.stat":         "8:0 rbytes=10 wbytes=0 rios=1 wios=0\n",
		"unified/g/pids.current":    "3\n",
		"unified/g/pids.max":        "max\n",
		"unified/g/cpu.pressure":    "some avg10=0.00 total=4\nfull avg10=0.00 total=2\n",
		"unified/g/memory.pressure": "some avg10=0.00 total=0\nfull avg10=0.00 total=0\n",
	}
	gauges = map[Value]uint64{Quota: 500000, Memory: 4096, WorkingSet: 4000, MemoryLimit: 8192, PIDs: 3}
)

func with(m map[Value]uint64, more map[Value]uint64) map[Value]uint64 {
	out := map[Value]uint64{}
	for _, x := range []map[Value]uint64{m, more} {
		for k, v := range x {
			out[k] = v
		}
	}
	return out
}

var everyV1 = []string{"cpuacct", "cpu", "memory", "blkio", "pids"}

func TestV1(t *testing.T) {
	x := newTree(t)
	x.write(v1Files)
	s := x.sampler(everyV1...)
	g := Group{Path: "/g"}
	wantValues(t, "first reading: gauges only", &round(s, 1, g).Samples[0].Reading, gauges)
	x.write(map[string]string{
		"cpuacct/g/cpuacct.stat":      "user 110\nsystem 50\n",
		"cpu/g/cpu.stat":              "nr_periods 20\nnr_throttled 8\nthrottled_time 7000\n",
		"memory/g/memory.oom_control": "oom_kill 1\n",
	})
	wantValues(t, "what it rose by", &round(s, 2, g).Samples[0].Reading, with(gauges, map[Value]uint64{
		CPUUser: 100e6, CPUSystem: 0, Periods: 10, ThrottledPeriods: 6, Throttled: 6000, OOMKills: 1, ReadOctets: 0, WriteOctets: 0, Reads: 0, Writes: 0,
	}))
}

func TestV2(t *testing.T) {
	x := newTree(t)
	x.write(v2Files)
	s := x.sampler()
	g := Group{Path: "/g"}
	wantValues(t, "first reading: gauges only", &round(s, 1, g).Samples[0].Reading, gauges)
	x.write(map[string]string{
		"unified/g/cpu.stat":     "user_usec 1000100\nsystem_usec 500000\nnr_periods 20\nnr_throttled 8\nthrottled_usec 7\n",
		"unified/g/cpu.pressure": "some avg10=0.00 total=9\nfull avg10=0.00 total=2\n",
		"unified/g/io.stat":      "8:0 rbytes=10 wbytes=0 rios=1 wios=0\n8:16 rbytes=0 wbytes=7 rios=0 wios=2\n",
	})
	wantValues(t, "what it rose by", &round(s, 2, g).Samples[0].Reading, with(gauges, map[Value]uint64{
		CPUUser: 100e3, CPUSystem: 0, Periods: 10, ThrottledPeriods: 6, Throttled: 6000, OOMKills: 0, ReadOctets: 0, WriteOctets: 7, Reads: 0, Writes: 2,
		CPUSome: 5000, CPUFull: 0, MemorySome: 0, MemoryFull: 0,
	}))
}

// A hybrid host tells the rest by v1 and pressure by v2.
func TestHybrid(t *testing.T) {
	x := newTree(t)
	x.write(v1Files)
	x.write(map[string]string{
		"unified/g/cpu.stat":     "user_usec 1\nsystem_usec 1\n", // v1 has it finer
		"unified/g/cpu.pressure": "some avg10=0.00 total=4\n",
	})
	s := x.sampler(everyV1...)
	g := Group{Path: "/g"}
	round(s, 1, g)
	x.write(map[string]string{
		"unified/g/cpu.pressure": "some avg10=0.00 total=6\n",
		"cpuacct/g/cpuacct.stat": "user 101\nsystem 50\n",
	})
	r := round(s, 2, g).Samples[0]
	if r.Get(CPUSome) != 2000 || r.Get(CPUUser) != 10e6 || r.Get(MemoryLimit) != 8192 {
		t.Errorf("sample %+v", r)
	}
	for _, src := range x.layout(everyV1...).Sources() {
		want := "v1"
		if src.Subject == "pressure" {
			want = "v2"
		}
		if src.From != want {
			t.Errorf("%s from %q, want %s", src.Subject, src.From, want)
		}
	}
}

// A file that is not what it should be is counted, takes nothing else with it, and
// what it misses is told by the next reading that can be had.
func TestGarbage(t *testing.T) {
	x := newTree(t)
	x.write(v2Files)
	s := x.sampler()
	g := Group{Path: "/g"}
	round(s, 1, g)
	x.write(map[string]string{"unified/g/cpu.stat": "user_usec 1000100\nsystem_usec potato\n", "unified/g/memory.current": "\x00\xff"})
	r := round(s, 2, g)
	if got := r.Samples[0]; got.Has(CPUUser) || got.Has(Memory) || got.Has(WorkingSet) || !got.Has(ReadOctets) || r.Stats.Garbage != 2 {
		t.Errorf("sample %+v, %+v", got, r.Stats)
	}
	x.write(map[string]string{"unified/g/cpu.stat": "user_usec 1000300\nsystem_usec 500000\n"})
	if got := round(s, 3, g).Samples[0]; got.Get(CPUUser) != 300e3 {
		t.Errorf("sample %+v", got)
	}
	x.write(map[string]string{"unified/g/memory.stat": string(make([]byte, maxFile+1))})
	if r := round(s, 4, g); r.Stats.Unreadable != 1 || r.Samples[0].Has(WorkingSet) {
		t.Errorf("a file too large: %+v, %+v", r.Samples[0], r.Stats)
	}
}

// Counters never go backwards: one that fell says nothing for one round.
func TestFell(t *testing.T) {
	x := newTree(t)
	x.write(v2Files)
	s := x.sampler()
	g := Group{Path: "/g"}
	round(s, 1, g)
	x.write(map[string]string{"unified/g/memory.events": "oom_kill 0\n", "unified/g/cpu.stat": "user_usec 5\nsystem_usec 500000\n"})
	r := round(s, 2, g)
	if got := r.Samples[0]; got.Has(CPUUser) || !got.Has(CPUSystem) || r.Stats.Fell != 1 {
		t.Errorf("sample %+v, %+v", got, r.Stats)
	}
	x.write(map[string]string{"unified/g/cpu.stat": "user_usec 7\nsystem_usec 500000\n"})
	if got := round(s, 3, g).Samples[0]; got.Get(CPUUser) != 2000 {
		t.Errorf("sample %+v", got)
	}
}

// All that a group born since the round before has used is of this round; one that
// was there already, or was made again under its path, begins anew.
func TestBorn(t *testing.T) {
	x := newTree(t)
	x.write(v2Files)
	s := x.sampler()
	if got := round(s, 100, Group{"/g", 90}).Samples[0]; got.Has(CPUUser) {
		t.Errorf("the first round has no counters: %+v", got)
	}
	early := New(Config{Proc: x.dir, Layout: x.layout(), Since: 80})
	if got := round(early, 100, Group{"/g", 90}).Samples[0]; got.Get(CPUUser) != 1e9 {
		t.Errorf("but of what was born since it began to look: %+v", got)
	}
	if got := round(s, 200, Group{"/g", 150}).Samples[0]; got.Get(CPUUser) != 1e9 || got.Get(CPUSystem) != 500e6 || got.Get(Reads) != 1 {
		t.Errorf("born between: %+v", got)
	}
	if got := round(s, 300, Group{"/g", 150}).Samples[0]; got.Get(CPUUser) != 0 || !got.Has(CPUUser) {
		t.Errorf("idle: %+v", got)
	}
	if got := round(s, 400, Group{"/g", 250}).Samples[0]; got.Has(CPUUser) {
		t.Errorf("older than the round before, which did not have it: %+v", got)
	}
	if len(s.states) != 1 {
		t.Errorf("%d groups remembered", len(s.states))
	}
}

func TestVanished(t *testing.T) {
	x := newTree(t)
	x.write(v2Files)
	s := x.sampler()
	g, other := Group{Path: "/g"}, Group{Path: "/never"}
	round(s, 1, g, other, g)
	if r := round(s, 2, other, g); len(r.Samples) != 1 || r.Samples[0].Index != 1 || r.Stats.Ended != 2 {
		t.Errorf("%+v", r)
	}
	if err := os.RemoveAll(x.dir + "/unified"); err != nil {
		t.Fatal(err)
	}
	if r := round(s, 3, g); len(r.Samples) != 0 || r.Stats.Ended != 3 || r.Stats.Groups != 0 || len(s.states) != 0 {
		t.Errorf("%+v, %d remembered", r, len(s.states))
	}
}

// There is a limit, and who was first keeps its place.
func TestLimit(t *testing.T) {
	x := newTree(t)
	for i := range 5 {
		x.write(map[string]string{fmt.Sprintf("unified/g%d/pids.current", i): "1\n"})
	}
	s := New(Config{Proc: x.dir, Layout: x.layout(), MaxGroups: 2})
	round(s, 1, Group{Path: "/g3"}, Group{Path: "/g4"})
	r := round(s, 2, Group{Path: "/g0"}, Group{Path: "/g1"}, Group{Path: "/g4"}, Group{Path: "/g3"})
	if len(r.Samples) != 2 || r.Samples[0].Index != 2 || r.Samples[1].Index != 3 || r.Stats.Refused != 2 {
		t.Errorf("%+v", r)
	}
}

func TestHostOOMKills(t *testing.T) {
	x := newTree(t)
	x.write(map[string]string{"vmstat": "nr_free_pages 1\noom_kill 7\n", "unified/cgroup.procs": ""})
	s := x.sampler()
	if r := round(s, 1); r.HostOOMKills != 0 {
		t.Errorf("first reading %d", r.HostOOMKills)
	}
	x.write(map[string]string{"vmstat": "oom_kill 9\n"})
	if r := round(s, 2); r.HostOOMKills != 2 {
		t.Errorf("%d, want 2", r.HostOOMKills)
	}
}

// The asker never waits: while a round is being read there is none to be begun.
func TestAskTake(t *testing.T) {
	x := newTree(t)
	x.write(v2Files)
	s := x.sampler()
	if s.Wait(t.Context()) != nil || s.Take() != nil {
		t.Error("nothing was asked for")
	}
	r := s.Begin()
	r.At, r.Groups = 42, append(r.Groups, Group{Path: "/g"})
	s.Ask()
	if s.Begin() != nil || s.Late() != 1 {
		t.Errorf("a round that is being read was given out; late %d", s.Late())
	}
	go func() { _ = s.Run(t.Context()) }()
	if r := s.Wait(t.Context()); r == nil || r.At != 42 || len(r.Samples) != 1 {
		t.Errorf("round %+v", r)
	}
	if s.Begin() == nil {
		t.Error("the round is back")
	}
}

// manyGroups makes a host of n containers on cgroup v2.
func manyGroups(t testing.TB, n int) (*Sampler, []Group) {
	x := newTree(t)
	var groups []Group
	for i := range n {
		g := fmt.Sprintf("/docker/%064x", i)
		for name, text := range v2Files {
			x.write(map[string]string{"unified" + g + name[len("unified/g"):]: text})
		}
		groups = append(groups, Group{Path: g})
	}
	return x.sampler(), groups
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	s, groups := manyGroups(t, 20)
	round(s, 1, groups...)
	if n := testing.AllocsPerRun(20, func() {
		r := s.Begin()
		r.Groups = append(r.Groups, groups...)
		s.read(r)
	}); n != 0 {
		t.Errorf("%v allocations per round", n)
	}
}

func BenchmarkRound300(b *testing.B) {
	s, groups := manyGroups(b, 300)
	for b.Loop() {
		r := s.Begin()
		r.Groups = append(r.Groups, groups...)
		s.read(r)
		if len(r.Samples) != len(groups) {
			b.Fatal(len(r.Samples))
		}
	}
}
