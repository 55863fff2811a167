package dashboards

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/sink/influxdb/setup"
	"github.com/weir-probe/weir/test/influxd"
)

// TestLongTerm: weir setup adds up real rows per minute and per hour, and with the
// token that it makes for Grafana every query of a page that can read those finds them,
// with the same sums.
func TestLongTerm(t *testing.T) {
	for _, version := range []string{influxd.V1, influxd.V2} {
		t.Run(version, func(t *testing.T) {
			s := &server{Server: influxd.Start(t, version)}
			s.writeToken, s.readToken = s.Token, s.Token
			// Whole minutes of an hour that is over.
			start := time.Now().Truncate(time.Hour).Add(-30 * time.Minute)
			s.write(t, mainDB, sampleLinesFrom(start, sink.Main))
			s.downsample(t)
			v := sampleValues
			v.TimeFilter = fmt.Sprintf("time >= %dms and time <= %dms", start.Add(-time.Hour).UnixMilli(), start.Add(time.Hour).UnixMilli())
			for _, c := range []struct {
				db    database
				width time.Duration
			}{{longDBs[0], time.Minute}, {longDBs[1], time.Hour}} {
				v.Source, v.Interval = string(c.db), c.width
				asked := map[string]int{}
				for _, q := range mustQueries(t, v) {
					if q.Database != v.Source {
						continue
					}
					asked[q.Dashboard]++
					got, err := s.ask(q.Database, q.Text)
					if err != nil {
						t.Errorf("%s, %s: %v\n%s", q.Dashboard, q.Panel, err, q.Text)
					} else if len(got) == 0 {
						t.Errorf("%s: %s, %s: nothing\n%s", q.Database, q.Dashboard, q.Panel, q.Text)
					}
				}
				for _, page := range []string{"overview", "topology", "errors", "edge", "service", "container", "processes", "dns", "tls", "capacity"} {
					if asked[page] < 5 {
						t.Errorf("%s: only %d queries of %s", c.db, asked[page], page)
					}
				}
				for _, x := range []struct {
					page, panel, column string
					want                float64
				}{
					{"overview", "Top edges by bytes to the server", "bytes", 400 * sampleIntervals},
					{"capacity", "Top servers", "bytes", 2 * 600 * sampleIntervals},
					{"capacity", "What it costs", "cpu", 2 * 0.5 * sampleIntervals},
					{"service", "Callers with failed attempts", "failed", 100 * sampleIntervals},
					{"service", "Routes and statements", "requests", 100 * sampleIntervals},
					{"topology", "Edges", "opened", 100 * sampleIntervals},
				} {
					if got, ok := s.value(t, x.page, x.panel, x.column, v); !ok || got != x.want {
						t.Errorf("%s: %s, %s: %v, want %v", c.db, x.page, x.panel, got, x.want)
					}
				}
			}
		})
	}
}

// downsample is weir setup influxdb, and what its tasks would do in time; from here on
// s reads with the token for Grafana.
func (s *server) downsample(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "read")
	plan, err := setup.New(t.Context(), setup.Options{
		Server:    influxdb.Config{URL: s.URL, Org: s.Org, Token: influxdb.Secret(s.Token), Bucket: string(mainDB), Timeout: time.Minute},
		Recompute: 4 * time.Hour, NoAlerts: true, ReadTokenFile: file, Out: &bytes.Buffer{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(t.Context(), func(setup.Step) {}); err != nil {
		t.Fatal(err)
	}
	if s.V1() {
		return // asks nobody for a token
	}
	token, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.readToken = strings.TrimSpace(string(token))
}

// TestDownsampledIsWhatSetUpMakes: setup says of each measurement that it adds it up,
// once for the minute and once for the hour.
func TestDownsampledIsWhatSetUpMakes(t *testing.T) {
	if got := setup.Downsampled(); !slices.Equal(got, Downsampled) {
		t.Errorf("setup downsamples %q, the pages count on %q", got, Downsampled)
	}
}

// TestLongPages: their panels ask one data source each, the one chosen, or say that
// they do not.
func TestLongPages(t *testing.T) {
	for _, p := range mustPages(t) {
		chosen := 0
		for _, panel := range p.panels() {
			for _, q := range panel.Targets {
				if got := *q.(target).Datasource.Uid; got != *panel.Datasource.Uid {
					t.Errorf("%s, %s: asks %s and %s", p.Name, *panel.Title, *panel.Datasource.Uid, got)
				}
			}
			if *panel.Datasource.Uid != string(anyLength) {
				if long := slices.Contains(longPages, *p.Uid); long && *panel.Datasource.Uid == string(mainDB) && !strings.Contains(*panel.Description, "whatever is chosen") {
					t.Errorf("%s, %s: does not say that it shows only what raw rows are kept of", p.Name, *panel.Title)
				}
				continue
			}
			chosen++
			if panel.Interval != nil {
				t.Errorf("%s, %s: points of %s, of whatever rows", p.Name, *panel.Title, *panel.Interval)
			}
			for _, l := range panelLinks(panel) {
				uid := strings.TrimPrefix(strings.Split(l.URL, "?")[0], "/d/")
				if slices.Contains(longPages, uid) != strings.Contains(l.URL, "${source:queryparam}") {
					t.Errorf("%s, %s: the choice of rows is lost, or is none there: %s", p.Name, *panel.Title, l.URL)
				}
			}
		}
		if slices.Contains(longPages, *p.Uid) != (chosen > 0) {
			t.Errorf("%s: %d panels of any length", p.Name, chosen)
		}
	}
}

// TestAges: the head of a page that can read other rows leads to longer times of what is
// chosen there, in rows that are kept as long.
func TestAges(t *testing.T) {
	keep := map[string]time.Duration{
		string(mainDB): setup.DefaultKeep[setup.Raw], string(longDBs[0]): setup.DefaultKeep[setup.Minute], string(longDBs[1]): setup.DefaultKeep[setup.Hour],
	}
	for _, a := range Ages {
		if a.Length > keep[a.Rows] {
			t.Errorf("%s: %s keeps %s", a.Title, a.Rows, keep[a.Rows])
		}
	}
	for _, p := range mustPages(t) {
		found := 0
		for _, l := range p.Links {
			i := slices.IndexFunc(Ages, func(a Age) bool { return a.Title == l.Title })
			if i < 0 {
				continue
			}
			found++
			to := *l.Url
			if !strings.HasPrefix(to, "/d/"+*p.Uid+"?") || !strings.HasSuffix(to, "&var-source="+Ages[i].Rows+"&from="+Ages[i].From+"&to=now") {
				t.Errorf("%s, %s: leads to %s", p.Name, l.Title, to)
			}
			for _, v := range p.Templating.List {
				if strings.Contains(to, "${"+v.Name+":queryparam}") == (v.Name == sourceVariable || hiddenVariable(v)) {
					t.Errorf("%s, %s: what of %s? %s", p.Name, l.Title, v.Name, to)
				}
			}
		}
		if want := slices.Contains(longPages, *p.Uid); (found == len(Ages)) != want || !want && found > 0 {
			t.Errorf("%s: %d links to other times", p.Name, found)
		}
	}
}
