package load

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/dashboards"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/decode"
	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/test/influxd"
)

var (
	week       = flag.Bool("week", false, "a week (or -length) of -containers instead of two hours of 20")
	span       = flag.Duration("length", 7*24*time.Hour, "with -week: of what is written and asked for")
	interval   = flag.Duration("interval", 10*time.Minute, "of the rows")
	containers = flag.Int("containers", 100, "on the host")
	version    = flag.String("influxdb", "", "only this version")
)

// end of the time that is measured.
var end = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

const (
	logRetention = 24 * time.Hour // of weir_log, by default
	aim          = 2 * time.Second
)

// TestHost: every measurement has rows, of edges both inside and outside.
func TestHost(t *testing.T) {
	h := NewHost(20, 10*time.Minute)
	rows := map[string]int{}
	var sent int64
	for i := range 6 {
		err := h.Interval(end.Add(time.Duration(i)*10*time.Minute), true, func(b *sink.Batch) error {
			for line := range strings.Lines(string(b.Lines)) {
				r, err := decode.Parse([]byte(strings.TrimSuffix(line, "\n")))
				if err != nil {
					return err
				}
				rows[r.Measurement]++
				if r.Measurement == sink.MeasurementFlow {
					sent += r.Int(sink.FieldToServerBytes)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range sink.Measurements() {
		if rows[m.Name] == 0 {
			t.Errorf("no rows of %s", m.Name)
		}
	}
	if truth := h.Truth(); sent == 0 || uint64(sent) != truth.ToServer {
		t.Errorf("rows of flow say %d octets, the host sent %d", sent, truth.ToServer)
	}
	if got := rows[sink.MeasurementContainer]; got != 6*20 {
		t.Errorf("%d rows of container, want %d", got, 6*20)
	}
}

// TestDashboards writes to real servers and asks them every query.
func TestDashboards(t *testing.T) {
	length, n := 2*time.Hour, min(20, *containers)
	if *week {
		length, n = *span, *containers
	}
	for _, v := range []string{influxd.V1, influxd.V2} {
		if *version != "" && *version != v {
			continue
		}
		t.Run(v, func(t *testing.T) {
			db := influxd.Start(t, v)
			truth := fill(t, db, length, n)
			between := fmt.Sprintf("time > %dms and time <= %dms", end.Add(-length).UnixMilli(), end.UnixMilli())
			var sum float64
			for _, x := range answers(t, db, influxd.Bucket, "SELECT sum("+sink.FieldToServerBytes+") FROM "+sink.MeasurementFlow+" WHERE "+between) {
				sum = x.Values[0][1].(float64)
			}
			if sum != float64(truth.ToServer) {
				t.Errorf("the database says %.0f octets, the host sent %d", sum, truth.ToServer)
			}
			queries := asOpened(t, between, length)
			report(t, measure(t, db, queries))
		})
	}
}

// asOpened are the queries of all pages: of one container, one service and one edge
// where a page is about one, else of everything.
func asOpened(t *testing.T, between string, length time.Duration) (list []dashboards.Query) {
	one := map[string]string{"service": `shop01\/api`}
	for _, page := range []string{"", "container", "edge"} {
		variables := maps.Clone(one)
		switch page {
		case "container":
			variables["container"] = "shop01-api-1"
		case "edge":
			variables["client"], variables["server"] = `shop01\/web`, `shop01\/api`
		}
		queries, err := dashboards.QueriesWith(dashboards.Values{
			TimeFilter: between, Interval: max(*interval, (length / dashboards.MaxPoints).Round(time.Minute)), Variables: variables,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queries {
			if q.Dashboard == page || page == "" && q.Dashboard != "container" && q.Dashboard != "edge" {
				list = append(list, q)
			}
		}
	}
	return list
}

// fill writes the rows of length until end.
func fill(t *testing.T, db *influxd.Server, length time.Duration, n int) Truth {
	cfg := influxdb.DefaultConfig()
	cfg.URL, cfg.Timeout = db.URL, 5*time.Minute
	if db.V1() {
		cfg.Database, cfg.LogDatabase = influxd.Bucket, influxd.LogBucket
	} else {
		cfg.Org, cfg.Token = db.Org, influxdb.Secret(db.Token)
	}
	to, err := influxdb.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h, begin := NewHost(n, *interval), time.Now()
	for at := end.Add(-length + *interval); !at.After(end); at = at.Add(*interval) {
		err := h.Interval(at, end.Sub(at) < logRetention, func(b *sink.Batch) error { return to.Write(t.Context(), b) })
		if err != nil {
			t.Fatal(err)
		}
	}
	truth := h.Truth()
	influxCPU := db.CPUTime(t)
	t.Logf("%d containers, %d edges, %v every %v: %d rows in %v, %v of CPU time of the server", n, truth.Edges, length, *interval, truth.Rows, time.Since(begin).Round(time.Second), influxCPU.Round(time.Second))
	return truth
}

// timed is one query, how long its answer took, and the server's CPU time for it:
// what it would take where nothing else runs, at most.
type timed struct {
	dashboards.Query
	took, cpu time.Duration
	empty     bool
}

func measure(t *testing.T, db *influxd.Server, queries []dashboards.Query) []timed {
	var list []timed
	for _, q := range queries {
		begin, cpu := time.Now(), db.CPUTime(t)
		answer := answers(t, db, q.Database, q.Text)
		list = append(list, timed{q, time.Since(begin), db.CPUTime(t) - cpu, len(answer) == 0})
	}
	return list
}

// report is the table of docs/dashboards.md. A time is no verdict: the machine has
// other things to do.
func report(t *testing.T, list []timed) {
	var pages, empty []string
	byPage := map[string][]timed{}
	for _, q := range list {
		if byPage[q.Dashboard] == nil {
			pages = append(pages, q.Dashboard)
		}
		byPage[q.Dashboard] = append(byPage[q.Dashboard], q)
		if q.empty {
			empty = append(empty, q.Dashboard+": "+q.Panel)
		}
	}
	t.Logf("without data: %v", empty)
	if len(empty) > len(list)/4 {
		t.Errorf("%d of %d queries find nothing: the times say little", len(empty), len(list))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| page | queries | CPU: median | most | of which | over %v | by the clock: most |\n|---|---|---|---|---|---|---|\n", aim)
	for _, p := range pages {
		qs := byPage[p]
		over, clock := 0, time.Duration(0)
		for _, q := range qs {
			clock = max(clock, q.took)
			if q.cpu > aim {
				over++
			}
		}
		slices.SortFunc(qs, func(a, b timed) int { return int(a.cpu - b.cpu) })
		worst := qs[len(qs)-1]
		fmt.Fprintf(&b, "| %s | %d | %v | %v | %s | %d | %v |\n", p, len(qs), qs[len(qs)/2].cpu.Round(time.Millisecond), worst.cpu.Round(time.Millisecond), worst.Panel, over, clock.Round(10*time.Millisecond))
	}
	t.Logf("\n%s", &b)
}

// series is what InfluxDB calls so.
type series struct {
	Name    string
	Columns []string
	Values  [][]any
}

// answers runs a query; its time is whatever it takes.
func answers(t *testing.T, db *influxd.Server, database, text string) []series {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, db.URL+"/query?db="+url.QueryEscape(database), strings.NewReader(url.Values{"q": {text}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if db.Token != "" {
		req.Header.Set("Authorization", "Token "+db.Token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Results []struct {
			Error  string
			Series []series
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || resp.StatusCode != http.StatusOK || len(answer.Results) != 1 || answer.Results[0].Error != "" {
		t.Fatalf("%s: %s: %.500s", text, resp.Status, body)
	}
	return answer.Results[0].Series
}
