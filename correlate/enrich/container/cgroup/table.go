package cgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/weir-probe/weir/kprobes"
)

// Config bounds a Table. The zero value means the defaults.
type Config struct {
	// Proc is where mounted hierarchies are found (default /proc).
	Proc string
	// Mounts, when not nil, is used instead of Proc.
	Mounts []Mount
	// Controller names the v1 hierarchy the kernel side takes its ids from
	// (default memory).
	Controller string
	// Grace is how long a removed group is still known (default 60 s).
	Grace time.Duration
	// MaxGroups bounds the table, removed groups included (default 131 072).
	MaxGroups int
	// Rewalk is the least time between two walks for groups whose event was
	// missed (default 10 s).
	Rewalk time.Duration
	Logger *slog.Logger // nil discards
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Proc: "/proc", Controller: "memory",
		Grace: time.Minute, MaxGroups: 1 << 17, Rewalk: 10 * time.Second,
	}
}

// Validate checks ranges.
func (c Config) Validate() error {
	if c.Grace < 0 || c.MaxGroups < 0 || c.Rewalk < 0 {
		return errors.New("cgroups: grace, max_groups and rewalk must not be negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Proc == "" {
		c.Proc = d.Proc
	}
	if c.Controller == "" {
		c.Controller = d.Controller
	}
	if c.Grace == 0 {
		c.Grace = d.Grace
	}
	if c.MaxGroups == 0 {
		c.MaxGroups = d.MaxGroups
	}
	if c.Rewalk == 0 {
		c.Rewalk = d.Rewalk
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Stats counts what the table did; totals since the start, except Groups.
type Stats struct {
	Groups     int    // known now, removed ones in their grace time included
	Created    uint64 // events
	Removed    uint64 // events
	Walked     uint64 // groups found by walks that no event had told
	Walks      uint64
	Unknown    uint64 // lookups of an id the table did not know
	Truncated  uint64 // events whose path lacked its end
	Conflicts  uint64 // a live id announced again with another path
	Vanished   uint64 // groups a walk no longer found, though no event said so
	Evicted    uint64 // removed groups forgotten before their grace time was over
	Refused    uint64 // groups not remembered because the table was full of live ones
	WalkErrors uint64
}

// Group is one control group. It is immutable once published.
type Group struct {
	Path string // from the root of the hierarchy
	Identity
	// Top is true for the group that is a container or a systemd service, false for
	// what is inside or outside of those.
	Top bool
	// Born is when the kernel's event told of it (unix ns), 0 when a walk found it.
	Born int64
}

type key struct {
	id uint64
	h  Hierarchy
}

type entry struct {
	group   *Group
	added   int64 // unix ns
	removed int64 // unix ns, 0 while it lives
}

type removal struct {
	key  key
	time int64
}

// Table maps ids to groups. All methods but Run belong to one goroutine (the
// collector's); Run walks in another.
type Table struct {
	cfg     Config
	entries map[key]entry
	gone    []removal // oldest first
	missed  bool      // an id was asked for that is not known
	walked  int64     // unix ns of the last walk asked for
	stats   Stats
	ask     chan int64 // time of asking
	answers chan walkResult
}

type walkResult struct {
	asked  int64
	groups []found
	err    error
}

// New returns an empty table.
func New(cfg Config) *Table {
	return &Table{
		cfg: cfg.withDefaults(), entries: map[key]entry{},
		ask: make(chan int64, 1), answers: make(chan walkResult, 1),
	}
}

// Stats returns the counters.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Groups = len(t.entries)
	return s
}

// Bootstrap walks the mounted hierarchies now. Call it from the owning
// goroutine once the kernel's events are attached, so that nothing born in
// between is missed.
func (t *Table) Bootstrap(ctx context.Context) error {
	groups, err := t.walkAll(ctx)
	t.take(walkResult{groups: groups, err: err})
	return err
}

// Run walks the hierarchies whenever Tick asks for it, until ctx is done.
func (t *Table) Run(ctx context.Context) error {
	for {
		var asked int64
		select {
		case <-ctx.Done():
			return nil
		case asked = <-t.ask:
		}
		groups, err := t.walkAll(ctx)
		select {
		case t.answers <- walkResult{asked, groups, err}:
		case <-ctx.Done():
			return nil
		}
	}
}

func (t *Table) walkAll(ctx context.Context) ([]found, error) {
	mounts := t.cfg.Mounts
	if mounts == nil {
		var err error
		if mounts, err = Find(t.cfg.Proc, t.cfg.Controller); err != nil {
			return nil, err
		}
	}
	var all []found
	var errs []error
	for _, m := range mounts {
		if m.View == Relative {
			continue
		}
		groups, err := walk(ctx, m, t.cfg.MaxGroups-len(all))
		all = append(all, groups...)
		if err != nil {
			errs = append(errs, fmt.Errorf("walk control groups of %s in %s: %w", m.Hierarchy, m.Dir, err))
		}
	}
	return all, errors.Join(errs...)
}

// Cgroup takes the birth or death of a group, and returns one that is new.
func (t *Table) Cgroup(ev *kprobes.CgroupEvent) *Group {
	k := key{ev.ID, Legacy}
	if ev.Unified {
		k.h = Unified
	}
	if ev.Kind == kprobes.CgroupRemoved {
		t.stats.Removed++
		t.remove(k, ev.Time)
		return nil
	}
	t.stats.Created++
	path := string(ev.Path)
	old, had := t.entries[k]
	if ev.Truncated {
		// What is left of its last element would name somebody else. What contains
		// it is known; a walk tells the rest.
		path = path[:max(strings.LastIndexByte(path, '/'), 0)]
		t.stats.Truncated++
		t.missed = true
		if had && old.removed == 0 && strings.HasPrefix(old.group.Path, path) {
			return nil
		}
	}
	if had && old.removed == 0 && old.group.Path != path {
		// The several hierarchies of v1 number their groups apart, and the event
		// does not say which one it was: a walk tells which of the two is ours.
		t.stats.Conflicts++
		t.missed = true
	}
	if !had || old.removed != 0 || old.group.Path != path {
		return t.add(k, path, ev.Time, ev.Time)
	}
	return nil
}

// Resync asks for a walk at the next Tick: call it when events were lost.
func (t *Table) Resync() { t.missed = true }

// Lookup returns the group with that id, or nil when it is not known (yet). It
// allocates nothing.
func (t *Table) Lookup(h Hierarchy, id uint64) *Group {
	if id == 0 {
		return nil
	}
	e, ok := t.entries[key{id, h}]
	if !ok {
		t.stats.Unknown++
		t.missed = true
		return nil
	}
	return e.group
}

// Each tells every group that lives, in no order; one that is in both hierarchies
// comes twice, and on v1 more often: see Cgroup.
func (t *Table) Each(tell func(*Group)) {
	for _, e := range t.entries {
		if e.removed == 0 {
			tell(e.group)
		}
	}
}

// Removed tells every group that was removed after since (unix ns) and is still known,
// with the time; no longer back than Config.Grace.
func (t *Table) Removed(since int64, tell func(g *Group, at int64)) {
	for i := len(t.gone) - 1; i >= 0 && t.gone[i].time > since; i-- {
		if e, ok := t.entries[t.gone[i].key]; ok && e.removed == t.gone[i].time {
			tell(e.group, e.removed)
		}
	}
}

// EachID tells every group that lives by its id in its hierarchy, in no order.
func (t *Table) EachID(tell func(h Hierarchy, id uint64, g *Group)) {
	for k, e := range t.entries {
		if e.removed == 0 {
			tell(k.h, k.id, e.group)
		}
	}
}

// Tick forgets what is gone for good, takes the result of a walk and asks for
// one when something was missed. now is unix ns.
func (t *Table) Tick(now int64) {
	select {
	case r := <-t.answers:
		t.take(r)
	default:
	}
	for len(t.gone) > 0 && t.gone[0].time+int64(t.cfg.Grace) <= now {
		t.forget()
	}
	if t.missed && now-t.walked >= int64(t.cfg.Rewalk) {
		select {
		case t.ask <- now:
			t.walked, t.missed = now, false
		default: // one is under way
		}
	}
}

func (t *Table) take(r walkResult) {
	t.stats.Walks++
	if r.err != nil {
		t.stats.WalkErrors++
		t.cfg.Logger.Warn("control groups are incomplete: containers may stay unnamed", "error", r.err)
	}
	for _, f := range r.groups {
		if e, ok := t.entries[f.key]; ok && (e.removed != 0 || e.group.Path == f.path) {
			continue // newer news by event, or nothing new
		}
		t.stats.Walked++
		t.add(f.key, f.path, r.asked, 0)
	}
	if r.err == nil && r.asked != 0 {
		t.vanish(r)
	}
}

// vanish removes groups that lived before the walk and were not found by it:
// the event of their removal was lost.
func (t *Table) vanish(r walkResult) {
	seen := make(map[key]struct{}, len(r.groups))
	walked := map[Hierarchy]bool{}
	for _, f := range r.groups {
		seen[f.key] = struct{}{}
		walked[f.key.h] = true
	}
	for k, e := range t.entries {
		if _, ok := seen[k]; !ok && walked[k.h] && e.removed == 0 && e.added < r.asked {
			t.stats.Vanished++
			t.remove(k, r.asked)
		}
	}
}

func (t *Table) add(k key, path string, now, born int64) *Group {
	if _, ok := t.entries[k]; !ok && len(t.entries) >= t.cfg.MaxGroups {
		for len(t.gone) > 0 && len(t.entries) >= t.cfg.MaxGroups {
			t.stats.Evicted++
			t.forget()
		}
		if len(t.entries) >= t.cfg.MaxGroups {
			t.stats.Refused++
			return nil
		}
	}
	g := &Group{Path: path, Identity: Parse(path), Born: born}
	g.Top = g.top()
	t.entries[k] = entry{group: g, added: now}
	return g
}

func (t *Table) remove(k key, now int64) {
	e, ok := t.entries[k]
	if !ok || e.removed != 0 {
		return
	}
	e.removed = now
	t.entries[k] = e
	t.gone = append(t.gone, removal{k, now})
}

// forget drops the group that was removed first, unless its id lives again.
func (t *Table) forget() {
	r := t.gone[0]
	t.gone = t.gone[1:]
	if e, ok := t.entries[r.key]; ok && e.removed == r.time {
		delete(t.entries, r.key)
	}
}
