package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/sink/live"
)

// delivery is everything behind the queue: the journal and one deliverer per
// sink and stream.
type delivery struct {
	journal    *journal.Journal
	sinks      []sink.Sink
	deliverers []*sink.Deliverer
	queue      *queue
	log        *slog.Logger
}

// openDelivery opens the journal and the sinks; nothing runs yet.
func openDelivery(cfg *Config, e env, log *slog.Logger) (*delivery, error) {
	d := &delivery{log: log}
	var err error
	if d.journal, err = openJournal(cfg, log); err != nil {
		return nil, err
	}
	for _, spec := range cfg.Sinks {
		if spec == "none" {
			continue
		}
		s, err := openSink(cfg, spec, e, log)
		if err != nil {
			d.close()
			return nil, err
		}
		d.sinks = append(d.sinks, s)
		for stream := range sink.Streams {
			q, err := d.journal.Queue(s.Name(), stream)
			if err != nil {
				d.close()
				return nil, err
			}
			d.deliverers = append(d.deliverers, sink.NewDeliverer(s, q, stream, sink.DeliverConfig{Logger: log, Jitter: cfg.jitter(spec)}))
		}
	}
	return d, nil
}

// openJournal opens the journal; the default one falls back to memory when it
// can't be had, one that was asked for must be had.
func openJournal(cfg *Config, log *slog.Logger) (*journal.Journal, error) {
	jc := journal.Config{Dir: cfg.Journal.Dir, MaxBytes: cfg.Journal.MaxBytes, MaxAge: cfg.Journal.MaxAge, Logger: log}
	j, err := journal.Open(jc)
	if err == nil || cfg.Journal.explicit {
		return j, err
	}
	log.Warn("no journal on disk: rows that can't be delivered wait in memory and are lost at exit", "dir", jc.Dir, "err", err)
	jc.Dir = ""
	return journal.Open(jc)
}

// start runs the queue's writer and the deliverers. The returned function, to be
// called after the queue is closed, waits for the writer, drains what waits for
// up to the given time, and closes everything.
func (d *delivery) start(ctx context.Context, q *queue) (stop func(drain time.Duration) error) {
	d.queue = q
	// Delivery outlives the signal that ends the capture: the last rows come after it.
	base := context.WithoutCancel(ctx)
	run, halt := context.WithCancel(base)
	var writer, workers sync.WaitGroup
	writer.Add(1)
	go func() { defer writer.Done(); q.run(d.journal, d.log) }()
	for _, del := range d.deliverers {
		workers.Add(1)
		go func() { defer workers.Done(); del.Run(run) }() //nolint: Run ends with nil
	}
	return func(drain time.Duration) error {
		writer.Wait()
		halt()
		workers.Wait()
		if drain > 0 {
			last, cancel := context.WithTimeout(base, drain)
			defer cancel()
			d.drain(last)
		}
		return d.close()
	}
}

// drain gives every sink a last chance, side by side. What a journal on disk
// keeps is not an error, only said.
func (d *delivery) drain(ctx context.Context) {
	errs := make([]error, len(d.deliverers))
	var wg sync.WaitGroup
	for i, del := range d.deliverers {
		wg.Add(1)
		go func() { defer wg.Done(); errs[i] = del.Drain(ctx) }()
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			d.log.Warn("not everything was delivered before the end", "err", err)
		}
	}
}

func (d *delivery) close() error {
	var errs []error
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // after the end of everything else
	defer cancel()
	for _, s := range d.sinks {
		errs = append(errs, s.Close(ctx))
	}
	if d.journal != nil {
		errs = append(errs, d.journal.Close())
	}
	return errors.Join(errs...)
}

// self writes the rows of journal and delivery and returns the health of the
// sinks, and how many rows were lost so far.
func (d *delivery) self(s *sink.Self, t time.Time) (live.Health, uint64) {
	lost := d.selfJournal(s, t)
	h := live.Health{Sink: "none"}
	var sum sink.DeliverStats
	for _, del := range d.deliverers {
		st := del.Stats()
		if h.Sink == "none" {
			h.Sink = "ok"
		}
		if st.LastError != "" {
			h.Sink = "failing"
		}
		h.QueueRows += st.Queue.Rows
		addDeliver(&sum, &st)
	}
	lost += sum.Rejected() + sum.Queue.Lost
	if h.Sink == "ok" && h.QueueRows > 10000 {
		h.Sink = "behind"
	}
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageDelivery, n, v) }
	age := 0.0
	if !sum.Queue.Oldest.IsZero() {
		age = max(0, t.Sub(sum.Queue.Oldest).Seconds())
	}
	s.Stage(t, sink.StageDelivery, m(sink.SelfRows, sum.Rows), m(sink.SelfBytes, sum.Bytes),
		m(sink.SelfRetries, sum.Retries), m(sink.SelfThrottled, sum.Throttled), m(sink.SelfErrors, sum.Failed+sum.Misconfig),
		m(sink.SelfRejected, sum.Rejected()), m(sink.SelfRejectedType, sum.RejectedType),
		m(sink.SelfRejectedAge, sum.RejectedRetention), m(sink.SelfRejectedParse, sum.RejectedParse),
		m(sink.SelfRejectedOther, sum.RejectedOther+sum.RejectedTooLarge), m(sink.SelfConfigErrors, sum.Misconfig), m(sink.SelfServerFull, sum.ServerFull),
		m(sink.SelfRequests, sum.Batches+sum.Retries), m(sink.SelfLost, sum.Rejected()+sum.Queue.Lost),
		sink.SelfQueueRows.Is(sum.Queue.Rows), sink.SelfQueueBytes.Is(sum.Queue.Bytes), sink.SelfQueueAge.Is(age))
	return h, lost
}

func (d *delivery) selfJournal(s *sink.Self, t time.Time) uint64 {
	j := d.journal.Stats()
	var lostRows uint64
	if d.queue != nil {
		lostRows = d.queue.lostRows.Load()
	}
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageJournal, n, v) }
	s.Stage(t, sink.StageJournal, m(sink.SelfRows, j.Rows), m(sink.SelfBytes, j.WrittenBytes),
		sink.SelfSegments.Is(j.Segments), sink.SelfSpoolBytes.Is(j.DiskBytes),
		sink.SelfMemoryRows.Is(j.MemoryRows), sink.SelfMemoryBytes.Is(j.MemoryBytes),
		m(sink.SelfCorrupt, j.CorruptRecords), m(sink.SelfTornBytes, j.TornBytes), m(sink.SelfRefusedRows, j.RefusedRows),
		m(sink.SelfDroppedRows, j.DroppedMemory), m(sink.SelfDiskErrors, j.DiskErrors),
		m(sink.SelfLost, lostRows+j.RefusedRows), m(sink.SelfLostQueueFull, lostRows),
		m(sink.SelfErrors, j.DiskErrors+j.SyncErrors+j.CursorErrors+j.CorruptRecords))
	return lostRows + j.RefusedRows
}

func addDeliver(a, b *sink.DeliverStats) {
	a.Rows += b.Rows
	a.Bytes += b.Bytes
	a.Batches += b.Batches
	a.Retries += b.Retries
	a.Throttled += b.Throttled
	a.Failed += b.Failed
	a.Misconfig += b.Misconfig
	a.ServerFull += b.ServerFull
	a.RejectedType += b.RejectedType
	a.RejectedRetention += b.RejectedRetention
	a.RejectedParse += b.RejectedParse
	a.RejectedTooLarge += b.RejectedTooLarge
	a.RejectedOther += b.RejectedOther
	a.Queue.Rows += b.Queue.Rows
	a.Queue.Bytes += b.Queue.Bytes
	a.Queue.Lost += b.Queue.Lost
	if a.Queue.Oldest.IsZero() || (!b.Queue.Oldest.IsZero() && b.Queue.Oldest.Before(a.Queue.Oldest)) {
		a.Queue.Oldest = b.Queue.Oldest
	}
}
