package sink

import (
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/sink/lineproto"
)

// FlowLogStats counts since the FlowLog was made, except Series.
type FlowLogStats struct {
	Rows       uint64
	Heartbeats uint64 // of Rows
	Urgent     uint64 // of Rows: failures, resets and new edges, which do not wait for the rate
	Suppressed uint64 // rows not written to keep the rate; they are in flow all the same
	Folded     uint64 // of Rows: client or server tag folded to keep the series budget
	Series     uint64 // held against the budget now
	OwnRecords uint64 // of the probe's own connections
	Encoder    lineproto.Stats
}

// FlowLog writes one row of flow_log per connection, at its end and every
// heartbeat while it lives. Not safe for concurrent use: one goroutine owns it.
type FlowLog struct {
	cfg            Config
	names          *interner
	series         map[logKey]*logSeries
	budget         *budget
	rows           rows
	normal, urgent bucket
	// NewEdge, when set, says that a record is the first of an edge never seen
	// before: its row passes the rate by.
	NewEdge func(*correlate.Record) bool
	last    int64 // time of the last Flush, unix ns
	flushed bool  // what Flush returned has not been taken back
	swept   int64
	times   instants
	stats   FlowLogStats
}

// logKey is the tag set of a row; equal keys are equal tag sets.
type logKey struct {
	name      [2]uint32
	proto     flows.Proto
	reporter  correlate.Reporter
	endReason flows.EndReason
}

type logSeries struct {
	key   logKey
	tags  []byte
	Place // in the budget
}

// Rows that do not wait for the rate have one of their own, so that a flood of
// failures has a bound as well: ten times the rate, at least this.
const minUrgentRate = 1000

// NewFlowLog returns a FlowLog; cfg has been validated.
func NewFlowLog(cfg Config) *FlowLog {
	return &FlowLog{
		cfg:    cfg,
		names:  newInterner(),
		series: map[logKey]*logSeries{},
		budget: newBudget(cfg.SeriesBudget),
		rows:   rows{stream: Log},
		normal: bucket{rate: cfg.FlowLogRate},
		urgent: bucket{rate: max(10*cfg.FlowLogRate, minUrgentRate)},
	}
}

// Stats returns the counts.
func (l *FlowLog) Stats() FlowLogStats {
	s := l.stats
	s.Series = uint64(l.budget.used)
	s.Encoder = l.rows.enc.Stats()
	s.Encoder.Cleaned += l.names.cleaned
	return s
}

// Standing adds the places of flow_log to s.
func (l *FlowLog) Standing(s Standing) {
	s[MeasurementFlowLog] = places(l.budget, l.series)
}

// Restore takes the places that an earlier FlowLog had. Nothing has been added yet.
func (l *FlowLog) Restore(s Standing) { l.budget.restore(s[MeasurementFlowLog]) }

// Add takes one record of the interval that ends at t (the time the next Flush
// will be given) and writes its row when one is due.
func (l *FlowLog) Add(r *correlate.Record, t time.Time) {
	if l.cfg.FlowLogRate == 0 {
		return
	}
	if r.Self {
		l.stats.OwnRecords++
		return
	}
	now := t.UnixNano()
	if !r.Final && !l.heartbeat(r, now) {
		return
	}
	urgent := anomalous(r) || l.NewEdge != nil && l.NewEdge(r)
	if !l.allowed(urgent, now) {
		l.stats.Suppressed++
		return
	}
	if urgent {
		l.stats.Urgent++
	}
	l.write(r, now)
}

// Tell writes the row of one connection as it is now, due or not, whatever the rate.
func (l *FlowLog) Tell(r *correlate.Record, t time.Time) { l.write(r, t.UnixNano()) }

// heartbeat says whether the age of a living connection passes a multiple of
// the heartbeat in the interval that ends now: that needs no memory of it.
func (l *FlowLog) heartbeat(r *correlate.Record, now int64) bool {
	if l.last == 0 || r.Start > l.last {
		return false
	}
	every := int64(l.cfg.LogHeartbeat)
	return (now-r.Start)/every != (l.last-r.Start)/every
}

// anomalous says whether a connection failed or ended as it should not.
func anomalous(r *correlate.Record) bool {
	switch r.CloseCause {
	case correlate.CloseNone, correlate.CloseNormal, correlate.CloseIdle:
		return r.Total.FailedTotal() > 0
	}
	return true
}

func (l *FlowLog) allowed(urgent bool, now int64) bool {
	if l.cfg.FlowLogRate < 0 {
		return true
	}
	return urgent && l.urgent.take(now) || l.normal.take(now)
}

// bucket is a token bucket with a burst of ten seconds.
type bucket struct {
	rate   int // per second
	tokens float64
	at     int64 // unix ns
}

func (b *bucket) take(now int64) bool {
	burst := 10 * float64(b.rate)
	switch {
	case b.at == 0:
		b.tokens, b.at = burst, now
	case now < b.at: // the clock was set back
		b.at = now
	case now > b.at:
		b.tokens = min(burst, b.tokens+float64(b.rate)*float64(now-b.at)/1e9)
		b.at = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// Flush ends the interval at t and returns its rows; what it returns is valid
// until the next call of Add.
func (l *FlowLog) Flush(t time.Time) []*Batch {
	l.begin()
	out := l.rows.finish()
	l.flushed = true
	l.last = t.UnixNano()
	l.sweep(l.last)
	return out
}

// begin takes back what the last Flush has returned.
func (l *FlowLog) begin() {
	if l.flushed {
		l.flushed = false
		l.rows.begin()
	}
}

func (l *FlowLog) sweep(now int64) {
	if l.swept == 0 {
		l.swept = now
	}
	if now-l.swept < int64(time.Minute) {
		return
	}
	l.swept = now
	for k, s := range l.series {
		if now-s.Used > int64(l.cfg.SeriesExpiry) {
			delete(l.series, k)
			l.names.release(k.name[0])
			l.names.release(k.name[1])
			l.budget.used--
		}
	}
	l.budget.expire(now, int64(l.cfg.SeriesExpiry))
}
