package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// rig is resources with groups that a test makes up, and what it writes.
type rig struct {
	*resources
	who  *identities
	out  *output
	join *correlate.Joiner
}

func newRig(t *testing.T) *rig {
	t.Helper()
	cfg := defaultConfig()
	cfg.Host, cfg.Docker, cfg.Runtimes = "h", filepath.Join(t.TempDir(), "none"), []string{"none"}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	log := newLog(&cfg, env{stderr: os.Stderr})
	who, err := newIdentities(&cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{newResources(&cfg, log), who, newOutput(cfg.Rows, sink.NewSelf(cfg.Rows), newQueue(1<<20)), correlate.New(correlate.Config{}, who.chain)}
}

func (r *rig) born(id uint64, path string) {
	r.who.resolver.Cgroup(&kprobes.CgroupEvent{Kind: kprobes.CgroupCreated, ID: id, Path: []byte(path), Time: int64(id)})
}

// told gives the rows of a round in which the group of a path has used something.
func (r *rig) told(t *testing.T, at int64, path string, used map[usage.Value]uint64, hostKills uint64) string {
	t.Helper()
	r.ask(time.Unix(at, 0), time.Unix(at, 0), r.who, r.join)
	r.sampler = usage.New(usage.Config{}) // nobody reads
	round := &usage.Round{At: at * 1e9, HostOOMKills: hostKills}
	if i, ok := r.at[path]; ok {
		s := usage.Sample{Index: i}
		for v, x := range used {
			s.Set(v, x)
		}
		round.Samples = append(round.Samples, s)
	}
	r.tell(round, r.who, r.out, "h")
	var b bytes.Buffer
	for {
		select {
		case x := <-r.out.queue.ch:
			b.Write(x.Lines)
			continue
		default:
		}
		return b.String()
	}
}

// A group in several hierarchies is one, what has no name of its own is none.
func TestResourcesGroups(t *testing.T) {
	r := newRig(t)
	r.born(11, "/lxc.payload.web")
	r.born(12, "/lxc.payload.web")
	r.born(13, "/lxc.payload.web/init.scope")
	r.born(14, "/system.slice/nginx.service")
	r.born(15, "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service")
	r.who.resolver.Cgroup(&kprobes.CgroupEvent{Kind: kprobes.CgroupCreated, ID: 9, Unified: true, Path: []byte("/lxc.payload.web"), Time: 9})
	cpu := map[usage.Value]uint64{usage.CPUUser: 1e9}
	for path, want := range map[string]string{
		"/lxc.payload.web":            "container,container=web,host=h,kind=container,name=web groups=1i,cpu_user_seconds=1,tcp_sockets=0i,tcp_listeners=0i ",
		"/system.slice/nginx.service": "container,host=h,kind=process,name=nginx groups=1i,cpu_user_seconds=1,tcp_sockets=0i,tcp_listeners=0i ",
		"/user.slice/user-1000.slice/user@1000.service/app.slice/x.service": "",
	} {
		got := r.told(t, 100, path, cpu, 0)
		if !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q", path, got)
		}
	}
	if _, ok := r.at["/lxc.payload.web/init.scope"]; ok {
		t.Error("a part of a container is read apart")
	}
	begun := r.sampler.Begin()
	r.ask(time.Unix(100, 0), time.Unix(100, 0), r.who, r.join)
	if g := begun.Groups[r.at["/lxc.payload.web"]]; g.Born != 9 {
		t.Errorf("the earliest birth counts: %+v", g)
	}
}

// A stretch of throttling is one event, half of the periods are none.
func TestThrottledEvents(t *testing.T) {
	r := newRig(t)
	r.born(11, "/lxc.payload.web")
	for i, x := range []struct {
		throttled uint64
		event     bool
	}{{5, false}, {6, true}, {10, false}, {5, false}, {6, true}} {
		got := r.told(t, 100+int64(i), "/lxc.payload.web", map[usage.Value]uint64{usage.Periods: 10, usage.ThrottledPeriods: x.throttled, usage.Quota: 5e5}, 0)
		if strings.Contains(got, "event,host=h,server=web,severity=warning,type=throttled ") != x.event {
			t.Errorf("round %d, %d of 10: %s", i, x.throttled, got)
		}
		if x.event && !strings.Contains(got, `evidence="cpu_periods=10 cpu_throttled_periods=6 cpu_quota_cores=0.5",expected=0.5,seen=0.6 `) {
			t.Errorf("round %d: %s", i, got)
		}
	}
}

// Every kill is in one event: of its group, else of the host.
func TestOOMEvents(t *testing.T) {
	r := newRig(t)
	r.born(11, "/lxc.payload.web")
	got := r.told(t, 100, "/lxc.payload.web", map[usage.Value]uint64{usage.OOMKills: 2, usage.MemoryLimit: 4096}, 3)
	for _, want := range []string{
		`event,host=h,server=web,severity=error,type=oom message="2 processes killed for want of memory",evidence="oom_kills=2 memory_limit_bytes=4096",expected=0,seen=2 `,
		`event,host=h,server=h,severity=error,type=oom message="1 process killed for want of memory, of the host`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if got := r.told(t, 101, "/lxc.payload.web", map[usage.Value]uint64{usage.OOMKills: 1}, 1); strings.Contains(got, "server=h,") {
		t.Errorf("a kill told twice: %s", got)
	}
}

func TestResourcesOff(t *testing.T) {
	cfg := defaultConfig()
	cfg.Host, cfg.Resources = "h", resourcesOff
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	off := newResources(&cfg, nil)
	if off != nil {
		t.Fatal("something is read")
	}
	off.ask(time.Time{}, time.Time{}, nil, nil)
	off.note(nil) // each does nothing
	off.take(nil, nil, "")
	off.self(nil, time.Time{}, nil)
	if err := off.run(t.Context()); err != nil {
		t.Error(err)
	}
	if c := examineResources(&cfg); c.State != plain {
		t.Errorf("doctor: %+v", c)
	}
	cfg.Resources = "some"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `resources "some"`) {
		t.Errorf("error %v", err)
	}
}

// A process that was an end of a connection is read under the names of flow, with the
// sockets it holds, which count for its container, too.
func TestResourcesOfProcesses(t *testing.T) {
	r := newRig(t)
	r.born(11, "/lxc.payload.web")
	r.born(12, "/lxc.payload.web/init.scope")
	nginx := &correlate.Process{PID: 7, Start: 5e9, Booted: 5e9, Name: "nginx"}
	r.note(&correlate.Record{
		Client: correlate.Endpoint{Kind: correlate.KindExternal, Name: "external"},
		Server: correlate.Endpoint{Local: true, Kind: correlate.KindContainer, Name: "web", Process: nginx, Contain: &correlate.Container{Name: "web"}},
	})
	owner := kprobes.Owner{ProcessID: kprobes.ProcessID{PID: 7, Start: 5e9}, CgroupV1: 12}
	r.join.Socket(&kprobes.SocketEvent{Kind: kprobes.SocketSnapshot, Role: kprobes.RoleListener, Cookie: 1, Key: flows.Key{Proto: flows.TCP}, Owner: owner, Opener: owner, Waiting: 3, Backlog: 128})
	begun := r.sampler.Begin()
	r.ask(time.Unix(100, 0), time.Unix(100, 0), r.who, r.join)
	if len(begun.Processes) != 1 || begun.Processes[0] != (usage.Process{PID: 7, Start: 5e9, Born: 5e9}) {
		t.Fatalf("asked for %+v", begun.Processes)
	}
	r.sampler = usage.New(usage.Config{}) // nobody reads
	round := &usage.Round{At: 100e9, Samples: []usage.Sample{{Index: r.at["/lxc.payload.web"]}}, ProcessSamples: make([]usage.Sample, 1)}
	round.ProcessSamples[0].Set(usage.CPUUser, 2e9)
	r.tell(round, r.who, r.out, "h")
	var b bytes.Buffer
	for len(r.out.queue.ch) > 0 {
		b.Write((<-r.out.queue.ch).Lines)
	}
	const held = "tcp_sockets=0i,tcp_listeners=1i,listen_queue=3i,listen_queue_limit=128i "
	for _, want := range []string{
		"container,container=web,host=h,kind=container,name=web groups=1i," + held,
		"process,container=web,host=h,kind=container,name=web,process=nginx processes=1i,cpu_user_seconds=2," + held,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in %s", want, b.String())
		}
	}
}

// Processes are forgotten when they have been without traffic for long, and bounded.
func TestNotedProcesses(t *testing.T) {
	n := newNoted()
	record := func(pid uint32) *correlate.Record {
		return &correlate.Record{Server: correlate.Endpoint{Local: true, Process: &correlate.Process{PID: pid, Booted: 1}}}
	}
	for pid := range uint32(maxNoted + 2) {
		n.take(record(pid))
	}
	if len(n.of) != maxNoted || n.refused != 2 {
		t.Errorf("%d noted, %d refused", len(n.of), n.refused)
	}
	for range notedFor + 1 {
		n.take(record(1))
		n.next()
	}
	if len(n.of) != 1 {
		t.Errorf("%d are still noted", len(n.of))
	}
	one := record(1)
	if allocs := testing.AllocsPerRun(100, func() { n.take(one) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
