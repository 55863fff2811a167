package alert

import (
	"context"
	"crypto/tls"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/weir-probe/weir/sink"
)

const (
	// maxKnown bounds what one receiver knows and waits for.
	maxKnown = 2000
	// stale is how long what is not a state of things is worth telling.
	stale = time.Hour
	// refresh is how often an Alertmanager is told of what goes on: it ends by itself
	// what it has not heard of for four times as long.
	refresh = time.Minute
)

// entry is one trouble, as a receiver knows it and as it is.
type entry struct {
	item
	waiting bool
	since   time.Time     // it waits
	told    status        // "": nothing yet
	toldAt  time.Time     // when
	toldAs  sink.Severity // and how bad it was said to be
}

// receiver is one who is told. known, order, stats and trouble are guarded by mu; the
// rest belongs to run.
type receiver struct {
	to     Receiver
	cfg    *Config
	tls    *tls.Config
	client *http.Client
	wire   wire
	kick   chan struct{} // something waits that did not

	mu      sync.Mutex
	known   map[string]*entry
	order   []*entry // waiting, oldest first
	version uint64
	forgot  time.Time // when room was last sought
	stats   Stats
	trouble string // the last error, "" when all is well

	notBefore time.Time // the next round
	refreshed time.Time
	failures  int
	log       *sink.LimitedLog
}

func newReceiver(cfg *Config, to Receiver) (*receiver, error) {
	t, err := newTLS(&to)
	if err != nil {
		return nil, err
	}
	return &receiver{
		to: to, cfg: cfg, tls: t, client: newClient(cfg, t), wire: wireOf(to.Kind, cfg.Quiet), kick: make(chan struct{}, 1),
		known: map[string]*entry{}, log: sink.NewLimitedLog(cfg.Logger.With("receiver", to.Name), time.Minute),
	}, nil
}

// inherit takes over what old, which does not run, knows.
func (r *receiver) inherit(old *receiver) {
	old.mu.Lock()
	defer old.mu.Unlock()
	r.known, r.order, r.version, r.stats = old.known, old.order, old.version, old.stats
	r.notBefore, r.refreshed = old.notBefore, old.refreshed
	if old.failures > 0 { // what was wrong may be right now
		r.notBefore = time.Time{}
	}
}

// take notes an alert.
func (r *receiver) take(t time.Time, a *Alert) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Seen++
	key := a.key()
	e := r.known[key]
	// The end of what was told is told whatever the filter says by now.
	if !r.to.wants(a) && (e == nil || !a.Resolved) {
		r.stats.Filtered++
		return
	}
	if e == nil {
		if now := time.Now(); len(r.known) >= maxKnown && (now.Sub(r.forgot) < time.Second || !r.forget(now)) {
			r.stats.Full++
			return
		}
		e = &entry{item: item{key: key, began: t}}
		r.known[key] = e
	}
	news := e.isNews(a, time.Now(), r.cfg.Quiet, r.wire.refreshes())
	if !news {
		r.stats.Repeated++
	}
	switch {
	case !a.Began.IsZero():
		e.began = a.Began
	case e.Resolved && !a.Resolved && e.told == resolved:
		e.began = t
	}
	e.Alert, e.changed = *a, t
	if e.changed.Before(e.began) {
		e.began = e.changed
	}
	e.count++
	r.version++
	e.version = r.version
	if news {
		r.queue(e)
	}
}

// isNews says whether a, which is not noted yet, is to be sent.
func (e *entry) isNews(a *Alert, now time.Time, quiet time.Duration, refreshes bool) bool {
	switch {
	case e.waiting:
		return e.status() != a.status()
	case a.once():
		return e.told == "" || refreshes || now.Sub(e.toldAt) >= quiet
	}
	return e.told != a.status() || e.toldAs != a.Severity
}

// queue has e sent.
func (r *receiver) queue(e *entry) {
	if e.waiting {
		return
	}
	e.waiting, e.since = true, time.Now()
	r.order = append(r.order, e)
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// forget makes room: what happened, was told and is not told again before Quiet is over.
func (r *receiver) forget(now time.Time) bool {
	r.forgot = now
	for key, e := range r.known {
		if !e.waiting && (e.once() && now.Sub(e.toldAt) >= r.cfg.Quiet || e.told == resolved) {
			delete(r.known, key)
		}
	}
	return len(r.known) < maxKnown
}

// expire gives up what has waited too long to be worth telling. What goes on, or is known
// to the receiver to go on, is.
func (r *receiver) expire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order = slices.DeleteFunc(r.order, func(e *entry) bool {
		worth := !e.once() && (!e.Resolved || e.told == firing)
		if worth || now.Sub(e.since) < stale {
			return false
		}
		r.stats.Stale++
		delete(r.known, e.key)
		return true
	})
	r.forget(now)
}

// waitingItems are what to send, the worst first, and of those what came first.
func (r *receiver) waitingItems() []item {
	r.mu.Lock()
	defer r.mu.Unlock()
	items := make([]item, len(r.order))
	for i, e := range r.order {
		items[i] = e.item
		if e.told == firing && e.toldAs != e.Severity {
			items[i].was = e.toldAs
		}
	}
	slices.SortStableFunc(items, func(a, b item) int { return rank[b.Severity] - rank[a.Severity] })
	return items
}

// settle notes that items were accepted, or (told false) refused for good.
func (r *receiver) settle(items []item, told bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := map[*entry]bool{}
	for i := range items {
		it := &items[i]
		e := r.known[it.key]
		if e == nil {
			continue
		}
		e.count -= it.count
		if told {
			r.stats.Sent++
		} else {
			r.stats.Rejected++
		}
		e.told, e.toldAt, e.toldAs = it.Alert.status(), time.Now(), it.Severity
		if e.version == it.version || e.told == e.status() && e.toldAs == e.Severity {
			e.waiting, done[e] = false, true
		}
		if e.version == it.version && it.Resolved {
			delete(r.known, it.key)
		}
	}
	r.order = slices.DeleteFunc(r.order, func(e *entry) bool { return done[e] })
}

// renew has everything that goes on told again where the receiver wants that.
func (r *receiver) renew(now time.Time) {
	if !r.wire.refreshes() || now.Sub(r.refreshed) < refresh {
		return
	}
	r.refreshed = now
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.known {
		if !e.waiting && e.told == firing {
			e.waiting, e.since = true, now
			r.order = append(r.order, e)
		}
	}
}

func (r *receiver) addTo(sum *Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.stats
	for _, x := range [...]struct{ to, from *uint64 }{
		{&sum.Seen, &s.Seen}, {&sum.Filtered, &s.Filtered}, {&sum.Repeated, &s.Repeated}, {&sum.Sent, &s.Sent}, {&sum.Bytes, &s.Bytes},
		{&sum.Requests, &s.Requests}, {&sum.Retries, &s.Retries}, {&sum.Throttled, &s.Throttled},
		{&sum.Rejected, &s.Rejected}, {&sum.Stale, &s.Stale}, {&sum.Full, &s.Full},
	} {
		*x.to += *x.from
	}
	sum.Waiting += len(r.order)
	for _, e := range r.known {
		if e.told == firing {
			sum.Firing++
		}
	}
	if len(r.order) > 0 && (sum.Oldest.IsZero() || r.order[0].since.Before(sum.Oldest)) {
		sum.Oldest = r.order[0].since
	}
	if r.trouble != "" {
		sum.Failing++
	}
}

func (r *receiver) status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Status{Name: r.to.Name, Kind: r.to.Kind, To: r.to.target(), Waiting: len(r.order), Error: r.trouble}
}

func (r *receiver) count(f func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.stats)
}

// drain is the last round.
func (r *receiver) drain(ctx context.Context) {
	if err := r.round(ctx); err != nil {
		r.mu.Lock()
		n := len(r.order)
		r.mu.Unlock()
		r.log.Warn("alerts not sent before the end are lost", "alerts", n, "err", err)
	}
}
