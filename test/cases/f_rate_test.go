package cases

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/probe"
)

// Attempts and failures are counted in the same interval: over every interval of
// every edge attempts are what was opened, failed and aborted, and the rate of
// failures is between none and all.
func TestCaseF20_RatesOfEveryInterval(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 9)
	b.near.Sysctl(t, "net/ipv4/tcp_syn_retries", "1")
	b.near.Run(t, "ip", "neigh", "add", "10.210.9.77", "lladdr", "02:00:00:00:00:77", "dev", "wf0")
	port := spawn(t, b.far, "serve", b.there+":0", "0").number()
	const rounds, each = 3, 20
	round := strings.Repeat(fmt.Sprintf("connect %s:%d close connect %s:9 connect-and-close 10.210.9.77:9 ", b.there, port, b.there), each)
	round += "connect 10.210.9.77:9 wait "       // over several intervals
	name := fmt.Sprint("wf-rates-", os.Getpid()) // another run on this host has another
	p := spawnNamed(t, b, name, strings.Repeat(round, rounds))
	for range rounds {
		for range each {
			p.hears("ok", "ECONNREFUSED", "EINPROGRESS")
		}
		p.hears("ETIMEDOUT")
		p.say("on")
	}
	p.ended()

	mine := func(r row) bool { return strings.Contains(fmt.Sprint(r.tags), name) }
	var sum struct{ attempts, opened, failed int64 }
	probe.Until(t, patience, "all attempts in flow", func() error {
		sum.attempts, sum.opened, sum.failed = 0, 0, 0
		for _, r := range rows.all(t, "flow", mine) {
			sum.attempts += r.num("attempts")
			sum.opened += r.num("opened")
			sum.failed += r.num("failed")
		}
		if sum.attempts < rounds*(3*each+1) {
			return fmt.Errorf("%+v", sum)
		}
		return nil
	})
	if sum.attempts != rounds*(3*each+1) || sum.opened != rounds*each || sum.failed != rounds*(each+1) {
		t.Errorf("%+v", sum)
	}

	// Of all edges that any test has made so far.
	all := rows.all(t, "flow", func(r row) bool { return r.num("attempts") >= 0 })
	rows.settle(t) // the errors of the same intervals are there
	wrong := map[string]row{}
	for _, r := range rows.all(t, "flow_error", func(row) bool { return true }) {
		wrong[edge(r)] = r
	}
	told, intervals := 0, map[int64]bool{}
	for _, r := range all {
		e, failed := wrong[edge(r)], int64(0)
		for _, cause := range []string{"refused", "timeout", "unreachable", "local"} {
			failed += max(0, e.num("failed_"+cause))
		}
		if r.num("attempts") != r.num("opened")+r.num("failed")+max(0, e.num("aborted")) || r.num("failed") < 0 || r.num("opened") < 0 || r.num("failed") != failed {
			t.Errorf("%v\nand %v", r, e)
		}
		if told++; mine(r) && r.num("attempts") > 0 {
			intervals[r.time] = true
		}
	}
	if told == 0 || len(intervals) < rounds {
		t.Errorf("%d rows with attempts, mine in %d intervals", told, len(intervals))
	}
}

// edge names an edge and an interval: flow and flow_error have the same.
func edge(r row) string { return fmt.Sprint(r.tags, r.time) }

// spawnNamed starts a client's steps in an executable with a name of its own, which
// is the name of its edges.
func spawnNamed(t *testing.T, b *pairBed, name, doing string) *process {
	t.Helper()
	return spawnWith(t, b.near, programNamed(t, name), "steps", strings.Fields(doing)...)
}
