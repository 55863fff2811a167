package usage

import (
	"strings"
	"testing"
)

// parsers are all there are, by the files they read.
func parsers() map[string]parser {
	all := map[string]parser{"vmstat": vmstat.parse}
	for i := range controllers {
		for _, f := range controllers[i].v1 {
			all["v1/"+f.name] = f.parse
		}
		for _, f := range controllers[i].v2 {
			all["v2/"+f.name] = f.parse
		}
	}
	return all
}

func TestParse(t *testing.T) {
	all := parsers()
	for _, x := range []struct {
		file, text string
		want       map[Value]uint64 // nil: garbage
	}{
		{"v1/cpuacct.stat", "user 150\nsystem 7\n", map[Value]uint64{CPUUser: 1500e6, CPUSystem: 70e6}},
		{"v1/cpuacct.stat", "user x\nsystem 7\n", nil},
		{"v1/cpuacct.stat", "user -1\nsystem 7\n", nil},
		{"v1/cpuacct.stat", "user 18446744073709551615\n", nil},
		{"v1/cpuacct.stat", "", nil},
		{"v1/cpu.stat", "nr_periods 20\nnr_throttled 12\nthrottled_time 900\nnr_bursts 0\n", map[Value]uint64{Periods: 20, ThrottledPeriods: 12, Throttled: 900}},
		{"v1/cpu.cfs_quota_us", "-1\n", map[Value]uint64{}},
		{"v1/cpu.cfs_quota_us", "50000\n", map[Value]uint64{quotaTime: 50000}},
		{"v1/cpu.cfs_quota_us", "-2\n", nil},
		{"v1/memory.stat", "cache 4\ninactive_file 1\nhierarchical_memory_limit 9223372036854771712\ntotal_inactive_file 3\n", map[Value]uint64{inactiveFile: 3}},
		{"v1/memory.stat", "hierarchical_memory_limit 1048576\ntotal_inactive_file 3\n", map[Value]uint64{inactiveFile: 3, MemoryLimit: 1 << 20}},
		{"v1/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", map[Value]uint64{OOMKills: 2}},
		{"v1/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", map[Value]uint64{}}, // before 4.13
		{"v1/blkio.throttle.io_service_bytes_recursive", "8:0 Read 10\n8:0 Write 3\n8:0 Sync 1\n8:0 Discard 0\n8:0 Total 13\n8:16 Read 5\n8:16 Write 0\nTotal 18\n", map[Value]uint64{ReadOctets: 15, WriteOctets: 3}},
		{"v1/blkio.throttle.io_service_bytes_recursive", "Total 0\n", map[Value]uint64{ReadOctets: 0, WriteOctets: 0}},
		{"v1/blkio.throttle.io_service_bytes_recursive", "8:0 Read ten\n", nil},
		{"v1/blkio.throttle.io_serviced_recursive", "8:0 Read 18446744073709551615\n8:1 Read 1\n", nil},
		{"v1/pids.max", "max\n", map[Value]uint64{}},
		{"v1/pids.max", "100\n", map[Value]uint64{PIDLimit: 100}},
		{"v1/pids.current", "\n", nil},
		{"v2/cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnice_usec 0\nnr_periods 4\nnr_throttled 1\nthrottled_usec 6\n", map[Value]uint64{CPUUser: 20000, CPUSystem: 10000, Periods: 4, ThrottledPeriods: 1, Throttled: 6000}},
		{"v2/cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\n", map[Value]uint64{CPUUser: 20000, CPUSystem: 10000}},
		{"v2/cpu.max", "max 100000\n", map[Value]uint64{}},
		{"v2/cpu.max", "150000 100000\n", map[Value]uint64{quotaTime: 150000, quotaPeriod: 100000}},
		{"v2/cpu.max", "150000\n", nil},
		{"v2/memory.max", "max\n", map[Value]uint64{}},
		{"v2/memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n", map[Value]uint64{OOMKills: 1}},
		{"v2/io.stat", "8:0 rbytes=10 wbytes=3 rios=2 wios=1 dbytes=0 dios=0\n8:16\n253:0 rbytes=5 wbytes=0 rios=1 wios=0\n", map[Value]uint64{ReadOctets: 15, WriteOctets: 3, Reads: 3, Writes: 1}},
		{"v2/io.stat", "", map[Value]uint64{ReadOctets: 0, WriteOctets: 0, Reads: 0, Writes: 0}},
		{"v2/io.stat", "8:0 rbytes= wbytes=3\n", nil},
		{"v2/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=17\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n", map[Value]uint64{CPUSome: 17000, CPUFull: 5000}},
		{"v2/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=17\n", map[Value]uint64{CPUSome: 17000}},
		{"v2/io.pressure", "some avg10=0.00\n", nil},
		{"v2/io.pressure", "nonsense\n", nil},
		{"vmstat", "nr_free_pages 1\noom_kill 4\n", map[Value]uint64{OOMKills: 4}},
	} {
		var r Reading
		ok := all[x.file](([]byte)(x.text), &r)
		if ok != (x.want != nil) {
			t.Errorf("%s %q: ok %v", x.file, x.text, ok)
			continue
		}
		if !ok {
			continue
		}
		for v := range values {
			want, has := x.want[v]
			if r.Has(v) != has || r.Get(v) != want {
				t.Errorf("%s %q: value %d is %d (%v), want %d (%v)", x.file, x.text, v, r.Get(v), r.Has(v), want, has)
			}
		}
	}
}

// Whatever a file holds, a parser ends, and a reading that was made of it holds no
// value without saying so.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"user 150\nsystem 7\n", "8:0 Read 10\nTotal 5", "8:0 rbytes=10 wbytes=3 rios=2 wios=1\n", "max 100000\n", "-1\n",
		"some avg10=0.00 total=17\nfull total=5\n", "hierarchical_memory_limit 9223372036854771712\n", strings.Repeat("9", 40),
	} {
		f.Add([]byte(s))
	}
	all := parsers()
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, parse := range all {
			var r, again Reading
			ok := parse(b, &r)
			if ok != parse(b, &again) || ok && r != again {
				t.Fatalf("%s: read twice is not the same", name)
			}
			if !ok {
				continue
			}
			for v := range values {
				if !r.Has(v) && r.Get(v) != 0 {
					t.Fatalf("%s: value %d is %d and not there", name, v, r.Get(v))
				}
			}
			r.finish()
			if r.Has(WorkingSet) && r.Get(WorkingSet) > r.Get(Memory) {
				t.Fatalf("%s: working set %d of %d", name, r.Get(WorkingSet), r.Get(Memory))
			}
			var before Reading
			r.since(&before)
			for v := range Counters {
				if r.Has(v) {
					t.Fatalf("%s: counter %d told without a baseline", name, v)
				}
			}
		}
	})
}

func TestAdd(t *testing.T) {
	var a, b Reading
	a.Set(CPUUser, 5)
	a.Set(MemoryLimit, 100)
	a.Set(PIDLimit, 7)
	b.Set(CPUUser, 6)
	b.Set(OOMKills, 1)
	b.Set(PIDLimit, 3)
	a.Add(&b)
	if a.Get(CPUUser) != 11 || a.Get(OOMKills) != 1 || a.Get(PIDLimit) != 10 || !a.Has(OOMKills) {
		t.Errorf("sum %+v", a)
	}
	if a.Has(MemoryLimit) || a.Get(MemoryLimit) != 0 {
		t.Error("one of the two has no limit: neither has their sum")
	}
}
