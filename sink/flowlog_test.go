package sink

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

func TestFlowLogRow(t *testing.T) {
	l := NewFlowLog(testConfig())
	r := record(web, db)
	r.Client.NATAddr, r.Client.NATPort = addr(203, 0, 113, 9), 61000
	r.Client.Creator = &correlate.Process{PID: 7, Name: "sh", Start: 8}
	r.Client.Evidence = correlate.Evidence{
		Owner: kprobes.OwnerIO, Hook: kprobes.IOSent, OwnedAt: 12, Switches: 1, Creator: kprobes.OwnerConnect, CreatedAt: 11,
		Group: "/docker/c0ffee", Legacy: true,
	}
	r.Server.Evidence = correlate.Evidence{Owner: kprobes.OwnerBootstrap, OwnedAt: 9, Creator: kprobes.OwnerBootstrap, CreatedAt: 9, Accepted: 10, Acceptor: 41, Baseline: true, Group: "/b"}
	r.Server.Evidence.Creator, r.Server.Evidence.CreatedAt = kprobes.OwnerCreate, 8
	server := *r.Server.Process
	server.Source = correlate.SourceProc
	r.Server.Process = &server
	r.Server.Current = &correlate.Process{PID: 42, Name: "pg", Cmdline: "pg -y"}
	r.JoinedBy, r.PacketsBy, r.NATSource = correlate.JoinSequence, correlate.MethodCookie, correlate.NATConntrack
	r.Rivals = correlate.Rivals{correlate.RivalNetNS: 2}
	r.Redirected = true
	r.ResolveTotal, r.AcceptTotal = 25e6, 100e6
	r.Delta = correlate.Measures{} // the row is about the whole life
	r.Total.Failed[correlate.FailTimeout] = 1
	l.Add(r, at(1))
	ps := points(t, l.Flush(at(1)))
	if len(ps) != 1 {
		t.Fatalf("%d rows", len(ps))
	}
	p := ps[0]
	if want := map[string]string{"host": "h1", "reporter": "both", "proto": "tcp", "client": "shop/web", "server": "shop/db", "end_reason": "end"}; !cmp.Equal(p.tags, want) {
		t.Error(cmp.Diff(want, p.tags))
	}
	want := map[string]any{
		"client_address": "172.18.0.2", "client_port": int64(40000), "client_nat_address": "203.0.113.9", "client_nat_port": int64(61000),
		"client_pid": int64(42), "client_start": int64(1789999999e9), "client_process": "nginx", "client_cmdline": "nginx -x",
		"client_user": "app", "client_ppid": int64(1), "client_container_id": "c0ffee", "client_container": "shop-web-1", "client_image": "img:1",
		"client_netns": int64(4026531840), "client_cookie": int64(77), "client_method": "cookie",
		"client_creator_pid": int64(7), "client_creator_process": "sh", "client_creator_start": int64(8),
		"client_owner_event": "sent", "client_owner_time": int64(12), "client_switches": int64(1),
		"client_creator_time": int64(11), "client_cgroup": "/docker/c0ffee", "client_cgroup_version": int64(1),
		"server_owner_event": "bootstrap", "server_creator_event": "create", "server_creator_time": int64(8), "server_owner_time": int64(9), "server_accept_time": int64(10), "server_accept_pid": int64(41),
		"server_baseline": int64(1), "server_cgroup": "/b", "server_process_source": "proc",
		"server_current_process": "pg", "server_current_cmdline": "pg -y",
		"joined_by": "sequence", "packets_by": "cookie", "nat_source": "conntrack", "rivals_netns": int64(2), "redirected": int64(1),
		"server_address": "172.18.0.2", "server_port": int64(5432),
		"server_pid": int64(42), "server_start": int64(1789999999e9), "server_process": "postgres", "server_cmdline": "postgres -x",
		"server_user": "app", "server_ppid": int64(1), "server_container_id": "c0ffee", "server_container": "shop-db-1", "server_image": "img:1",
		"server_netns": int64(4026531840), "server_cookie": int64(77), "server_method": "cookie",
		"start": at(0).UnixNano() + 1, "duration_seconds": 4.999999999, "tcp_flags": int64(0x12), "close_cause": "normal", "initiator_method": "syn",
		"to_server_bytes": int64(100), "to_client_bytes": int64(2000), "to_server_wire_bytes": int64(400), "to_client_wire_bytes": int64(2300),
		"to_server_packets": int64(4), "to_client_packets": int64(5), "attempts": int64(2), "opened": int64(1), "closed": int64(1), "failed": int64(1),
		"active": int64(0), "retransmits_to_server": int64(0), "retransmits_to_client": int64(1),
		"rtt_avg_seconds": 0.00015, "rtt_max_seconds": 0.0002, "rtt_min_seconds": 0.00009, "jitter_seconds": 0.00004,
		"connect_count": int64(1), "connect_sum_seconds": 0.0015, "failed_timeout": int64(1),
		"resolve_count": int64(1), "resolve_sum_seconds": 0.025, "accept_count": int64(1), "accept_sum_seconds": 0.1,
	}
	if diff := cmp.Diff(want, p.fields); diff != "" {
		t.Error(diff)
	}
	if p.time != r.End {
		t.Errorf("time %d, want the connection's end %d", p.time, r.End)
	}
}

// What told the opener is left out only where a reader can tell it.
func TestCreatorEvent(t *testing.T) {
	const io, boot = kprobes.OwnerIO, kprobes.OwnerBootstrap
	for _, c := range []struct {
		creator, owner     kprobes.OwnerHow
		created, owned     int64
		atClient, atServer any
	}{
		{kprobes.OwnerConnect, io, 1, 2, nil, "connect"},
		{kprobes.OwnerListener, io, 1, 2, "listener", nil},
		{kprobes.OwnerListener, kprobes.OwnerListener, 1, 2, "listener", nil},
		{kprobes.OwnerCreate, kprobes.OwnerCreate, 2, 2, nil, nil},
		{boot, boot, 1, 2, nil, nil},
		{boot, io, 1, 2, "bootstrap", "bootstrap"},
		{io, io, 1, 2, "io", "io"}, // older than the probe, and used by two processes since
		{io, io, 2, 2, nil, nil},
	} {
		l := NewFlowLog(testConfig())
		r := record(web, db)
		e := correlate.Evidence{Owner: c.owner, Creator: c.creator, CreatedAt: c.created, OwnedAt: c.owned}
		r.Client.Evidence, r.Server.Evidence = e, e
		l.Add(r, at(1))
		got := points(t, l.Flush(at(1)))[0].fields
		if got["client_creator_event"] != c.atClient || got["server_creator_event"] != c.atServer {
			t.Errorf("%+v: client %v, server %v", c, got["client_creator_event"], got["server_creator_event"])
		}
	}
}

func TestHeartbeats(t *testing.T) {
	c := testConfig()
	c.LogHeartbeat = time.Minute
	l := NewFlowLog(c)
	r := record(web, db)
	r.Final, r.EndReason, r.CloseCause, r.Active = false, flows.EndNone, correlate.CloseNone, 1
	r.Start = at(0).Add(5 * time.Second).UnixNano()
	var got []int
	for i := 1; i <= 20; i++ {
		l.Add(r, at(i))
		for _, p := range points(t, l.Flush(at(i))) {
			got = append(got, i)
			if p.tags[TagEndReason] != "active" || p.time != at(i).UnixNano() {
				t.Errorf("heartbeat %v", p)
			}
		}
	}
	if want := []int{7, 13, 19}; !cmp.Equal(got, want) {
		t.Errorf("heartbeats in intervals %v, want %v", got, want)
	}
	if s := l.Stats(); s.Heartbeats != 3 || s.Rows != 3 {
		t.Errorf("stats %+v", s)
	}
}

func TestFlowLogRate(t *testing.T) {
	c := testConfig()
	c.FlowLogRate = 5
	l := NewFlowLog(c)
	add := func(n int, r *correlate.Record, i int) int {
		for range n {
			l.Add(r, at(i))
		}
		return len(points(t, l.Flush(at(i))))
	}
	ok, failed := record(web, db), refused(web, db, 5432)
	if n := add(200, ok, 1); n != 50 {
		t.Errorf("burst of %d rows, want 50", n)
	}
	if n := add(200, failed, 1); n != 200 {
		t.Errorf("%d failures written, want all 200", n)
	}
	if n := add(200, ok, 2); n != 50 {
		t.Errorf("%d rows after 10 s, want 50", n)
	}
	l.NewEdge = func(*correlate.Record) bool { return true }
	if n := add(7, ok, 2); n != 7 {
		t.Errorf("%d rows of new edges, want 7", n)
	}
	if s := l.Stats(); s.Suppressed != 300 || s.Urgent != 207 {
		t.Errorf("stats %+v", s)
	}
	l.NewEdge = nil
	if n := add(100000, failed, 2); n > 10*minUrgentRate {
		t.Errorf("a flood of failures wrote %d rows", n)
	}
}

// TestFlowLogRateWhenClockIsSetBack: the rate goes on from there.
func TestFlowLogRateWhenClockIsSetBack(t *testing.T) {
	c := testConfig()
	c.FlowLogRate = 5
	l := NewFlowLog(c)
	rows := 0
	for _, i := range []int{1000, 1, 2, 3} {
		for range 200 {
			l.Add(record(web, db), at(i))
		}
		rows += len(points(t, l.Flush(at(i))))
	}
	if rows != 150 {
		t.Errorf("%d rows, want three bursts of 50", rows)
	}
}

func TestFlowLogOffAndUnlimited(t *testing.T) {
	for rate, want := range map[int]int{0: 0, -1: 20000} {
		c := testConfig()
		c.FlowLogRate = rate
		l := NewFlowLog(c)
		for range 20000 {
			l.Add(record(web, db), at(1))
		}
		rows := 0
		for _, b := range l.Flush(at(1)) {
			if rows += b.Rows; b.Stream != Log || b.Rows > batchRows {
				t.Errorf("batch of %d rows for stream %s", b.Rows, b.Stream)
			}
		}
		if rows != want || l.Stats().Suppressed != 0 {
			t.Errorf("rate %d: %d rows, stats %+v", rate, rows, l.Stats())
		}
	}
}

func TestFlowLogTimesAreUnique(t *testing.T) {
	c := testConfig()
	c.FlowLogRate = -1
	l := NewFlowLog(c)
	seen := map[int64]bool{}
	for i := range 3 {
		for j := range 2000 {
			r := record(web, db)
			r.End = at(1).UnixNano() + int64(j%3) // three starting points, from intervals apart
			l.Add(r, at(i))
		}
		for _, p := range points(t, l.Flush(at(i))) {
			if seen[p.time] {
				t.Fatalf("time %d twice", p.time)
			}
			seen[p.time] = true
			if p.time < at(1).UnixNano() || p.time > at(1).UnixNano()+6000 {
				t.Fatalf("time moved to %d", p.time)
			}
		}
	}
}

func TestFlowLogSeries(t *testing.T) {
	c := testConfig()
	c.SeriesBudget, c.FlowLogRate = 1000, -1
	l := NewFlowLog(c)
	series := map[string]bool{}
	for i := range 8000 {
		r := record(external(letters(i)), external(letters(i*3)))
		r.Proto, r.EndReason = flows.Proto(i), flows.EndReason(i%6)
		r.Reporter = correlate.Reporter(i % 4)
		l.Add(r, at(1+i/2000))
	}
	for _, p := range points(t, l.Flush(at(5))) {
		series[p.series] = true
	}
	if len(series) > c.SeriesBudget || uint64(len(series)) != l.Stats().Series || l.Stats().Folded == 0 {
		t.Errorf("%d series, stats %+v", len(series), l.Stats())
	}
	l.Flush(at(6))
	l.Flush(at(7 * 360))
	if n := len(l.series); n != 0 || len(l.names.ids) != 0 || l.budget.used != 0 {
		t.Errorf("%d series, %d names left after expiry", n, len(l.names.ids))
	}
}

func TestFlowLogDoesNotAllocate(t *testing.T) {
	c := testConfig()
	c.FlowLogRate = -1
	l := NewFlowLog(c)
	r := record(web, db)
	n := 0
	round := func() {
		for range 100 {
			r.End += 1000
			l.Add(r, at(n))
		}
		l.Flush(at(n))
		n++
	}
	for range 2 * instantsKept / 100 {
		round()
	}
	if got := testing.AllocsPerRun(50, round); got > 1 {
		t.Errorf("%v allocations for 100 rows", got)
	}
}

func BenchmarkFlowLog(b *testing.B) {
	c := testConfig()
	c.FlowLogRate = -1
	l := NewFlowLog(c)
	r := record(web, db)
	r.Client.Process.Cmdline = "/usr/sbin/nginx -g daemon off; -c /etc/nginx/nginx.conf"
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		r.End += 1000
		l.Add(r, at(1))
		if i++; i%1000 == 0 {
			l.Flush(at(1))
		}
	}
}
