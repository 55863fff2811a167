package container

import (
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
)

// Engine names containers. Lookup reads memory, from any goroutine: nil means
// not known (yet).
type Engine interface {
	Lookup(id string) *correlate.Container
}

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
	engines  []Engine
	now      int64
	nameless map[string]*nameless
	missing  map[ids]int64 // cgroup ids not known → when first asked for
	stats    Stats
}

type ids struct{ v2, v1 uint64 }

type nameless struct {
	container *correlate.Container
	since     int64 // unix ns of the first question
}

// New returns a resolver over a cgroup table; the first engine that knows an id
// names it.
func New(groups *cgroup.Table, engines ...Engine) *Resolver {
	return &Resolver{groups: groups, engines: engines, nameless: map[string]*nameless{}, missing: map[ids]int64{}}
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
	g := r.groups.Lookup(cgroup.Unified, v2)
	if g == nil || !g.InContainer() { // on hybrid hosts the v2 group may be the root
		if l := r.groups.Lookup(cgroup.Legacy, v1); l != nil && (g == nil || l.InContainer()) {
			g = l
		}
	}
	if g == nil {
		r.stats.NoGroup++
		return nil, r.soon(ids{v2, v1})
	}
	if !g.InContainer() {
		return nil, false
	}
	return r.name(&g.Identity)
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

func (r *Resolver) name(id *cgroup.Identity) (*correlate.Container, bool) {
	// Below a user's own manager anybody can make a group with anybody's id in its
	// name: that proves nothing to the system's engines.
	if !id.Rootless && !id.Named() {
		for _, e := range r.engines {
			if c := e.Lookup(id.ID); c != nil {
				delete(r.nameless, id.ID)
				r.stats.Named++
				return c, false
			}
		}
	}
	n := r.nameless[id.ID]
	if n == nil {
		n = r.remember(id)
	}
	if id.Named() {
		r.stats.Named++
		return n.container, false
	}
	r.stats.ByID++
	return n.container, !id.Rootless && len(r.engines) > 0 && r.now-n.since < int64(patience)
}

func (r *Resolver) remember(id *cgroup.Identity) *nameless {
	if len(r.nameless) >= maxNameless {
		for k := range r.nameless { // any: they are all strangers
			delete(r.nameless, k)
			r.stats.Evicted++
			break
		}
	}
	c := &correlate.Container{ID: id.ID}
	if id.Named() {
		c.Name = id.ID
	}
	n := &nameless{c, r.now}
	r.nameless[id.ID] = n
	return n
}
