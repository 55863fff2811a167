package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/influxd"
)

// delivered waits until the ends of the connections are in the database, and
// wants each there once: ports are all that were made to the server.
func (s *server) delivered(t *testing.T, db *influxd.Server, ports []int) {
	t.Helper()
	count := map[int]int{}
	until(t, "the rows in the database", func() bool {
		clear(count)
		for _, p := range ports {
			count[p]--
		}
		q := fmt.Sprintf(`SELECT client_port, server_port FROM flow_log WHERE end_reason = 'end' AND server_port = %d`, s.port)
		for _, r := range db.QueryInfluxQL(t, influxd.LogBucket, q) {
			n, ok := r.Values["client_port"].(json.Number)
			if !ok {
				return false // being written: a point's fields appear one by one
			}
			p, _ := n.Int64()
			count[int(p)]++
		}
		for _, n := range count {
			if n < 0 {
				return false
			}
		}
		return true
	})
	for p, n := range count {
		if n > 0 {
			t.Errorf("a connection from port %d is there %d times too often", p, n)
		}
	}
}

// J4: the database is away when the probe starts.
func TestDatabaseAwayAtStart(t *testing.T) {
	needsRoot(t)
	db := influxd.Start(t, influxd.V1)
	db.Stop(t)
	s := listen(t)
	p := run(t, "--journal", t.TempDir(), "--listen", "", "--influxdb-url", db.URL, "--influxdb-bucket", influxd.Bucket)
	ports := s.connect(t, 30)
	p.WaitLog(t, "connection refused")
	db.Restart(t)
	ports = append(ports, s.connect(t, 30)...)
	s.delivered(t, db, ports)
	p.Stop(t)
}

// J4: what is not delivered at the end is delivered by the next run.
func TestDatabaseAwayForAWholeRun(t *testing.T) {
	needsRoot(t)
	db := influxd.Start(t, influxd.V1)
	db.Stop(t)
	s, journal := listen(t), t.TempDir()
	args := []string{"--journal", journal, "--listen", "", "--influxdb-url", db.URL, "--influxdb-bucket", influxd.Bucket}
	p := run(t, args...)
	ports := s.connect(t, 30)
	p.Stop(t)
	if !strings.Contains(p.Stderr.String(), "not everything was delivered") {
		t.Error("the end does not say that rows stay behind")
	}
	db.Restart(t)
	p = run(t, args...)
	s.delivered(t, db, ports)
	p.Stop(t)
}

// J4: a wrong password is said, and the right one, put into the file, is found.
func TestTokenFileMended(t *testing.T) {
	needsRoot(t)
	db := influxd.StartWithUsers(t, influxd.V1)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("admin:wr0ng-s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := listen(t)
	p := run(t, "--journal", t.TempDir(), "--listen", "", "--influxdb-url", db.URL, "--influxdb-bucket", influxd.Bucket, "--influxdb-token-file", file)
	ports := s.connect(t, 30)
	p.WaitLog(t, "401")
	if err := os.WriteFile(file, []byte(db.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.delivered(t, db, ports)
	p.Stop(t)
	if log := p.Stderr.String(); strings.Contains(log, "wr0ng-s3cret") || strings.Contains(log, db.Token) {
		t.Error("the log shows a secret")
	}
}

// E19: what the probe sends to the database makes no rows; what others do does.
func TestCaseE19_OwnTraffic(t *testing.T) {
	needsRoot(t)
	db := influxd.Start(t, influxd.V1)
	s := listen(t)
	out := filepath.Join(t.TempDir(), "rows")
	p := run(t, "--journal", t.TempDir(), "--listen", "", "--influxdb-url", db.URL, "--influxdb-bucket", influxd.Bucket,
		"--sink", "influxdb", "--sink", "file:"+out)
	ports := s.connect(t, 10)
	s.delivered(t, db, ports) // asks the database, too: traffic that is not the probe's
	s.has(t, out, ports)
	p.Stop(t)
	port := "server_port=" + db.URL[strings.LastIndex(db.URL, ":")+1:] + "i"
	own, other := 0, 0
	for line := range strings.Lines(read(out)) {
		switch {
		case !strings.HasPrefix(line, "flow_log,") || !strings.Contains(line, port):
		case strings.Contains(line, fmt.Sprintf("client_pid=%di", p.PID())):
			own++
		default:
			other++
		}
	}
	if own > 0 || other == 0 {
		t.Errorf("%d rows of flow_log tell of the probe's own traffic, %d of others'", own, other)
	}
}
