package main

import (
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/sink"
)

// happenings are what the collector sees happen and tells as rows of event, beside what
// resources tells.
type happenings struct {
	containers *lifecycle
	failures   *failures
	drops      *dropping
}

func newHappenings() happenings { return happenings{newLifecycle(), newFailures(), new(dropping)} }

// take looks at a record.
func (h *happenings) take(r *correlate.Record) { h.failures.take(r) }

// tick ends the interval at end.
func (h *happenings) tick(end, now time.Time, who *identities, to *sink.Events) {
	h.containers.tick(now, who, to)
	h.failures.tick(end, to)
	h.drops.forget(end)
}

// self writes the row of stage events.
func (h *happenings) self(s *sink.Self, t time.Time, events *sink.Events) {
	st := events.Stats()
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageEvents, n, v) }
	s.Stage(t, sink.StageEvents, m(sink.SelfEvents, st.Rows), m(sink.SelfRows, st.Rows),
		m(sink.SelfEventsSuppressed, st.Suppressed), m(sink.SelfEventsFolded, st.Folded), m(sink.SelfEventsUnnoted, h.failures.lost+h.drops.lost),
		m(sink.SelfValuesCleaned, st.Encoder.Cleaned), m(sink.SelfValuesClamped, st.Encoder.Clamped), m(sink.SelfFieldsSkipped, st.Encoder.SkippedFields))
}
