package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/sink"
)

// lifecycle tells of containers that start and stop, as their control groups do. It
// belongs to the collector's goroutine.
type lifecycle struct {
	of    map[string]*life // by path; the same group in several hierarchies is one
	here  map[string]*cgroup.Group
	since int64 // the tick before, unix ns; 0: there was none
}

// life is one container's.
type life struct {
	end  correlate.Endpoint
	born int64 // unix ns, 0 where that was not seen
	told bool  // its start was, or is not to be
}

func newLifecycle() *lifecycle {
	return &lifecycle{of: map[string]*life{}, here: map[string]*cgroup.Group{}}
}

// tick compares the control groups with those of the tick before.
func (l *lifecycle) tick(now time.Time, who *identities, to *sink.Events) {
	clear(l.here)
	who.cgroups.Each(func(g *cgroup.Group) {
		if was := l.here[g.Path]; g.Top && g.InContainer() && (was == nil || g.Born < was.Born) {
			l.here[g.Path] = g
		}
	})
	who.cgroups.Removed(l.since, func(g *cgroup.Group, at int64) {
		if l.of[g.Path] == nil && l.here[g.Path] == nil && g.Top && g.InContainer() && g.Born > l.since {
			l.begin(g)
			l.name(g, who, true, to)
			l.end(g.Path, at, to)
		}
	})
	for path, x := range l.of {
		g := l.here[path]
		if g != nil && (g.Born == x.born || g.Born <= l.since) {
			l.name(g, who, false, to)
			continue
		}
		at := now.UnixNano()
		if g != nil {
			at = g.Born // it was made anew
		}
		l.end(path, at, to)
	}
	for path, g := range l.here {
		if l.of[path] == nil {
			l.begin(g)
			l.name(g, who, false, to)
		}
	}
	l.since = now.UnixNano()
}

func (l *lifecycle) begin(g *cgroup.Group) {
	l.of[g.Path] = &life{born: g.Born, told: l.since == 0 || g.Born == 0}
}

// name gives a container the name it is told under, and tells its start once its
// engine has had the time to say who it is.
func (l *lifecycle) name(g *cgroup.Group, who *identities, last bool, to *sink.Events) {
	x := l.of[g.Path]
	if x.told && x.end.Name != "" {
		return
	}
	c, pending := who.resolver.Of(g)
	who.chain.Group(&x.end, c, "")
	if x.told || pending && !last {
		return
	}
	x.told = true
	to.Add(time.Unix(0, x.born), &sink.Event{
		Type: sink.EventStart, Severity: sink.SeverityInfo, Server: x.end.Name,
		Message: "container started", Evidence: evidenceOf(x),
	})
}

// end tells that a container is gone.
func (l *lifecycle) end(path string, at int64, to *sink.Events) {
	x := l.of[path]
	delete(l.of, path)
	e := &sink.Event{Type: sink.EventStop, Severity: sink.SeverityInfo, Server: x.end.Name, Message: "container stopped", Evidence: evidenceOf(x)}
	if x.born != 0 {
		e.Seen = time.Duration(at - x.born).Seconds()
		e.Evidence += fmt.Sprintf(" lived_seconds=%.3f", e.Seen)
	}
	to.Add(time.Unix(0, at), e)
}

// evidenceOf says which container it was, beyond its name.
func evidenceOf(x *life) string {
	c := x.end.Contain
	if c == nil {
		return ""
	}
	var words []string
	for _, w := range [...]struct{ key, value string }{{"id", c.ID}, {"container", c.Name}, {"image", c.Image}, {"pod", c.Pod.Name}} {
		if w.value != "" {
			words = append(words, w.key+"="+w.value)
		}
	}
	return strings.Join(words, " ")
}
