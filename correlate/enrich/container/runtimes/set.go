package runtimes

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/container"
	"github.com/weir-probe/weir/correlate/enrich/container/cri"
	"github.com/weir-probe/weir/correlate/enrich/container/docker"
	"github.com/weir-probe/weir/correlate/enrich/container/engine"
	"github.com/weir-probe/weir/flows"
)

// A user's engine tells what its user wants: no more of it is kept than a person
// needs, and no more users are listened to than a host has.
const (
	maxUsers          = 32
	maxUserContainers = 1024
)

// follower is a client of one engine.
type follower interface {
	container.Engine
	Run(ctx context.Context) error
	Status() engine.Status
	Stats() engine.Stats
	ByAddress(a flows.Addr, t int64) *correlate.Container
}

// Runtime is one engine and how it stands with it.
type Runtime struct {
	Kind string
	User string // who runs it for themselves; empty for the host's
	// Presence says whether it was asked for by name.
	Presence engine.Presence
	engine.Status
}

type member struct {
	kind, user string
	presence   engine.Presence
	follower
}

// Set is all engines of a host. Its methods may be called from any goroutine, and
// none waits for an engine.
type Set struct {
	cfg    Config
	system []member
	// engines are those of system.
	engines []container.Engine

	mu      sync.Mutex
	users   map[string][]container.Engine
	rest    []member // engines of users
	refused uint64   // users too many
	newborn chan member
}

// New returns the engines of a configuration; Run follows them.
func New(cfg Config) (*Set, error) {
	if cfg.UserDir == "" {
		cfg.UserDir = "/run/user"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	candidates, err := cfg.candidates()
	if err != nil {
		return nil, err
	}
	s := &Set{cfg: cfg, users: map[string][]container.Engine{}, newborn: make(chan member, 2*maxUsers)}
	for _, c := range candidates {
		m := newMember(c, "", engine.Config{Host: c.path, Presence: c.presence, Logger: cfg.Logger})
		s.system = append(s.system, m)
		s.engines = append(s.engines, m)
	}
	return s, nil
}

func newMember(c candidate, user string, cfg engine.Config) member {
	if c.kind == CRI {
		return member{c.kind, user, c.presence, cri.New(cfg)}
	}
	return member{c.kind, user, c.presence, docker.New(cfg)}
}

// Run follows all engines until ctx is done. It may be called again after that.
func (s *Set) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range s.known() {
		g.Go(func() error { return m.Run(ctx) })
	}
	alone := time.After(firstAnswers)
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-alone:
				s.lament()
			case m := <-s.newborn:
				g.Go(func() error { return m.Run(ctx) })
			}
		}
	})
	return g.Wait()
}

// known returns all engines there are now: from here on newborn has the others.
func (s *Set) known() []member {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.newborn) > 0 {
		<-s.newborn
	}
	return slices.Concat(s.system, s.rest)
}

// firstAnswers is how long the engines have before their absence is told.
const firstAnswers = 3 * time.Second

// lament says once that nobody names containers here.
func (s *Set) lament() {
	for _, m := range s.system {
		if m.presence == engine.Expected || m.Status().Connected {
			return // it speaks for itself
		}
	}
	if len(s.system) > 0 {
		s.cfg.Logger.Warn("no container engine answers: containers have an id but no name until one is there; weir doctor lists the sockets looked at")
	}
}

// System returns the host's engines.
func (s *Set) System() []container.Engine { return s.engines }

// Of returns a user's engines, and begins to follow them when it is asked for the
// first time.
func (s *Set) Of(user string) []container.Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.users[user]; ok || !s.cfg.auto() {
		return found
	}
	if _, err := strconv.ParseUint(user, 10, 32); err != nil {
		return nil // the name of a group somebody made up
	}
	if len(s.users) >= maxUsers {
		s.refused++
		return nil
	}
	s.users[user] = nil
	for _, c := range s.cfg.of(user) {
		m := newMember(c, user, engine.Config{Host: c.path, Presence: c.presence, MaxContainers: maxUserContainers, Logger: s.cfg.Logger})
		s.users[user] = append(s.users[user], m)
		s.rest = append(s.rest, m)
		s.newborn <- m // there is room for all users
	}
	return s.users[user]
}

// ByAddress returns the container of the host's engines that had an address at a
// time (unix ns); nil when none is known, or two are. Users' engines are not
// asked: anybody could claim any address.
func (s *Set) ByAddress(a flows.Addr, t int64) *correlate.Container {
	var found *correlate.Container
	for _, m := range s.system {
		c := m.ByAddress(a, t)
		if c == nil {
			continue
		}
		if found != nil && found.ID != c.ID {
			return nil
		}
		found = c
	}
	return found
}

// Status returns every engine, the host's first.
func (s *Set) Status() []Runtime {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Runtime, 0, len(s.system)+len(s.rest))
	for _, list := range [...][]member{s.system, s.rest} {
		for _, m := range list {
			out = append(out, Runtime{m.kind, m.user, m.presence, m.follower.Status()})
		}
	}
	return out
}

// Stats returns the sums over all engines.
func (s *Set) Stats() engine.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := engine.Stats{Refused: s.refused}
	for _, list := range [...][]member{s.system, s.rest} {
		for _, m := range list {
			sum.Add(m.follower.Stats())
		}
	}
	return sum
}
