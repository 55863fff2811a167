package faults

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/probe"
)

// backlog fills a journal with what a sink could not deliver: rows of measurement m.
func backlog(t *testing.T, dir, name string, rows int) {
	t.Helper()
	j, err := journal.Open(journal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for stream := range sink.Streams {
		q, err := j.Queue(name, stream) // leaves its place on disk
		if err != nil {
			t.Fatal(err)
		}
		q.Close()
	}
	var lines strings.Builder
	base := time.Now().Add(-time.Hour).UnixNano()
	const each = 2000
	for i := range rows {
		fmt.Fprintf(&lines, "m,host=h,server=shop/db,server_port=5432,proto=tcp a=%di,b=%di,c=%d.25,d=%di %d\n", i, i*7919%100003, i%1000, i%64, base+int64(i)*1000)
		if (i+1)%each == 0 {
			if err := j.Append(&sink.Batch{Stream: sink.Main, Time: base + int64(i), Rows: each, Lines: []byte(lines.String())}); err != nil {
				t.Fatal(err)
			}
			lines.Reset()
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// J4: while half a million rows that an outage has left are delivered, no connection is
// missed, nothing is lost in any stage, and what comes is told interval by interval.
func TestCaseJ4_CatchUpDoesNotDisturbCapture(t *testing.T) {
	needsRoot(t)
	db := influxd.Start(t, influxd.V1)
	s, dir := listen(t), t.TempDir()
	const rows = 500000
	backlog(t, dir, "influxdb", rows)
	p := run(t, "--journal", dir, "--listen", "", "--influxdb-url", db.URL, "--influxdb-bucket", influxd.Bucket, "--flow-log-rate", "1000000")
	stored := func() int { return int(number(t, db, influxd.Bucket, `SELECT count(a) AS n FROM m`)) }
	var ports []int
	for stored() < rows {
		if ports = append(ports, s.connect(t, 200)...); len(ports) > 20000 {
			break
		}
	}
	during := len(ports)
	probe.Until(t, 5*patience, "the backlog in the database", func() error { // it takes its time, see sink.pace
		time.Sleep(500 * time.Millisecond) // each look is a query over all rows
		if n := stored(); n != rows {
			return fmt.Errorf("%d of %d", n, rows)
		}
		return nil
	})
	s.delivered(t, db, ports)
	p.Stop(t)
	db.NothingLost(t)
	intervals := db.QueryInfluxQL(t, influxd.Bucket, `SELECT loop_seconds FROM weir_self WHERE stage = 'process'`)
	worst := 0.0
	for _, r := range intervals {
		n, _ := r.Values["loop_seconds"].(json.Number)
		f, _ := n.Float64()
		worst = max(worst, f)
	}
	if during == 0 || len(intervals) == 0 {
		t.Errorf("%d connections while it caught up, %d intervals", during, len(intervals))
	}
	t.Logf("%d connections while %d rows were delivered; of %d intervals the longest tick took %.3f s", during, rows, len(intervals), worst)
}
