package sink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/sink/sinktest"
)

// delivery is a Deliverer between a queue in memory and a scripted sink. Its
// clock is synctest's, and its dice always give the highest number.
type delivery struct {
	*sink.Deliverer
	journal *journal.Journal
	sink    *sinktest.Scripted
	log     *bytes.Buffer
}

func newDelivery(t *testing.T, cfg sink.DeliverConfig, answer func(call int, b *sink.Batch) error) *delivery {
	t.Helper()
	j, err := journal.Open(journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	d := &delivery{journal: j, sink: &sinktest.Scripted{Answer: answer}, log: &bytes.Buffer{}}
	q, err := j.Queue(d.sink.Name(), sink.Main)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Rand = func(n int64) int64 { return n - 1 }
	cfg.Logger = slog.New(slog.NewTextHandler(d.log, nil))
	d.Deliverer = sink.NewDeliverer(d.sink, q, sink.Main, cfg)
	return d
}

func (d *delivery) add(t *testing.T, first, n int) {
	t.Helper()
	if err := d.journal.Append(sinktest.Batch(sink.Main, "m", first, n)); err != nil {
		t.Fatal(err)
	}
}

// run runs f while the Deliverer delivers, in virtual time.
func run(t *testing.T, cfg sink.DeliverConfig, answer func(call int, b *sink.Batch) error, f func(t *testing.T, d *delivery)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDelivery(t, cfg, answer)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		f(t, d)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func wantLines(t *testing.T, got []string, first, n int) {
	t.Helper()
	want := strings.Split(strings.TrimSpace(string(sinktest.Batch(sink.Main, "m", first, n).Lines)), "\n")
	if n == 0 {
		want = nil
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d lines %.200q, want %d from %d", len(got), got, n, first)
	}
}

func TestBackoffGrowsToItsCapAndNeverGivesUp(t *testing.T) {
	down := errors.New("connection refused")
	var at []time.Duration
	var start time.Time
	answer := func(int, *sink.Batch) error {
		at = append(at, time.Since(start))
		if time.Since(start) < 3*time.Hour {
			return down
		}
		return nil
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		start = time.Now()
		d.add(t, 0, 10)
		synctest.Wait()
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		wantLines(t, d.sink.Lines(), 0, 10)
		for i, bound := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			got, want := at[i+1]-at[i], bound*time.Second+100*time.Millisecond
			if got > want || got < want-time.Millisecond {
				t.Errorf("wait %d is %v, want %v", i, got, want)
			}
		}
		s := d.Stats()
		if s.Retries != uint64(len(at)-1) || s.Failed != s.Retries || s.Rows != 10 || s.Batches != 1 || s.LastError != "" || s.Queue.Rows != 0 {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(d.log.String(), "cannot deliver"); n < 30 || n > 37 { // each 5 min of 3 h
			t.Errorf("logged %d times", n)
		}
		if !strings.Contains(d.log.String(), "delivering again") {
			t.Error("recovery was not logged")
		}
	})
}

// minding is a sink with something to say about an outage of an hour.
type minding struct{ *sinktest.Scripted }

func (minding) Late(after time.Duration) string {
	if after < time.Hour {
		return ""
	}
	return "add them up"
}

// TestLateRowsAreToldOf: after an outage that the sink minds, and after no other.
func TestLateRowsAreToldOf(t *testing.T) {
	for _, c := range []struct {
		away   time.Duration
		stream sink.Stream
		told   bool
	}{{time.Minute, sink.Main, false}, {2 * time.Hour, sink.Main, true}, {2 * time.Hour, sink.Log, false}} {
		synctest.Test(t, func(t *testing.T) {
			j, err := journal.Open(journal.Config{})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			s := minding{&sinktest.Scripted{Answer: func(int, *sink.Batch) error {
				if time.Since(start) < c.away {
					return errors.New("connection refused")
				}
				return nil
			}}}
			q, err := j.Queue(s.Name(), c.stream)
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			d := sink.NewDeliverer(s, q, c.stream, sink.DeliverConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err := j.Append(sinktest.Batch(c.stream, "m", 0, 10)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- d.Run(ctx) }()
			time.Sleep(c.away + time.Hour)
			synctest.Wait()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if !strings.Contains(log.String(), "delivering again") || strings.Contains(log.String(), "add them up") != c.told {
				t.Errorf("away for %s: %s", c.away, log.String())
			}
		})
	}
}

func TestThrottleIsObeyed(t *testing.T) {
	answer := func(call int, _ *sink.Batch) error {
		switch call {
		case 0:
			return &sink.ThrottleError{RetryAfter: 90 * time.Second, Err: errors.New("429")}
		case 1:
			return &sink.ThrottleError{RetryAfter: 48 * time.Hour, Err: errors.New("429")}
		}
		return nil
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		d.add(t, 0, 1)
		time.Sleep(89 * time.Second)
		if n := d.sink.Calls(); n != 1 {
			t.Errorf("%d requests in 89 s", n)
		}
		time.Sleep(11 * time.Second)
		if n := d.sink.Calls(); n != 2 {
			t.Errorf("%d requests in 100 s", n)
		}
		time.Sleep(17 * time.Minute)
		wantLines(t, d.sink.Lines(), 0, 1)
		if s := d.Stats(); s.Throttled != 2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestConfigErrorIsExplainedAndRetriedSlowly(t *testing.T) {
	fixed := false
	answer := func(int, *sink.Batch) error {
		if fixed {
			return nil
		}
		return &sink.ConfigError{Remedy: "put the right token into INFLUX_TOKEN", Err: errors.New("401")}
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		d.add(t, 0, 5)
		time.Sleep(10*time.Minute + time.Second)
		if n := d.sink.Calls(); n < 10 || n > 21 {
			t.Errorf("%d requests in 10 min", n)
		}
		if n := strings.Count(d.log.String(), "put the right token"); n < 2 || n > 3 {
			t.Errorf("remedy logged %d times in 10 min:\n%s", n, d.log)
		}
		fixed = true
		d.Retry() // at once
		synctest.Wait()
		wantLines(t, d.sink.Lines(), 0, 5)
		if s := d.Stats(); s.Misconfig != s.Retries || s.LastError != "" {
			t.Errorf("%+v", s)
		}
	})
}

func TestTooLargeIsHalvedAtLines(t *testing.T) {
	most := len(sinktest.Batch(sink.Main, "m", 1000, 1).Lines) * 3
	answer := func(_ int, b *sink.Batch) error {
		if len(b.Lines) > most {
			return fmt.Errorf("%w: 413", sink.ErrTooLarge)
		}
		return nil
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		d.add(t, 1000, 40)
		synctest.Wait()
		wantLines(t, d.sink.Lines(), 1000, 40)
		if s := d.Stats(); s.Rows != 40 || s.Rejected() != 0 || s.Splits == 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestOneRowTooLargeIsRejected(t *testing.T) {
	answer := func(_ int, b *sink.Batch) error {
		if bytes.Contains(b.Lines, []byte("v=7i")) {
			return sink.ErrTooLarge
		}
		return nil
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		d.add(t, 0, 10)
		synctest.Wait()
		want := strings.Split(strings.TrimSpace(string(sinktest.Batch(sink.Main, "m", 0, 10).Lines)), "\n")
		if got := d.sink.Lines(); !slices.Equal(got, slices.Delete(want, 7, 8)) {
			t.Errorf("got %q", got)
		}
		if s := d.Stats(); s.RejectedTooLarge != 1 || s.Rows != 9 || s.Queue.Rows != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestBadRowsAreSingledOut(t *testing.T) {
	answer := func(_ int, b *sink.Batch) error {
		if bytes.Contains(b.Lines, []byte("v=1234i")) || bytes.Contains(b.Lines, []byte("v=4000i")) {
			return &sink.RefusedError{Reason: sink.ReasonParse, Err: errors.New("400 unable to parse")}
		}
		return nil
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		d.add(t, 0, 5000)
		synctest.Wait()
		if s := d.Stats(); s.RejectedParse != 2 || s.Rows != 4998 {
			t.Errorf("%+v", s)
		}
		if n := d.sink.Calls(); n > 60 {
			t.Errorf("%d requests to find two rows", n)
		}
	})
}

func TestHopelessBatchCostsABoundedNumberOfRequests(t *testing.T) {
	answer := func(int, *sink.Batch) error {
		return &sink.RefusedError{Reason: sink.ReasonOther, Err: errors.New("400")}
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		d.add(t, 0, 5000)
		synctest.Wait()
		if s := d.Stats(); s.RejectedOther != 5000 || s.Rows != 0 || s.Queue.Rows != 0 {
			t.Errorf("%+v", s)
		}
		if n := d.sink.Calls(); n > 200 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestRejectedRowsAreCountedByReason(t *testing.T) {
	reasons := []string{sink.ReasonType, sink.ReasonRetention, sink.ReasonParse, "something new"}
	answer := func(call int, b *sink.Batch) error {
		return &sink.RejectedError{Rows: call + 1, Reason: reasons[call], Err: errors.New("partial write")}
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		for i := range reasons {
			d.add(t, 10*i, 10)
			synctest.Wait()
		}
		s := d.Stats()
		if s.RejectedType != 1 || s.RejectedRetention != 2 || s.RejectedParse != 3 || s.RejectedOther != 4 || s.Rows != 30 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCatchingUpMerges(t *testing.T) {
	var up atomic.Bool
	var sizes []int // the deliverer's, ours once it has come to rest
	answer := func(_ int, b *sink.Batch) error {
		if !up.Load() {
			return errors.New("down")
		}
		sizes = append(sizes, b.Rows)
		return nil
	}
	run(t, sink.DeliverConfig{}, answer, func(t *testing.T, d *delivery) {
		for i := range 120 {
			d.add(t, 100*i, 100)
			time.Sleep(10 * time.Second)
		}
		up.Store(true)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		wantLines(t, d.sink.Lines(), 0, 12000)
		if want := []int{100, 5000, 5000, 1900}; !slices.Equal(sizes, want) {
			t.Errorf("requests of %v rows, want %v", sizes, want)
		}
	})
}

func TestJitterDelaysFreshRowsOnly(t *testing.T) {
	run(t, sink.DeliverConfig{Jitter: 5 * time.Second}, nil, func(t *testing.T, d *delivery) {
		d.add(t, 0, 1)
		time.Sleep(4 * time.Second)
		if d.sink.Calls() != 0 {
			t.Error("no jitter")
		}
		time.Sleep(2 * time.Second)
		wantLines(t, d.sink.Lines(), 0, 1)
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDelivery(t, sink.DeliverConfig{}, nil)
		d.add(t, 0, 12000)
		if err := d.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		wantLines(t, d.sink.Lines(), 0, 12000)
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDelivery(t, sink.DeliverConfig{}, func(call int, _ *sink.Batch) error {
			if call > 0 {
				return errors.New("down")
			}
			return nil
		})
		for i := range 3 {
			d.add(t, 5000*i, 5000)
		}
		start := time.Now()
		err := d.Drain(t.Context())
		if err == nil || !strings.Contains(err.Error(), "10000 rows") {
			t.Errorf("got %v", err)
		}
		if time.Since(start) != 0 || d.Stats().Queue.Rows != 10000 {
			t.Error("drain waited, or rows are gone")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDelivery(t, sink.DeliverConfig{}, nil)
		d.add(t, 0, 10)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.Drain(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestDeliverConfig(t *testing.T) {
	if err := sink.DefaultDeliverConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []sink.DeliverConfig{{Limit: sink.Limit{Rows: -1}}, {Jitter: -1}, {MinBackoff: time.Hour, MaxBackoff: time.Minute}} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}

// TestFleetDoesNotWriteAtOnce: three hundred hosts end an interval in the same instant;
// with jitter no second of the next five has more than its share of their writes.
func TestFleetDoesNotWriteAtOnce(t *testing.T) {
	const hosts, spread = 300, 5
	var perSecond [spread + 1]atomic.Int32
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		rnd := rand.New(rand.NewPCG(7, 8))
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		for range hosts {
			j, err := journal.Open(journal.Config{})
			if err != nil {
				t.Fatal(err)
			}
			q, err := j.Queue("scripted", sink.Main)
			if err != nil {
				t.Fatal(err)
			}
			s := &sinktest.Scripted{Answer: func(int, *sink.Batch) error {
				perSecond[int(time.Since(began).Seconds())].Add(1)
				return nil
			}}
			wait := rnd.Int64()
			d := sink.NewDeliverer(s, q, sink.Main, sink.DeliverConfig{Jitter: spread * time.Second, Rand: func(n int64) int64 { return wait % n }})
			done.Go(func() { _ = d.Run(ctx) })
			synctest.Wait()
			if err := j.Append(sinktest.Batch(sink.Main, "m", 0, 10)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(spread * time.Second)
		synctest.Wait()
		cancel()
		done.Wait()
	})
	all := int32(0)
	for i := range perSecond {
		n := perSecond[i].Load()
		if all += n; n > 2*hosts/spread {
			t.Errorf("%d of %d hosts write in second %d", n, hosts, i)
		}
	}
	if all != hosts {
		t.Errorf("%d of %d hosts have written", all, hosts)
	}
}
