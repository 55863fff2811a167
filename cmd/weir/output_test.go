package main

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/sink"
)

type appendFunc func(*sink.Batch) error

func (f appendFunc) Append(b *sink.Batch) error { return f(b) }

// Rows that find no room before the journal, or that it does not take, are counted and
// said, each with why.
func TestQueueSaysWhatItLoses(t *testing.T) {
	const faster = `msg="rows lost: they come faster than the journal is written" rows=2 remedy=`
	batch := &sink.Batch{Lines: []byte("m v=1i 1\n"), Rows: 1}
	for name, c := range map[string]struct {
		put, refused int // batches, and how many of the first the journal does not take
		room         int64
		lost         uint64
		said         []string
	}{
		"room":    {put: 3, room: 100},
		"no room": {put: 5, room: 27, lost: 2, said: []string{faster}},
		"refused": {put: 2, refused: 2, room: 100, lost: 2, said: []string{`msg="rows lost: the journal does not take them" err="no space" rows=1`}},
		"both":    {put: 5, refused: 1, room: 27, lost: 3, said: []string{`err="no space" rows=1`, faster}},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(c.room)
			for range c.put {
				q.put(batch)
			}
			q.close()
			var log bytes.Buffer
			q.run(appendFunc(func(*sink.Batch) error {
				if c.refused--; c.refused >= 0 {
					return errors.New("no space")
				}
				return nil
			}), slog.New(slog.NewTextHandler(&log, nil)))
			if got := q.lostRows.Load(); got != c.lost {
				t.Errorf("%d rows lost, want %d", got, c.lost)
			}
			if lines := slices.Collect(strings.Lines(log.String())); len(lines) != len(c.said) || !slices.EqualFunc(lines, c.said, strings.Contains) {
				t.Errorf("it says %q, want %q", lines, c.said)
			}
		})
	}
}
