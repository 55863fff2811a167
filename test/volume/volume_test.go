package volume

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/test/influxd"
)

// answers asks a database for sums.
type answers struct {
	t   *testing.T
	srv *influxd.Server
	db  string
}

// sum adds up what a measurement has of some fields, where is InfluxQL's or "".
func (a *answers) sum(measurement, where string, fields ...string) uint64 {
	a.t.Helper()
	return a.ask("sum", measurement, where, fields...)
}

func (a *answers) count(measurement, where, field string) uint64 {
	a.t.Helper()
	return a.ask("count", measurement, where, field)
}

func (a *answers) ask(function, measurement, where string, fields ...string) (n uint64) {
	a.t.Helper()
	db := a.db
	if measurement == sink.MeasurementFlowLog {
		db += "_log"
	}
	for _, f := range fields {
		q := fmt.Sprintf(`SELECT %s(%q) AS v FROM %q`, function, f, measurement)
		if where != "" {
			q += " WHERE " + where
		}
		for _, r := range a.srv.QueryInfluxQL(a.t, db, q) {
			v, _ := r.Values["v"].(json.Number)
			x, _ := v.Float64() // a sum of floats has a point
			n += uint64(x + 0.5)
		}
	}
	return n
}

// self is a counter of weir_self, all intervals together.
func (a *answers) self(fields ...sink.SelfInt) (n uint64) {
	a.t.Helper()
	for _, f := range fields {
		n += a.sum(sink.MeasurementSelf, "", string(f))
	}
	return n
}

func equal(t *testing.T, what string, got, want uint64) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

func between(t *testing.T, what string, least, got, most uint64) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s: %d, want %d to %d", what, got, least, most)
	}
}

// TestHostileWorlds (cases J1 to J3): whatever happens on a host, no measurement has more series than
// its budget, by the database's own count; every octet, connection, request and failure
// is in a row; and how much is in rows that say `other` stands in weir_self.
func TestHostileWorlds(t *testing.T) {
	for _, v := range []string{influxd.V1, influxd.V2} {
		t.Run(v, func(t *testing.T) {
			srv := influxd.Start(t, v)
			for _, w := range hostile() {
				t.Run(w.name, func(t *testing.T) { test(t, srv, w) })
			}
		})
	}
}

func test(t *testing.T, srv *influxd.Server, w world) {
	cfg := sink.DefaultConfig()
	cfg.Host, cfg.SeriesBudget = "h1", 2000
	f := newFeed(t, cfg, database(t, srv, w.name))
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range intervals {
		ordinary(f)
		w.play(f, i, rnd)
		f.flush()
	}
	f.deliver()
	a := &answers{t, srv, w.name}
	underBudget(a, cfg.SeriesBudget)
	totals(a, &f.truth)
	explained(a)
	kept(a)
	if a.self(w.folded) == 0 {
		t.Errorf("%s is 0: the world is not hostile enough", w.folded)
	}
}

// intervals make the worlds what they are called: 10 000 containers, 100 000 peers, 60 000
// ports and as many addresses, 20 000 executables.
const intervals = 5

// maxEventSeries is that of sink, and one row of `other` per type.
const maxEventSeries = 2000 + 2

func underBudget(a *answers, budget int) {
	a.t.Helper()
	var said []string
	for _, m := range sink.Measurements() {
		db, most := a.db, budget
		switch m.Name {
		case sink.MeasurementFlowLog:
			db += "_log"
		case sink.MeasurementEvent:
			most = maxEventSeries
		case sink.MeasurementSelf, sink.MeasurementInfo:
			most = len(sink.Stages())
		}
		n := a.srv.Series(a.t, db, m.Name)
		if n > most {
			a.t.Errorf("%s has %d series, its budget is %d", m.Name, n, most)
		}
		said = append(said, fmt.Sprintf("%s %d", m.Name, n))
	}
	a.t.Logf("series: %s; in all %d and %d", strings.Join(said, ", "), a.srv.Series(a.t, a.db, ""), a.srv.Series(a.t, a.db+"_log", ""))
}

func totals(a *answers, want *truth) {
	a.t.Helper()
	flow := func(fields ...string) uint64 { a.t.Helper(); return a.sum(sink.MeasurementFlow, "", fields...) }
	equal(a.t, "connections opened", flow(sink.FieldOpened), want.opened)
	equal(a.t, "connections failed", flow(sink.FieldFailed), want.failed)
	equal(a.t, "octets on the wire", flow(sink.FieldToServerWireBytes, sink.FieldToClientWireBytes), want.wire)
	equal(a.t, "octets of payload", flow(sink.FieldToServerBytes, sink.FieldToClientBytes), want.payload)
	equal(a.t, "connects timed", a.sum(sink.MeasurementFlowLatency, "", sink.Connect.Count), want.opened)
	equal(a.t, "refused", a.sum(sink.MeasurementFlowError, "", sink.FieldFailedBy[0]), want.failed)
	equal(a.t, "requests", a.sum(sink.MeasurementL7, "", sink.FieldRequests), want.requests)
	equal(a.t, "groups", a.sum(sink.MeasurementContainer, "", sink.FieldGroups), want.groups)
	equal(a.t, "seconds of CPU", a.sum(sink.MeasurementContainer, "", "cpu_user_seconds"), want.groups)
	equal(a.t, "processes", a.sum(sink.MeasurementProcess, "", sink.FieldProcesses), want.groups)
	equal(a.t, "events", a.count(sink.MeasurementEvent, "", sink.FieldMessage)+a.self(sink.SelfEventsSuppressed), want.events)
	equal(a.t, "connections in flow_log", a.count(sink.MeasurementFlowLog, "", sink.LogPort[sink.ClientEnd])+a.self(sink.SelfLogSuppressed), want.records)
	equal(a.t, "records in weir_self", a.self(sink.SelfRecords), want.records)
	equal(a.t, "octets in weir_self", a.self(sink.SelfWireBytes), want.wire)
}

// ordinary is what went on before whatever else happens, and goes on: 10 connections.
func ordinary(f *feed) {
	client, server := container("mall", "front", "mall-front-1", "nginx"), at(container("mall", "cart", "mall-cart-1", "java"), 8080, true)
	for range 10 {
		f.add(connection(&client, server))
	}
}

// kept wants it in rows of its own.
func kept(a *answers) {
	a.t.Helper()
	const own = `client = 'mall/front' AND client_process = 'nginx' AND server = 'mall/cart' AND server_process = 'java' AND server_port = '8080'`
	equal(a.t, "ordinary connections in a series of their own", a.sum(sink.MeasurementFlow, own, sink.FieldOpened), 10*intervals)
}

// explained compares the rows that say `other` with what weir_self says was folded.
func explained(a *answers) {
	a.t.Helper()
	const anOther = `(client = 'other' OR server = 'other')`
	records := func(where string) uint64 {
		a.t.Helper()
		return a.sum(sink.MeasurementFlow, where, sink.FieldOpened, sink.FieldFailed)
	}
	equal(a.t, "records with an end in other", records(anOther), a.self(sink.SelfFoldedOneEnd, sink.SelfFoldedOther))
	equal(a.t, "records refused a series", a.self(sink.SelfSeriesRefused),
		a.self(sink.SelfFoldedProcess, sink.SelfFoldedContainer, sink.SelfFoldedOneEnd, sink.SelfFoldedOther))
	between(a.t, "requests of other operations", a.self(sink.SelfOperationsOther),
		a.sum(sink.MeasurementL7, `operation = 'other'`, sink.FieldRequests), a.self(sink.SelfOperationsOther, sink.SelfL7Folded))
	between(a.t, "groups in other", 0, a.sum(sink.MeasurementContainer, `"name" = 'other'`, sink.FieldGroups), a.self(sink.SelfUsageFolded))
	between(a.t, "processes in other", 0, a.sum(sink.MeasurementProcess, `"name" = 'other'`, sink.FieldProcesses), a.self(sink.SelfProcessFolded))
	equal(a.t, "events of other", a.count(sink.MeasurementEvent, `server = 'other'`, sink.FieldMessage), a.self(sink.SelfEventsFolded))
	between(a.t, "rows of flow_log with an end in other", 0, a.count(sink.MeasurementFlowLog, anOther, sink.LogPort[sink.ClientEnd]), a.self(sink.SelfLogFolded))
}
