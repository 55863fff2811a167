package journal_test

import (
	"bytes"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
)

// TestReadersWhileSegmentsGo: a writer that outruns its readers, within a size
// limit. Each row is either delivered, once and in order, or counted as lost.
func TestReadersWhileSegmentsGo(t *testing.T) {
	both(t, func(t *testing.T, cfg journal.Config) {
		cfg.MaxBytes, cfg.SegmentBytes, cfg.MemoryBytes = 256<<10, 64<<10, 256<<10
		cfg.Sync = journal.SyncSegment
		j := open(t, cfg)
		const batches, each = 600, 200
		queues := []*journal.Queue{queue(t, j, "a", sink.Main), queue(t, j, "b", sink.Main), queue(t, j, "a", sink.Log)}
		var written atomic.Bool
		done := make(chan uint64, len(queues))
		for i, q := range queues {
			go func() {
				rows, last := uint64(0), -1
				for !written.Load() || q.Depth().Rows > 0 {
					b := take(t, q, sink.Limit{Rows: 300 * (i + 1)})
					if b == nil {
						continue
					}
					first := firstValue(t, b.Lines)
					if first <= last {
						t.Errorf("queue %d: row %d after %d", i, first, last)
					}
					last = first
					rows += uint64(b.Rows)
					if err := q.Ack(); err != nil {
						t.Error(err)
					}
				}
				done <- rows + q.Depth().Lost
			}()
		}
		for i := range batches {
			add(t, j, batch(sink.Main, each*i, each))
			add(t, j, batch(sink.Log, each*i, each))
		}
		written.Store(true)
		for range queues {
			if got := <-done; got != batches*each {
				t.Errorf("delivered and lost are %d rows, want %d", got, batches*each)
			}
		}
	})
}

// firstValue is the number of the first row, from its time.
func firstValue(t *testing.T, b []byte) int {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	n, err := strconv.Atoi(string(line[bytes.LastIndexByte(line, ' ')+1:]))
	if err != nil {
		t.Error(err)
	}
	return n
}
