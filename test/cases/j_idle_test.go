package cases

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/probe"
)

// J10: of several edges one goes on, one ends, one is seldom used, one fails and ends, and
// one is a connection that is open and says nothing. What has no traffic has no rows, what
// is open has rows of zeros, and no rule takes the one or the other for trouble: told is
// the edge that always had traffic at this time, and, once weir is away as well, its silence.
func TestCaseJ10_NothingHappens(t *testing.T) {
	t.Parallel()
	s := newShop(t, "j10", allUnattributed)
	db := influxd.Start(t, influxd.V1)
	s.knows(habit{"web", "api", 1}, habit{"job", "db", 1}, habit{"cron", "db", 5}, habit{"open", "api", 5})
	s.serve(firstVersion, "api", 1)
	s.serve(firstVersion, "db", 1)
	s.run(firstVersion, "web", 1, connections("api:9000")...)
	s.run(firstVersion, "open", 1, "client", "-addr", "api:9000", "-hold", "1h")
	job := s.run(firstVersion, "job", 1, connections("db:9000")...)
	cron := s.run(firstVersion, "cron", 1, connections("db:9000")...)
	bad := s.run(firstVersion, "bad", 1, connections("api:9999")...) // nobody listens there
	w := s.watch("--sink", "influxdb", "--influxdb-url", db.URL, "--influxdb-bucket", influxd.Bucket)
	rules := grafanaRules(t)
	// fire are the rules that fire for the shop, or for the probe itself.
	fire := func(at time.Time) map[string][]string {
		found := map[string][]string{}
		for _, r := range rules {
			for _, series := range r.firing(t, db, at) {
				if r.UID == "weir-silent" || strings.Contains(series, s.name("")) {
					found[r.UID] = append(found[r.UID], series)
				}
			}
		}
		return found
	}
	fires := func(when string, at time.Time, want map[string][]string) {
		t.Helper()
		if d := cmp.Diff(want, fire(at)); d != "" {
			t.Errorf("%s, rules that fire (-want +got):\n%s", when, d)
		}
	}
	w.nothing("with traffic")
	failing := map[string][]string{"weir-connections-fail": {"j10/bad j10/api"}}
	probe.Until(t, patience, "enough attempts have failed", func() error {
		time.Sleep(time.Second)
		if len(fire(w.latest())) == 0 {
			return errors.New("no rule fires")
		}
		return nil
	})
	fires("with traffic", w.latest(), failing)

	s.Docker(t, "rm", "-f", job, cron, bad)
	over := w.latest().Add(2 * time.Second)
	probe.Until(t, 3*time.Minute+patience, "that there is nothing is told", func() error {
		if len(s.alerts()) == 0 || len(w.told()) == 0 {
			time.Sleep(time.Second)
			return fmt.Errorf("%d rows, %d alerts", len(w.told()), len(s.alerts()))
		}
		return nil
	})
	w.settle(t)
	if told := w.told(); len(told) != 1 || told[0].tag("type") != "quiet" || told[0].tag("client") != s.name("job") || told[0].tag("server") != s.name("db") {
		t.Errorf("told: %v", told)
	}
	if alerts := s.alerts(); len(alerts) != 1 || alerts[0].Type != "quiet" || alerts[0].Client != s.name("job") {
		t.Errorf("alerts: %+v", alerts)
	}
	now := w.latest()
	w.arrived(db, now)
	w.checkRows(over, now)
	quiet := []string{"j10/job j10/db quiet"}
	fires("a while later", now, map[string][]string{"weir-unusual": quiet, "weir-connections-fail": failing["weir-connections-fail"]})
	w.Stop(t)
	fires("with weir away", now.Add(6*time.Minute), map[string][]string{"weir-unusual": quiet, "weir-silent": {""}})
}

// checkRows looks at the rows of a time in which some edges had no traffic.
func (w *watched) checkRows(from, to time.Time) {
	t, s := w.s.t, w.s
	t.Helper()
	intervals := map[int64]bool{} // a busy machine has longer ones
	for _, x := range w.all(t, "weir_self", func(x row) bool { return x.time > from.UnixNano() && x.time <= to.UnixNano() }) {
		intervals[x.time] = true
	}
	of := func(client string) (list []row) {
		return w.all(t, "flow", func(x row) bool {
			return x.tag("client") == s.name(client) && x.time > from.UnixNano() && x.time <= to.UnixNano()
		})
	}
	for _, gone := range []string{"job", "cron", "bad"} {
		for _, x := range of(gone) {
			t.Errorf("no traffic, but a row: %s", x)
		}
	}
	open := of("open")
	if len(open) < len(intervals)-2 {
		t.Errorf("the open connection has %d rows in %d intervals", len(open), len(intervals))
	}
	for _, x := range open {
		if x.num("active") != 1 || x.num("to_server_bytes") != 0 || x.num("to_client_bytes") != 0 || x.num("attempts") != 0 {
			t.Errorf("an open connection without traffic: %s", x)
		}
	}
	if web := of("web"); len(web) < len(intervals)-2 {
		t.Errorf("the edge that goes on has %d rows in %d intervals", len(web), len(intervals))
	}
}

// arrived waits until the database has the rows of an interval.
func (w *watched) arrived(db *influxd.Server, at time.Time) {
	w.s.t.Helper()
	probe.Until(w.s.t, patience, "rows are in the database", func() error {
		if len(db.QueryInfluxQL(w.s.t, influxd.Bucket, fmt.Sprintf("SELECT rss_bytes FROM weir_self WHERE stage = 'process' AND time >= %d", at.UnixNano()))) == 0 {
			time.Sleep(200 * time.Millisecond)
			return fmt.Errorf("none of %s", at)
		}
		return nil
	})
}
