package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// eventsOf gives the rows of event written since the last call.
func (r *rig) eventsOf() string {
	var b bytes.Buffer
	for _, x := range r.out.events.Flush() {
		b.Write(x.Lines)
	}
	return b.String()
}

func (r *rig) gone(id uint64, at int64) {
	r.who.resolver.Cgroup(&kprobes.CgroupEvent{Kind: kprobes.CgroupRemoved, ID: id, Time: at})
}

func (r *rig) bornAt(id uint64, path string, at int64) {
	r.who.resolver.Cgroup(&kprobes.CgroupEvent{Kind: kprobes.CgroupCreated, ID: id, Path: []byte(path), Time: at})
}

// A container's start and stop are one event each, whatever the number of hierarchies;
// what was there before the probe did not start, and a service is no container.
func TestContainerEvents(t *testing.T) {
	r := newRig(t)
	l := newLifecycle()
	const sec = int64(time.Second)
	tick := func(at int64) string {
		l.tick(time.Unix(0, at), r.who, r.out.events)
		return r.eventsOf()
	}
	want := func(what, got string, events ...string) {
		t.Helper()
		if n := strings.Count(got, "\n"); n != len(events) {
			t.Errorf("%s: %d events, want %d:\n%s", what, n, len(events), got)
		}
		for _, e := range events {
			if !strings.Contains(got, e) {
				t.Errorf("%s: no %s in\n%s", what, e, got)
			}
		}
	}
	start := func(name string) string {
		return "server=" + name + ",severity=info,type=container_start "
	}
	stop := func(name string) string { return "server=" + name + ",severity=info,type=container_stop " }

	r.bornAt(1, "/lxc.payload.old", 5*sec)
	want("the first tick", tick(10*sec))
	r.bornAt(2, "/lxc.payload.web", 12*sec)
	r.bornAt(3, "/lxc.payload.web", 13*sec) // of another hierarchy
	r.bornAt(4, "/system.slice/nginx.service", 13*sec)
	r.bornAt(5, "/lxc.payload.web/init.scope", 13*sec)
	want("a start", tick(20*sec), start("web"))
	want("nothing", tick(30*sec))
	r.gone(2, 31*sec)
	want("one of its groups", tick(40*sec))
	r.gone(3, 41*sec)
	r.gone(1, 42*sec)
	want("the ends", tick(50*sec), stop("web"), stop("old"))
	r.bornAt(6, "/lxc.payload.blink", 52*sec)
	r.gone(6, 53*sec+sec/2)
	want("between two ticks", tick(60*sec), start("blink"), stop("blink")+`message="container stopped",evidence="id=blink container=blink lived_seconds=1.500",`)
	want("nothing again", tick(70*sec))
	r.bornAt(7, "/lxc.payload.web", 71*sec)
	tick(80 * sec)
	r.gone(7, 81*sec)
	r.bornAt(8, "/lxc.payload.web", 82*sec)
	want("a restart", tick(90*sec), stop("web"), start("web"))
	if len(l.of) != 1 {
		t.Errorf("%d containers remembered", len(l.of))
	}
}

func failed(client, server string, port uint16, n uint32) *correlate.Record {
	r := &correlate.Record{
		Client: correlate.Endpoint{Local: true, Kind: correlate.KindProcess, Name: client, Process: &correlate.Process{PID: 7, Name: "curl"}},
		Server: correlate.Endpoint{Kind: correlate.KindExternal, Name: server, Port: port},
	}
	r.Delta.Failed[correlate.FailRefused] = n
	return r
}

// An edge that begins to fail is an event, that it goes on is none.
func TestFailureEvents(t *testing.T) {
	r := newRig(t)
	f := newFailures()
	tick := func(minute int) string {
		f.tick(time.Unix(int64(60*minute), 0), r.out.events)
		return r.eventsOf()
	}
	f.take(failed("web", "db", 5432, 2))
	f.take(failed("web", "db", 5432, 1))
	f.take(failed("web", "cache", 6379, 0))
	got := tick(100)
	if want := `event,client=web,host=h,server=db,severity=warning,type=connection_failed message="3 attempts to connect to port 5432 failed, for the first time in 5 min",` +
		`evidence="failed_refused=3 server_address=:: server_port=5432",expected=0,seen=3,client_process="curl",client_pid=7i `; !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for minute := 101; minute < 110; minute += 4 {
		f.take(failed("web", "db", 5432, 1))
		if got := tick(minute); got != "" {
			t.Errorf("minute %d: told again: %s", minute, got)
		}
	}
	for minute := 110; minute < 116; minute++ {
		tick(minute)
	}
	if len(f.last) != 0 {
		t.Error("an edge that fails no more is remembered")
	}
	f.take(failed("web", "db", 5432, 1))
	if got := tick(116); !strings.Contains(got, "seen=1,client_process=") {
		t.Errorf("a new stretch is news: %q", got)
	}
}

// Edges that fail are bounded, own traffic is none, and one known costs no allocation.
func TestFailuresAreBounded(t *testing.T) {
	f := newFailures()
	for i := range maxNews + 3 {
		f.take(failed("scanner", fmt.Sprint(i), 80, 1))
	}
	if len(f.now) != maxNews || f.lost != 3 {
		t.Errorf("%d edges, %d attempts without one", len(f.now), f.lost)
	}
	known, own := failed("scanner", "7", 80, 1), failed("weir", "influxdb", 8086, 1)
	own.Self = true
	f.take(own)
	if f.lost != 3 {
		t.Error("own traffic counts")
	}
	if n := testing.AllocsPerRun(100, func() { f.take(known) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// An end that begins to lose packets is an event, where that is this host's fault.
func TestDropEvents(t *testing.T) {
	r := newRig(t)
	d := new(dropping)
	at := func(minute int) time.Time { return time.Unix(int64(60*minute), 0) }
	for _, x := range []struct {
		minute  int
		class   string
		packets uint64
		want    string
	}{
		{100, "receive_buffer", manyDrops - 1, ""},
		{100, "no_socket", 1000, ""},
		{100, "receive_buffer", 12, `event,host=h,server=web,severity=warning,type=drop message="12 packets dropped (socket_rcvbuff): its process reads too slowly, or its buffer is too small",evidence="class=receive_buffer reason=socket_rcvbuff dropped_packets=12 dropped_bytes=1200",expected=10,seen=12 `},
		{104, "receive_buffer", 12, ""},
		{109, "receive_buffer", 12, ""},
		{115, "receive_buffer", 12, "type=drop "},
	} {
		d.take(at(x.minute), "web", x.class, "socket_rcvbuff", x.packets, 100*x.packets, r.out.events)
		d.forget(at(x.minute))
		if got := r.eventsOf(); !strings.Contains(got, x.want) || (x.want == "") != (got == "") {
			t.Errorf("minute %d, %s: got %q, want %q", x.minute, x.class, got, x.want)
		}
	}
	d.forget(at(200))
	if len(d.last) != 0 {
		t.Error("what is over is remembered")
	}
	classes := map[string]bool{sink.ClassConntrack: true}
	for _, c := range kprobes.DropClasses() {
		classes[c.String()] = true
	}
	for class := range telling {
		if !classes[class] {
			t.Errorf("there is no class %s", class)
		}
	}
}
