package main

import (
	"strings"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/kprobes"
)

const (
	// maxNoted bounds the processes whose use of the host is told.
	maxNoted = 4096
	// notedFor is for how many intervals without traffic.
	notedFor = 60
)

// noted holds the processes that were an end of a connection lately. It belongs to the
// collector's goroutine.
type noted struct {
	of      map[kprobes.ProcessID]*notedProcess
	round   uint64 // counts intervals
	refused uint64 // ends of processes that there was no room for
}

// notedProcess is one process as the rows of flow call it.
type notedProcess struct {
	id   kprobes.ProcessID
	end  correlate.Endpoint
	seen uint64 // round
	held correlate.Sockets
}

func newNoted() noted { return noted{of: map[kprobes.ProcessID]*notedProcess{}} }

// take notes the processes of a record.
func (n *noted) take(r *correlate.Record) {
	n.end(&r.Client)
	n.end(&r.Server)
}

func (n *noted) end(e *correlate.Endpoint) {
	p := e.Process
	if p == nil || !e.Local || p.Booted == 0 {
		return
	}
	id := kprobes.ProcessID{PID: p.PID, Start: p.Booted}
	x := n.of[id]
	if x == nil {
		if len(n.of) >= maxNoted {
			n.refused++
			return
		}
		x = &notedProcess{id: id}
		n.of[id] = x
	}
	x.seen = n.round
	if x.end.Process != p || x.end.Contain != e.Contain || x.end.Name != e.Name {
		x.end = correlate.Endpoint{Local: true, Kind: e.Kind, Name: e.Name, Process: p, Contain: e.Contain}
	}
}

// next begins an interval: what had no traffic for long is forgotten.
func (n *noted) next() {
	n.round++
	for id, x := range n.of {
		if n.round-x.seen > notedFor {
			delete(n.of, id)
		}
		x.held = correlate.Sockets{}
	}
}

// holds adds what an owner holds to its process and to the container or service that
// it is in, where those are asked for.
func (u *resources) holds(o *kprobes.Owner, s correlate.Sockets, who *identities) {
	if x := u.noted.of[o.ProcessID]; x != nil {
		x.held.Add(s)
	}
	path, _ := who.resolver.Group(o.CgroupV2, o.CgroupV1)
	for path != "" {
		if i, ok := u.at[path]; ok {
			u.held[i].Add(s)
			return
		}
		path = path[:max(strings.LastIndexByte(path, '/'), 0)] // a part of one
	}
}

// setHeld writes what is held into a reading.
func setHeld(r *usage.Reading, s *correlate.Sockets) {
	r.Set(usage.Sockets, s.Open)
	r.Set(usage.Listeners, s.Listeners)
	if s.Listeners > 0 {
		r.Set(usage.Waiting, uint64(s.Waiting))
		r.Set(usage.Backlog, uint64(s.Backlog))
	}
}

// askGroups lists the groups that are a container or a service.
func (u *resources) askGroups(r *usage.Round, groups *cgroup.Table) {
	clear(u.at)
	u.groups, u.held = u.groups[:0], u.held[:0]
	groups.Each(func(g *cgroup.Group) {
		if !g.Top {
			return
		}
		i, ok := u.at[g.Path]
		if !ok {
			u.at[g.Path] = len(r.Groups)
			u.groups, u.held = append(u.groups, g), append(u.held, correlate.Sockets{})
			r.Groups = append(r.Groups, usage.Group{Path: g.Path, Born: g.Born})
			return
		}
		// The same in another hierarchy, made a moment before or after.
		r.Groups[i].Born = min(r.Groups[i].Born, g.Born)
	})
}

// askProcesses lists the processes noted.
func (u *resources) askProcesses(r *usage.Round) {
	u.processes = u.processes[:0]
	for id, x := range u.noted.of {
		u.processes = append(u.processes, x)
		r.Processes = append(r.Processes, usage.Process{PID: id.PID, Start: id.Start, Born: x.end.Process.Start})
	}
}

// tellProcesses takes what processes used into the rows; those that ended are
// forgotten.
func (u *resources) tellProcesses(r *usage.Round, out *output) {
	alive := r.ProcessSamples
	for i := range alive {
		x := u.processes[alive[i].Index]
		setHeld(&alive[i].Reading, &x.held)
		out.processes.Add(&x.end, &alive[i].Reading)
	}
}
