package sink

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

var (
	web = container("shop", "web", "shop-web-1", "nginx")
	db  = listening(container("shop", "db", "shop-db-1", "postgres"), 5432)
)

func TestRowsOfOneEdge(t *testing.T) {
	a := NewAggregator(testConfig())
	r := record(web, db)
	a.Add(r)
	r.Connect = 2500e3
	r.Delta.RTT.Max, r.MinRTT = 900e3, 50e3
	a.Add(r)
	bs := a.Flush(at(1))
	points(t, bs)
	tags := "attribution=exact,client=shop/web,client_container=shop-web-1,client_kind=container,client_process=nginx,host=h1,proto=tcp,reporter=both," +
		"server=shop/db,server_container=shop-db-1,server_kind=container,server_port=5432,server_process=postgres"
	want := "flow," + tags + " to_server_bytes=200i,to_client_bytes=4000i,to_server_wire_bytes=800i,to_client_wire_bytes=4600i,to_server_packets=8i,to_client_packets=10i," +
		"attempts=2i,opened=2i,closed=2i,failed=0i,active=0i,retransmits_to_server=0i,retransmits_to_client=2i,rtt_avg_seconds=0.00015,rtt_max_seconds=0.0009 1790000010000000000\n" +
		"flow_latency," + tags + " connect_count=2i,connect_sum_seconds=0.004,connect_min_seconds=0.0015,connect_p50_seconds=0.0015"
	if got := string(bs[0].Lines); !strings.HasPrefix(got, want) {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if len(bs) != 1 || bs[0].Rows != 2 || bs[0].Stream != Main || bs[0].Time != at(1).UnixNano() {
		t.Errorf("batch %+v", bs[0])
	}
	if s := a.Stats(); s.Rows != 2 || s.Series != 1 || s.Admitted != 1 || s.Records != 2 || s.Refused != 0 {
		t.Errorf("stats %+v", s)
	}
}

// What comes before the first request is timed of attempts that failed and of datagrams
// as well.
func TestOpeningsOfEveryConnection(t *testing.T) {
	a := NewAggregator(testConfig())
	accepted := record(web, db)
	accepted.Resolve, accepted.Accept = 20e6, 100e6
	failed := refused(web, external("api.example"), 443)
	failed.Resolve = 30e6
	quic := record(web, external("api.example"))
	quic.Proto, quic.Resolve, quic.Connect = flows.UDP, 40e6, 0
	for _, r := range []*correlate.Record{accepted, failed, quic} {
		a.Add(r)
	}
	got := map[string]map[string]any{}
	for _, p := range points(t, a.Flush(at(1))) {
		if p.measurement == "flow_latency" {
			got[p.tags["server"]+" "+p.tags["proto"]] = p.fields
		}
	}
	for edge, want := range map[string]map[string]any{
		"shop/db tcp":     {"resolve_count": int64(1), "resolve_sum_seconds": 0.02, "accept_count": int64(1), "accept_sum_seconds": 0.1, "connect_count": int64(1)},
		"api.example tcp": {"resolve_count": int64(1), "resolve_sum_seconds": 0.03, "connect_count": nil, "accept_count": nil},
		"api.example udp": {"resolve_count": int64(1), "resolve_sum_seconds": 0.04, "connect_count": nil, "accept_count": nil},
	} {
		for f, v := range want {
			if got[edge][f] != v {
				t.Errorf("%s: %s is %v, want %v", edge, f, got[edge][f], v)
			}
		}
	}
}

func TestAbsent(t *testing.T) {
	wireOnly := record(web, db)
	wireOnly.HasPayload = false
	payloadOnly := record(web, db)
	payloadOnly.HasWire = false
	for _, c := range []struct {
		name          string
		records       []*correlate.Record
		payload, wire bool
	}{
		{"no payload", []*correlate.Record{wireOnly}, false, true},
		{"no wire", []*correlate.Record{payloadOnly}, true, false},
		{"each by one", []*correlate.Record{wireOnly, payloadOnly}, true, true},
	} {
		a := NewAggregator(testConfig())
		for _, r := range c.records {
			a.Add(r)
		}
		p := of(points(t, a.Flush(at(1))), MeasurementFlow)[0]
		_, payload := p.fields[FieldToServerBytes]
		_, wire := p.fields[FieldToClientWireBytes]
		_, packets := p.fields[FieldToServerPackets]
		if payload != c.payload || wire != c.wire || packets != c.wire {
			t.Errorf("%s: fields %v", c.name, p.fields)
		}
	}
}

func TestErrorsAndAttempts(t *testing.T) {
	a := NewAggregator(testConfig())
	a.Add(refused(web, db, 5432))
	r := record(web, db)
	r.Delta = correlate.Measures{Aborted: 2, ResetByServer: 1, SYNRetransmits: 3, Opened: 1}
	a.Add(r)
	ps := points(t, a.Flush(at(1)))
	f, e := of(ps, MeasurementFlow)[0], of(ps, MeasurementFlowError)
	if f.int(FieldAttempts) != 4 || f.int(FieldOpened) != 1 || f.int(FieldFailed) != 1 {
		t.Errorf("flow %v", f.fields)
	}
	if len(e) != 1 || len(e[0].fields) != 4 || e[0].int("failed_refused") != 1 || e[0].int(FieldAborted) != 2 || e[0].int(FieldSYNRetransmits) != 3 {
		t.Errorf("flow_error %v", e)
	}
}

func TestIdleAndActive(t *testing.T) {
	a := NewAggregator(testConfig())
	a.Add(record(web, db))
	points(t, a.Flush(at(1)))
	r := record(web, db)
	r.Delta, r.Connect, r.Final = correlate.Measures{}, 0, false
	a.Add(r)
	if ps := points(t, a.Flush(at(2))); len(ps) != 0 {
		t.Errorf("an idle edge was written: %v", ps)
	}
	r.Active = 1
	a.Add(r)
	a.Add(r)
	ps := points(t, a.Flush(at(3)))
	if len(ps) != 1 || ps[0].int(FieldActive) != 2 || ps[0].int(FieldToServerBytes) != 0 {
		t.Errorf("active edge: %v", ps)
	}
	if bs := a.Flush(at(4)); len(bs) != 0 {
		t.Errorf("an interval without records made %d batches", len(bs))
	}
}

func TestOwnTrafficIsCountedNotWritten(t *testing.T) {
	a := NewAggregator(testConfig())
	r := record(web, db)
	r.Self = true
	a.Add(r)
	if bs := a.Flush(at(1)); len(bs) != 0 || a.Stats().OwnRecords != 1 || a.Stats().Series != 0 {
		t.Errorf("%d batches, stats %+v", len(bs), a.Stats())
	}
}

func TestHistograms(t *testing.T) {
	c := testConfig()
	c.Histograms = true
	a := NewAggregator(c)
	for _, ns := range []int64{90e3, 700e3, 40e6, 20e9} {
		r := record(web, db)
		r.Connect = ns
		a.Add(r)
	}
	p := of(points(t, a.Flush(at(1))), MeasurementFlowLatency)[0]
	for name, want := range map[string]int64{"connect_le_0.0001": 1, "connect_le_0.0005": 1, "connect_le_0.001": 2, "connect_le_0.05": 3, "connect_le_10": 3, "connect_count": 4} {
		if got, ok := p.fields[name].(int64); !ok || got != want {
			t.Errorf("%s = %v, want %d", name, p.fields[name], want)
		}
	}
}

func TestTagsOfOddEnds(t *testing.T) {
	a := NewAggregator(testConfig())
	r := record(web, db)
	r.Proto, r.Client.Name, r.Client.Process, r.Client.Contain = flows.ICMPv6, "", nil, nil
	r.Client.Kind, r.Server.Name = correlate.KindUnknown, "a=b, c\n"
	a.Add(r)
	r.Proto = flows.ICMP // one name, so one series
	a.Add(r)
	ps := of(points(t, a.Flush(at(1))), MeasurementFlow)
	if len(ps) != 1 {
		t.Fatalf("%d rows, want 1", len(ps))
	}
	for k, want := range map[string]string{"client": "unknown", "proto": "icmp", "server_port": "0", "server": "a=b, c_", "client_process": ""} {
		if got := ps[0].tags[k]; got != want {
			t.Errorf("tag %s = %q, want %q", k, got, want)
		}
	}
}

func TestNamesThatCleanAlikeAreOneSeries(t *testing.T) {
	a := NewAggregator(testConfig())
	for _, s := range []string{"\x01", "\x02", "_"} {
		e := external("peer" + s)
		a.Add(record(web, e))
	}
	if n := len(of(points(t, a.Flush(at(1))), MeasurementFlow)); n != 1 || a.Stats().Encoder.Cleaned != 1 {
		t.Errorf("%d rows, want 1; stats %+v", n, a.Stats())
	}
}

func TestGranularity(t *testing.T) {
	for g, want := range map[Granularity][3]string{
		GranularityAuto:      {"nginx", "shop-web-1", "shop/web"},
		GranularityContainer: {"", "shop-web-1", "shop/web"},
		GranularityWorkload:  {"", "", "shop/web"},
	} {
		c := testConfig()
		c.Granularity = g
		a := NewAggregator(c)
		a.Add(record(web, db))
		p := points(t, a.Flush(at(1)))[0]
		if got := [3]string{p.tags["client_process"], p.tags["client_container"], p.tags["client"]}; got != want {
			t.Errorf("%s: %q, want %q", g, got, want)
		}
		if a.Stats().Refused != 0 {
			t.Errorf("%s: a configured granularity is not pressure", g)
		}
	}
}

func TestWorkloadName(t *testing.T) {
	for _, c := range []struct{ name, image, want string }{
		{"db", "postgres:16", "db"},
		{"job-7", "job", "job"},
		{"api-5d4f9c7b8-x2x9q", "api", "api"},
		{"ci_runner.3", "x", "ci_runner"},
		{"web-v2", "x", "web-v2"},
		{"happy_turing", "registry:5000/team/batch:1@sha256:00", "batch"},
		{"happy_turing7", "batch", "batch"},
		{"happy_turing", "", "happy_turing"},
		{"1234", "x", "1234"},
	} {
		e := plain(c.name, c.image)
		if got := correlate.WorkloadName(&e); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.name, c.image, got, c.want)
		}
	}
	if got := correlate.WorkloadName(&web); got != "shop/web" {
		t.Errorf("Compose service: %q", got)
	}
}

func TestEdges(t *testing.T) {
	a := NewAggregator(testConfig())
	a.Add(record(web, db))
	a.Flush(at(1))
	n := 0
	for e := range a.Edges() {
		n++
		if e.Client.Name != "shop/web" || e.Server.Process != "postgres" || e.ServerPort != "5432" || e.ToClientBytes != 2000 || e.RTTMin != 90e-6 || e.Connect.Count != 1 {
			t.Errorf("edge %+v", e)
		}
	}
	if n != 1 {
		t.Errorf("%d edges", n)
	}
	a.Flush(at(2))
	for e := range a.Edges() {
		t.Errorf("edge of the interval before: %+v", e)
	}
}

func TestConfig(t *testing.T) {
	c := testConfig()
	if err := c.Validate(); err != nil {
		t.Errorf("default: %v", err)
	}
	bad := Config{Granularity: "pod", SeriesBudget: 10}
	err := bad.Validate()
	for _, word := range []string{"host", "granularity", "series_budget", "series_expiry", "log_heartbeat"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v does not name %s", err, word)
		}
	}
}

func TestKnownEdgeDoesNotAllocate(t *testing.T) {
	a := NewAggregator(testConfig())
	r := record(web, db)
	var scores [2]float64
	checkIntervals(t, a, func() {
		for i := range 10 {
			r.Score = &scores[i%2]
			a.Add(r)
		}
	})
	if got := testing.AllocsPerRun(100, func() { a.Add(r) }); got != 0 {
		t.Errorf("Add: %v allocations", got)
	}
}

// checkIntervals: intervals of what is known already allocate nothing.
func checkIntervals(t *testing.T, a *Aggregator, add func()) {
	t.Helper()
	n := 0
	round := func() {
		add()
		a.Flush(at(n))
		n++
	}
	round()
	round()
	if got := testing.AllocsPerRun(50, round); got != 0 {
		t.Errorf("an interval: %v allocations", got)
	}
}

// manyEdges are n edges between Compose services.
func manyEdges(n int) []*correlate.Record {
	rs := make([]*correlate.Record, n)
	for i := range rs {
		c := container("p", fmt.Sprintf("svc%d", i), fmt.Sprintf("p-svc%d-1", i), "app")
		rs[i] = record(c, db)
	}
	return rs
}

func BenchmarkAdd(b *testing.B) {
	a := NewAggregator(testConfig())
	rs := manyEdges(4000)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		a.Add(rs[i%len(rs)])
		i++
	}
}

func BenchmarkFlush10000(b *testing.B) {
	c := testConfig()
	c.SeriesBudget = 100000
	a := NewAggregator(c)
	rs := manyEdges(10000)
	n := 0
	for range 2 {
		for _, r := range rs {
			a.Add(r)
		}
		a.Flush(at(n))
		n++
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for _, r := range rs {
			a.Add(r)
		}
		b.StartTimer()
		n++
		a.Flush(time.Unix(0, int64(n)))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10000, "ns/edge")
}
