package dashboards

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/test/influxd"
)

// mustBoard reads a page back as Chronograf does.
func mustBoard(t *testing.T, p Page) board {
	t.Helper()
	b, err := p.Chronograf()
	if err != nil {
		t.Fatal(err)
	}
	var c chronograf
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c.Dashboard
}

// replaced puts the variables' values in place of their names, as Chronograf does:
// the ones chosen in the file, and for those that are looked up the test's.
func (b *board) replaced(page, text string) string {
	pairs := []string{
		"time > :dashboardTime: AND time < :upperDashboardTime:", sampleValues.TimeFilter,
	}
	for _, v := range b.Templates {
		value := strings.ReplaceAll(sampleValues.Variables[page+"."+strings.Trim(v.Var, ":")], `\`, "")
		for _, x := range v.Values {
			if x.Selected {
				value = x.Value
			}
		}
		pairs = append(pairs, v.Var, value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// TestChronografIsWhole checks what Chronograf's server and page refuse or would
// draw wrongly: names of types, cells over one another, unknown variables.
func TestChronografIsWhole(t *testing.T) {
	types := []string{"line", "line-stacked", "bar", "single-stat", "line-plus-single-stat", "table", "note"}
	variable := regexp.MustCompile(`:[A-Za-z]+:`)
	for _, p := range chronografPages(t) {
		b := mustBoard(t, p)
		known := []string{":dashboardTime:", ":upperDashboardTime:"}
		for _, v := range b.Templates {
			if slices.Contains(known, v.Var) || !slices.Contains([]string{"text", "csv", "influxql"}, v.Type) || (v.Type == "influxql") != (v.Query["influxql"] != "") {
				t.Errorf("%s: variable %+v", p.Name, v)
			}
			known = append(known, v.Var)
		}
		ids, used, queries := map[string]bool{}, map[string]bool{}, 0
		for i, k := range b.Cells {
			if ids[k.I] || !slices.Contains(types, k.Type) || k.X < 0 || k.W < 1 || k.X+k.W > 12 || k.H < 1 || k.Note == "" {
				t.Errorf("%s: cell %+v", p.Name, k)
			}
			ids[k.I] = true
			for _, o := range b.Cells[:i] {
				if k.X < o.X+o.W && o.X < k.X+k.W && k.Y < o.Y+o.H && o.Y < k.Y+k.H {
					t.Errorf("%s: %s lies on %s", p.Name, k.Name, o.Name)
				}
			}
			for _, q := range k.Queries {
				queries++
				if strings.Contains(q.Query, "$_") || strings.Contains(q.Query, "$t") || strings.Contains(k.Name+k.Note, "$") {
					t.Errorf("%s, %s: a variable of Grafana's is left: %s", p.Name, k.Name, q.Query)
				}
				for _, v := range variable.FindAllString(q.Query, -1) {
					used[v] = true
					if !slices.Contains(known, v) {
						t.Errorf("%s, %s: there is no variable %s", p.Name, k.Name, v)
					}
				}
			}
		}
		for _, v := range known {
			if !used[v] {
				t.Errorf("%s: no query uses %s", p.Name, v)
			}
		}
		want := 0
		for _, panel := range p.panels() {
			if inChronograf(&panel) {
				want += len(panel.Targets)
			}
		}
		if queries != want {
			t.Errorf("%s has %d queries, in Grafana %d", p.Name, queries, want)
		}
	}
}

// TestChronografQueriesRun: a real server answers each, without being told a
// database beside the query.
func TestChronografQueriesRun(t *testing.T) {
	for _, version := range []string{influxd.V1, influxd.V2} {
		t.Run(version, func(t *testing.T) {
			s := startServer(t, version)
			s.write(t, mainDB, sampleLines(sink.Main))
			s.write(t, logDB, sampleLines(sink.Log))
			for _, p := range chronografPages(t) {
				b := mustBoard(t, p)
				for _, k := range b.Cells {
					for _, q := range k.Queries {
						s.mustAnswer(t, p.Name+", "+k.Name, b.replaced(p.Name, q.Query))
					}
				}
				for _, v := range b.Templates {
					if q := v.Query["influxql"]; q != "" {
						s.mustAnswer(t, p.Name+", "+v.Var, q)
					}
				}
			}
			s.wantNumber(t, "overview", "Throughput", "throughput", 200)
			s.wantNumber(t, "overview", "Opened", "opened", 1000*sampleIntervals)
			s.wantNumber(t, "overview", "Attributed", "coverage", 1)
			s.wantNumber(t, "container", "In, by peer", "in", 10)
		})
	}
}

func (s *server) mustAnswer(t *testing.T, where, q string) {
	t.Helper()
	if got, err := s.ask("", q); err != nil {
		t.Errorf("%s: %v\n%s", where, err, q)
	} else if len(got) == 0 {
		t.Errorf("%s: no answer although every field has data\n%s", where, q)
	}
}

// wantNumber compares the first number of a cell's first query.
func (s *server) wantNumber(t *testing.T, page, name, column string, want float64) {
	t.Helper()
	for _, p := range chronografPages(t) {
		b := mustBoard(t, p)
		i := slices.IndexFunc(b.Cells, func(k cell) bool { return p.Name == page && k.Name == name })
		if i < 0 {
			continue
		}
		q := b.replaced(page, b.Cells[i].Queries[0].Query)
		got, err := s.ask("", q)
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := got.first(column); !ok || v != want {
			t.Errorf("%s, %s: %v, want %v\n%s", page, name, v, want, q)
		}
		return
	}
	t.Errorf("there is no cell %s, %s", page, name)
}

// TestChronografResources: the pages that Chronograf finds by itself are those that
// it imports, each with a number of its own below those that it gives.
func TestChronografResources(t *testing.T) {
	taken := map[int]string{}
	for _, p := range chronografPages(t) {
		b, err := p.ChronografResource()
		if err != nil {
			t.Fatal(err)
		}
		var found board
		if err := json.Unmarshal(b, &found); err != nil {
			t.Fatal(err)
		}
		if other, ok := taken[found.ID]; ok || found.ID >= 0 {
			t.Errorf("%s: number %d, as %q", p.Name, found.ID, other)
		}
		taken[found.ID] = p.Name
		imported := mustBoard(t, p)
		found.ID = imported.ID
		if !reflect.DeepEqual(found, imported) || found.Name == "" || found.Organization != "default" {
			t.Errorf("%s is another page than the one that is imported", p.Name)
		}
	}
}
