package tls

import (
	"context"
	"errors"
	"maps"
	"os"
	"sync/atomic"
	"time"

	"github.com/weir-probe/weir/kprobes"
)

// Manager keeps probes where they are wanted. Started, Stats and Files may be called
// from any goroutine, Select from one; they never wait. All else happens in Run.
type Manager struct {
	cfg      Config
	kernel   Kernel
	self     uint32
	wanted   chan []Group
	started  chan start
	groups   map[kprobes.TLSGroup]Group
	files    map[fileID]*file
	nothing  map[fileID]struct{} // without TLS, or refused
	later    []look              // in order
	counters counters
	shown    atomic.Pointer[[]File]
}

// start is a process that runs another program.
type start struct {
	pid    uint32
	groups [2]kprobes.TLSGroup
}

// look is a process to be looked at again: its libraries come after its start.
type look struct {
	pid uint32
	at  time.Time
	n   int
}

// again is when a process that has started is looked at, after the last time.
var again = [...]time.Duration{20 * time.Millisecond, 200 * time.Millisecond, 2 * time.Second}

const (
	maxStarted = 512
	maxLater   = 2048
	maxNothing = 1 << 14
	// keepRounds is for how many rounds probes stay where no process runs the file:
	// a job that comes every few seconds finds them.
	keepRounds = 6
)

// New returns a Manager that looks into nothing until Select says so.
func New(cfg Config, k Kernel) *Manager {
	m := &Manager{
		cfg: cfg.withDefaults(), kernel: k, self: uint32(os.Getpid()), wanted: make(chan []Group, 1), started: make(chan start, maxStarted),
		groups: map[kprobes.TLSGroup]Group{}, files: map[fileID]*file{}, nothing: map[fileID]struct{}{},
	}
	m.shown.Store(new([]File))
	return m
}

// Select says which groups are looked into from now on; the slice is the Manager's.
func (m *Manager) Select(groups []Group) {
	select {
	case <-m.wanted: // the newest counts
	default:
	}
	m.wanted <- groups // does not wait: nobody else sends
}

// Started says that a process has begun to run a program, in these groups.
func (m *Manager) Started(pid uint32, v2, v1 uint64) {
	s := start{pid: pid, groups: [2]kprobes.TLSGroup{{ID: v2}, {ID: v1, Legacy: 1}}}
	select {
	case m.started <- s:
	default:
		m.counters.missed.Add(1) // the next round finds it
	}
}

// Run attaches and detaches until ctx is done; then nothing is attached any more.
func (m *Manager) Run(ctx context.Context) error {
	round := time.NewTicker(m.cfg.Round)
	defer round.Stop()
	soon := time.NewTimer(time.Hour)
	defer soon.Stop()
	for {
		select {
		case <-ctx.Done():
			return m.close()
		case groups := <-m.wanted:
			m.choose(groups)
		case s := <-m.started:
			m.begin(s, time.Now())
		case now := <-soon.C:
			m.revisit(now)
		case <-round.C:
			m.round()
		}
		if len(m.later) > 0 {
			soon.Reset(time.Until(m.later[0].at))
		}
		m.publish()
	}
}

// choose changes the selection, and looks at what is new in it.
func (m *Manager) choose(groups []Group) {
	next := make(map[kprobes.TLSGroup]Group, len(groups))
	for _, g := range groups {
		next[g.ID] = g
	}
	for id := range m.groups {
		if _, ok := next[id]; !ok {
			m.failed("deselect a control group", m.kernel.SelectTLS(id, false))
			delete(m.groups, id)
		}
	}
	for id, g := range next {
		if _, ok := m.groups[id]; ok {
			continue
		}
		if err := m.kernel.SelectTLS(id, true); err != nil {
			m.failed("select a control group", err)
			continue // tried again with the next selection
		}
		m.groups[id] = g
		m.members(g)
	}
}

// begin looks at a process of a selected group that runs a new program, now and
// when its libraries have been loaded.
func (m *Manager) begin(s start, now time.Time) {
	for _, g := range s.groups {
		if _, ok := m.groups[g]; ok {
			m.visit(s.pid)
			m.put(look{pid: s.pid, at: now.Add(again[0])})
			return
		}
	}
}

func (m *Manager) put(l look) {
	if len(m.later) >= maxLater {
		m.counters.missed.Add(1)
		return
	}
	i := len(m.later)
	for i > 0 && m.later[i-1].at.After(l.at) {
		i--
	}
	m.later = append(m.later, look{})
	copy(m.later[i+1:], m.later[i:])
	m.later[i] = l
}

func (m *Manager) revisit(now time.Time) {
	for len(m.later) > 0 && !m.later[0].at.After(now) {
		l := m.later[0]
		m.later = append(m.later[:0], m.later[1:]...)
		m.visit(l.pid)
		if l.n++; l.n < len(again) {
			l.at = now.Add(again[l.n])
			m.put(l)
		}
	}
}

// round looks at every process of the selected groups, and lets go of files that
// none of them runs any more.
func (m *Manager) round() {
	for _, f := range m.files {
		f.used = false
	}
	for _, g := range m.groups {
		m.members(g)
	}
	for id, f := range m.files {
		switch f.unused++; {
		case f.used:
			f.unused = 0
		case f.unused >= keepRounds || len(m.groups) == 0:
			m.failed("detach", f.close())
			m.cfg.Log.Info("inside TLS no more", "file", f.name)
			delete(m.files, id)
			m.counters.detached.Add(1)
		}
	}
	if len(m.nothing) > maxNothing {
		clear(m.nothing)
	}
}

// close detaches everything.
func (m *Manager) close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.close())
	}
	clear(m.files)
	for id := range m.groups {
		errs = append(errs, m.kernel.SelectTLS(id, false))
	}
	clear(m.groups)
	m.publish()
	return errors.Join(errs...)
}

// failed counts an error, if it is one, unless what it is about is gone.
func (m *Manager) failed(doing string, err error) {
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return
	}
	m.counters.errors.Add(1)
	m.cfg.Log.Debug("inside TLS: "+doing, "err", err)
}

// publish lets others see what there is.
func (m *Manager) publish() {
	m.counters.groups.Store(uint64(len(m.groups)))
	if len(*m.shown.Load()) == len(m.files) && m.counters.changes() == m.counters.published {
		return
	}
	m.counters.published = m.counters.changes()
	files, probes := make([]File, 0, len(m.files)), 0
	for f := range maps.Values(m.files) {
		files = append(files, File{Path: f.name, Kind: f.kind, Probes: len(f.links)})
		probes += len(f.links)
	}
	m.counters.probes.Store(uint64(probes))
	m.shown.Store(&files)
}
