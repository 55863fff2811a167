package e2e

import (
	"strings"

	"github.com/weir-probe/weir/dashboards"
)

// unmade is what the workload of this run does not make, whatever else goes on on
// the machine: queries with such a condition or field may find nothing. They have
// data elsewhere: dashboards runs all queries on rows with every field. All others
// have to find something here, since absent means zero in the sparse rows.
var unmade = []struct{ text, why string }{
	{`"l7" = 'dns'`, "nobody asks DNS"},
	{`"l7" = 'tls'`, "nobody speaks TLS"},
	{`sum("resolve_`, "nobody waits for DNS"},
	{`sum("reset_by_`, "no connection is reset"},
	{`sum("request_errors")`, "no request fails: the workload's protocol is its own"},
	{`"unanswered" > 0`, "no request fails"},
	{`sum("accept_queue_drops")`, "no accept queue is full"},
	{`"memory_limit_bytes"`, "no container has a limit"},
	{`"end_reason" = 'active'`, "no connection lives as long as log_heartbeat"},
	{`"server_as_org"`, "no names.geoip"},
	{`"server_country"`, "no names.geoip"},
	{`"server_kind" = 'external'`, "no end outside"},
	{`AND "client_kind" = 'external'`, "no end outside"},
	{`"server_kind" = 'remote'`, "no other host"},
	{`"crosses" = 'zone'`, "no other host"},
	{`"crosses" = ''`, "every end of this run is here, and so in a zone"},
	{`"syn_ack_count"`, "no client elsewhere"},
	{`"state" = 'resolved'`, "a day is learnt from before there is an anomaly"},
	{`"fingerprint" =~`, "the same"},
	{`"score" > 0`, "a day is learnt from before anything is unusual"},
	{`"severity" = 'error'`, "nothing that bad happens"},
}

// checkDashboards runs every query of every page on what this run has written.
func (w *world) checkDashboards() {
	queries, err := dashboards.Queries()
	if err != nil {
		w.t.Fatal(err)
	}
	used := make([]bool, len(unmade))
	var empty []string
	for _, q := range queries {
		may := false
		for i, u := range unmade {
			if strings.Contains(q.Text, u.text) {
				may, used[i] = true, true
			}
		}
		if len(w.db.QueryInfluxQL(w.t, q.Database, q.Text)) > 0 {
			continue
		}
		empty = append(empty, q.Dashboard+": "+q.Panel)
		if !may {
			w.t.Errorf("%s, %s finds nothing: %s", q.Dashboard, q.Panel, q.Text)
		}
	}
	w.t.Logf("%-34s %d of %d have data; none: %v", "queries of the dashboards", len(queries)-len(empty), len(queries), empty)
	for i, u := range unmade {
		if !used[i] {
			w.t.Errorf("no query has %s: it need not be excused (%s)", u.text, u.why)
		}
	}
}
