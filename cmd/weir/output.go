package main

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/live"
)

// output turns records into batches: it belongs to the collector's goroutine.
type output struct {
	edges *sink.Aggregator
	log   *sink.FlowLog
	self  *sink.Self
	view  *live.View
	queue *queue
	// containers and processes are filled and flushed apart from the others, by resources,
	// which flushes events, too.
	containers, processes *sink.Usage
	events                *sink.Events
	drops                 *sink.Drops
}

func newOutput(cfg sink.Config, self *sink.Self, q *queue) *output {
	return &output{
		edges: sink.NewAggregator(cfg), log: sink.NewFlowLog(cfg), self: self,
		view: live.New(cfg.Host), queue: q, containers: sink.NewContainers(cfg), processes: sink.NewProcesses(cfg), events: sink.NewEvents(cfg),
		drops: sink.NewDrops(cfg),
	}
}

// standing is which series have a place in a budget.
func (o *output) standing() sink.Standing {
	s := sink.Standing{}
	for _, x := range o.budgets() {
		x.Standing(s)
	}
	return s
}

// restore takes the places that another output had; nothing has been added yet.
func (o *output) restore(s sink.Standing) {
	for _, x := range o.budgets() {
		x.Restore(s)
	}
}

// budgeted is what makes series under a budget.
type budgeted interface {
	Standing(sink.Standing)
	Restore(sink.Standing)
}

func (o *output) budgets() []budgeted {
	return []budgeted{o.edges, o.log, o.containers, o.processes, o.drops, o.events}
}

// add takes one record of the interval that ends at t.
func (o *output) add(r *correlate.Record, t time.Time) {
	o.edges.Add(r)
	o.log.Add(r, t)
}

// flush ends the interval.
func (o *output) flush(t time.Time, interval time.Duration, h live.Health) {
	for _, b := range o.edges.Flush(t) {
		o.queue.put(b)
	}
	for _, b := range o.log.Flush(t) {
		o.queue.put(b)
	}
	for _, b := range o.events.Flush() {
		o.queue.put(b)
	}
	for _, b := range o.drops.Flush(t) {
		o.queue.put(b)
	}
	for _, b := range o.self.Flush() {
		o.queue.put(b)
	}
	o.view.Publish(t, interval, o.edges.Edges(), h)
}

// queue stands between the collector, which never waits, and the journal, which
// writes to a disk. It holds a bounded number of octets; what does not fit is
// lost and counted.
type queue struct {
	ch       chan *sink.Batch
	bytes    atomic.Int64
	maxBytes int64
	wait     bool // put waits for room: for a source that can
	lostRows atomic.Uint64
}

func newQueue(maxBytes int64) *queue {
	return &queue{ch: make(chan *sink.Batch, 1024), maxBytes: maxBytes}
}

// put copies a batch into the queue, or counts it as lost.
func (q *queue) put(b *sink.Batch) {
	if len(b.Lines) == 0 {
		return
	}
	for q.wait && q.bytes.Load() > q.maxBytes/2 {
		time.Sleep(time.Millisecond)
	}
	if q.bytes.Load()+int64(len(b.Lines)) > q.maxBytes {
		q.drop(b)
		return
	}
	c := *b
	c.Lines = append([]byte(nil), b.Lines...)
	if q.wait {
		q.ch <- &c
		q.bytes.Add(int64(len(c.Lines)))
		return
	}
	select {
	case q.ch <- &c:
		q.bytes.Add(int64(len(c.Lines)))
	default:
		q.drop(b)
	}
}

func (q *queue) drop(b *sink.Batch) {
	q.lostRows.Add(uint64(b.Rows))
}

// close ends the queue; the collector has stopped.
func (q *queue) close() { close(q.ch) }

// appender is the journal, or its stand-in in memory.
type appender interface {
	Append(*sink.Batch) error
}

// run writes batches until the queue is closed. What was lost is said here, by its cause:
// put has no time to.
func (q *queue) run(j appender, log *slog.Logger) {
	var full, refused loss
	var failed uint64 // of lostRows, those that the journal did not take
	for b := range q.ch {
		q.bytes.Add(-int64(len(b.Lines)))
		if err := j.Append(b); err != nil {
			q.drop(b)
			failed += uint64(b.Rows)
			if rows := refused.news(failed); rows > 0 {
				log.Error("rows lost: the journal does not take them", "err", err, "rows", rows)
			}
		}
		if rows := full.news(q.lostRows.Load() - failed); rows > 0 {
			log.Error("rows lost: they come faster than the journal is written", "rows", rows, "remedy", "a lower flow_log_rate, or a faster disk for the journal")
		}
	}
}

// loss is what was said of rows that were lost for one cause.
type loss struct {
	said uint64
	at   time.Time
}

// news is how many of total were not told yet, 0 within a minute of the last time.
func (l *loss) news(total uint64) uint64 {
	if total == l.said || time.Since(l.at) < time.Minute {
		return 0
	}
	rows := total - l.said
	l.said, l.at = total, time.Now()
	return rows
}
