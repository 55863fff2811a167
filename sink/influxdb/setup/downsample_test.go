package setup

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/test/influxd"
)

// TestEveryFieldHasItsPlace: what of a downsampled measurement is not kept is so
// because a rule says it.
func TestEveryFieldHasItsPlace(t *testing.T) {
	for _, m := range sink.Measurements() {
		if !slices.Contains(downsampled, m.Name) {
			continue
		}
		kept := totalsOf(m.Name, true)
		all := slices.Concat(kept.sum, kept.min, kept.max, kept.mean)
		for _, f := range m.Fields {
			want := !f.Planned && f.Semantics != sink.Quant && !slices.Contains(lost, f.Name)
			if slices.Contains(all, f.Name) != want {
				t.Errorf("%s.%s (%s): kept %v", m.Name, f.Name, f.Semantics, !want)
			}
			for _, w := range weights[f.Name] {
				if _, ok := m.Field(w); !ok && slices.Contains(kept.mean, f.Name) {
					t.Errorf("%s.%s is weighed by %s, which is not in its row", m.Name, f.Name, w)
				}
			}
		}
	}
}

// filling is what fill wrote.
type filling struct {
	start time.Time // of the first minute
	rows  int
}

// fill writes rows of two series every ten seconds for three minutes, the first
// and the last row of each minute at its very borders.
func (b *bed) fill(start time.Time) filling {
	b.t.Helper()
	var lines []string
	for i := 1; i <= 18; i++ {
		at := start.Add(time.Duration(i) * 10 * time.Second).UnixNano()
		for j, host := range []string{"a", "b,client_zone=z1,server_zone=z2,crosses=zone"} {
			v := i + 100*j
			lines = append(lines,
				fmt.Sprintf(`flow,host=%s,proto=tcp,server_port=80,client=c,server=s to_server_bytes=%di,opened=1i,active=%di,closed=%di,rtt_avg_seconds=%g,rtt_max_seconds=%g %d`,
					host, v, i%7, i%3, float64(i)/1000, float64(i)/100, at),
				fmt.Sprintf(`flow_latency,host=%s,client=c,server=s connect_count=10i,connect_sum_seconds=0.02,connect_min_seconds=%g,connect_max_seconds=%g,connect_p99_seconds=9,jitter_seconds=1,connect_le_0.001=5i,connect_le_0.0025=9i,connect_le_10=10i %d`,
					host, float64(20-i)/1000, float64(i)/1000, at))
		}
	}
	if err := b.write(b.admin(), "net", lines...); err != nil {
		b.t.Fatal(err)
	}
	return filling{start, 18}
}

// run has the server do the downsampling of the window that ends at end.
func (b *bed) run(end time.Time) {
	b.t.Helper()
	if b.V1() {
		b.runContinuous(end)
		return
	}
	var list struct {
		Tasks []struct{ ID, Name string }
	}
	s := b.admin()
	if err := s.call(b.t.Context(), "GET", "api/v2/tasks?limit=500", nil, &list); err != nil {
		b.t.Fatal(err)
	}
	for _, l := range []string{"net_1m ", "net_1h "} { // one after the other
		var runs []taskRun
		for _, task := range list.Tasks {
			if strings.HasPrefix(task.Name, l) {
				runs = append(runs, b.startTask(s, task.ID, task.Name, end))
			}
		}
		b.wait(s, runs)
	}
}

// taskRun is one run of a task.
type taskRun struct{ task, run, name string }

// startTask has the server run a task as if its time had come at end.
func (b *bed) startTask(s *server, id, name string, end time.Time) taskRun {
	b.t.Helper()
	var run struct{ ID string }
	at := body{"scheduledFor": end.UTC().Format(time.RFC3339)}
	if err := s.call(b.t.Context(), "POST", "api/v2/tasks/"+id+"/runs", at, &run); err != nil {
		b.t.Fatalf("run task %q: %v", name, err)
	}
	return taskRun{id, run.ID, name}
}

// wait until runs have ended well.
func (b *bed) wait(s *server, runs []taskRun) {
	b.t.Helper()
	for _, r := range runs {
		path := "api/v2/tasks/" + r.task + "/runs/" + r.run
		var run struct{ Status string }
		for deadline := time.Now().Add(time.Minute); run.Status != "success"; time.Sleep(20 * time.Millisecond) {
			// Between its end and its place in the history a run is nowhere: 404, or
			// a panic of the server, which it answers with 500.
			if err := s.call(b.t.Context(), "GET", path, nil, &run); err != nil && status(err) != http.StatusNotFound && status(err) != http.StatusInternalServerError {
				b.t.Fatal(err)
			}
			if run.Status == "failed" || run.Status == "canceled" || time.Now().After(deadline) {
				var logs map[string]any
				_ = s.call(b.t.Context(), "GET", path+"/logs", nil, &logs)
				b.t.Fatalf("task %s: %q: %v", r.name, run.Status, logs)
			}
		}
	}
}

// runContinuous does what the server's continuous queries, read back from it, do
// when their time comes: it executes each over its window.
func (b *bed) runContinuous(end time.Time) {
	b.t.Helper()
	for _, db := range []string{"net", "net_1m"} {
		for _, r := range b.QueryInfluxQL(b.t, "", "SHOW CONTINUOUS QUERIES") {
			if r.Measurement != db {
				continue
			}
			_, q, _ := strings.Cut(fmt.Sprint(r.Values["query"]), " BEGIN ")
			q = strings.TrimSuffix(q, " END")
			// The range that the server sets: whole windows, from offset to offset.
			back, offset, window := 15*time.Minute, time.Duration(1), time.Minute
			if db == "net_1m" {
				back, offset, window = 6*time.Hour, 0, time.Hour
			}
			stop := end.Truncate(window).Add(offset)
			where := fmt.Sprintf(" WHERE time >= %d AND time < %d GROUP BY", stop.Add(-back).UnixNano(), stop.UnixNano())
			at := strings.LastIndex(q, " GROUP BY")
			b.QueryInfluxQL(b.t, db, q[:at]+where+q[at+len(" GROUP BY"):])
		}
	}
}

// value asks in InfluxQL, which both versions answer: on 2.x through the mapping.
func (b *bed) value(db, q string) float64 {
	b.t.Helper()
	rows := b.QueryInfluxQL(b.t, db, "SELECT "+q)
	if len(rows) != 1 {
		b.t.Fatalf("%s of %s: %d rows", q, db, len(rows))
	}
	for name, v := range rows[0].Values {
		if n, ok := v.(json.Number); ok && name != "time" {
			f, _ := n.Float64()
			return f
		}
	}
	b.t.Fatalf("%s of %s: %v", q, db, rows[0].Values)
	return 0
}

// TestDownsampledRowsAddUp: rows per minute and per hour say in sum what the raw
// ones say, extremes are extremes, the mean is weighed, and windows take what
// lies between their borders.
func TestDownsampledRowsAddUp(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.o.Histograms, b.o.NoAlerts = true, true
		b.apply()
		end := time.Now().Truncate(time.Hour)
		f := b.fill(end.Add(-4 * time.Minute))
		b.run(end)
		for _, db := range []string{"net_1m", "net_1h"} {
			for _, q := range []string{
				`sum("to_server_bytes") FROM "flow"`, `sum("opened") FROM "flow"`, `max("rtt_max_seconds") FROM "flow"`, `max("active") FROM "flow"`,
				`sum("connect_count") FROM "flow_latency"`, `sum("connect_sum_seconds") FROM "flow_latency"`, `sum("connect_le_0.0025") FROM "flow_latency"`,
				`min("connect_min_seconds") FROM "flow_latency"`, `max("connect_max_seconds") FROM "flow_latency"`,
				`sum("to_server_bytes") FROM "flow" WHERE "host" = 'b'`,
				`sum("to_server_bytes") FROM "flow" WHERE "crosses" = 'zone' AND "client_zone" = 'z1' AND "server_zone" = 'z2'`,
			} {
				if raw, got := b.value("net", q), b.value(db, q); !near(raw, got) {
					t.Errorf("%s: %v in %s, %v in net", q, got, db, raw)
				}
			}
			if rows := b.QueryInfluxQL(t, db, `SELECT "jitter_seconds" FROM "flow_latency"`); len(rows) > 0 {
				t.Errorf("%s has an average of averages: %v", db, rows)
			}
		}
		b.minutes(f)
		b.quantiles()
	})
}

// minutes checks each row per minute of one host.
func (b *bed) minutes(f filling) {
	b.t.Helper()
	rows := b.QueryInfluxQL(b.t, "net_1m", `SELECT "to_server_bytes", "rtt_avg_seconds" FROM "flow" WHERE "host" = 'a'`)
	if len(rows) != f.rows/6 {
		b.t.Fatalf("%d rows for %d minutes: %v", len(rows), f.rows/6, rows)
	}
	for m, r := range rows {
		sum, product, weight := 0, 0.0, 0.0
		for i := 6*m + 1; i <= 6*m+6; i++ {
			w := float64(i%7 + i%3)
			sum, product, weight = sum+i, product+w*float64(i)/1000, weight+w
		}
		at := f.start.Add(time.Duration(m+1)*time.Minute).UnixNano() + 1 // the window's end
		if b.V1() {
			at = f.start.Add(time.Duration(m)*time.Minute).UnixNano() + 1
		}
		rtt, _ := r.Values["rtt_avg_seconds"].(json.Number).Float64()
		if r.Values["to_server_bytes"] != json.Number(fmt.Sprint(sum)) || r.Values["time"] != json.Number(fmt.Sprint(at)) || !near(rtt, product/weight) {
			b.t.Errorf("minute %d: %v, want %d octets, RTT %g, time %d", m, r.Values, sum, product/weight, at)
		}
	}
}

// quantiles come back out of buckets on 2.x, and never as averages.
func (b *bed) quantiles() {
	b.t.Helper()
	rows := b.QueryInfluxQL(b.t, "net_1m", `SELECT "connect_p50_seconds", "connect_p99_seconds" FROM "flow_latency" WHERE "host" = 'a'`)
	if b.V1() {
		if len(rows) > 0 {
			b.t.Errorf("InfluxQL has no quantiles of buckets: %v", rows)
		}
		return
	}
	if len(rows) != 3 {
		b.t.Fatalf("%d rows with quantiles, want 3", len(rows))
	}
	p50, _ := rows[0].Values["connect_p50_seconds"].(json.Number).Float64()
	p99, _ := rows[0].Values["connect_p99_seconds"].(json.Number).Float64()
	// Half are at most 0.001; nine tenths at most 0.0025, all at most 10.
	if !near(p50, 0.001) || !near(p99, 0.0025+(10-0.0025)*0.9) {
		b.t.Errorf("p50 %g, p99 %g", p50, p99)
	}
}

// TestDefinitionsAreStable: two plans have the same definitions.
func TestDefinitionsAreStable(t *testing.T) {
	p := &planner2{places: places{Raw: {name: "net"}}, Plan: &Plan{}}
	for range 20 {
		for i, c := range p.checks() {
			one, two := p.object(checks, c).definition, p.object(checks, p.checks()[i]).definition
			if one != two {
				t.Fatalf("two definitions of one check:\n%s\n%s", one, two)
			}
		}
	}
	one := maps.Clone(Scripts("weir", "autogen"))
	if !maps.Equal(one, Scripts("weir", "autogen")) {
		t.Error("TICKscripts differ from time to time")
	}
}

// near says whether two numbers are the same but for rounding.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b)) }

// TestRecompute: rows that come too late for what looks back are added up when it
// is asked for, and rows that were added up before stay what they are.
func TestRecompute(t *testing.T) {
	each(t, func(t *testing.T, b *bed) {
		b.o.Histograms, b.o.NoAlerts = true, true
		b.apply()
		end := time.Now().Truncate(time.Hour).Add(-14 * time.Hour)
		f := b.fill(end.Add(-4 * time.Minute))
		b.o.Recompute = 20 * time.Hour
		for range 2 {
			if p := b.apply(); p.Count(Recompute) != 2*len(downsampled) || p.Changes() != p.Count(Recompute) {
				t.Errorf("%q", steps(p))
			}
			for _, db := range []string{"net_1m", "net_1h"} {
				for _, q := range []string{`sum("to_server_bytes") FROM "flow"`, `sum("connect_le_0.0025") FROM "flow_latency"`, `max("rtt_max_seconds") FROM "flow"`} {
					if raw, got := b.value("net", q), b.value(db, q); !near(raw, got) {
						t.Errorf("%s: %v in %s, %v in net", q, got, db, raw)
					}
				}
			}
			b.minutes(f)
			b.quantiles()
		}
	})
}

// TestRecomputeTellsErrors, also those that come after a 200.
func TestRecomputeTellsErrors(t *testing.T) {
	t.Parallel()
	b := newBed(t, influxd.Start(t, influxd.V2))
	b.o.NoAlerts = true
	b.apply()
	b.fill(time.Now().Truncate(time.Hour).Add(-time.Hour))
	b.o.Recompute = 4 * time.Hour
	p := b.plan()
	if err := b.admin().call(t.Context(), "DELETE", "api/v2/buckets/"+b.has("buckets?name=net_1m", "buckets", "id")[0], nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(t.Context(), func(Step) {}); err == nil || !strings.Contains(err.Error(), "net_1m") {
		t.Errorf("a bucket that has gone: %v", err)
	}
}

func TestSpans(t *testing.T) {
	l := levels(places{})[0]
	now := time.Date(2026, 11, 29, 12, 0, 30, 0, time.UTC)
	got, err := l.spans(now, 13*time.Hour)
	if err != nil || len(got) != 3 || !got[2].stop.Equal(now.Truncate(time.Minute)) || !got[0].start.Equal(got[2].stop.Add(-13*time.Hour)) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := 1; i < len(got); i++ {
		if !got[i].start.Equal(got[i-1].stop) {
			t.Errorf("a gap before %v", got[i])
		}
	}
}

// TestTheServerRunsContinuousQueries: not we but 1.x itself, soon after they are
// made, over the minutes that are past.
func TestTheServerRunsContinuousQueries(t *testing.T) {
	t.Parallel()
	b := newBed(t, influxd.Start(t, influxd.V1))
	b.QueryInfluxQL(t, "", `CREATE DATABASE "net"`)
	f := b.fill(time.Now().Truncate(time.Minute).Add(-8 * time.Minute))
	b.apply()
	const q = `SELECT sum("to_server_bytes"), count("rtt_avg_seconds") FROM "flow" WHERE "host" = 'a'`
	want := fmt.Sprint(f.rows * (f.rows + 1) / 2)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		rows := b.QueryInfluxQL(t, "net_1m", q)
		if len(rows) == 1 && fmt.Sprint(rows[0].Values["sum"]) == want && fmt.Sprint(rows[0].Values["count"]) == "3" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a minute: %v, want the sum %s and 3 means", rows, want)
		}
	}
}
