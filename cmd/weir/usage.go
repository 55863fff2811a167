package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// Whether it is told what containers and services use: the setting resources.
const (
	resourcesOn  = "on"
	resourcesOff = "off"
)

// resources has the control groups of containers and services read at the end of
// each interval, and makes rows of it when that is done. It belongs to the
// collector's goroutine, but for the sampler's Run.
type resources struct {
	sampler *usage.Sampler
	// groups are those of the round asked for, as in its Groups; at is where a path
	// stands there.
	groups []*cgroup.Group
	at     map[string]int
	held   []correlate.Sockets // by each of groups
	// processes are those of the round asked for, as in its Processes.
	processes []*notedProcess
	noted     noted
	// throttled holds the names for which the last round's interval was one of a
	// stretch of throttling, next those of the one being told.
	throttled, next map[string]struct{}
	hostKills       uint64
	seconds         float64
	stats           usage.Stats
}

// newResources returns what cfg asks for, nil for nothing.
func newResources(cfg *Config, log *slog.Logger) *resources {
	if cfg.Resources == resourcesOff {
		return nil
	}
	return &resources{
		sampler: usage.New(usage.Config{Since: time.Now().UnixNano(), Logger: log}), at: map[string]int{}, noted: newNoted(),
		throttled: map[string]struct{}{}, next: map[string]struct{}{},
	}
}

// run reads what is asked for until ctx is done.
func (u *resources) run(ctx context.Context) error {
	if u == nil {
		return nil
	}
	return u.sampler.Run(ctx)
}

// note takes who is in a record.
func (u *resources) note(r *correlate.Record) {
	if u != nil {
		u.noted.take(r)
	}
}

// ask has every group read that is a container or a service, and every process that
// had traffic, for the interval that ends at end.
func (u *resources) ask(end, now time.Time, who *identities, join *correlate.Joiner) {
	if u == nil {
		return
	}
	r := u.sampler.Begin()
	if r == nil {
		return // counted
	}
	r.At, r.Asked = end.UnixNano(), now.UnixNano()
	u.noted.next()
	u.askGroups(r, who.cgroups)
	u.askProcesses(r)
	join.OpenSockets(func(o *kprobes.Owner, s correlate.Sockets) { u.holds(o, s, who) })
	u.sampler.Ask()
}

// take writes the rows of a round that has been read, if there is one.
func (u *resources) take(who *identities, out *output, host string) {
	if u == nil {
		return
	}
	if r := u.sampler.Take(); r != nil {
		u.tell(r, who, out, host)
	}
}

// finish is take at the end of everything, for which the last round is waited for.
func (u *resources) finish(ctx context.Context, who *identities, out *output, host string) {
	if u == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if r := u.sampler.Wait(ctx); r != nil {
		u.tell(r, who, out, host)
	}
}

func (u *resources) tell(r *usage.Round, who *identities, out *output, host string) {
	t := time.Unix(0, r.At)
	clear(u.next)
	var e correlate.Endpoint
	var kills uint64
	for i := range r.Samples {
		s := &r.Samples[i]
		kills += s.Get(usage.OOMKills)
		g := u.groups[s.Index]
		ct, _ := who.resolver.Of(g) // a name that comes later is a row of its own
		if !who.chain.Group(&e, ct, g.Unit) {
			continue // flow calls its processes by their executables
		}
		setHeld(&s.Reading, &u.held[s.Index])
		out.containers.Add(&e, &s.Reading)
		u.events(t, e.Name, &s.Reading, out.events)
	}
	u.throttled, u.next = u.next, u.throttled
	if r.HostOOMKills > kills {
		tellHostOOM(t, host, r.HostOOMKills-kills, r.Stats.Ended-u.stats.Ended, out.events)
	}
	u.hostKills += r.HostOOMKills
	u.seconds = max(u.seconds, r.Seconds)
	u.stats = r.Stats
	u.tellProcesses(r, out)
	for _, rows := range [...]*sink.Usage{out.containers, out.processes} {
		for _, b := range rows.Flush(t) {
			out.queue.put(b)
		}
	}
	for _, b := range out.events.Flush() {
		out.queue.put(b)
	}
}

// events tells what happened to one group.
func (u *resources) events(t time.Time, name string, r *usage.Reading, to *sink.Events) {
	if n := r.Get(usage.OOMKills); n > 0 {
		to.Add(t, &sink.Event{
			Type: sink.EventOOM, Severity: sink.SeverityError, Server: name, Seen: float64(n),
			Message:  fmt.Sprintf("%s killed for want of memory", count(n, "process", "processes")),
			Evidence: figures(r, usage.OOMKills, usage.Memory, usage.WorkingSet, usage.MemoryLimit),
		})
	}
	periods, throttled := r.Get(usage.Periods), r.Get(usage.ThrottledPeriods)
	if 2*throttled <= periods {
		return
	}
	u.next[name] = struct{}{}
	if _, goesOn := u.throttled[name]; goesOn {
		return
	}
	to.Add(t, &sink.Event{
		Type: sink.EventThrottled, Severity: sink.SeverityWarning, Server: name, Expected: 0.5, Seen: float64(throttled) / float64(periods),
		Message:  fmt.Sprintf("the CPU quota was used up in %d of %d periods", throttled, periods),
		Evidence: figures(r, usage.Periods, usage.ThrottledPeriods, usage.Throttled, usage.Quota),
	})
}

// tellHostOOM tells of processes that were killed outside of the groups read: in none,
// in a part of a container, or in a group that was gone before it could be read, as
// when a container's first process is killed.
func tellHostOOM(t time.Time, host string, n, ended uint64, to *sink.Events) {
	to.Add(t, &sink.Event{
		Type: sink.EventOOM, Severity: sink.SeverityError, Server: host, Seen: float64(n),
		Message:  fmt.Sprintf("%s killed for want of memory, of the host or of a control group that ended with it", count(n, "process", "processes")),
		Evidence: fmt.Sprintf("oom_kills=%d groups_gone=%d", n, ended),
	})
}

func count(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

// figures are values under the names they have in container.
func figures(r *usage.Reading, values ...usage.Value) string {
	var words []string
	for _, v := range values {
		if r.Has(v) {
			words = append(words, sink.ContainerField(v)+"="+sink.UsageValue(v, r))
		}
	}
	return strings.Join(words, " ")
}

// self writes the row of stage resources: what the last round that was read has to
// say.
func (u *resources) self(s *sink.Self, t time.Time, out *output) {
	if u == nil {
		return
	}
	rows, processes := out.containers.Stats(), out.processes.Stats()
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageResources, n, v) }
	s.Stage(t, sink.StageResources,
		sink.SelfGroups.Is(uint64(u.stats.Groups)), m(sink.SelfFiles, u.stats.Files), sink.SelfRead.Is(u.seconds),
		m(sink.SelfLateRounds, u.sampler.Late()), m(sink.SelfUnreadable, u.stats.Unreadable), m(sink.SelfGarbage, u.stats.Garbage),
		m(sink.SelfFell, u.stats.Fell), m(sink.SelfEnded, u.stats.Ended), m(sink.SelfGroupsRefused, u.stats.Refused),
		m(sink.SelfHostOOM, u.hostKills), m(sink.SelfRows, rows.Encoder.Rows+processes.Encoder.Rows),
		sink.SelfProcessesRead.Is(uint64(u.stats.Processes)), m(sink.SelfProcessesEnded, u.stats.ProcessesEnded),
		m(sink.SelfProcessesRefused, u.stats.ProcessesRefused+u.noted.refused),
		sink.SelfProcessSeries.Is(processes.Series), m(sink.SelfProcessFolded, processes.Folded),
		sink.SelfUsageSeries.Is(rows.Series), m(sink.SelfUsageFolded, rows.Folded),
		m(sink.SelfValuesCleaned, rows.Encoder.Cleaned+processes.Encoder.Cleaned),
		m(sink.SelfValuesClamped, rows.Encoder.Clamped+processes.Encoder.Clamped),
		m(sink.SelfFieldsSkipped, rows.Encoder.SkippedFields+processes.Encoder.SkippedFields))
	u.seconds = 0
}

// examineResources says from where it is known what containers use.
func examineResources(cfg *Config) check {
	c := check{Area: "containers", Name: "resources", State: good}
	if cfg.Resources == resourcesOff {
		c.State, c.Detail = plain, "switched off"
		return c
	}
	l, err := usage.FindLayout("/proc")
	if err != nil {
		c.State, c.Detail, c.Remedy = limited, err.Error(), "without it there are no rows of container"
		return c
	}
	var from, without []string
	for _, s := range l.Sources() {
		if s.From == "" {
			without = append(without, s.Subject)
			continue
		}
		from = append(from, s.Subject+" "+s.From)
	}
	c.Detail = strings.Join(from, ", ")
	if len(without) > 0 {
		c.State, c.Remedy = limited, "rows of container are without "+strings.Join(without, ", ")+": their controllers are not mounted, or not in cgroup.controllers (pressure: boot with psi=1)"
	}
	return c
}
