package container

import (
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/kprobes"
)

// Engine names containers (docker.Client, cri.Client). It answers from memory, in
// any goroutine: nil means not known (yet).
type Engine interface {
	Lookup(id string) *correlate.Container
	// Pod returns the sandbox of a Kubernetes pod.
	Pod(uid string) *correlate.Container
	// Makes says whether containers with that layout of control groups can be this
	// engine's.
	Makes(rt cgroup.Runtime) bool
}

// Engines are the container engines of the host.
type Engines interface {
	// System are the host's own engines.
	System() []Engine
	// Of are those a user has started; they may name that user's containers, and
	// nobody else's: they tell what the user wants.
	Of(user string) []Engine
}

// Fixed are engines of the host that are always the same, and none of users.
type Fixed []Engine

// System returns them all.
func (f Fixed) System() []Engine { return f }

// Of returns none.
func (Fixed) Of(string) []Engine { return nil }

// patience is how long after it was first asked for a name may still come. The
// events of a container's start take milliseconds; an engine that is away may
// take longer, and then fills the name in without having been waited for.
const patience = 10 * time.Second

// maxNameless bounds the containers that have an id and no name.
const maxNameless = 16384

// Stats counts what the resolver did; totals since the start, except Nameless.
type Stats struct {
	Lookups  uint64
	Named    uint64 // answered with a name
	ByID     uint64 // answered with an id only
	NoGroup  uint64 // the control group was not known
	Nameless int    // containers without a name now
	Evicted  uint64 // nameless containers forgotten because there were too many
}

// Resolver belongs to the goroutine that owns the cgroup table.
type Resolver struct {
	groups   *cgroup.Table
	engines  Engines
	now      int64
	nameless map[owned]*nameless
	missing  map[ids]int64 // cgroup ids not known → when first asked for
	stats    Stats
}

type ids struct{ v2, v1 uint64 }

// owned is a container's id and whose engine could have made it, "" the host's.
type owned struct{ id, user string }

type nameless struct {
	container *correlate.Container
	since     int64 // unix ns of the first question
}

// New returns a resolver over a cgroup table; the first engine that can have made
// a container and knows its id names it.
func New(groups *cgroup.Table, engines Engines) *Resolver {
	return &Resolver{groups: groups, engines: engines, nameless: map[owned]*nameless{}, missing: map[ids]int64{}}
}

// Stats returns the counters.
func (r *Resolver) Stats() Stats {
	s := r.stats
	s.Nameless = len(r.nameless)
	return s
}

// Tick tells the time (unix ns) and forgets what nobody will ask for again.
func (r *Resolver) Tick(now int64) {
	r.now = now
	for k, since := range r.missing {
		if now-since > int64(10*patience) {
			delete(r.missing, k)
		}
	}
}

// Lookup returns the container of a process's control groups (v2 and v1 id, 0
// where there is none); nil outside containers. pending says that more will be
// known soon. It allocates nothing for a container asked for before.
func (r *Resolver) Lookup(v2, v1 uint64) (c *correlate.Container, pending bool) {
	if v2|v1 == 0 {
		return nil, false
	}
	r.stats.Lookups++
	g, _ := r.group(v2, v1)
	if g == nil {
		r.stats.NoGroup++
		return nil, r.soon(ids{v2, v1})
	}
	if !g.InContainer() {
		return nil, false
	}
	return r.name(&g.Identity)
}

// Of returns the container that a group belongs to, as Lookup does; nil outside
// containers.
func (r *Resolver) Of(g *cgroup.Group) (c *correlate.Container, pending bool) {
	if !g.InContainer() {
		return nil, false
	}
	return r.name(&g.Identity)
}

// group returns the control group that says most of a process, and whether it is
// of cgroup v1; nil when none is known.
func (r *Resolver) group(v2, v1 uint64) (g *cgroup.Group, legacy bool) {
	g = r.groups.Lookup(cgroup.Unified, v2)
	if g == nil || !g.InContainer() { // on hybrid hosts the v2 group may be the root
		if l := r.groups.Lookup(cgroup.Legacy, v1); l != nil && (g == nil || l.InContainer() || g.Path == "/") {
			return l, true
		}
	}
	return g, false
}

// Group returns the path of the control group that says most of a process, and
// whether it is of cgroup v1; empty when it is the root or not known.
func (r *Resolver) Group(v2, v1 uint64) (path string, legacy bool) {
	g, legacy := r.group(v2, v1)
	if g == nil || g.Path == "/" {
		return "", false
	}
	return g.Path, legacy
}

// Unit returns the systemd unit of a pair of control groups; known is false when
// neither group is known.
func (r *Resolver) Unit(v2, v1 uint64) (unit string, known bool) {
	for _, k := range [...]struct {
		h  cgroup.Hierarchy
		id uint64
	}{{cgroup.Unified, v2}, {cgroup.Legacy, v1}} {
		if g := r.groups.Lookup(k.h, k.id); g != nil {
			if known = true; g.Unit != "" {
				return g.Unit, true
			}
		}
	}
	return "", known || v2|v1 == 0
}

// soon says whether a group not known may be announced yet.
func (r *Resolver) soon(k ids) bool {
	since, ok := r.missing[k]
	if !ok {
		if len(r.missing) >= maxNameless {
			return false
		}
		r.missing[k] = r.now
		return true
	}
	return r.now-since < int64(patience)
}

// Cgroup takes the birth or death of a group, and has a newborn container looked
// up, so that one which lives for a moment has its name when it is asked for.
func (r *Resolver) Cgroup(ev *kprobes.CgroupEvent) {
	if g := r.groups.Cgroup(ev); g != nil && g.InContainer() && !g.Named() {
		r.ask(&g.Identity)
	}
}

// ask asks the engines that can have made a container; able says whether there is
// one.
func (r *Resolver) ask(id *cgroup.Identity) (c *correlate.Container, able bool) {
	// Below a user's own manager anybody can make a group with anybody's id in its
	// name: that proves nothing to the system's engines.
	for _, e := range r.enginesOf(id) {
		if !e.Makes(id.Runtime) {
			continue
		}
		able = true
		if c := e.Lookup(id.ID); c != nil {
			return c, true
		}
	}
	return nil, able
}

func (r *Resolver) enginesOf(id *cgroup.Identity) []Engine {
	if id.Rootless {
		return r.engines.Of(id.User)
	}
	return r.engines.System()
}

func (r *Resolver) name(id *cgroup.Identity) (*correlate.Container, bool) {
	var able bool
	key := owned{id.ID, id.User}
	if !id.Named() {
		var c *correlate.Container
		if c, able = r.ask(id); c != nil {
			delete(r.nameless, key)
			r.stats.Named++
			return c, false
		}
	}
	n := r.nameless[key]
	if n == nil {
		n = r.remember(key, id)
	}
	if id.Named() {
		r.stats.Named++
		return n.container, false
	}
	if id.Pod != "" && n.container.Pod.Name == "" && !id.Rootless {
		r.adopt(n, id)
	}
	r.stats.ByID++
	return n.container, able && r.now-n.since < int64(patience)
}

// adopt gives a container that no engine knows to its pod, which one does.
func (r *Resolver) adopt(n *nameless, id *cgroup.Identity) {
	for _, e := range r.engines.System() {
		if s := e.Pod(id.Pod); s != nil {
			n.container = &correlate.Container{ID: id.ID, Pod: s.Pod} // what was published stays as it was
			return
		}
	}
}

func (r *Resolver) remember(key owned, id *cgroup.Identity) *nameless {
	if len(r.nameless) >= maxNameless {
		for k := range r.nameless { // any: they are all strangers
			delete(r.nameless, k)
			r.stats.Evicted++
			break
		}
	}
	c := &correlate.Container{ID: id.ID}
	switch {
	case id.Named():
		c.Name = id.ID
	case !id.Rootless:
		c.Pod.UID = id.Pod
	}
	n := &nameless{c, r.now}
	r.nameless[key] = n
	return n
}
