package conntrack

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
)

const (
	// housekeeping is how often Run looks after what no descriptor tells.
	housekeeping = 10 * time.Second
	// dumpEvery bounds dumps of one namespace: a table of 262 144 entries takes
	// seconds, and while connections come faster than events are read, each dump
	// would call for the next.
	dumpEvery = time.Second
)

// round is the state of Run.
type round struct {
	w      *Watcher
	done   <-chan struct{}
	wake   int
	spaces []*namespace
	polled []unix.PollFd
	buf    []byte
}

// once waits for something to do and does it.
func (r *round) once() error {
	now := r.w.clock()
	for len(r.w.found) > 0 {
		r.spaces = append(r.spaces, <-r.w.found)
	}
	r.tend(now)
	r.polled = append(r.polled[:0], unix.PollFd{Fd: int32(r.wake), Events: unix.POLLIN})
	wait := housekeeping
	for _, n := range r.spaces {
		switch {
		case n.src == nil:
			wait = min(wait, n.tryAt.Sub(now))
			continue
		case !n.dumpAt.IsZero():
			wait = min(wait, n.dumpAt.Sub(now))
		}
		r.polled = append(r.polled, unix.PollFd{Fd: int32(n.src.fd()), Events: unix.POLLIN})
	}
	_, err := unix.Poll(r.polled, max(0, int(wait.Milliseconds())+1))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("watch conntrack: poll: %w", err)
	}
	if r.polled[0].Revents != 0 {
		unix.Read(r.wake, make([]byte, 8)) //nolint:errcheck // only to make it quiet
	}
	for _, p := range r.polled[1:] {
		if p.Revents != 0 {
			r.read(r.spaces[slices.IndexFunc(r.spaces, func(n *namespace) bool { return n.src != nil && n.src.fd() == int(p.Fd) })])
		}
	}
	return nil
}

// tend opens, dumps and closes what is due.
func (r *round) tend(now time.Time) {
	watched := 0
	r.spaces = slices.DeleteFunc(r.spaces, func(n *namespace) bool {
		if n.pid != 0 && now.UnixNano()-n.last.Load() > int64(r.w.cfg.Forget) {
			r.drop(n)
			return true
		}
		if n.src == nil && !now.Before(n.tryAt) && !r.open(n, now) {
			return true
		}
		if n.src != nil && !n.dumpAt.IsZero() && !now.Before(n.dumpAt) {
			r.dump(n, now)
		}
		if n.src != nil {
			watched++
		}
		return false
	})
	r.w.watched.Store(int64(watched))
}

// open subscribes in a namespace and says whether to keep it: another than the
// host's is told of again by its sockets.
func (r *round) open(n *namespace, now time.Time) bool {
	path := ""
	if n.pid != 0 {
		path = fmt.Sprintf("/proc/%d/ns/net", n.pid)
	}
	src, err := r.w.open(path, n.netns, r.w.cfg.BufferBytes)
	if err == nil {
		n.src, n.dumpAt = src, now // subscribed first: what is made meanwhile comes twice
		return true
	}
	if errors.Is(err, os.ErrNotExist) && n.pid != 0 {
		r.drop(n) // the process is gone
		return false
	}
	r.fail(n, now, err)
	return true
}

func (r *round) fail(n *namespace, now time.Time, err error) {
	r.w.failed.Add(1)
	if n.src != nil {
		n.src.close()
		n.src = nil
	}
	n.tryAt = now.Add(r.w.cfg.Retry)
	if n.pid == 0 || !r.w.cfg.Host {
		r.w.say(explain(err))
	}
	r.w.cfg.Log.Debug("watch conntrack", "netns", n.netns, "pid", n.pid, "err", err)
}

func (r *round) dump(n *namespace, now time.Time) {
	n.dumpAt = time.Time{}
	r.w.dumps.Add(1)
	err := n.src.dump(r.buf, now.UnixNano(), r.addSlowly)
	switch {
	case errors.Is(err, errMalformed):
		r.w.malformed.Add(1)
	case err != nil:
		r.fail(n, now, err)
		return
	}
	if n.pid == 0 || !r.w.cfg.Host {
		r.w.say("")
	}
}

// addSlowly waits for room: a dump has the time, the kernel goes on with it when
// it is read.
func (r *round) addSlowly(nat *flows.NAT) {
	for !r.w.add(nat) {
		select {
		case <-r.w.room:
		case <-r.done:
			return
		}
	}
}

// read takes the events that are there.
func (r *round) read(n *namespace) {
	now := r.w.clock()
	full := false
	err := n.src.events(r.buf, now.UnixNano(), func(nat *flows.NAT) {
		if !r.w.add(nat) {
			r.w.overflow.Add(1)
			full = true
		}
	})
	switch {
	case errors.Is(err, unix.EAGAIN):
	case errors.Is(err, unix.ENOBUFS):
		r.w.lost.Add(1)
		full = true
	case errors.Is(err, errMalformed):
		r.w.malformed.Add(1)
	default:
		r.fail(n, now, fmt.Errorf("read conntrack events: %w", err))
		return
	}
	if full && n.dumpAt.IsZero() {
		n.dumpAt = now.Add(dumpEvery)
	}
}

func (r *round) drop(n *namespace) {
	if n.src != nil {
		n.src.close()
		n.src = nil
	}
	n.gone.Store(true)
}

func (r *round) close() {
	for _, n := range r.spaces {
		r.drop(n)
	}
	r.w.watched.Store(0)
}
