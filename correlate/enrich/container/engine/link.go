package engine

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// Status is how it stands with an engine.
type Status struct {
	Connected bool
	Socket    string
	Version   string // of the engine, API version in use
	Error     string // of the last attempt, empty when connected
	Absent    bool   // nobody is there: no socket, or nothing behind it that names containers
	Since     int64  // unix ns of the last change
}

// Stats counts what a client did; totals since the start, except Containers.
type Stats struct {
	Containers               int
	Events                   uint64
	BadEvents                uint64 // not understood, left out
	Connects, Failures       uint64 // an engine that is absent is no failure
	Lists                    uint64 // times all containers were asked for
	Inspects, InspectsFailed uint64
	InspectsDropped          uint64 // too many at once: the address stays unknown until the next list
	Evicted                  uint64 // removed containers forgotten before their grace time was over
	Refused                  uint64 // containers not remembered because the store was full
}

// ErrAbsent is in the error of an engine whose socket answers, but which names no
// containers, now or ever.
var ErrAbsent = errors.New("no containers are named here")

// Link is what every client of an engine has. Lookup, ByAddress, Pod, Status and
// Stats may be called from any goroutine and never wait for the engine.
type Link struct {
	Config
	Store *Store

	mu     sync.Mutex
	status Status
	stats  Stats
}

// NewLink returns a link for a valid configuration.
func NewLink(cfg Config) *Link {
	cfg = cfg.withDefaults()
	return &Link{Config: cfg, Store: NewStore(cfg.Grace, cfg.MaxContainers), status: Status{Socket: cfg.Socket()}}
}

// Lookup returns the container with that id; nil when it is not known (yet).
func (l *Link) Lookup(id string) *correlate.Container { return l.Store.Get(id) }

// Pod returns the sandbox of the pod with that UID; nil when it is not known (yet).
func (l *Link) Pod(uid string) *correlate.Container { return l.Store.Pod(uid) }

// ByAddress returns the container that had the address at a time (unix ns); nil
// when none is known, or more than one.
func (l *Link) ByAddress(a flows.Addr, t int64) *correlate.Container { return l.Store.At(a, t) }

// Status returns how it stands with the engine.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// Stats returns the counters.
func (l *Link) Stats() Stats {
	l.mu.Lock()
	s := l.stats
	l.mu.Unlock()
	s.Containers, s.Evicted, s.Refused = l.Store.Len()
	return s
}

// Count changes the counters.
func (l *Link) Count(f func(*Stats)) {
	l.mu.Lock()
	f(&l.stats)
	l.mu.Unlock()
}

// Follow calls follow, which stays with the engine for as long as it answers and
// says whether it ever did, again and again until ctx is done. An engine that is
// not there is no error: containers stay unnamed and the Status says why.
func (l *Link) Follow(ctx context.Context, follow func(context.Context) (connected bool, err error)) error {
	backoff := l.MinBackoff
	for {
		connected, err := follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if connected {
			backoff = l.MinBackoff
		}
		l.failed(err)
		l.Store.Expire(time.Now().UnixNano())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, l.MaxBackoff)
	}
}

// failed notes an error, and logs it once until it changes.
func (l *Link) failed(err error) {
	absent := errors.Is(err, ErrAbsent) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	l.mu.Lock()
	if !absent || l.Presence == Expected {
		l.stats.Failures++
	}
	was := l.status
	l.status = Status{Socket: was.Socket, Error: err.Error(), Absent: absent, Since: was.Since}
	if was.Connected || was.Error == "" {
		l.status.Since = time.Now().UnixNano()
	}
	l.mu.Unlock()
	switch {
	case was.Error == err.Error():
	case absent && l.Presence == Possible && !was.Connected:
		l.Logger.Debug("no container engine here", "socket", was.Socket, "error", err)
	default:
		l.Logger.Warn("no container engine: containers keep their id and get no new names until it is back",
			"socket", was.Socket, "error", err)
	}
}

// Succeeded notes that the engine answers.
func (l *Link) Succeeded(version string) {
	l.mu.Lock()
	l.stats.Connects++
	l.status = Status{Connected: true, Socket: l.status.Socket, Version: version, Since: time.Now().UnixNano()}
	l.mu.Unlock()
	l.Logger.Info("container engine found", "socket", l.Socket(), "version", version)
}

// Add adds the counters of another engine.
func (s *Stats) Add(o Stats) {
	s.Containers += o.Containers
	s.Events += o.Events
	s.BadEvents += o.BadEvents
	s.Connects += o.Connects
	s.Failures += o.Failures
	s.Lists += o.Lists
	s.Inspects += o.Inspects
	s.InspectsFailed += o.InspectsFailed
	s.InspectsDropped += o.InspectsDropped
	s.Evicted += o.Evicted
	s.Refused += o.Refused
}
