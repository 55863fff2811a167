package faults

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
)

// history reads all rows of flow_log that a journal holds, while its probe runs.
func history(t *testing.T, dir string) string {
	t.Helper()
	h, err := journal.OpenHistory(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	err = h.Query(time.Unix(0, 0), time.Unix(0, math.MaxInt64), sink.Log, func(b *sink.Batch) error {
		all.Write(b.Lines)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
