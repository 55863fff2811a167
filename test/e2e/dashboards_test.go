package e2e

import "github.com/weir-probe/weir/test/pages"

// unmade is what the workload of this run does not make. Queries of it have data elsewhere:
// dashboards runs all queries on rows with every field.
var unmade = pages.OneHost.And(pages.Unmade{
	`"l7" = 'dns'`:          "nobody asks DNS",
	`"l7" = 'tls'`:          "nobody speaks TLS",
	`sum("resolve_`:         "nobody waits for DNS",
	`sum("reset_by_`:        "no connection is reset",
	`sum("request_errors")`: "no request fails: the workload's protocol is its own",
	`"unanswered" > 0`:      "no request fails",
	`"memory_limit_bytes"`:  "no container has a limit",
	`"crosses" = 'zone'`:    "no other host",
	`"crosses" = ''`:        "every end of this run is here, and so in a zone",
	`"state" = 'resolved'`:  "a day is learnt from before there is an anomaly",
	`"fingerprint" =~`:      "the same",
	`"score" > 0`:           "a day is learnt from before anything is unusual",
	`"severity" = 'error'`:  "nothing that bad happens",
})

// checkDashboards runs every query of every page on what this run has written.
func (w *world) checkDashboards() { pages.Ask(w.t, w.db, unmade) }
