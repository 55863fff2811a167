package volume

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
)

// aim is how many rows per second of CPU time go through encoder and journal at least.
const aim = 100000

// BenchmarkRows says how many rows per second, and per second of CPU time, are encoded,
// and brought into the journal and out of it again: one interval of 100 containers after
// the other. The baseline is the disk: the same octets, encoded already, written and
// synced as often, without a journal. What misses the aim fails, unless it has run too
// short to tell.
func BenchmarkRows(b *testing.B) {
	for _, c := range []struct {
		name    string
		journal *journal.Config // nil = encode only
		deliver bool
	}{
		{"encode", nil, false},
		{"encode+journal", &journal.Config{}, false},
		{"encode+journal+take", &journal.Config{}, true},
		{"encode+journal+take/nosync", &journal.Config{Sync: journal.SyncSegment}, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			var j *journal.Journal
			var queues []*journal.Queue
			if c.journal != nil {
				cfg := *c.journal
				cfg.Dir, cfg.MaxBytes = b.TempDir(), 64<<20
				j = must(journal.Open(cfg))(b)
				defer j.Close()
				for stream := range sink.Streams {
					q := must(j.Queue("bench", stream))(b)
					defer q.Close()
					queues = append(queues, q)
				}
			}
			round := interval100(b)
			rows, before := 0, cpu(b)
			b.ReportAllocs()
			for b.Loop() {
				for _, batch := range round() {
					rows += batch.Rows
					if j == nil {
						continue
					}
					if err := j.Append(batch); err != nil {
						b.Fatal(err)
					}
				}
				if c.deliver {
					for _, q := range queues {
						take(b, q)
					}
				}
			}
			used := (cpu(b) - before).Seconds()
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(rows)/used, "rows/CPU-s")
			if float64(rows)/used < aim && used > 0.5 {
				b.Errorf("%.0f rows per second of CPU time, the aim is %d", float64(rows)/used, aim)
			}
		})
	}
	b.Run("baseline: write and sync", func(b *testing.B) {
		f := must(os.Create(filepath.Join(b.TempDir(), "rows")))(b)
		defer f.Close()
		var batches []sink.Batch
		for _, batch := range interval100(b)() {
			batches = append(batches, sink.Batch{Rows: batch.Rows, Lines: bytes.Clone(batch.Lines)})
		}
		rows, before := 0, cpu(b)
		for b.Loop() {
			for i := range batches {
				if _, err := f.WriteAt(batches[i].Lines, 0); err != nil {
					b.Fatal(err)
				}
				if err := unix.Fdatasync(int(f.Fd())); err != nil {
					b.Fatal(err)
				}
				rows += batches[i].Rows
			}
		}
		b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(float64(rows)/(cpu(b)-before).Seconds(), "rows/CPU-s")
	})
}

// cpu is what this process has used, which other processes do not disturb.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// take is what a Deliverer does, but for the sink.
func take(b *testing.B, q *journal.Queue) {
	for q.Depth().Rows > 0 {
		if _, err := q.Take(b.Context(), sink.Limit{Rows: 5000, Bytes: 1 << 20}); err != nil {
			b.Fatal(err)
		}
		if err := q.Ack(); err != nil {
			b.Fatal(err)
		}
	}
}

// interval100 returns a function that is one interval of a host with 100 containers, of
// the records that the first one had.
func interval100(t testing.TB) func() []*sink.Batch {
	cfg := sink.DefaultConfig()
	cfg.Host, cfg.FlowLogRate = "h1", -1
	var records []*correlate.Record
	rnd := rand.New(rand.NewPCG(5, 6))
	gather := &feed{t: t, edges: sink.NewAggregator(cfg), log: sink.NewFlowLog(cfg), groups: sink.NewContainers(cfg), processes: sink.NewProcesses(cfg), reading: reading(),
		taken: func(r *correlate.Record) { records = append(records, r) }}
	fleet{1, 100, 1}.play(gather, 0, rnd)
	edges, log := sink.NewAggregator(cfg), sink.NewFlowLog(cfg)
	now := time.Unix(1790000000, 0)
	return func() []*sink.Batch {
		now = now.Add(interval)
		for i, r := range records {
			r.Start, r.End = now.UnixNano()-6e9+int64(i), now.UnixNano()-1e9+int64(i)
			edges.Add(r)
			log.Add(r, now)
		}
		return append(edges.Flush(now), log.Flush(now)...)
	}
}
