package sink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Deliverer takes the batches of one stream out of a queue and brings them to
// one sink, in order, until they are accepted: it never gives up what the queue
// still holds.
type Deliverer struct {
	sink   Sink
	queue  Queue
	stream Stream
	cfg    DeliverConfig
	log    *LimitedLog
	kick   chan struct{}

	// of the goroutine that delivers
	most    Limit // that the server takes
	limit   Limit // of the next request: less than most while the server is too slow for that
	rejects uint64

	mu    sync.Mutex
	stats DeliverStats
}

// NewDeliverer needs a sink, its queue of one stream, and a valid configuration.
func NewDeliverer(s Sink, q Queue, stream Stream, cfg DeliverConfig) *Deliverer {
	cfg = cfg.withDefaults()
	log := cfg.Logger.With("sink", s.Name(), "stream", stream.String())
	return &Deliverer{
		sink: s, queue: q, stream: stream, cfg: cfg,
		log:   NewLimitedLog(log, cfg.LogEvery),
		kick:  make(chan struct{}, 1),
		most:  cfg.Limit.reckoned(),
		limit: cfg.Limit.reckoned(),
	}
}

// Retry cuts a wait short: somebody changed the configuration, or wants to know.
func (d *Deliverer) Retry() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends, then returns nil, or until the queue is closed
// and empty.
func (d *Deliverer) Run(ctx context.Context) error {
	var pace pace
	for {
		fresh := d.queue.Depth().Rows == 0
		b, err := d.queue.Take(ctx, d.limit)
		switch {
		case ctx.Err() != nil, errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			d.log.Error("queue", "cannot read rows to deliver", "err", err)
			if d.wait(ctx, d.cfg.MaxBackoff) != nil {
				return nil
			}
			continue
		}
		if fresh && d.cfg.Jitter > 0 && d.wait(ctx, d.random(d.cfg.Jitter)) != nil {
			return nil
		}
		began := time.Now()
		if err := d.deliver(ctx, b); err != nil {
			return nil // ctx ended; the batch was not acknowledged
		}
		d.ack()
		if pace.rests(b.Rows, d.queue.Depth().Rows) && d.wait(ctx, min(time.Since(began), maxRest)) != nil {
			return nil
		}
	}
}

// Drain delivers what waits, for shutdown: Run must have returned. It ends at
// the first failure or when ctx does; the error says how many rows remain, which
// stay where they are for the next start.
func (d *Deliverer) Drain(ctx context.Context) error {
	for d.queue.Depth().Rows > 0 {
		b, err := d.queue.Take(ctx, d.limit)
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err == nil {
			err = d.deliverOnce(ctx, b)
		}
		if err != nil {
			return fmt.Errorf("deliver to %s: %d rows of stream %s remain in the journal: %w",
				d.sink.Name(), d.queue.Depth().Rows, d.stream, err)
		}
		d.ack()
	}
	return nil
}

func (d *Deliverer) ack() {
	if err := d.queue.Ack(); err != nil {
		d.count(func(s *DeliverStats) { s.AckErrors++ })
		d.log.Error("ack", "rows were delivered, but the journal could not keep that: they may be sent again", "err", err)
	}
}

// deliver brings b to the sink, or returns ctx's error.
func (d *Deliverer) deliver(ctx context.Context, b *Batch) error {
	parts := newParts(b)
	for failures := 0; ; {
		part, ok := d.next(parts)
		if !ok {
			return nil
		}
		err := d.sink.Write(ctx, part)
		if d.settled(err, part, parts) {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := d.backoff(err, failures)
		failures++
		d.failed(err, wait)
		if errors.Is(err, ErrNoAnswer) {
			d.shrink(part, parts)
		}
		if err := d.wait(ctx, wait); err != nil {
			return err
		}
	}
}

// deliverOnce is deliver without second tries.
func (d *Deliverer) deliverOnce(ctx context.Context, b *Batch) error {
	parts := newParts(b)
	for {
		part, ok := d.next(parts)
		if !ok {
			return nil
		}
		if err := d.sink.Write(ctx, part); !d.settled(err, part, parts) {
			d.failed(err, 0)
			return err
		}
	}
}

// next is what to send next: of a batch that is one large record, a piece of it.
func (d *Deliverer) next(parts *parts) (*Batch, bool) {
	part, ok := parts.next()
	for ok && !d.limit.Fits(part.Rows, len(part.Lines)) && parts.halve() {
		part, ok = parts.next()
	}
	return part, ok
}

// settled deals with every answer after which part need not be sent as it is:
// it was accepted, refused for good, or split. Otherwise it reports false.
func (d *Deliverer) settled(err error, part *Batch, parts *parts) bool {
	if err == nil {
		d.accepted(part, 0)
		parts.done()
		d.grow()
		return true
	}
	if r, ok := errors.AsType[*RejectedError](err); ok {
		rows := min(max(r.Rows, 1), part.Rows)
		d.reject(r.Reason, r.Remedy, rows, err)
		d.accepted(part, rows)
		parts.done()
		return true
	}
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return d.split(part, parts, r.Reason, err)
	}
	if errors.Is(err, ErrTooLarge) {
		if n := len(part.Lines) / 2; n >= minRequest { // or each of those to come would be sent twice
			d.most.Bytes = n
			d.limit = d.limit.within(d.most)
		}
		return d.split(part, parts, ReasonTooLarge, err)
	}
	return false
}

// Nothing makes requests smaller than this: neither one strange answer nor a server
// that does not answer at all.
const (
	minRequest = 64 << 10
	minRows    = 100
)

// shrink halves what is sent next: a server that is too slow for a request would be
// too slow for it each time.
func (d *Deliverer) shrink(part *Batch, parts *parts) {
	half := Limit{max(part.Rows/2, minRows), max(len(part.Lines)/2, minRequest)}
	if part.Rows <= minRows || !parts.halve() {
		return
	}
	d.count(func(s *DeliverStats) { s.Splits++ })
	d.limit = half.within(d.most)
}

// grow makes requests larger again, by and by, once the server answers.
func (d *Deliverer) grow() {
	d.limit = Limit{d.limit.Rows + d.limit.Rows/8, d.limit.Bytes + d.limit.Bytes/8}.within(d.most)
}

// split halves part, or rejects it when it is one row or was halved too often.
func (d *Deliverer) split(part *Batch, parts *parts, reason string, err error) bool {
	if part.Rows > 1 && parts.split() {
		d.count(func(s *DeliverStats) { s.Splits++ })
		return true
	}
	d.reject(reason, "", part.Rows, err)
	parts.done()
	return true
}

func (d *Deliverer) accepted(part *Batch, rejected int) {
	d.mu.Lock()
	trouble, since := d.stats.LastError, d.stats.Since
	d.stats.Rows += uint64(part.Rows - rejected)
	d.stats.Bytes += uint64(len(part.Lines))
	d.stats.Batches++
	d.stats.LastError, d.stats.Since = "", time.Time{}
	d.mu.Unlock()
	if trouble != "" {
		d.log.Forget()
		away := time.Since(since).Round(time.Second)
		args := []any{"after", away.String(), "rows_waiting", d.queue.Depth().Rows}
		if l, ok := d.sink.(Late); ok && d.stream == Main {
			if advice := l.Late(away); advice != "" {
				args = append(args, "then", advice)
			}
		}
		d.log.Info("delivering again", args...)
	}
}

func (d *Deliverer) reject(reason, remedy string, rows int, err error) {
	d.count(func(s *DeliverStats) { s.reject(reason, uint64(rows)) })
	d.rejects += uint64(rows)
	if r, ok := errors.AsType[*RejectedError](err); ok {
		err = r.Err
	}
	args := []any{"reason", reason, "rows", rows, "rows_since_start", d.rejects, "err", err}
	if remedy != "" {
		args = append(args, "remedy", remedy)
	}
	d.log.Error("reject "+reason, "rows were refused for good and are lost for this sink", args...)
}

// failed counts an answer after which the same rows are sent again.
func (d *Deliverer) failed(err error, wait time.Duration) {
	args := []any{"err", err, "rows_waiting", d.queue.Depth().Rows, "retry_in", wait.Round(time.Millisecond).String()}
	d.mu.Lock()
	s := &d.stats
	s.Retries++
	if s.LastError == "" {
		s.Since = time.Now()
	}
	s.LastError = err.Error()
	kind, msg := "fail", "cannot deliver, rows are kept"
	if c, ok := errors.AsType[*ConfigError](err); ok {
		s.Misconfig++
		if errors.Is(err, ErrServerFull) {
			s.ServerFull++
		}
		kind, msg = "config", "cannot deliver until this is put right, rows are kept"
		args = append(args, "remedy", c.Remedy)
		args[1] = c.Err
	} else if _, ok := errors.AsType[*ThrottleError](err); ok {
		s.Throttled++
		kind, msg = "throttle", "the server asks to wait, rows are kept"
	} else {
		s.Failed++
		if errors.Is(err, ErrNoAnswer) {
			kind = "slow"
		}
	}
	d.mu.Unlock()
	d.log.Error(kind, msg, args...)
}

// backoff is how long to leave the sink alone after so many failures before
// this one: "full jitter", so that a fleet does not come back all at once.
func (d *Deliverer) backoff(err error, failures int) time.Duration {
	if _, ok := errors.AsType[*ConfigError](err); ok {
		return d.cfg.ConfigRetry + d.random(d.cfg.ConfigRetry)
	}
	if t, ok := errors.AsType[*ThrottleError](err); ok && t.RetryAfter > 0 {
		after := min(t.RetryAfter, d.cfg.MaxThrottle)
		return after + d.random(after/10+d.cfg.MinBackoff/10)
	}
	bound := d.cfg.MaxBackoff
	if failures < 30 {
		bound = min(bound, d.cfg.MinBackoff<<failures)
	}
	return d.cfg.MinBackoff/10 + d.random(bound)
}

func (d *Deliverer) random(n time.Duration) time.Duration {
	if n <= 0 {
		return 0
	}
	return time.Duration(d.cfg.Rand(int64(n)))
}

func (d *Deliverer) wait(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-d.kick:
	}
	return nil
}

func (d *Deliverer) count(f func(*DeliverStats)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.stats)
}

// Stats of now.
func (d *Deliverer) Stats() DeliverStats {
	depth := d.queue.Depth()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Queue = depth
	return s
}
