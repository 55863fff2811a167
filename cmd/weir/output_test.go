package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/weir-probe/weir/sink"
)

type appendFunc func(*sink.Batch) error

func (f appendFunc) Append(b *sink.Batch) error { return f(b) }

// Rows that find no room before the journal, or that it does not take, are counted and
// said, with why.
func TestQueueSaysWhatItLoses(t *testing.T) {
	batch := &sink.Batch{Lines: []byte("m v=1i 1\n"), Rows: 1}
	for name, c := range map[string]struct {
		put        int
		err        error
		lost       uint64
		maxOctets  int64
		logged     int
		wantLogged string
	}{
		"room":    {put: 3, maxOctets: 100},
		"no room": {put: 5, maxOctets: 27, lost: 2, logged: 1, wantLogged: "come faster"},
		"refused": {put: 2, maxOctets: 100, err: errors.New("no space"), lost: 2, logged: 1, wantLogged: "no space"},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(c.maxOctets)
			for range c.put {
				q.put(batch)
			}
			q.close()
			var log bytes.Buffer
			q.run(appendFunc(func(*sink.Batch) error { return c.err }), slog.New(slog.NewTextHandler(&log, nil)))
			if got := q.lostRows.Load(); got != c.lost {
				t.Errorf("%d rows lost, want %d", got, c.lost)
			}
			if n := strings.Count(log.String(), "rows lost"); n != c.logged || !strings.Contains(log.String(), c.wantLogged) {
				t.Errorf("it says %d times: %s", n, log.String())
			}
		})
	}
}
