package conntrack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
)

// Handler takes translations.
type Handler interface {
	NAT(*flows.NAT)
}

// Watcher follows conntrack in one or several namespaces. Run works in its own
// goroutine; Seen and Drain belong to the collector's; Stats and Status may be
// called from any.
type Watcher struct {
	cfg   Config
	open  func(path string, netns uint32, bufferBytes int) (source, error)
	clock func() time.Time

	seen  map[uint32]*namespace // the collector's
	found chan *namespace       // from Seen to Run
	room  chan struct{}         // from Drain to a dump that waits
	wake  atomic.Int64          // eventfd of Run, 0 while it does not run

	mu             sync.Mutex
	pending, spare []flows.NAT
	reason         string // why the host's namespace, or else any, is not watched

	watched                                                 atomic.Int64
	told, lost, overflow, dumps, malformed, failed, refused atomic.Uint64
}

// namespace is one that was told of. Run owns src and the rest below it.
type namespace struct {
	netns uint32
	pid   uint32 // of a process in it; 0: the program's own
	last  atomic.Int64
	gone  atomic.Bool // not watched any more

	src    source
	dumpAt time.Time // when to dump; zero: no need
	tryAt  time.Time
}

// New returns a Watcher that does nothing yet. cfg's zero fields mean the defaults.
func New(cfg Config) *Watcher {
	cfg = cfg.withDefaults()
	return &Watcher{
		cfg: cfg, open: openSource, clock: time.Now,
		seen: map[uint32]*namespace{}, found: make(chan *namespace, cfg.MaxNamespaces), room: make(chan struct{}, 1),
	}
}

// Active says whether there is anything to watch.
func (w *Watcher) Active() bool { return w.cfg.Host || w.cfg.Others }

// Seen tells that a socket of the process exists in the namespace. It is called
// for each socket event and costs a look into a map.
func (w *Watcher) Seen(netns, pid uint32, now int64) {
	if !w.cfg.Others || netns == w.cfg.HostNetNS || netns == 0 || pid == 0 {
		return
	}
	n := w.seen[netns]
	if n != nil && !n.gone.Load() {
		n.last.Store(now)
		return
	}
	delete(w.seen, netns)
	if len(w.seen) >= w.cfg.MaxNamespaces {
		w.forget()
	}
	if len(w.seen) >= w.cfg.MaxNamespaces {
		w.refused.Add(1)
		return
	}
	n = &namespace{netns: netns, pid: pid}
	n.last.Store(now)
	select {
	case w.found <- n:
		w.seen[netns] = n
		w.rouse()
	default: // the next event tells again
	}
}

func (w *Watcher) forget() {
	for k, n := range w.seen {
		if n.gone.Load() {
			delete(w.seen, k)
		}
	}
}

func (w *Watcher) rouse() {
	if fd := w.wake.Load(); fd != 0 {
		unix.Write(int(fd), []byte{1, 0, 0, 0, 0, 0, 0, 0}) //nolint:errcheck // full: it wakes up anyway
	}
}

// Drain hands h what came since the last Drain.
func (w *Watcher) Drain(h Handler) {
	w.mu.Lock()
	w.pending, w.spare = w.spare[:0], w.pending
	w.mu.Unlock()
	select {
	case w.room <- struct{}{}:
	default:
	}
	for i := range w.spare {
		h.NAT(&w.spare[i])
	}
	const kept = 4096
	if cap(w.spare) > kept {
		w.spare = nil // a dump's memory goes back
	}
}

// add takes one translation and says whether there was room.
func (w *Watcher) add(n *flows.NAT) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) >= w.cfg.MaxPending {
		return false
	}
	w.pending = append(w.pending, *n)
	w.told.Add(1)
	return true
}

// Run watches until ctx is done. What cannot be watched is tried again and said
// by Status: it ends no run.
func (w *Watcher) Run(ctx context.Context) error {
	if !w.Active() {
		<-ctx.Done()
		return nil
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch conntrack: make an eventfd: %w", err)
	}
	r := &round{w: w, done: ctx.Done(), wake: wake, buf: make([]byte, readSize)}
	w.wake.Store(int64(wake))
	stop := context.AfterFunc(ctx, w.rouse)
	defer func() {
		stop()
		w.wake.Store(0)
		r.close()
		unix.Close(wake)
	}()
	if w.cfg.Host {
		r.spaces = append(r.spaces, &namespace{netns: w.cfg.HostNetNS})
	}
	for ctx.Err() == nil {
		if err := r.once(); err != nil {
			return err
		}
	}
	return nil
}

// Stats counts since New.
type Stats struct {
	Told       uint64 // translations handed over
	Lost       uint64 // times the kernel dropped events: a dump follows
	Overflow   uint64 // translations that found MaxPending waiting: a dump follows
	Dumps      uint64
	Malformed  uint64
	Errors     uint64 // namespaces that could not be watched, each attempt
	Refused    uint64 // sightings of a namespace beyond MaxNamespaces
	Namespaces int    // watched now
}

// Stats returns the counters as they stand.
func (w *Watcher) Stats() Stats {
	return Stats{w.told.Load(), w.lost.Load(), w.overflow.Load(), w.dumps.Load(), w.malformed.Load(), w.failed.Load(), w.refused.Load(), int(w.watched.Load())}
}

// Status returns why nothing, or not the host's namespace, is watched; "" when
// all is well.
func (w *Watcher) Status() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason
}

func (w *Watcher) say(reason string) {
	w.mu.Lock()
	news := w.reason != reason
	w.reason = reason
	w.mu.Unlock()
	if news && reason != "" {
		w.cfg.Log.Warn("translations are not known from conntrack", "reason", reason)
	}
}

// Check opens what Run would and takes it down again, for weir doctor: "" or the
// reason why the host's namespace cannot be watched.
func (w *Watcher) Check() string {
	src, err := w.open("", w.cfg.HostNetNS, w.cfg.BufferBytes)
	if err != nil {
		return explain(err)
	}
	defer src.close()
	if err := src.dump(make([]byte, readSize), 0, func(*flows.NAT) {}); err != nil {
		return explain(err)
	}
	return ""
}

// explain turns the kernel's refusal into words.
func explain(err error) string {
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT):
		return fmt.Sprintf("no conntrack in this kernel: load nf_conntrack_netlink when something is to be translated (%v)", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Sprintf("not permitted: conntrack needs CAP_NET_ADMIN (%v)", err)
	}
	return err.Error()
}
