package anomaly

import (
	"net/netip"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/net/publicsuffix"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// nodeKey is who an end is. Services are known by name, what is elsewhere by the
// domain of its name, and without one by its network.
type nodeKey struct {
	kind correlate.Kind
	name string
	net  flows.Addr // masked, zero of what has a name
}

// node is one end of edges: a service, its replicas together, or a place elsewhere.
type node struct {
	nodeKey
	id    uint32
	edges int // that name it
	// through is on how many of them something came through.
	through int
	born    int64
	// settles is until when it is left alone: it is new, or was deployed.
	settles int64
	// revisions are of the images and specifications seen lately, the newest first.
	revisions [4]uint64
	// replicas tells how many containers of it there are; nil of what has none.
	replicas *replicas
	demand   demand
	// novel counts new destinations elsewhere, a day's half forgotten a day later:
	// some programs do little else.
	novel float64
	// hosts and ports are the most that it tried in vain in ten minutes.
	hosts, ports uint16
	aged         int64 // when novel was last aged
}

const (
	// replicasKept is how many containers of one service are told apart.
	replicasKept = 32
	// replicaGone is how long one without traffic counts.
	replicaGone = int64(10 * 60e9)
)

// replicas are the containers of one service.
type replicas struct {
	// known are as they were last told of: the same container again is the same
	// pointer, mostly.
	known [replicasKept]*correlate.Container
	id    [replicasKept]uint64
	seen  [replicasKept]int64
	n     int     // that are in use
	now   int     // that had traffic lately
	usual float64 // 0: not known yet
}

// see takes note of one, and returns whether its description is another one than
// before.
func (r *replicas) see(c *correlate.Container, t int64) bool {
	for i := range r.n {
		if r.known[i] == c {
			r.seen[i] = t
			return false
		}
	}
	id, at := hash(c.ID), 0
	for i := range r.n {
		if r.id[i] == id {
			r.known[i], r.seen[i] = c, t
			return true
		}
		if r.seen[i] < r.seen[at] {
			at = i
		}
	}
	if r.n < replicasKept {
		at = r.n
		r.n++
	}
	r.known[at], r.id[at], r.seen[at] = c, id, t
	return true
}

// count ends a minute: how many there are, and how many there are mostly, with half
// of it forgotten in six hours.
func (r *replicas) count(t int64) {
	r.now = 0
	for _, s := range r.seen[:r.n] {
		if t-s <= replicaGone {
			r.now++
		}
	}
	if r.usual == 0 {
		r.usual = float64(r.now)
		return
	}
	r.usual += (float64(r.now) - r.usual) * 0.002
}

// hash of a string that is not kept.
func hash(ss ...string) uint64 {
	var d xxhash.Digest
	d.Reset()
	for _, s := range ss {
		_, _ = d.WriteString(s)
		_, _ = d.WriteString("\x00")
	}
	return d.Sum64()
}

// revision identifies what a container was made of, 0 where nothing tells.
func revision(c *correlate.Container) uint64 {
	if c == nil || c.Image == "" && c.Revision == "" && c.Pod.Revision == "" {
		return 0
	}
	return hash(c.Image, c.Revision, c.Pod.Revision)
}

// deployed takes note of a revision and says whether it is another one than those
// seen lately; the first is not.
func (n *node) deployed(rev uint64) bool {
	if rev == 0 || rev == n.revisions[0] {
		return false
	}
	first := n.revisions[0] == 0
	for i, r := range n.revisions {
		if r == rev { // old and new side by side while a deployment goes on
			copy(n.revisions[1:i+1], n.revisions[:i])
			n.revisions[0] = rev
			return false
		}
	}
	copy(n.revisions[1:], n.revisions[:])
	n.revisions[0] = rev
	return !first
}

// age forgets new destinations.
func (n *node) age(t int64) {
	if days := float64(t-n.aged) / 864e11; days > 0 {
		n.novel /= 1 + days
	}
	n.aged = t
}

// roaming says whether the node finds new destinations all the time.
func (n *node) roaming() bool { return n.novel >= 8 }

// ours says whether a kind of end has a service's name.
func ours(k correlate.Kind) bool {
	return k == correlate.KindContainer || k == correlate.KindPod || k == correlate.KindProcess || k == correlate.KindService
}

// contained says whether a kind of end is deployed rather than started.
func contained(k correlate.Kind) bool {
	return k == correlate.KindContainer || k == correlate.KindPod
}

// clear says whether it is known who an end is: one that lives here has an owner, one
// elsewhere is always what its address says.
func clearEnd(e *correlate.Endpoint) bool {
	if abroad(e.Kind) {
		return true
	}
	return ours(e.Kind) && (e.Contain == nil || e.Contain.Name != "" || e.Contain.Pod.Name != "")
}

// nobodys says that neither end lives here, as addresses go: what this host forwards, or
// containers and guests of which nothing but their packets is known. Nobody is there to have
// a habit, and where it was known who they are, they are no new places.
func nobodys(r *correlate.Record) bool {
	return abroad(r.Client.Kind) && abroad(r.Server.Kind)
}

// abroad says whether a kind of end lives elsewhere: all that is known of it is an address,
// and maybe a name.
func abroad(k correlate.Kind) bool {
	return k == correlate.KindExternal || k == correlate.KindRemote
}

// external is what the enricher calls an end elsewhere without a name.
const external = "external"

// networkOf is the network that an unnamed address elsewhere is known by: /24, /48.
func networkOf(a flows.Addr) flows.Addr {
	keep := 6
	if a.Is4() {
		keep = 15
	}
	clear(a[keep:])
	return a
}

func networkName(a flows.Addr) string {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	return a.String() + "/" + strconv.Itoa(bits)
}

// domain is what names of one owner have in common; of anything else, itself.
func domain(name string) string {
	if _, err := netip.ParseAddr(name); err == nil {
		return name
	}
	if d, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return d
	}
	return name
}

// nodes are the ends of all edges, and the aliases by which they are found.
type nodes struct {
	byKey   map[nodeKey]*node
	domains map[string]string // of names elsewhere, to their domain
	all     []*node           // by id, with holes
	free    []uint32
	max     int
	refused uint64 // were not taken because there are max
}

func newNodes(limit int) nodes {
	return nodes{byKey: map[nodeKey]*node{}, domains: map[string]string{}, max: limit}
}

// keyOf returns who an end is; at tells what is elsewhere apart, which matters only
// for what is talked to. Another host of the fleet is its network: its names come and go.
func (ns *nodes) keyOf(e *correlate.Endpoint, at bool) nodeKey {
	switch {
	case !abroad(e.Kind):
		return nodeKey{kind: e.Kind, name: correlate.WorkloadName(e)}
	case e.Kind == correlate.KindExternal && e.Name != external && e.Name != "":
		return nodeKey{kind: e.Kind, name: ns.domainOf(e.Name)}
	case !at:
		return nodeKey{kind: e.Kind, name: e.Kind.String()}
	}
	return nodeKey{kind: e.Kind, net: networkOf(e.Addr)}
}

func (ns *nodes) domainOf(name string) string {
	d, ok := ns.domains[name]
	if !ok {
		if len(ns.domains) >= ns.max {
			clear(ns.domains)
		}
		d = domain(name)
		ns.domains[name] = d
	}
	return d
}

// get returns a node, made if need be; nil where there is no room.
func (ns *nodes) get(k nodeKey, t int64) *node {
	if n := ns.byKey[k]; n != nil {
		return n
	}
	if len(ns.byKey) >= ns.max {
		ns.refused++
		return nil
	}
	n := &node{nodeKey: k, born: t, aged: t}
	if k.net != (flows.Addr{}) {
		n.name = networkName(k.net)
	}
	ns.insert(n)
	return n
}

// lookup is the key that n is found by: a network is, without its name.
func (n *node) lookup() nodeKey {
	k := n.nodeKey
	if k.net != (flows.Addr{}) {
		k.name = ""
	}
	return k
}

// insert gives n an id; false: it is there.
func (ns *nodes) insert(n *node) bool {
	k := n.lookup()
	if ns.byKey[k] != nil {
		return false
	}
	ns.byKey[k] = n
	if l := len(ns.free); l > 0 {
		n.id = ns.free[l-1]
		ns.free = ns.free[:l-1]
		ns.all[n.id] = n
	} else {
		n.id = uint32(len(ns.all))
		ns.all = append(ns.all, n)
	}
	return true
}

// drop forgets a node that no edge names.
func (ns *nodes) drop(n *node) {
	delete(ns.byKey, n.lookup())
	ns.all[n.id] = nil
	ns.free = append(ns.free, n.id)
}
