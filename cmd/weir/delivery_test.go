package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/sink/sinktest"
)

// What is wrong with a server is in weir_self: that it is full, what it refuses and why.
func TestDeliveryTellsWhatIsWrong(t *testing.T) {
	j, err := journal.Open(journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	answers := []error{
		&sink.ConfigError{Remedy: "make room", Err: sink.ErrServerFull},
		&sink.RejectedError{Rows: 3, Reason: sink.ReasonRetention, Remedy: "set the clock", Err: errors.New("422")},
	}
	s := &sinktest.Scripted{Answer: func(call int, _ *sink.Batch) error { return answers[call] }}
	q, err := j.Queue(s.Name(), sink.Main)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	deliverer := sink.NewDeliverer(s, q, sink.Main, sink.DeliverConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	d := &delivery{journal: j, deliverers: []*sink.Deliverer{deliverer}}
	if err := j.Append(sinktest.Batch(sink.Main, "m", 0, 10)); err != nil {
		t.Fatal(err)
	}
	self := sink.NewSelf(sink.Config{Host: "h"})
	told := func() string {
		if err := deliverer.Drain(t.Context()); err != nil && !strings.Contains(err.Error(), "10 rows") {
			t.Fatal(err)
		}
		h, _ := d.self(self, time.Unix(1, 0))
		var rows strings.Builder
		for _, b := range self.Flush() {
			rows.Write(b.Lines)
		}
		return rows.String() + " health=" + h.Sink
	}
	for i, want := range [][]string{
		{",stage=delivery ", "config_errors=1i", "server_full=1i", "queue_rows=10i", "lost=0i", "health=failing"},
		{"config_errors=0i", "server_full=0i", "rejected=3i", "rejected_retention=3i", "lost=3i", "rows=7i", "queue_rows=0i", "health=ok"},
	} {
		got := told()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("answer %d: %q is not in %s", i, w, got)
			}
		}
	}
	if !strings.Contains(log.String(), `remedy="make room"`) || !strings.Contains(log.String(), `remedy="set the clock"`) {
		t.Errorf("the log does not say what to do: %s", &log)
	}
}
