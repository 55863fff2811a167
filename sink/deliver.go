package sink

import (
	"bytes"
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
	limit   Limit
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
		limit: cfg.Limit,
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
		if err := d.deliver(ctx, b); err != nil {
			return nil // ctx ended; the batch was not acknowledged
		}
		d.ack()
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
		part, ok := parts.next()
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
		if err := d.wait(ctx, wait); err != nil {
			return err
		}
	}
}

// deliverOnce is deliver without second tries.
func (d *Deliverer) deliverOnce(ctx context.Context, b *Batch) error {
	parts := newParts(b)
	for {
		part, ok := parts.next()
		if !ok {
			return nil
		}
		if err := d.sink.Write(ctx, part); !d.settled(err, part, parts) {
			d.failed(err, 0)
			return err
		}
	}
}

// settled deals with every answer after which part need not be sent as it is:
// it was accepted, refused for good, or split. Otherwise it reports false.
func (d *Deliverer) settled(err error, part *Batch, parts *parts) bool {
	if err == nil {
		d.accepted(part, 0)
		parts.done()
		return true
	}
	if r, ok := errors.AsType[*RejectedError](err); ok {
		rows := min(max(r.Rows, 1), part.Rows)
		d.reject(r.Reason, rows, err)
		d.accepted(part, rows)
		parts.done()
		return true
	}
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return d.split(part, parts, r.Reason, err)
	}
	if errors.Is(err, ErrTooLarge) {
		if n := len(part.Lines) / 2; n >= minRequest {
			d.limit.Bytes = n // or each of those to come would be sent twice
		}
		return d.split(part, parts, ReasonTooLarge, err)
	}
	return false
}

// minRequest keeps one strange answer from making every request tiny.
const minRequest = 64 << 10

// split halves part, or rejects it when it is one row or was halved too often.
func (d *Deliverer) split(part *Batch, parts *parts, reason string, err error) bool {
	if part.Rows > 1 && parts.split() {
		d.count(func(s *DeliverStats) { s.Splits++ })
		return true
	}
	d.reject(reason, part.Rows, err)
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

func (d *Deliverer) reject(reason string, rows int, err error) {
	d.count(func(s *DeliverStats) { s.reject(reason, uint64(rows)) })
	d.rejects += uint64(rows)
	d.log.Error("reject "+reason, "rows were refused for good and are lost for this sink", "reason", reason,
		"rows", rows, "rows_since_start", d.rejects, "err", err)
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
		kind, msg = "config", "cannot deliver until this is put right, rows are kept"
		args = append(args, "remedy", c.Remedy)
		args[1] = c.Err
	} else if _, ok := errors.AsType[*ThrottleError](err); ok {
		s.Throttled++
		kind, msg = "throttle", "the server asks to wait, rows are kept"
	} else {
		s.Failed++
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

// parts is a batch on its way, in pieces of whole lines.
type parts struct {
	part   Batch
	rest   [][]byte // next piece last
	splits int
}

// maxSplits bounds the requests that one batch can cost: enough to single out
// four bad rows of 5000. A batch worse than that loses the pieces with bad rows.
const maxSplits = 64

func newParts(b *Batch) *parts {
	return &parts{part: *b, rest: [][]byte{b.Lines}}
}

func (p *parts) next() (*Batch, bool) {
	if len(p.rest) == 0 {
		return nil, false
	}
	if lines := p.rest[len(p.rest)-1]; len(lines) != len(p.part.Lines) {
		p.part.Lines = lines
		p.part.Rows = bytes.Count(lines, []byte{'\n'})
	}
	return &p.part, true
}

func (p *parts) done() {
	p.rest = p.rest[:len(p.rest)-1]
	p.part.Lines = nil
}

// split halves the next piece at a line border; false: it cannot.
func (p *parts) split() bool {
	lines := p.rest[len(p.rest)-1]
	i := bytes.LastIndexByte(lines[:len(lines)/2], '\n') + 1
	if i == 0 {
		i = bytes.IndexByte(lines, '\n') + 1
	}
	if i == 0 || i >= len(lines) || p.splits >= maxSplits {
		return false
	}
	p.splits++
	p.rest[len(p.rest)-1] = lines[i:]
	p.rest = append(p.rest, lines[:i])
	p.part.Lines = nil
	return true
}
