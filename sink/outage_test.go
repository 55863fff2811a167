package sink_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/sink/sinktest"
)

// outage plays a server that is away for half an hour and answers in every way that
// servers have meanwhile; rows come every ten seconds, in virtual time, through a
// journal on disk. It returns what came out in the end.
func outage(t *testing.T, j journal.Config, rowsEach, intervals int) (lines []string, s sink.DeliverStats, calls int) {
	t.Helper()
	j.Dir = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(30 * time.Minute)
		ways := []error{
			errors.New("connection refused"),
			&sink.ThrottleError{RetryAfter: 45 * time.Second, Err: errors.New("503 Service Unavailable")},
			context.DeadlineExceeded,
			&sink.ThrottleError{Err: errors.New("429 Too Many Requests")},
			&sink.ConfigError{Remedy: "set the token", Err: errors.New("401 Unauthorized")},
			errors.New("500 Internal Server Error"),
		}
		dst := &sinktest.Scripted{Answer: func(call int, _ *sink.Batch) error {
			if time.Now().Before(back) {
				return ways[call%len(ways)]
			}
			return nil
		}}
		log, err := journal.Open(j)
		if err != nil {
			t.Fatal(err)
		}
		q, err := log.Queue(dst.Name(), sink.Main)
		if err != nil {
			t.Fatal(err)
		}
		d := sink.NewDeliverer(dst, q, sink.Main, sink.DeliverConfig{Jitter: 5 * time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		for i := range intervals {
			if err := log.Append(sinktest.Batch(sink.Main, "m", i*rowsEach, rowsEach)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			if time.Now().Before(back) {
				calls = dst.Calls()
			}
		}
		time.Sleep(5 * time.Minute) // the longest wait, and to catch up
		synctest.Wait()
		s = d.Stats()
		lines = dst.Lines()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		q.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return lines, s, calls
}

// TestCaseJ4_HalfAnHour: nothing is lost, nothing comes twice or out of order, and the
// server is not run over: not while it is away, nor when it is back.
func TestCaseJ4_HalfAnHour(t *testing.T) {
	const each, intervals = 100, 200
	lines, s, calls := outage(t, journal.Config{}, each, intervals)
	wantLines(t, lines, 0, each*intervals)
	if s.Rows != each*intervals || s.Queue.Rows != 0 || s.Queue.Lost != 0 || s.Rejected() != 0 {
		t.Errorf("%+v", s)
	}
	if s.Failed == 0 || s.Throttled == 0 || s.Misconfig == 0 || s.LastError != "" {
		t.Errorf("not every way of failing was counted: %+v", s)
	}
	if calls < 20 || calls > 200 {
		t.Errorf("%d requests in half an hour without the server", calls)
	}
	if after := s.Batches; after > 30 { // 18 000 rows at up to 5000, then one per interval
		t.Errorf("%d requests to catch up", after)
	}
}

// TestCaseJ4_LongerThanTheJournal: past its size the oldest rows go, and are counted.
func TestCaseJ4_LongerThanTheJournal(t *testing.T) {
	const each, intervals = 3000, 190
	lines, s, _ := outage(t, journal.Config{MaxBytes: 512 << 10, SegmentBytes: 64 << 10}, each, intervals)
	if s.Queue.Lost == 0 || s.Rows+s.Queue.Lost != each*intervals || s.Queue.Rows != 0 {
		t.Fatalf("%d rows delivered and %d lost of %d", s.Rows, s.Queue.Lost, each*intervals)
	}
	// The batch that was on its way from the beginning on has been kept, too; between
	// it and the newest is one gap.
	gaps, before := 0, -1
	for _, l := range lines {
		var n int
		if _, err := fmt.Sscanf(l[strings.Index(l, "v="):], "v=%di", &n); err != nil {
			t.Fatal(err)
		}
		if n <= before {
			t.Fatalf("row %d comes after row %d", n, before)
		}
		if n != before+1 {
			gaps++
			if uint64(n-before-1) != s.Queue.Lost {
				t.Errorf("a gap of %d rows, %d are counted as lost", n-before-1, s.Queue.Lost)
			}
		}
		before = n
	}
	if gaps != 1 || before != each*intervals-1 {
		t.Errorf("%d gaps, the last row is %d of %d", gaps, before, each*intervals)
	}
}
