package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/kprobes/tls"
	"github.com/weir-probe/weir/sink"
)

// tlsAll as a setting of tls looks into every process.
const tlsAll = "all"

func (c *Config) validateTLS() error {
	for _, p := range c.TLS {
		if _, err := path.Match(p, "x"); err != nil || p == "" {
			return fmt.Errorf("tls %q: not a valid glob", p)
		}
	}
	if len(c.TLS) > 0 && c.L7 != l7On {
		return fmt.Errorf("tls: what is inside is told by application protocols; set l7 to %s", l7On)
	}
	return nil
}

// insideTLS says which control groups are looked into: those that have one of the
// configured names in the rows. It belongs to the collector's goroutine, but for the
// manager.
type insideTLS struct {
	manager  *tls.Manager
	sockets  *kprobes.Set
	patterns []string
	mounts   []cgroup.Mount
	chosen   map[kprobes.TLSGroup]struct{}
	groups   []tls.Group // scratch
	next     time.Time   // when to look at the names again
}

// tlsChooseEvery is how old the selection may be: a container has its name some
// time after it was made.
const tlsChooseEvery = time.Second

// newInsideTLS returns nil where nothing is to be looked into, or can be.
func newInsideTLS(cfg *Config, sockets socketPath, log *slog.Logger) *insideTLS {
	if len(cfg.TLS) == 0 {
		return nil
	}
	set, ok := sockets.(*kprobes.Set)
	err := errors.New("there is no socket path")
	if ok {
		err = set.TLSReady()
	}
	var mounts []cgroup.Mount
	if err == nil {
		mounts, err = cgroup.Find("/proc", "memory")
	}
	if err != nil {
		log.Error("tls: nothing is looked into; weir doctor says more", "err", err)
		return nil
	}
	return &insideTLS{
		manager: tls.New(tls.Config{Log: log}, set), sockets: set, patterns: cfg.TLS, mounts: mounts,
		chosen: map[kprobes.TLSGroup]struct{}{},
	}
}

// start has it attach where it is told to until ctx is done. A pipeline before this
// one has left nothing attached.
func (i *insideTLS) start(ctx context.Context, g *errgroup.Group) {
	if i == nil {
		return
	}
	clear(i.chosen)
	i.next = time.Time{}
	g.Go(func() error { return i.manager.Run(ctx) })
}

// started hears of a process that runs another program.
func (i *insideTLS) started(e *kprobes.ProcessEvent) {
	if i == nil || e.Kind != kprobes.ProcessExec {
		return
	}
	_, v2 := i.chosen[kprobes.TLSGroup{ID: e.CgroupV2}]
	_, v1 := i.chosen[kprobes.TLSGroup{ID: e.CgroupV1, Legacy: 1}]
	if v1 || v2 {
		i.manager.Started(e.PID, e.CgroupV2, e.CgroupV1)
	}
}

// born hears of a new control group: it may be one that is looked into.
func (i *insideTLS) born(e *kprobes.CgroupEvent) {
	if i != nil && e.Kind == kprobes.CgroupCreated {
		i.next = time.Time{}
	}
}

// choose finds the groups to be looked into, from time to time.
func (i *insideTLS) choose(who *identities, now time.Time) {
	if i == nil || now.Before(i.next) {
		return
	}
	i.next = now.Add(tlsChooseEvery)
	i.groups = i.groups[:0]
	var e correlate.Endpoint
	who.cgroups.EachID(func(h cgroup.Hierarchy, id uint64, g *cgroup.Group) {
		if dir, ok := i.directory(h, g.Path); ok && i.wants(who, &e, g) {
			sel := tls.Group{ID: kprobes.TLSGroup{ID: id}, Dir: dir}
			if h == cgroup.Legacy {
				sel.ID.Legacy = 1
			}
			i.groups = append(i.groups, sel)
		}
	})
	if i.same() {
		return
	}
	clear(i.chosen)
	for _, g := range i.groups {
		i.chosen[g.ID] = struct{}{}
	}
	i.manager.Select(slices.Clone(i.groups))
}

// same says whether the selection is what it was.
func (i *insideTLS) same() bool {
	if len(i.groups) != len(i.chosen) {
		return false
	}
	for _, g := range i.groups {
		if _, ok := i.chosen[g.ID]; !ok {
			return false
		}
	}
	return true
}

// wants says whether a group has one of the names, as rows have it or, of a
// container, as its engine has it.
func (i *insideTLS) wants(who *identities, e *correlate.Endpoint, g *cgroup.Group) bool {
	if slices.Contains(i.patterns, tlsAll) {
		return true
	}
	ct, _ := who.resolver.Of(g)
	if ct == nil && g.Unit == "" || !who.chain.Group(e, ct, g.Unit) {
		return false
	}
	return slices.ContainsFunc(i.patterns, func(p string) bool {
		name, _ := path.Match(p, e.Name)
		own := false
		if ct != nil && ct.Name != "" {
			own, _ = path.Match(p, ct.Name)
		}
		return name || own
	})
}

// directory is where a group can be read.
func (i *insideTLS) directory(h cgroup.Hierarchy, p string) (string, bool) {
	for _, m := range i.mounts {
		rest, ok := strings.CutPrefix(p, m.Prefix)
		if ok && (rest == "" || rest[0] == '/') && m.Hierarchy == h && m.View != cgroup.Relative {
			return filepath.Join(m.Dir, rest), true
		}
	}
	return "", false
}

// files are those with probes, for the local API.
func (i *insideTLS) files() []tls.File {
	if i == nil {
		return nil
	}
	return i.manager.Files()
}

// self writes the row of the stage and returns what was lost so far.
func (i *insideTLS) self(s *sink.Self, t time.Time) uint64 {
	if i == nil {
		return 0
	}
	st, k := i.manager.Stats(), i.sockets.TLSStats()
	m := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageTLS, n, v) }
	lost := k.Full + k.Unreadable
	s.Stage(t, sink.StageTLS, m(sink.SelfSeen, k.Calls), m(sink.SelfBytes, k.Octets), m(sink.SelfLost, lost),
		m(sink.SelfLostMapFull, k.Full), m(sink.SelfUnreadableBuffers, k.Unreadable), m(sink.SelfUnbound, k.Unbound), m(sink.SelfBound, k.Bound),
		sink.SelfTLSGroups.Is(st.Groups), sink.SelfProbedFiles.Is(st.Files), sink.SelfProbes.Is(st.Probes),
		m(sink.SelfAttached, st.Attached), m(sink.SelfDetached, st.Detached), m(sink.SelfUnattached, st.Unattached),
		m(sink.SelfRefusedFiles, st.Refused), m(sink.SelfVisits, st.Visits), m(sink.SelfMissedStarts, st.Missed), m(sink.SelfErrors, st.Errors))
	return lost
}

// examineTLS says whether it can be looked inside TLS, where that is asked for.
func examineTLS(cfg *Config) check {
	c := check{Area: "inside TLS", Name: "OpenSSL, Go", State: good, Detail: strings.Join(cfg.TLS, ", ")}
	if len(cfg.TLS) == 0 {
		c.State, c.Detail = plain, "off: nothing is attached; --tls NAME looks into a container or service"
		return c
	}
	if err := tls.Probe(); err != nil {
		c.State, c.Detail = limited, err.Error()
		c.Remedy = "without it: method, route and status of requests inside TLS"
	}
	return c
}
