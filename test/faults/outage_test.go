package faults

import (
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/probe"
)

// away is how long the server of TestCaseJ4_Away is: `make outage DURATION=30m`.
var away = flag.Duration("away", 4*time.Second, "how long the database is stopped while a probe writes to it")

// databases runs f against each real server, side by side.
func databases(t *testing.T, f func(t *testing.T, db *influxd.Server)) {
	needsRoot(t)
	for _, v := range []string{influxd.V1, influxd.V2} {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			f(t, influxd.Start(t, v))
		})
	}
}

// into starts a probe that writes to a database.
func into(t *testing.T, db *influxd.Server, args ...string) *probe.Process {
	t.Helper()
	cmd := command(append([]string{"--listen", "", "--influxdb-url", db.URL, "--influxdb-bucket", influxd.Bucket}, args...)...)
	if !db.V1() {
		cmd.Args = append(cmd.Args, "--influxdb-org", db.Org)
		cmd.Env = append(cmd.Env, "INFLUX_TOKEN="+db.Token)
	}
	p := probe.Spawn(t, cmd)
	p.WaitReady(t)
	return p
}

// number is the one that a query over all rows answers with, 0 for no row.
func number(t *testing.T, db *influxd.Server, bucket, query string) float64 {
	t.Helper()
	for _, r := range db.QueryInfluxQL(t, bucket, query) {
		if n, ok := r.Values["n"].(json.Number); ok {
			f, _ := n.Float64()
			return f
		}
	}
	return 0
}

// chat makes connections for a while, some twenty a second.
func (s *server) chat(t *testing.T, d time.Duration) (ports []int) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		ports = append(ports, s.connect(t, 5)...)
	}
	return ports
}

// J4: the server is stopped in the middle of traffic and comes back. Each connection is
// there once, in flow_log and in the sums of flow, and capture has not noticed.
func TestCaseJ4_Away(t *testing.T) {
	databases(t, func(t *testing.T, db *influxd.Server) {
		s := listenAt(t, machine.FreeAddress(t)) // a port that is a tag of its own
		p := into(t, db, "--journal", t.TempDir(), "--flow-log-rate", "1000000")
		ports := s.chat(t, 2*time.Second)
		s.delivered(t, db, ports)
		db.Stop(t)
		stopped := time.Now()
		ports = append(ports, s.chat(t, *away)...)
		p.WaitLog(t, "cannot deliver, rows are kept")
		db.Restart(t)
		back := time.Now()
		ports = append(ports, s.chat(t, 2*time.Second)...)
		s.settled(t, db, ports)
		caughtUp := time.Since(back)
		p.Stop(t)
		s.sums(t, db, len(ports))
		db.NothingLost(t)
		self := func(query string) float64 { return number(t, db, influxd.Bucket, query) }
		failed, waited := self(`SELECT sum(errors) AS n FROM weir_self WHERE stage = 'delivery'`), self(`SELECT max(queue_rows) AS n FROM weir_self WHERE stage = 'delivery'`)
		if failed == 0 || waited == 0 || !strings.Contains(p.Log(), "delivering again") {
			t.Errorf("weir_self tells of %v requests that failed and %v rows that waited", failed, waited)
		}
		t.Logf("away for %s, %d connections, up to %v rows waited, %v requests failed, all there %s after the server's start; %v intervals, the longest tick took %v s",
			back.Sub(stopped).Round(time.Second), len(ports), waited, failed, caughtUp.Round(100*time.Millisecond),
			self(`SELECT count(loop_seconds) AS n FROM weir_self WHERE stage = 'process'`), self(`SELECT max(loop_seconds) AS n FROM weir_self WHERE stage = 'process'`))
	})
}

// settled waits until the ends of the connections are in the database, however long a
// deliverer waits between two tries and a busy machine needs to catch up, and wants each
// there once.
func (s *server) settled(t *testing.T, db *influxd.Server, ports []int) {
	t.Helper()
	ended := fmt.Sprintf(`SELECT count(client_port) AS n FROM flow_log WHERE end_reason = 'end' AND server_port = %d`, s.port)
	probe.Until(t, 5*patience+*away, "the rows in the database", func() error {
		time.Sleep(500 * time.Millisecond) // each look is a query over all rows, and delays what it waits for
		if n := number(t, db, influxd.LogBucket, ended); int(n) < len(ports) {
			return fmt.Errorf("%v of %d", n, len(ports))
		}
		return nil
	})
	s.delivered(t, db, ports)
}

// sums wants flow to tell of so many connections to the server in all of its rows, after
// the probe's end.
func (s *server) sums(t *testing.T, db *influxd.Server, n int) {
	t.Helper()
	for field, want := range map[string]int{"opened": n, "closed": n, "to_server_bytes": 10 * n} {
		q := fmt.Sprintf(`SELECT sum(%s) AS n FROM flow WHERE server_port = '%d'`, field, s.port)
		if got := number(t, db, influxd.Bucket, q); int(got) != want {
			t.Errorf("%s of all rows of flow is %v, want %d", field, got, want)
		}
	}
}
