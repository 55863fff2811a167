package influxdb_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/sink/sinktest"
	"github.com/weir-probe/weir/test/influxd"
)

// TestCaseJ4_LongerThanTheJournal: the server is killed and stays away until the journal
// is full. What it has in the end, with what is counted as lost, is all there was.
func TestCaseJ4_LongerThanTheJournal(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		p := newPipelineWith(t, open(t, config(srv)), journal.Config{Dir: t.TempDir(), MaxBytes: 256 << 10, SegmentBytes: 64 << 10}, sink.Limit{Rows: 1000})
		const first, n, each = 5000, 200, 1000
		p.add(t, sinktest.Batch(sink.Main, "m", 0, first))
		p.until(t, "the first are in", delivered)
		srv.Kill(t)
		for i := range n {
			p.add(t, sinktest.Batch(sink.Main, "m", first+i*each, each))
		}
		p.until(t, "the outage is noticed", func(s sink.DeliverStats) bool { return s.LastError != "" })
		srv.Restart(t)
		s := p.until(t, "what is left is delivered", delivered)
		if s.Queue.Lost == 0 || s.Rows+s.Queue.Lost != first+n*each || s.Rejected() != 0 {
			t.Errorf("%+v of %d rows", s, first+n*each)
		}
		rows := srv.QueryInfluxQL(t, influxd.Bucket, `SELECT count(v), max(v) FROM m`)
		if len(rows) != 1 {
			t.Fatalf("got %v", rows)
		}
		count, _ := rows[0].Values["count"].(json.Number)
		if got, _ := count.Int64(); uint64(got)+s.Queue.Lost != first+n*each {
			t.Errorf("%d rows are stored and %d lost of %d", got, s.Queue.Lost, first+n*each)
		}
		if rows[0].Values["max"] != json.Number("204999") {
			t.Errorf("the newest row is not there: %v", rows[0].Values)
		}
	})
}

// badRoad is what may stand between a probe and its server: it takes its time, refuses
// what is larger than its limit, and of every three requests that the server has taken
// it hangs up on one, and answers another with 502.
func badRoad(t *testing.T, srv *influxd.Server, limit int64) (to string, lost, refused *atomic.Int64) {
	t.Helper()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	lost, refused = new(atomic.Int64), new(atomic.Int64)
	proxy := httputil.NewSingleHostReverseProxy(u)
	var taken atomic.Int64
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.StatusCode != http.StatusNoContent {
			return nil
		}
		switch taken.Add(1) % 3 {
		case 1:
			lost.Add(1)
			panic(http.ErrAbortHandler)
		case 2:
			lost.Add(1)
			r.StatusCode, r.Status = http.StatusBadGateway, "502 Bad Gateway"
		}
		return nil
	}
	road := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > limit {
			refused.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		select { // a slow server is not a broken one
		case <-time.After(10 * time.Millisecond):
		case <-r.Context().Done():
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(road.Close)
	return road.URL, lost, refused
}

// TestCaseJ4_AnswersLost: rows that the server has taken are sent again where the answer
// is lost, and are there once.
func TestCaseJ4_AnswersLost(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		to, lost, _ := badRoad(t, srv, 1<<20)
		cfg := config(srv)
		cfg.URL, cfg.NoGzip = to, true
		p := newPipeline(t, open(t, cfg))
		const n = 20000
		for i := range n / 1000 {
			p.add(t, sinktest.Batch(sink.Main, "m", 1000*i, 1000))
		}
		s := p.until(t, "all rows are delivered", delivered)
		if lost.Load() == 0 || s.Failed != uint64(lost.Load()) || s.Queue.Lost != 0 || s.Rejected() != 0 || s.Rows != n {
			t.Errorf("%d answers lost, %+v", lost.Load(), s)
		}
		wantStored(t, srv, n)
	})
}

// TestCaseJ4_TooLargeForTheRoad: a 413 from whatever is before the server halves the
// request, as often as needed, and the next ones are small at once.
func TestCaseJ4_TooLargeForTheRoad(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		to, _, refused := badRoad(t, srv, 70<<10)
		cfg := config(srv)
		cfg.URL, cfg.NoGzip = to, true
		p := newPipelineWith(t, open(t, cfg), journal.Config{Dir: t.TempDir()}, sink.Limit{Rows: 50000})
		const n = 20000
		p.add(t, sinktest.Batch(sink.Main, "m", 0, n)) // one record
		s := p.until(t, "all rows are delivered", delivered)
		if s.Splits == 0 || int64(s.Splits) != refused.Load() || s.Rejected() != 0 || s.Rows != n {
			t.Errorf("%d requests refused, %+v", refused.Load(), s)
		}
		wantStored(t, srv, n)
	})
}

// TestCaseJ6_ClockSkew: a probe whose clock is a day off, either way, loses nothing.
func TestCaseJ6_ClockSkew(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		s := open(t, config(srv))
		now := time.Now()
		for i, skew := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
			b := &sink.Batch{Rows: 1, Lines: fmt.Appendf(nil, "m,host=a v=%di %d\n", i, now.Add(skew).UnixNano())}
			if err := s.Write(t.Context(), b); err != nil {
				t.Errorf("a clock off by %v: %v", skew, err)
			}
		}
		rows := srv.QueryInfluxQL(t, influxd.Bucket, `SELECT count(v) FROM m WHERE time < now() + 2d`)
		if len(rows) != 1 || rows[0].Values["count"] != json.Number("3") {
			t.Errorf("got %v", rows)
		}
	})
}

// TestCaseJ4_KilledAgainAndAgain: the server is killed wherever it is while rows are
// written, and started again; each row is there once.
func TestCaseJ4_KilledAgainAndAgain(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		p := newPipeline(t, open(t, config(srv)))
		const kills, each = 6, 500
		n := 0
		write := func(enough func(sink.DeliverStats) bool) {
			for !enough(p.Stats()) {
				p.add(t, sinktest.Batch(sink.Main, "m", n, each))
				n += each
				time.Sleep(time.Millisecond) // rows come, and do not wait for the server
			}
		}
		for i := range kills {
			before := p.Stats().Rows
			write(func(s sink.DeliverStats) bool { return s.Rows > before+uint64(100+700*i) })
			srv.Kill(t)
			write(func(s sink.DeliverStats) bool { return s.LastError != "" })
			srv.Restart(t)
		}
		s := p.until(t, "all rows are delivered", delivered)
		if s.Failed < kills || s.Queue.Lost != 0 || s.Rejected() != 0 || s.Rows != uint64(n) {
			t.Errorf("%d rows, %+v", n, s)
		}
		wantStored(t, srv, n)
		t.Logf("%d rows, %d requests failed", n, s.Failed)
	})
}

// TestCaseJ4_SlowRoad: a road to the server on which a full request would take longer
// than it may. Requests get smaller until they arrive, and each row is there once.
func TestCaseJ4_SlowRoad(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		const n, rate, timeout = 10000, 200 << 10, 500 * time.Millisecond // 1000 rows are some 35 KB
		cfg := config(srv)
		cfg.URL, cfg.NoGzip, cfg.Timeout = slowRoad(t, srv, rate), true, timeout
		p := newPipelineWith(t, open(t, cfg), journal.Config{Dir: t.TempDir()}, sink.Limit{Rows: 5000})
		for i := range n / 5000 {
			p.add(t, sinktest.Batch(sink.Main, "m", 5000*i, 5000))
		}
		s := p.until(t, "all rows are delivered", delivered)
		if s.Failed == 0 || s.Splits == 0 || s.Queue.Lost != 0 || s.Rejected() != 0 || s.Rows != n {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(p.log.String(), "no answer in time") {
			t.Error("the log does not tell")
		}
		wantStored(t, srv, n)
	})
}

// slowRoad lets so many octets a second through to the server.
func slowRoad(t *testing.T, srv *influxd.Server, rate int) (to string) {
	t.Helper()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // requests that take too long
	road := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = &trickle{r.Body, rate}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(road.Close)
	return road.URL
}

// trickle reads slowly.
type trickle struct {
	io.ReadCloser
	rate int
}

func (s *trickle) Read(b []byte) (int, error) {
	n, err := s.ReadCloser.Read(b[:min(len(b), s.rate/50)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(s.rate))
	return n, err
}

// TestCaseJ6_BeyondRetention: rows of a host whose clock is behind, by more than the
// database keeps, are refused, counted and explained; once it is right, and also where
// it is ahead, all are there.
func TestCaseJ6_BeyondRetention(t *testing.T) {
	versions(t, func(t *testing.T, srv *influxd.Server) {
		const n = 300
		cfg := config(srv)
		if srv.V1() {
			cfg.Database, cfg.LogDatabase = "short", influxd.LogBucket
		} else {
			cfg.Bucket, cfg.LogBucket = "short", influxd.LogBucket
		}
		srv.CreateBucketFor(t, "short", time.Hour)
		p := newPipeline(t, open(t, cfg))
		for i, skew := range []time.Duration{-48 * time.Hour, 0, 48 * time.Hour} {
			p.add(t, skewed(i*n, n, skew))
		}
		mixed := skewed(3*n, n, 0)
		old := skewed(4*n, n, -3*time.Hour)
		mixed.Lines, mixed.Rows = append(mixed.Lines, old.Lines...), 2*n
		p.add(t, mixed)
		s := p.until(t, "all rows are delivered or refused", delivered)
		if s.RejectedRetention != 2*n || s.Rejected() != 2*n || s.Rows != 3*n || s.Retries != 0 {
			t.Errorf("%+v", s)
		}
		if l := p.log.String(); !strings.Contains(l, "older than the server keeps rows") || !strings.Contains(l, "reason=retention") {
			t.Errorf("the log does not explain it: %s", l)
		}
		rows := srv.QueryInfluxQL(t, "short", `SELECT count(v), sum(v) FROM m WHERE time < now() + 9d`)
		want := fmt.Sprint(sum(n, 2*n) + sum(2*n, 3*n) + sum(3*n, 4*n))
		if len(rows) != 1 || rows[0].Values["count"] != json.Number(fmt.Sprint(3*n)) || rows[0].Values["sum"] != json.Number(want) {
			t.Errorf("got %v, want %d rows with the sum %s", rows, 3*n, want)
		}
	})
}

// skewed are rows of a host whose clock is off.
func skewed(first, n int, by time.Duration) *sink.Batch {
	b := sinktest.Batch(sink.Main, "m", first, n)
	b.Lines = nil
	for i := first; i < first+n; i++ {
		b.Lines = fmt.Appendf(b.Lines, "m,host=a v=%di %d\n", i, sinktest.Base+int64(i)+int64(by))
	}
	return b
}

// sum of the numbers in [from, to).
func sum(from, to int) int { return (to - from) * (from + to - 1) / 2 }
