package enrich

import (
	"errors"
	"net/netip"
	"strconv"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// Names of ends that nothing better is known of.
const (
	External  = "external"
	Remote    = "remote" // on another host of the fleet, without a name
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

// Groups says which control group a pair of ids is: its path from the root of
// its hierarchy, and whether that is cgroup v1; empty when it is not known or
// the root (container.Resolver).
type Groups interface {
	Group(v2, v1 uint64) (path string, legacy bool)
}

// Addresses says which container had an address at a time (engine.Link).
type Addresses interface {
	ByAddress(a flows.Addr, t int64) *correlate.Container
}

// Host says which addresses are this host's (address.Table).
type Host interface {
	IsLocal(a flows.Addr) bool
}

// Networks says what a network namespace is called (netns.Table).
type Networks interface {
	Name(inode uint32) string
}

// Names says what an address elsewhere was called in a network namespace when a
// connection to it began (unix ns), "" when that is not known, and whether a name
// may be a display name: there is no end of names (dns.Table).
type Names interface {
	Name(a flows.Addr, netns uint32, began int64) string
	Show(name string, now int64) bool
}

// Ranges says what files say of an address elsewhere: the name of its network, and
// where it is (ranges.Table).
type Ranges interface {
	Name(a flows.Addr) (string, bool)
	Geo(a flows.Addr) correlate.Geo
}

// Config is what a Chain asks, all of it optional. The answers come from memory.
type Config struct {
	Processes  Processes
	Containers Containers
	Groups     Groups
	Addresses  []Addresses // the first that knows the address
	Host       Host
	Networks   Networks
	// HostNetNS is the inode of the host's network namespace; 0 (not known) takes
	// every address for the host's.
	HostNetNS uint32
	// Hostname names an end that is this host and no known process of it.
	Hostname string
	// Names, then Subnets, then Ranges name addresses elsewhere.
	Names   Names
	Subnets []Subnet
	Ranges  Ranges
	// Fleet are networks of other hosts that run a probe.
	Fleet []netip.Prefix
	// Nodes are the networks of other hosts and of what runs on them, by the host's name.
	Nodes []Subnet
	// Zone is where this host is, Zones where networks elsewhere are.
	Zone  string
	Zones []Subnet
}

// Validate checks the subnets.
func (c Config) Validate() error {
	_, err := newSubnets(c.Subnets)
	_, nodes := newSubnets(c.Nodes)
	_, zones := newSubnets(c.Zones)
	return errors.Join(err, nodes, zones)
}

// Stats counts the ends that were named, by what they turned out to be; totals
// since the start.
type Stats struct {
	Containers, Processes                  uint64 // with a socket
	ByAddress                              uint64 // containers known by address only
	OtherNetwork                           uint64 // addresses of a container in a namespace where they are somebody else's
	Host, Multicast, Subnets, OtherOutside uint64
	ByName, ByRange                        uint64 // elsewhere, named by DNS, by files
	Pending                                uint64 // answers that more was to follow
}

// Chain implements correlate.Enricher. It belongs to one goroutine.
type Chain struct {
	cfg     Config
	subnets subnets
	fleet   subnets
	nodes   subnets
	zones   subnets
	// display keeps the joined names of Compose services and workloads.
	display map[*correlate.Container]string
	systems map[correlate.Geo]string // likewise of autonomous systems
	spaces  spaces
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
	var fleet subnets
	if len(cfg.Fleet) > 0 {
		var list []Subnet
		for _, p := range cfg.Fleet {
			list = append(list, Subnet{p, Remote})
		}
		if fleet, err = newSubnets(list); err != nil {
			return nil, err
		}
	}
	nodes, err := newSubnets(cfg.Nodes)
	if err != nil {
		return nil, err
	}
	zones, err := newSubnets(cfg.Zones)
	if err != nil {
		return nil, err
	}
	if cfg.Hostname == "" {
		return nil, errors.New("enrich: the name of this host is missing")
	}
	return &Chain{cfg: cfg, subnets: s, fleet: fleet, nodes: nodes, zones: zones, display: map[*correlate.Container]string{}, systems: map[correlate.Geo]string{}, spaces: spaces{host: cfg.HostNetNS, of: map[uint32]space{}}}, nil
}

// Stats returns the counters.
func (c *Chain) Stats() Stats { return c.stats }

// Enrich says who is behind an end; see correlate.Enricher. For an end asked for
// before it allocates nothing. now is unix ns.
func (c *Chain) Enrich(e *correlate.Endpoint, owner, creator *kprobes.Owner, now int64) (pending bool) {
	if owner != nil && owner.Known() {
		pending = c.owned(e, owner, creator, now)
	} else {
		pending = c.addressed(e, now)
	}
	e.Zone = c.zone(e)
	if pending {
		c.stats.Pending++
	}
	return pending
}

// zone is where an end is: what lives here is where the host is, whatever its address.
func (c *Chain) zone(e *correlate.Endpoint) string {
	switch {
	case e.Local:
		return c.cfg.Zone
	case e.Kind == correlate.KindMulticast:
		return ""
	}
	z, _ := c.zones.name(e.Addr)
	return z
}

// owned names an end whose socket's owner is known.
func (c *Chain) owned(e *correlate.Endpoint, owner, creator *kprobes.Owner, now int64) (pending bool) {
	e.Local = true
	if c.cfg.Networks != nil {
		e.NetName = c.cfg.Networks.Name(e.NetNS)
	}
	if c.cfg.Processes != nil {
		var p bool
		e.Process, pending = c.cfg.Processes.Lookup(owner, now)
		switch {
		case creator == nil || !creator.Known():
		case creator.ProcessID == owner.ProcessID && creator.Exec == owner.Exec:
		case creator.ProcessID == owner.ProcessID && creator.How == kprobes.OwnerConnect:
			e.Current = e.Process
			e.Process, p = c.cfg.Processes.Lookup(creator, now)
		default:
			e.Creator, p = c.cfg.Processes.Lookup(creator, now)
		}
		pending = pending || p
	}
	if c.cfg.Containers != nil {
		var p bool
		e.Contain, p = c.cfg.Containers.Lookup(owner.CgroupV2, owner.CgroupV1)
		pending = pending || p
	}
	if c.cfg.Groups != nil {
		e.Evidence.Group, e.Evidence.Legacy = c.cfg.Groups.Group(owner.CgroupV2, owner.CgroupV1)
	}
	switch {
	case e.Contain != nil:
		e.Kind, e.Name = e.Contain.Kind(), c.displayName(e.Contain)
		c.spaces.learn(e.NetNS, e.Contain, now)
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

// Group names the end that whatever runs in a control group is: of container ct, or
// without one of a systemd unit. It is false where the group has no one name, for the
// unit's says nothing lasting. It fills in nothing but Kind, Name, Contain and Local.
func (c *Chain) Group(e *correlate.Endpoint, ct *correlate.Container, unit string) bool {
	*e = correlate.Endpoint{Local: true, Contain: ct}
	if ct != nil {
		e.Kind, e.Name = ct.Kind(), c.displayName(ct)
		return true
	}
	n, ok := serviceName(unit)
	e.Kind, e.Name = correlate.KindProcess, n
	return ok
}

// Loser names the end that lost packets: what has the socket, by its control groups
// and their systemd unit; of packets without a socket, or of one in no service, the
// container that has the network namespace; else the host, or the name that somebody gave
// the namespace. It fills in nothing but
// Kind, Name, Contain, NetNS and Local.
func (c *Chain) Loser(e *correlate.Endpoint, v2, v1 uint64, unit string, netns uint32) {
	var ct *correlate.Container
	if c.cfg.Containers != nil {
		ct, _ = c.cfg.Containers.Lookup(v2, v1)
	}
	named := c.Group(e, ct, unit)
	if !named {
		named = c.Group(e, c.spaces.container(netns), "")
	}
	switch {
	case named:
	case netns == 0 || c.cfg.HostNetNS == 0 || netns == c.cfg.HostNetNS:
		e.Kind, e.Name = correlate.KindHost, c.cfg.Hostname
	default:
		e.Kind, e.Name = correlate.KindUnknown, c.network(netns)
	}
	e.NetNS = netns
}

// addressed names an end by its address alone, or by the address the other side
// sees where that says more. An address means something in its namespace only.
func (c *Chain) addressed(e *correlate.Endpoint, now int64) (pending bool) {
	for _, a := range [...]flows.Addr{e.Addr, e.NATAddr} {
		if a.IsZero() {
			continue
		}
		if a.IsMulticast() {
			e.Kind, e.Name = correlate.KindMulticast, Multicast
			c.stats.Multicast++
			return false
		}
		var ct *correlate.Container
		if a.IsLoopback() {
			ct = c.spaces.container(e.SeenNS)
		} else if ct = c.byAddress(a, now); ct != nil && !c.spaces.routed(e.SeenNS) {
			c.stats.OtherNetwork++
			ct, pending = nil, true // until a container is seen there
		}
		if ct != nil {
			e.Local, e.Kind, e.Contain, e.Name = true, ct.Kind(), ct, c.displayName(ct)
			e.Match = correlate.Match{Method: correlate.MethodAddress, Confidence: correlate.AttributionInferred}
			c.stats.ByAddress++
			return false
		}
	}
	// A socket that is here, its owner not known; or an address that is.
	if e.Local || c.cfg.Host != nil && c.cfg.Host.IsLocal(e.Addr) {
		e.Local, e.Kind, e.Name = true, correlate.KindHost, c.cfg.Hostname
		if e.Match.Method == correlate.MethodNone {
			e.Match.Method = correlate.MethodAddress // of the host; who on it stays unknown
		}
		c.stats.Host++
		return pending
	}
	e.Kind = correlate.KindExternal
	e.Name = c.outside(e, now)
	e.Node, _ = c.nodes.name(e.Addr)
	if n, ok := c.fleet.name(e.Addr); ok {
		e.Kind = correlate.KindRemote
		if e.Name == External {
			e.Name = n
		}
	}
	return pending
}

// outside names an end elsewhere.
func (c *Chain) outside(e *correlate.Endpoint, now int64) string {
	if c.cfg.Ranges != nil {
		e.Geo = c.cfg.Ranges.Geo(e.Addr)
	}
	if c.cfg.Names != nil {
		if e.DNSName = c.cfg.Names.Name(e.Addr, e.SeenNS, now); e.DNSName != "" && c.cfg.Names.Show(e.DNSName, now) {
			c.stats.ByName++
			return e.DNSName
		}
	}
	if n, ok := c.subnets.name(e.Addr); ok {
		c.stats.Subnets++
		return n
	}
	if c.cfg.Ranges != nil {
		n, ok := c.cfg.Ranges.Name(e.Addr)
		if !ok {
			n = c.autonomousSystem(&e.Geo)
		}
		if n != "" {
			c.stats.ByRange++
			return n
		}
	}
	c.stats.OtherOutside++
	return External
}

// autonomousSystem is the display name of one: "AS64500 Example"; "" of none.
func (c *Chain) autonomousSystem(g *correlate.Geo) string {
	if g.ASN == 0 {
		return ""
	}
	n, ok := c.systems[*g]
	if !ok {
		if len(c.systems) >= maxDisplay {
			clear(c.systems)
		}
		n = "AS" + strconv.FormatUint(uint64(g.ASN), 10) + " " + g.Org
		c.systems[*g] = n
	}
	return n
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
	if ct.Project == "" && ct.Pod.UID == "" {
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

// processName is the service a process belongs to, else its executable.
func processName(p *correlate.Process) string {
	if n, ok := serviceName(p.Unit); ok {
		return n
	}
	return p.Name
}
