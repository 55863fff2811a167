package sink

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/correlate/usage"
)

func used(values map[usage.Value]uint64) *usage.Reading {
	r := new(usage.Reading)
	for v, x := range values {
		r.Set(v, x)
	}
	return r
}

func TestRowsOfContainers(t *testing.T) {
	u := NewContainers(testConfig())
	web := container("shop", "web", "shop-web-1", "nginx")
	u.Add(&web, used(map[usage.Value]uint64{
		usage.CPUUser: 1500e6, usage.CPUSystem: 0, usage.Periods: 100, usage.ThrottledPeriods: 60, usage.Throttled: 250e6,
		usage.Quota: 1500000, usage.Memory: 4096, usage.WorkingSet: 4000, usage.OOMKills: 1, usage.IOSome: 1e6,
	}))
	bs := u.Flush(at(1))
	points(t, bs)
	want := "container,container=shop-web-1,host=h1,kind=container,name=shop/web groups=1i,cpu_user_seconds=1.5,cpu_system_seconds=0," +
		"cpu_periods=100i,cpu_throttled_periods=60i,cpu_throttled_seconds=0.25,oom_kills=1i,io_stalled_some_seconds=0.001,cpu_quota_cores=1.5," +
		"memory_bytes=4096i,memory_working_set_bytes=4000i 1790000010000000000\n"
	if got := string(bs[0].Lines); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if len(u.Flush(at(2))) != 0 {
		t.Error("an interval without a group has no rows")
	}
}

func TestRowsOfProcesses(t *testing.T) {
	u := NewProcesses(testConfig())
	web := container("shop", "web", "shop-web-1", "nginx")
	for range 2 {
		u.Add(&web, used(map[usage.Value]uint64{usage.CPUUser: 1500e6, usage.Resident: 4096, usage.Threads: 2, usage.OpenFiles: 9, usage.Memory: 1}))
	}
	bs := u.Flush(at(1))
	points(t, bs)
	want := "process,container=shop-web-1,host=h1,kind=container,name=shop/web,process=nginx processes=2i,cpu_user_seconds=3," +
		"memory_resident_bytes=8192i,threads=4i,open_files=18i 1790000010000000000\n"
	if got := string(bs[0].Lines); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// The tags are those that flow has for the same end, and what shares them is added.
func TestContainerNamesAreThoseOfFlow(t *testing.T) {
	pod := func(name string) correlate.Endpoint {
		return correlate.Endpoint{Local: true, Kind: correlate.KindPod, Name: "prod/api", Contain: &correlate.Container{
			ID: name, Name: "app", Pod: correlate.Pod{UID: name, Namespace: "prod", Name: name, Workload: "api", Controller: "deployment/api"}}}
	}
	service := correlate.Endpoint{Local: true, Kind: correlate.KindProcess, Name: "nginx"}
	ends := []correlate.Endpoint{container("shop", "web", "shop-web-1", "nginx"), plain("happy_turing", "img:1"), pod("api-1"), pod("api-2"), service}
	u, a := NewContainers(testConfig()), NewAggregator(testConfig())
	for i := range ends {
		e := &ends[i]
		u.Add(e, used(map[usage.Value]uint64{usage.CPUUser: 1e9, usage.MemoryLimit: 10}))
		a.Add(record(external("x"), *e))
	}
	rows := map[string]point{}
	for _, p := range points(t, u.Flush(at(1))) {
		rows[p.tags[TagEnd]] = p
	}
	if len(rows) != 4 {
		t.Errorf("%d rows", len(rows))
	}
	for _, f := range of(points(t, a.Flush(at(1))), MeasurementFlow) {
		p, ok := rows[f.tags["server"]]
		if !ok {
			t.Errorf("flow has %v, container %v", f.tags, rows)
			continue
		}
		for tag, flow := range map[string]string{TagEndKind: "server_kind", TagEndContainer: "server_container", TagEndNamespace: "server_namespace", TagEndWorkload: "server_workload"} {
			if p.tags[tag] != f.tags[flow] {
				t.Errorf("%s: %s is %q, in flow %q", p.tags[TagEnd], tag, p.tags[tag], f.tags[flow])
			}
		}
	}
	if api := rows["prod/api"]; api.int(FieldGroups) != 2 || api.fields["cpu_user_seconds"] != 2.0 || api.int("memory_limit_bytes") != 20 {
		t.Errorf("two replicas: %v", api)
	}
}

// Past the budget groups are in coarser rows, and every second of CPU time is in one.
func TestContainerBudget(t *testing.T) {
	cfg := testConfig()
	cfg.SeriesBudget = minSeriesBudget
	u := NewContainers(cfg)
	const n = 2 * minSeriesBudget
	for interval := range 3 {
		for i := range n {
			e := plain(fmt.Sprintf("svc%c%c-%d", 'a'+i%26, 'a'+i/26%26, i), "img:1")
			u.Add(&e, used(map[usage.Value]uint64{usage.CPUUser: 1e9}))
		}
		ps := points(t, u.Flush(at(interval)))
		cpu, other := 0.0, false
		for _, p := range ps {
			cpu += p.fields["cpu_user_seconds"].(float64)
			other = other || p.tags[TagEnd] == Other
		}
		if cpu != n || sum(ps, FieldGroups) != n || !other || len(ps) > cfg.SeriesBudget {
			t.Errorf("interval %d: %v s in %d rows, other %v", interval, cpu, len(ps), other)
		}
	}
	if st := u.Stats(); st.Folded == 0 || st.Series > minSeriesBudget {
		t.Errorf("%+v", st)
	}
	u.Flush(at(0).Add(2 * cfg.SeriesExpiry))
	if st := u.Stats(); st.Series != 0 {
		t.Errorf("unused series stay: %+v", st)
	}
}

func usageInterval() func() {
	u := NewContainers(testConfig())
	var ends []correlate.Endpoint
	for i := range 300 {
		ends = append(ends, plain(fmt.Sprint("c", i), "img:1"))
	}
	r := used(map[usage.Value]uint64{usage.CPUUser: 1e9, usage.Memory: 5, usage.Quota: 1e6})
	n := 0
	return func() {
		n++
		for i := range ends {
			u.Add(&ends[i], r)
		}
		u.Flush(at(n))
	}
}

func TestContainerRowsAllocateNothing(t *testing.T) {
	round := usageInterval()
	round()
	round()
	if n := testing.AllocsPerRun(20, round); n != 0 {
		t.Errorf("an interval: %v allocations", n)
	}
}

func BenchmarkContainerRows300(b *testing.B) {
	round := usageInterval()
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
}

func TestEvents(t *testing.T) {
	s := NewEvents(testConfig())
	e := &Event{Type: EventOOM, Severity: SeverityError, Server: "shop/web", Message: "1 process killed", Evidence: "oom_kills=1", Expected: 0, Seen: 1}
	s.Add(at(1), e)
	s.Add(at(1), e)
	bs := s.Flush()
	ps := points(t, bs) // that no two rows are one point, too
	if len(ps) != 2 || ps[1].time != ps[0].time+1 {
		t.Errorf("%v", ps)
	}
	want := `event,host=h1,server=shop/web,severity=error,type=oom message="1 process killed",evidence="oom_kills=1",expected=0,seen=1 1790000010000000000` + "\n"
	if !strings.HasPrefix(string(bs[0].Lines), want) {
		t.Errorf("\n got %s\nwant %s", bs[0].Lines, want)
	}
	s.Add(at(0), e) // an older one comes after it
	if ps := points(t, s.Flush()); ps[0].time != at(1).UnixNano()+2 {
		t.Errorf("%v", ps)
	}
}

// Who else wants to know is told of every event, with what identifies it.
func TestEventsAlso(t *testing.T) {
	s := NewEvents(testConfig())
	var told []string
	s.Also(func(at time.Time, e *Event, fingerprint string, over bool) {
		told = append(told, fmt.Sprint(at.UnixNano(), e.Type, e.Server, fingerprint, over))
	})
	e := &Event{Type: EventOOM, Severity: SeverityError, Server: "web"}
	for range 2 * 10 * eventRate { // more than are written
		s.Add(at(1), e)
	}
	s.AddLasting(at(2), e, "f", true)
	if st := s.Stats(); st.Suppressed == 0 || len(told) != 2*10*eventRate+1 {
		t.Errorf("%d told, %+v", len(told), st)
	}
	if want := fmt.Sprint(at(2).UnixNano(), EventOOM, "web", "f", true); told[len(told)-1] != want {
		t.Errorf("got %s, want %s", told[len(told)-1], want)
	}
}

// A storm is bounded, in rows and in series, and counted.
func TestEventStorm(t *testing.T) {
	s := NewEvents(testConfig())
	rows, now := 0, at(0)
	for i := range 3 * maxEventSeries {
		if i%eventRate == 0 {
			now = now.Add(time.Second)
		}
		for range 2 {
			s.Add(now, &Event{Type: EventThrottled, Severity: SeverityWarning, Server: fmt.Sprint("c", i)})
		}
	}
	ps := points(t, s.Flush())
	rows = len(ps)
	series := map[string]bool{}
	for _, p := range ps {
		series[p.series] = true
	}
	st := s.Stats()
	if st.Rows != uint64(rows) || st.Rows+st.Suppressed != 6*maxEventSeries || st.Suppressed == 0 || st.Folded == 0 || len(series) > maxEventSeries+1 {
		t.Errorf("%+v, %d rows, %d series", st, rows, len(series))
	}
	if !series["event,host=h1,server=other,severity=warning,type=throttled"] {
		t.Error("nothing is of other")
	}
}

// An anomaly is told under its fingerprint, and as over when it is.
func TestAnomaliesLast(t *testing.T) {
	s := NewEvents(testConfig())
	var told []string
	s.Also(func(_ time.Time, _ *Event, fingerprint string, over bool) {
		told = append(told, fmt.Sprint(fingerprint, over))
	})
	a := anomaly.Anomaly{Fingerprint: 0xabc}
	s.Add(at(1), &Event{Type: "volume", Anomaly: &a})
	a.State = anomaly.Resolved
	s.Add(at(2), &Event{Type: "volume", Anomaly: &a})
	if want := []string{"0000000000000abcfalse", "0000000000000abctrue"}; !slices.Equal(told, want) {
		t.Errorf("%v, want %v", told, want)
	}
}
