package journal_test

import (
	"testing"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
)

func BenchmarkAppend(b *testing.B) {
	for name, policy := range map[string]journal.SyncPolicy{"sync": journal.SyncAppend, "nosync": journal.SyncSegment} {
		b.Run(name, func(b *testing.B) {
			j := open(b, journal.Config{Dir: b.TempDir(), Sync: policy, MaxBytes: 64 << 20})
			in := batch(sink.Main, 0, 5000)
			b.SetBytes(int64(len(in.Lines)))
			n := 0
			for b.Loop() {
				add(b, j, in)
				n += in.Rows
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkAppendAndTake(b *testing.B) {
	j := open(b, journal.Config{Dir: b.TempDir(), MaxBytes: 64 << 20})
	q := queue(b, j, "a", sink.Main)
	in := batch(sink.Main, 0, 5000)
	b.SetBytes(int64(len(in.Lines)))
	n := 0
	for b.Loop() {
		add(b, j, in)
		got, err := q.Take(b.Context(), sink.Limit{Rows: 5000})
		if err != nil {
			b.Fatal(err)
		}
		n += got.Rows
		if err := q.Ack(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
