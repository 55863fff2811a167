package alert

import (
	"context"
	"errors"
	"time"
)

const (
	minBackoff = time.Second
	maxBackoff = time.Minute
	// maxThrottle bounds how long a receiver may ask to be left alone.
	maxThrottle = 10 * time.Minute
	// maxSplits bounds what one message that is refused costs.
	maxSplits = 16
)

// run sends until ctx ends.
func (r *receiver) run(ctx context.Context) {
	for {
		now := time.Now()
		r.renew(now)
		due, ok := r.due()
		switch {
		case ok && !now.Before(due):
			r.attempt(ctx, now)
		case !r.pause(ctx, r.until(now, due, ok)):
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// pace is d, or what a receiver that forgets can bear.
func (r *receiver) pace(d time.Duration) time.Duration {
	if r.wire.refreshes() {
		return min(d, refresh)
	}
	return d
}

// due is when the next round is to begin; false: nothing waits.
func (r *receiver) due() (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.order) == 0 {
		return time.Time{}, false
	}
	due := r.order[0].since.Add(r.pace(r.cfg.Wait))
	if due.Before(r.notBefore) {
		due = r.notBefore
	}
	return due, true
}

// until is how long nothing is to be done; negative: until somebody tells something.
func (r *receiver) until(now, due time.Time, ok bool) time.Duration {
	wait := time.Duration(-1)
	if r.wire.refreshes() {
		wait = max(0, r.refreshed.Add(refresh).Sub(now))
	}
	if d := due.Sub(now); ok && (wait < 0 || d < wait) {
		wait = max(0, d)
	}
	return wait
}

// pause waits and says whether to go on.
func (r *receiver) pause(ctx context.Context, wait time.Duration) bool {
	var timer <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-r.kick:
	case <-timer:
	}
	return true
}

// attempt is a round, with what follows from how it went.
func (r *receiver) attempt(ctx context.Context, now time.Time) {
	r.expire(now)
	err := r.round(ctx)
	if ctx.Err() != nil {
		return // told to end: it was nobody's fault, and is sent by who comes next
	}
	if err == nil {
		r.notBefore = time.Now().Add(r.pace(r.cfg.Every))
		r.recovered()
		return
	}
	wait := r.backoff(err)
	r.failures++
	r.notBefore = time.Now().Add(wait)
	throttle, throttled := errors.AsType[*throttleError](err)
	r.mu.Lock()
	r.trouble = err.Error()
	r.stats.Retries++
	if throttled {
		r.stats.Throttled++
	}
	n := len(r.order)
	r.mu.Unlock()
	kind := "fail"
	if throttled && throttle.after > 0 {
		kind = "throttle"
	}
	r.log.Error(kind, "cannot tell of alerts, they are kept for now", "err", err, "alerts", n, "retry_in", wait.Round(time.Millisecond).String())
}

// recovered ends a trouble.
func (r *receiver) recovered() {
	r.failures = 0
	r.mu.Lock()
	trouble := r.trouble
	r.trouble = ""
	r.mu.Unlock()
	if trouble != "" {
		r.log.Forget()
		r.log.Info("telling of alerts again")
	}
}

// backoff is how long to leave the receiver alone: "full jitter", so that a fleet does
// not come back all at once.
func (r *receiver) backoff(err error) time.Duration {
	if t, ok := errors.AsType[*throttleError](err); ok && t.after > 0 {
		after := min(t.after, maxThrottle)
		return after + r.random(after/10+minBackoff)
	}
	if _, ok := errors.AsType[*configError](err); ok {
		return maxBackoff + r.random(maxBackoff)
	}
	bound := maxBackoff
	if r.failures < 10 {
		bound = min(bound, minBackoff<<r.failures)
	}
	return minBackoff/10 + r.random(bound)
}

func (r *receiver) random(n time.Duration) time.Duration {
	if n <= 0 {
		return 0
	}
	return time.Duration(r.cfg.Rand(int64(n)))
}

// round sends everything that waits.
func (r *receiver) round(ctx context.Context) error {
	items := r.waitingItems()
	splits := maxSplits
	for len(items) > 0 {
		n := min(len(items), r.wire.perMessage())
		if err := r.tell(ctx, items[:n], &splits); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// tell sends items in one message; one that is refused for good, in halves.
func (r *receiver) tell(ctx context.Context, items []item, splits *int) error {
	body, err := r.wire.encode(r.message(items))
	if err == nil {
		r.count(func(s *Stats) { s.Requests++ })
		err = r.post(ctx, body)
	}
	refused, ok := errors.AsType[*refusedError](err)
	switch {
	case err == nil:
		r.settle(items, true)
		r.count(func(s *Stats) { s.Bytes += uint64(len(body)) })
		return nil
	case !ok:
		return err
	case len(items) > 1 && *splits > 0:
		*splits--
		half := len(items) / 2
		if err := r.tell(ctx, items[:half], splits); err != nil {
			return err
		}
		return r.tell(ctx, items[half:], splits)
	}
	r.settle(items, false)
	r.log.Error("refused", "alerts were refused for good and are lost", "alerts", len(items), "err", refused)
	return nil
}

func (r *receiver) message(items []item) *message {
	pages, _ := parsePages(r.cfg.Grafana) // has been validated
	return &message{host: r.cfg.Host, version: r.cfg.Version, pages: pages, now: time.Now(), items: items, lost: r.lost()}
}

func (r *receiver) lost() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats.Lost()
}
