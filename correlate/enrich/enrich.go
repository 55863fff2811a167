package enrich

import (
	"errors"
	"strings"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// Names of ends that nothing better is known of.
const (
	External  = "external"
	Multicast = "multicast"
)

// Processes says which process an owner is (process.Table).
type Processes interface {
	Lookup(owner *kprobes.Owner, now int64) (p *correlate.Process, pending bool)
}

// Containers says which container a pair of cgroup ids is (container.Resolver).
type Containers interface {
	Lookup(v2, v1 uint64) (c *correlate.Container, pending bool)
}

// Addresses says which container had an address at a time (docker.Client).
type Addresses interface {
	ByAddress(a flows.Addr, t int64) *correlate.Container
}

// Host says which addresses are this host's (address.Table).
type Host interface {
	IsLocal(a flows.Addr) bool
}

// Config is what a Chain asks, all of it optional. The answers come from memory.
type Config struct {
	Processes  Processes
	Containers Containers
	Addresses  []Addresses // the first that knows the address
	Host       Host
	// Hostname names an end that is this host and no known process of it.
	Hostname string
	// Subnets name addresses elsewhere.
	Subnets []Subnet
}

// Validate checks the subnets.
func (c Config) Validate() error {
	_, err := newSubnets(c.Subnets)
	return err
}

// Stats counts the ends that were named, by what they turned out to be; totals
// since the start.
type Stats struct {
	Containers, Processes                  uint64 // with a socket
	ByAddress                              uint64 // containers known by address only
	Host, Multicast, Subnets, OtherOutside uint64
	Pending                                uint64 // answers that more was to follow
}

// Chain implements correlate.Enricher. It belongs to one goroutine.
type Chain struct {
	cfg     Config
	subnets subnets
	// display keeps the joined names of Compose services.
	display map[*correlate.Container]string
	stats   Stats
}

var _ correlate.Enricher = (*Chain)(nil)

// maxDisplay bounds the joined names; beyond it they are made anew.
const maxDisplay = 4096

// New returns a chain over what the configuration gives it.
func New(cfg Config) (*Chain, error) {
	s, err := newSubnets(cfg.Subnets)
	if err != nil {
		return nil, err
	}
	if cfg.Hostname == "" {
		return nil, errors.New("enrich: the name of this host is missing")
	}
	return &Chain{cfg: cfg, subnets: s, display: map[*correlate.Container]string{}}, nil
}

// Stats returns the counters.
func (c *Chain) Stats() Stats { return c.stats }

// Enrich says who is behind an end; see correlate.Enricher. For an end asked for
// before it allocates nothing. now is unix ns.
func (c *Chain) Enrich(e *correlate.Endpoint, owner, creator *kprobes.Owner, now int64) (pending bool) {
	if owner != nil && owner.Known() {
		pending = c.owned(e, owner, creator, now)
	} else {
		c.addressed(e, now)
	}
	if pending {
		c.stats.Pending++
	}
	return pending
}

// owned names an end whose socket's owner is known.
func (c *Chain) owned(e *correlate.Endpoint, owner, creator *kprobes.Owner, now int64) (pending bool) {
	e.Local = true
	if c.cfg.Processes != nil {
		e.Process, pending = c.cfg.Processes.Lookup(owner, now)
		if creator != nil && creator.Known() && creator.ProcessID != owner.ProcessID {
			var p bool
			e.Creator, p = c.cfg.Processes.Lookup(creator, now)
			pending = pending || p
		}
	}
	if c.cfg.Containers != nil {
		var p bool
		e.Contain, p = c.cfg.Containers.Lookup(owner.CgroupV2, owner.CgroupV1)
		pending = pending || p
	}
	switch {
	case e.Contain != nil:
		e.Kind, e.Name = correlate.KindContainer, c.displayName(e.Contain)
		c.stats.Containers++
	case e.Process != nil:
		e.Kind, e.Name = correlate.KindProcess, processName(e.Process)
		c.stats.Processes++
	default:
		e.Kind, e.Name = correlate.KindHost, c.cfg.Hostname
		c.stats.Host++
	}
	return pending
}

// addressed names an end by its address alone, or by the address the other side
// sees where that says more.
func (c *Chain) addressed(e *correlate.Endpoint, now int64) {
	for _, a := range [...]flows.Addr{e.Addr, e.NATAddr} {
		if a.IsZero() {
			continue
		}
		if a.IsMulticast() {
			e.Kind, e.Name = correlate.KindMulticast, Multicast
			c.stats.Multicast++
			return
		}
		if ct := c.byAddress(a, now); ct != nil {
			e.Local, e.Kind, e.Contain, e.Name = true, correlate.KindContainer, ct, c.displayName(ct)
			e.Match = correlate.Match{Method: correlate.MethodAddress, Confidence: correlate.AttributionInferred}
			c.stats.ByAddress++
			return
		}
	}
	// A socket that is here, its owner not known; or an address that is.
	if e.Local || c.cfg.Host != nil && c.cfg.Host.IsLocal(e.Addr) {
		e.Local, e.Kind, e.Name = true, correlate.KindHost, c.cfg.Hostname
		if e.Match.Method == correlate.MethodNone {
			e.Match.Method = correlate.MethodAddress // of the host; who on it stays unknown
		}
		c.stats.Host++
		return
	}
	e.Kind, e.Name = correlate.KindExternal, External
	if n, ok := c.subnets.name(e.Addr); ok {
		e.Name = n
		c.stats.Subnets++
		return
	}
	c.stats.OtherOutside++
}

func (c *Chain) byAddress(a flows.Addr, now int64) *correlate.Container {
	for _, s := range c.cfg.Addresses {
		if ct := s.ByAddress(a, now); ct != nil {
			return ct
		}
	}
	return nil
}

// displayName is ct.DisplayName without joining it anew for every connection.
func (c *Chain) displayName(ct *correlate.Container) string {
	if ct.Project == "" {
		return ct.DisplayName()
	}
	n, ok := c.display[ct]
	if !ok {
		if len(c.display) >= maxDisplay {
			clear(c.display)
		}
		n = ct.DisplayName()
		c.display[ct] = n
	}
	return n
}

// processName is the service a process belongs to, else its executable. Sessions
// and other scopes are no services, and users' own units may be called anything.
func processName(p *correlate.Process) string {
	if n, ok := strings.CutSuffix(p.Unit, ".service"); ok && !strings.HasPrefix(n, "user@") {
		return n
	}
	return p.Name
}
