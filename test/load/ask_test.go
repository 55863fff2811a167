package load

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/dashboards"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/test/influxd"
)

// aim is the most that a query may cost the server, of CPU time: what it takes by the
// clock where nothing else runs, at most.
const aim = 2 * time.Second

// view is what somebody looks at: a time range and the rows that the choice "Rows" of a
// page has.
type view struct {
	source  string
	length  time.Duration
	width   time.Duration // of a point
	offered bool          // by the pages themselves
}

// viewsOf are those that pages offer, as far back as there is something, and what else
// can be chosen over a long time.
func viewsOf(length, step time.Duration) (views []view) {
	least := map[string]time.Duration{influxd.Bucket: step, influxd.Bucket + "_1m": time.Minute, influxd.Bucket + "_1h": time.Hour}
	add := func(source string, over time.Duration, offered bool) {
		over = min(over, length)
		v := view{source, over, width(over, least[source]), offered}
		if !slices.ContainsFunc(views, func(o view) bool { return o.source == v.source && o.length == v.length }) {
			views = append(views, v)
		}
	}
	for _, a := range dashboards.Ages {
		add(a.Rows, a.Length, true)
	}
	for _, source := range []string{influxd.Bucket + "_1m", influxd.Bucket} {
		add(source, 24*time.Hour, false)
		add(source, length, false)
	}
	return views
}

func (v view) String() string { return fmt.Sprintf("`%s`, %s", v.source, short(v.length)) }

// short writes 168h0m0s as 168h.
func short(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

// between is the time range. A row of an hour is a few ns late, or at its beginning.
func (v view) between() string {
	return fmt.Sprintf("time >= %dms and time <= %dms", end.Add(-v.length).UnixMilli(), end.UnixMilli()+1)
}

// width is the one that Grafana gives a point: of those that people count in, the
// nearest to so many points, but no finer than rows are.
func width(length, least time.Duration) time.Duration {
	exact, best := length/dashboards.MaxPoints, time.Second
	for _, w := range []time.Duration{2, 5, 10, 15, 20, 30, 60, 2 * 60, 5 * 60, 10 * 60, 15 * 60, 20 * 60, 30 * 60, 3600, 2 * 3600, 3 * 3600} {
		if (exact - w*time.Second).Abs() < (exact - best).Abs() {
			best = w * time.Second
		}
	}
	return max(best, least)
}

// queries are those of all pages: of one container, one service and one edge where a page
// is about one, else of everything. Where pages do not lead to the view it is the dearest of
// all, to know what that costs.
func (v view) queries(t *testing.T) (list []dashboards.Query) {
	one := map[string]string{"service": `shop01\/api`}
	for _, page := range []string{"", "container", "edge"} {
		variables := maps.Clone(one)
		switch page {
		case "container":
			variables["container"] = `(shop01-api-1|shop01\/api)`
			variables["container_as_client"], variables["container_as_server"] = `(shop01\/api|sink)`, `(shop01\/api|sink)` // what they offer then
		case "edge":
			variables["client"], variables["server"] = `shop01\/web`, `shop01\/api`
		}
		queries, err := dashboards.QueriesWith(dashboards.Values{TimeFilter: v.between(), Interval: v.width, Variables: variables, Source: v.source})
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queries {
			if !v.offered && (q.Dashboard != "overview" || q.Panel != "Edges" && q.Panel != "Throughput") {
				continue
			}
			if q.Dashboard == page || page == "" && q.Dashboard != "container" && q.Dashboard != "edge" {
				list = append(list, q)
			}
		}
	}
	return list
}

// checkSum: the view's rows say what was sent in length, where it has all of them.
func (v view) checkSum(t *testing.T, db *influxd.Server, length time.Duration, want uint64) {
	if v.length < length {
		return
	}
	var sum float64
	for _, x := range answers(t, db, v.source, "SELECT sum("+sink.FieldToServerBytes+") FROM "+sink.MeasurementFlow+" WHERE "+v.between()) {
		sum = x.Values[0][1].(float64)
	}
	if sum != float64(want) {
		t.Errorf("%v: rows say %.0f octets, the host sent %d", v, sum, want)
	}
}

// timed is one query and what its answer cost.
type timed struct {
	dashboards.Query
	took, cpu time.Duration
}

// measure asks every query of each view, and makes the table of docs/dashboards.md. The
// host makes all there is to ask for: each query has to find something.
func measure(t *testing.T, db *influxd.Server, views []view) string {
	cells, pages := map[string]map[view][]timed{}, []string(nil)
	chosen := regexp.MustCompile(*only)
	for _, v := range views {
		for _, q := range v.queries(t) {
			if !chosen.MatchString(fmt.Sprintf("%v: %s, %s", v, q.Dashboard, q.Panel)) {
				continue
			}
			runs := 1
			if v.offered {
				runs = 3
			}
			answer := cost(t, db, q, runs)
			if cells[q.Dashboard] == nil {
				pages, cells[q.Dashboard] = append(pages, q.Dashboard), map[view][]timed{}
			}
			cells[q.Dashboard][v] = append(cells[q.Dashboard][v], answer.timed)
			if v.offered && answer.cpu > aim {
				t.Errorf("%v: %s, %s takes %v of the server's CPU time: %s", v, q.Dashboard, q.Panel, answer.cpu, q.Text)
			}
			if answer.cpu > aim/4 {
				t.Logf("%v: %s, %s: %v of CPU time, %v by the clock", v, q.Dashboard, q.Panel, answer.cpu, answer.took.Round(10*time.Millisecond))
			}
			if len(answer.series) == 0 {
				t.Errorf("%v: %s, %s finds nothing: %s", v, q.Dashboard, q.Panel, q.Text)
			}
		}
	}
	return format(views, pages, cells)
}

// format has a row per page: for each view the query that costs most.
func format(views []view, pages []string, cells map[string]map[view][]timed) string {
	var b strings.Builder
	b.WriteString("| page | queries |")
	for _, v := range views {
		fmt.Fprintf(&b, " %v |", v)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(views)) + "\n")
	for _, p := range pages {
		n := 0
		for _, qs := range cells[p] {
			n = max(n, len(qs))
		}
		fmt.Fprintf(&b, "| %s | %d |", p, n)
		for _, v := range views {
			qs := cells[p][v]
			if len(qs) == 0 {
				b.WriteString(" |")
				continue
			}
			worst := slices.MaxFunc(qs, func(a, b timed) int { return int(a.cpu - b.cpu) })
			fmt.Fprintf(&b, " %.2f s (%.2f s) %s |", worst.cpu.Seconds(), worst.took.Seconds(), worst.Panel)
		}
		b.WriteString("\n")
	}
	return b.String()
}

type answer struct {
	timed
	series []series
}

// cost runs a query. What a server does besides (compaction, its tasks) is in its CPU
// time, too: of a query that seems dear the cheapest of some runs counts.
func cost(t *testing.T, db *influxd.Server, q dashboards.Query, runs int) answer {
	a := answer{timed: timed{q, math.MaxInt64, math.MaxInt64}}
	for try := 0; try < runs && a.cpu > aim; try++ {
		begin, cpu := time.Now(), db.CPUTime(t)
		a.series = answers(t, db, q.Database, q.Text)
		a.took, a.cpu = min(a.took, time.Since(begin)), min(a.cpu, db.CPUTime(t)-cpu)
	}
	return a
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
