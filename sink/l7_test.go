package sink

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows/l7"
)

var testPool = dist.NewPool(1 << 16)

func small(ns ...int64) *dist.Small {
	s := new(dist.Small)
	for _, v := range ns {
		s.Add(v, testPool)
	}
	return s
}

// asked gives a record what payload told: the tallies, and the response times of
// turns.
func asked(r *correlate.Record, responses *dist.Small, tallies ...*correlate.Tally) *correlate.Record {
	q := &correlate.Requests{Response: responses, Request: small(0), Sent: small(), Messages: tallies}
	for _, tl := range tallies {
		q.Errors += uint64(tl.Errors)
		q.Life.Requests += uint64(tl.Requests)
		q.Life.Protocol = tl.Protocol
	}
	q.Life.Errors, q.Life.Responses, q.Life.ResponseSum = q.Errors, responses.Count(), 7e6
	r.Requests = q
	return r
}

func tally(op, status string, n, errors uint32, ns ...int64) *correlate.Tally {
	return &correlate.Tally{Protocol: l7.HTTP, Operation: op, Status: status, Requests: n, Errors: errors, RequestOctets: 10, ResponseOctets: 20, Response: *small(ns...)}
}

func TestRowsOfRequests(t *testing.T) {
	a := NewAggregator(testConfig())
	a.Add(asked(record(web, db), small(2e6, 4e6), tally("GET /a", "200", 2, 0, 2e6, 4e6), tally("GET /a", "500", 1, 1)))
	r := record(web, db)
	r.Attribution = correlate.AttributionInferred // another edge in flow, one in l7
	lost := tally("GET /a", "200", 1, 0, 8e6)
	lost.Overlapped, lost.Lost, lost.Streaming, lost.Estimated = 1, 1, 1, 1
	asked(r, small(8e6), lost)
	r.Requests.Overlapped, r.Requests.Streaming, r.Requests.Estimated = 4, 5, 6
	a.Add(r)
	bs := a.Flush(at(1))
	ps := points(t, bs)
	rows := of(ps, MeasurementL7)
	if len(rows) != 2 || len(of(ps, MeasurementFlow)) != 2 {
		t.Fatalf("%d rows of l7, %d of flow", len(rows), len(of(ps, MeasurementFlow)))
	}
	want := "l7,client=shop/web,client_container=shop-web-1,client_kind=container,client_process=nginx,host=h1,l7=http,operation=GET\\ /a,proto=tcp,reporter=both," +
		"server=shop/db,server_container=shop-db-1,server_kind=container,server_port=5432,server_process=postgres,status=200 " +
		"requests=3i,errors=0i,request_bytes=20i,response_bytes=40i,lost=1i,overlapped=1i,streaming=1i,estimated=1i,response_count=3i,response_sum_seconds=0.014,response_min_seconds=0.002"
	if !strings.Contains(string(bs[0].Lines), want) {
		t.Errorf("\n got %s\nwant %s", bs[0].Lines, want)
	}
	latency, errors := of(ps, MeasurementFlowLatency), of(ps, MeasurementFlowError)
	if len(latency) != 2 || sum(latency, "response_count") != 3 || sum(latency, "request_count") != 2 || latency[0].fields["sent_count"] != nil ||
		sum(latency, "overlapped") != 4 || sum(latency, "streaming") != 5 || sum(latency, "estimated") != 6 {
		t.Errorf("flow_latency %v", latency)
	}
	if len(errors) != 1 || errors[0].int("request_errors") != 1 {
		t.Errorf("flow_error %v", errors)
	}
	a.Add(record(web, db))
	if rows := of(points(t, a.Flush(at(2))), MeasurementL7); len(rows) != 0 {
		t.Errorf("told again: %v", rows)
	}
}

func TestFlowLogTellsRequests(t *testing.T) {
	l := NewFlowLog(testConfig())
	l.Add(asked(record(web, db), small(3e6, 4e6), tally("GET /a", "500", 5, 2)), at(1))
	p := points(t, l.Flush(at(1)))[0]
	if p.int("requests") != 5 || p.int("request_errors") != 2 || p.int("response_count") != 2 || p.fields["response_sum_seconds"] != 0.007 || p.fields["l7"] != "http" {
		t.Errorf("row %v", p.fields)
	}
}

func TestRequestsAloneAreARow(t *testing.T) {
	a := NewAggregator(testConfig())
	r := record(web, db)
	r.Delta, r.Connect = correlate.Measures{}, 0 // its octets were in the interval before
	a.Add(asked(r, small(1e6)))
	if ps := points(t, a.Flush(at(1))); len(of(ps, MeasurementFlowLatency)) != 1 {
		t.Errorf("rows %v", ps)
	}
	asked(r, small())
	r.Requests.Request, r.Requests.Streaming = small(), 2
	a.Add(r)
	if ps := of(points(t, a.Flush(at(2))), MeasurementFlowLatency); len(ps) != 1 || ps[0].int("streaming") != 2 || ps[0].fields["response_count"] != nil {
		t.Errorf("of what streams there is %v", ps)
	}
}

func TestHostileOperations(t *testing.T) {
	c := testConfig()
	c.SeriesBudget = 2000
	a := NewAggregator(c)
	rng := rand.New(rand.NewPCG(5, 6))
	var asks, seen uint64
	for n := 1; n <= 5; n++ {
		for i := range 3000 {
			e := container("p", fmt.Sprintf("svc%d", rng.IntN(400)), fmt.Sprintf("c%d", i), "app")
			r := record(e, listening(container("p", fmt.Sprintf("db%d", rng.IntN(50)), "d-1", "db"), 80))
			a.Add(asked(r, small(), tally(fmt.Sprintf("GET /%d\n,= \xff\\", rng.IntN(1e9)), fmt.Sprint(rng.IntN(1000)), 3, 1)))
			asks += 3
		}
		seen += uint64(sum(of(points(t, a.Flush(at(n))), MeasurementL7), FieldRequests))
	}
	s := a.Stats()
	if seen != asks || s.L7Series > uint64(c.SeriesBudget) || s.OperationsOther == 0 || s.L7Folded == 0 || s.Encoder.Cleaned == 0 {
		t.Errorf("%d of %d requests in rows, stats %+v", seen, asks, s)
	}
	for n := 10; n < 20; n++ {
		a.Flush(at(n).Add(c.SeriesExpiry))
	}
	if s := a.Stats(); s.L7Series != 0 || a.l7.budget.used != 0 {
		t.Errorf("%d series are left, %d in the budget", s.L7Series, a.l7.budget.used)
	}
}

func TestOperationsOfAServer(t *testing.T) {
	c := testConfig()
	c.Operations = 8
	o := newOperations(c)
	server := &db
	admitted := func(ops ...int) (n int) {
		for _, op := range ops {
			if o.admit(server, l7.HTTP, fmt.Sprint(op), at(int(o.interval)).UnixNano()) {
				n++
			}
		}
		return n
	}
	for i := range 100 {
		if ok := admitted(i) == 1; ok != (i < 4) {
			t.Errorf("first interval: operation %d admitted: %v", i, ok)
		}
	}
	o.interval++
	if n := admitted(0, 1, 2, 3, 99, 98, 97, 96, 95, 94); n != 8 {
		t.Errorf("second interval: %d admitted, want what comes again, up to 8", n)
	}
	if admitted(5000) != 0 || !o.admit(server, l7.DNS, "A", 0) {
		t.Error("a limit is one of a server and protocol")
	}
	o.interval += 61 // ten minutes
	o.admit(server, l7.HTTP, "new", at(int(o.interval)).UnixNano())
	o.interval++
	if !o.admit(server, l7.HTTP, "new", at(int(o.interval)).UnixNano()) {
		t.Error("an unused operation keeps its place for good")
	}
}

func TestKnownRequestsDoNotAllocate(t *testing.T) {
	a := NewAggregator(testConfig())
	r := asked(record(web, db), small(1e6, 2e6), tally("GET /a", "200", 2, 0, 1e6), tally("GET /b", "404", 1, 1, 1e6))
	checkIntervals(t, a, func() {
		for range 10 {
			a.Add(r)
		}
	})
}

func BenchmarkAddRequests(b *testing.B) {
	a := NewAggregator(testConfig())
	r := asked(record(web, db), small(1e6, 2e6), tally("GET /a", "200", 2, 0, 1e6), tally("GET /b", "404", 1, 1, 1e6))
	b.ReportAllocs()
	for b.Loop() {
		a.Add(r)
	}
}

// TestServerNames has what clients ask one server for under many names: as many rows
// as there are operations at most, and every request in one of them.
func TestServerNames(t *testing.T) {
	c := testConfig()
	c.Operations = 8
	a := NewAggregator(c)
	for i := range 20 {
		tl := tally("GET /", "200", 1, 0)
		if tl.ServerName = fmt.Sprintf("shop%d.example.org", i); i == 0 {
			tl.ServerName = ""
		}
		a.Add(asked(record(web, db), small(), tl))
	}
	rows := of(points(t, a.Flush(at(1))), MeasurementL7)
	names := map[string]int64{}
	for _, p := range rows {
		names[p.tags[TagServerName]] += p.int(FieldRequests)
	}
	if len(names) != 6 || names[""] != 1 || names["shop1.example.org"] != 1 || names[Other] != 15 || a.Stats().ServerNamesOther != 15 {
		t.Errorf("requests by name %v, %d past the limit", names, a.Stats().ServerNamesOther)
	}
}
