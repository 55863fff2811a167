package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/sink/influxdb/setup"
	"github.com/weir-probe/weir/test/influxd"
)

// databases are those that setup makes.
var databases = []string{influxd.Bucket, influxd.LogBucket, influxd.Bucket + "_1m", influxd.Bucket + "_1h"}

// filled is a server with what weir setup influxdb makes, so with its shards of a day
// (only that rows of the past are kept, too), and on it the rows of length until end, of
// which written went through the sinks and the rest are copies. With -keep it may be there
// from an earlier run.
func filled(t *testing.T, version string, h *Host, written, length, step time.Duration) (db *influxd.Server, truth Truth) {
	note := filepath.Join(*keep, version, "truth.json")
	if *keep == "" {
		db = influxd.Start(t, version)
	} else {
		var left bool
		if db, left = influxd.StartKept(t, version, filepath.Dir(note)); left {
			b, err := os.ReadFile(note)
			if err == nil {
				err = json.Unmarshal(b, &truth)
			}
			if err != nil {
				t.Fatal(err)
			}
			end = truth.Until
			db.Quiet(t)
			return db, truth
		}
	}
	db.DeleteBucket(t, influxd.Bucket)
	db.DeleteBucket(t, influxd.LogBucket)
	setUp(t, db, setup.Options{})
	fill(t, db, h, written, step)
	repeated(t, db, written, length)
	t.Logf("%v of CPU time of the server so far", db.CPUTime(t).Round(time.Second))
	truth = h.Truth()
	truth.Until, truth.Rows, truth.ToServer = end, truth.Rows*uint64(length/written), truth.ToServer*uint64(length/written)
	if *keep != "" {
		b, err := json.Marshal(truth)
		if err == nil {
			err = os.WriteFile(note, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return db, truth
}

func connection(db *influxd.Server) influxdb.Config {
	cfg := influxdb.DefaultConfig()
	cfg.URL, cfg.Timeout, cfg.NoGzip = db.URL, 5*time.Minute, true
	if db.V1() {
		cfg.Database, cfg.LogDatabase = influxd.Bucket, influxd.LogBucket
	} else {
		cfg.Org, cfg.Token = db.Org, influxdb.Secret(db.Token)
	}
	return cfg
}

func setUp(t *testing.T, db *influxd.Server, o setup.Options) {
	t.Helper()
	o.Server, o.NoAlerts, o.Out = connection(db), true, &bytes.Buffer{}
	o.Server.Timeout = time.Hour
	o.Keep = [setup.Places]time.Duration{setup.Raw: *span + 48*time.Hour, setup.Log: logRetention + 48*time.Hour}
	plan, err := setup.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(t.Context(), func(s setup.Step) {
		if s.Action == setup.Recompute {
			t.Logf("%s: %v of the server's CPU time so far", s.Name, db.CPUTime(t).Round(time.Second))
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// fill writes the rows of a host, every step of length until end, and adds them up per
// minute and per hour by the queries of the set-up.
func fill(t *testing.T, db *influxd.Server, h *Host, length, step time.Duration) {
	begin := time.Now()
	w := newWriter(t, db)
	for at := end.Add(-length + step); !at.After(end); at = at.Add(step) {
		if err := h.Interval(at, end.Sub(at) < logRetention, w.write); err != nil {
			t.Fatal(err)
		}
		if at.Truncate(6 * time.Hour).Equal(at) {
			t.Logf("until %s: %d rows, %v of CPU time of the server, memory %d MB", at.UTC().Format(time.DateTime), h.Truth().Rows, db.CPUTime(t).Round(time.Second), db.Memory(t)>>20)
		}
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d edges, %v every %v: %d rows in %v", h.Truth().Edges, length, step, h.Truth().Rows, time.Since(begin).Round(time.Second))
	setUp(t, db, setup.Options{Recompute: time.Since(end) + length})
	db.RestartToMeasure(t)
	db.Settle(t, databases...)
}

// repeated makes as many copies of what is there as the time ranges need, and has the
// server put them together: a file per hour is what no server keeps.
func repeated(t *testing.T, db *influxd.Server, piece, length time.Duration) {
	n := map[string]int{}
	for _, name := range databases {
		n[name] = int(length / piece)
	}
	n[influxd.LogBucket] = min(n[influxd.LogBucket], int(logRetention/piece))
	db.Repeat(t, piece, end, n)
	db.Settle(t, databases...)
	db.Quiet(t)
}

// writer hands rows to the sinks of the program in bodies as large as after an outage,
// two at a time: the server has two cores.
type writer struct {
	pending [sink.Streams]sink.Batch
	full    chan *sink.Batch
	workers *errgroup.Group
	failed  <-chan struct{}
}

// body is what a request has at least.
const body = 2 << 20

func newWriter(t *testing.T, db *influxd.Server) *writer {
	g, ctx := errgroup.WithContext(t.Context())
	w := &writer{full: make(chan *sink.Batch), workers: g, failed: ctx.Done()}
	for range 2 {
		to, err := influxdb.New(connection(db))
		if err != nil {
			t.Fatal(err)
		}
		g.Go(func() error {
			for b := range w.full {
				if err := deliver(ctx, to, b); err != nil {
					return fmt.Errorf("write %d rows of %v: %w", b.Rows, b.Stream, err)
				}
			}
			return nil
		})
	}
	return w
}

// deliver tries again where the server has no time: it compacts meanwhile.
func deliver(ctx context.Context, to *influxdb.Sink, b *sink.Batch) (err error) {
	for try := range 30 {
		if err = to.Write(ctx, b); err == nil {
			return nil
		}
		if rejected, ok := errors.AsType[*sink.RejectedError](err); ok {
			return rejected
		}
		time.Sleep(time.Duration(try) * time.Second)
	}
	return err
}

func (w *writer) write(b *sink.Batch) error {
	p := &w.pending[b.Stream]
	p.Stream, p.Rows, p.Lines = b.Stream, p.Rows+b.Rows, append(p.Lines, b.Lines...)
	if len(p.Lines) < body {
		return nil
	}
	return w.send(p)
}

func (w *writer) send(p *sink.Batch) error {
	b := *p
	*p = sink.Batch{Lines: make([]byte, 0, body+body/4)}
	select {
	case w.full <- &b:
		return nil
	case <-w.failed:
		return w.workers.Wait()
	}
}

func (w *writer) close() error {
	for i := range w.pending {
		if err := w.send(&w.pending[i]); err != nil {
			return err
		}
	}
	close(w.full)
	return w.workers.Wait()
}
