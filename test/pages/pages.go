// Package pages asks a database, into which Weir has written, all that the dashboards ask.
package pages

import (
	"maps"
	"strings"
	"testing"

	"github.com/weir-probe/weir/dashboards"
	"github.com/weir-probe/weir/test/influxd"
)

// Unmade is what a workload does not make, whatever else goes on on the machine: queries
// that have a text, a condition or a field, may find nothing, for the reason beside it. All
// others have to find something, since absent means zero in the sparse rows.
type Unmade map[string]string

// OneHost is what no short run on one host makes that talks to nobody elsewhere.
var OneHost = Unmade{
	`"server_kind" = 'external'`:     "no end outside",
	`AND "client_kind" = 'external'`: "no end outside",
	`"server_kind" = 'remote'`:       "no other host",
	`"syn_ack_count"`:                "no client elsewhere",
	`"server_as_org"`:                "no names.geoip",
	`"server_country"`:               "no names.geoip",
	`"end_reason" = 'active'`:        "no connection lives as long as log_heartbeat",
	`sum("accept_queue_drops")`:      "no accept queue is full",
}

// And is what neither u nor more makes.
func (u Unmade) And(more Unmade) Unmade {
	both := maps.Clone(u)
	maps.Copy(both, more)
	return both
}

// Answer is what the database says to one query of a panel or a variable.
type Answer struct {
	dashboards.Query
	Rows []influxd.Row
}

// Ask runs every query of every page, and wants data of each that is not excused. An excuse
// that no query needs is an error, too.
func Ask(t testing.TB, db *influxd.Server, unmade Unmade) (answers []Answer) {
	t.Helper()
	queries, err := dashboards.Queries()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	var empty []string
	for _, q := range queries {
		may := false
		for text := range unmade {
			if strings.Contains(q.Text, text) {
				may, used[text] = true, true
			}
		}
		rows := db.QueryInfluxQL(t, q.Database, q.Text)
		answers = append(answers, Answer{q, rows})
		if len(rows) > 0 {
			continue
		}
		empty = append(empty, q.Dashboard+": "+q.Panel)
		if !may {
			t.Errorf("%s, %s finds nothing: %s", q.Dashboard, q.Panel, q.Text)
		}
	}
	t.Logf("%-34s %d of %d have data; none: %v", "queries of the dashboards", len(queries)-len(empty), len(queries), empty)
	for text, why := range unmade {
		if !used[text] {
			t.Errorf("no query has %s: it need not be excused (%s)", text, why)
		}
	}
	return answers
}
