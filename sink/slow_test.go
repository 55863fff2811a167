package sink_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-probe/weir/sink"
)

// wantAll is wantLines from 0 on, once nothing is on its way: a Scripted that takes its
// time cannot be asked.
func (d *delivery) wantAll(t *testing.T, n int) {
	t.Helper()
	synctest.Wait()
	if s := d.Stats(); s.Queue.Rows != 0 {
		t.Fatalf("not all is delivered: %+v", s)
	}
	wantLines(t, d.sink.Lines(), 0, n)
}

// TestCaseJ4_SlowServer: a server that needs longer for a request than one may take gets
// smaller ones, and larger ones again when it has become fast.
func TestCaseJ4_SlowServer(t *testing.T) {
	const n, timeout = 60000, 30 * time.Second
	perRow := 20 * time.Millisecond // 1500 rows in a request
	largest := 0
	answer := func(_ int, b *sink.Batch) error {
		d := time.Duration(b.Rows) * perRow
		time.Sleep(min(d, timeout))
		if d > timeout {
			return fmt.Errorf("%w (30s)", sink.ErrNoAnswer)
		}
		largest = max(largest, b.Rows)
		return nil
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		for i := range n / 5000 {
			d.add(t, 5000*i, 5000)
		}
		time.Sleep(time.Hour) // of which it works 20 min
		d.wantAll(t, n)
		s := d.Stats()
		if s.Failed == 0 || s.Failed > 15 || s.Rejected() != 0 || s.Queue.Rows != 0 || largest > 1500 {
			t.Errorf("requests of up to %d rows, %+v", largest, s)
		}
		if !strings.Contains(d.log.String(), "no answer in time") {
			t.Error("the log does not tell")
		}
		perRow = time.Microsecond
		for i := range 100 {
			d.add(t, n+1000*i, 1000)
		}
		time.Sleep(time.Hour)
		d.wantAll(t, n+100*1000)
		if largest != 5000 {
			t.Errorf("the largest request of a fast server has %d rows", largest)
		}
	})
}

// TestCaseJ4_ServerHangs: requests of a server that takes none do not get smaller than
// is sensible, and all rows are there in the end.
func TestCaseJ4_ServerHangs(t *testing.T) {
	smallest, up := 5000, time.Now()
	answer := func(_ int, b *sink.Batch) error {
		if time.Now().Before(up) {
			smallest = min(smallest, b.Rows)
			time.Sleep(30 * time.Second)
			return sink.ErrNoAnswer
		}
		return nil
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		up = time.Now().Add(30 * time.Minute)
		for i := range 10 {
			d.add(t, 5000*i, 5000)
		}
		time.Sleep(40 * time.Minute)
		d.wantAll(t, 50000)
		if s := d.Stats(); smallest < 50 || s.Rejected() != 0 || s.Batches > 100 {
			t.Errorf("requests of %d rows, %+v", smallest, s)
		}
	})
}

// TestCaseJ4_CatchUpIsPaced: what an outage has left is sent with pauses, so that the
// server is idle for half of the time, unless more comes than that lets through.
func TestCaseJ4_CatchUpIsPaced(t *testing.T) {
	const took, each = 100 * time.Millisecond, 200
	down := true
	var busy time.Duration
	var last time.Time
	answer := func(int, *sink.Batch) error {
		if down {
			return errors.New("down")
		}
		time.Sleep(took)
		busy += took
		last = time.Now()
		return nil
	}
	run(t, sink.DeliverConfig{Limit: sink.Limit{Rows: each}}, answer, func(t *testing.T, d *delivery) {
		const backlog = 100 // requests
		for i := range backlog {
			d.add(t, each*i, each)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		down = false
		d.Retry()
		began := time.Now()
		time.Sleep(time.Minute)
		d.wantAll(t, each*backlog)
		if share := busy.Seconds() / last.Sub(began).Seconds(); share < 0.45 || share > 0.55 {
			t.Errorf("the server works for %.0f %% of the time", 100*share)
		}
		// Another one, while rows come at three quarters of what the server can take.
		for i := range 1000 {
			d.add(t, each*(backlog+i), each)
			if i > backlog {
				time.Sleep(took * 4 / 3)
			}
		}
		if q := d.Stats().Queue.Rows; q > backlog/2*each {
			t.Errorf("%d rows wait: the pauses are too long for what comes", q)
		}
	})
}
