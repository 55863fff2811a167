package anomaly

import (
	"fmt"
	"strings"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

const (
	// maxAttempts bounds the edges on which nothing ever came through, fewTargets
	// those of one client: who tries more looks for something.
	maxAttempts = 64
	fewTargets  = 8
)

// admit makes the edge of a record, or e, on which nothing came through until now, a
// full one. nil: it is not to be known.
func (d *Detector) admit(r *correlate.Record, e *edge, ck, sk nodeKey, through bool) *edge {
	if e == nil {
		if r.Initiator == correlate.InitiatorUnknown {
			d.stats.Guessed++
			return nil
		}
		if !through && (r.Delta.FailedTotal() == 0 || d.attempts >= maxAttempts || d.scans.targets(r, ck) > fewTargets) {
			return nil
		}
		if e = d.make(r, ck, sk); e == nil {
			return nil
		}
		d.attempts++
	}
	if through {
		e.told = true
		d.attempts--
		e.cameThrough(1)
		d.welcome(e, r)
	}
	return e
}

// make adds an edge to the graph, not yet told.
func (d *Detector) make(r *correlate.Record, ck, sk nodeKey) *edge {
	if len(d.edges) >= d.cfg.MaxEdges {
		d.stats.Refused++
		return nil
	}
	c := d.nodes.get(ck, d.now)
	if c == nil {
		return nil
	}
	s := d.nodes.get(sk, d.now)
	if s == nil {
		if c.edges == 0 {
			d.nodes.drop(c)
		}
		return nil
	}
	e := &edge{edgeKey: edgeKey{c.id, s.id, portOf(r), protoOf(r.Proto)}, c: c, s: s, born: d.now, last: d.now}
	if d.pairs[pairOf(c, s)] >= maxPorts {
		e.port, e.folded = 0, true
	}
	d.pairs[pairOf(c, s)]++
	c.edges++
	s.edges++
	d.edges[e.edgeKey] = e
	d.limit(e)
	return e
}

// welcome decides whether an edge on which something came through for the first time
// is worth a word.
func (d *Detector) welcome(e *edge, r *correlate.Record) {
	elsewhere := e.s.kind == correlate.KindExternal
	known := elsewhere && d.knownPlace(e, r) || e.folded
	if elsewhere && e.s != e.c {
		e.c.age(d.now)
		if d.learning() && d.now < e.c.born+int64(d.cfg.Learn)/4 {
			// what a service needs it asks for at once; what comes later comes again
		} else if !known {
			e.c.novel++
		}
	}
	if d.learning() || d.now < d.steady {
		e.known = true
		d.stats.Accepted++
		return
	}
	d.appeared(e, r)
	if d.now < e.c.settles || d.now < e.s.settles || known || e.c == e.s || elsewhere && e.c.roaming() {
		e.known = true
		d.stats.Accepted++
		return
	}
	t := NewEdge
	if elsewhere {
		t = NewDestination
		d.watch(e)
	}
	d.tell(t, e, r)
}

// appeared leaves a new service alone that somebody deployed, and says so once: its
// edges are all new. It may have been there for a while in which what it needs was not,
// unless it tried many things then.
func (d *Detector) appeared(e *edge, r *correlate.Record) {
	for i, n := range [...]*node{e.c, e.s} {
		if n.through > 1 || d.now-n.born > int64(d.cfg.Relearn) || !contained(n.kind) || n.settles != 0 {
			continue
		}
		if n.born != d.now && d.scans.targets(r, e.c.lookup()) > fewTargets {
			continue
		}
		n.settles = d.now + int64(d.cfg.Relearn)
		end := [...]*correlate.Endpoint{&r.Client, &r.Server}[i]
		p := party(n, end.Process, containerName(end))
		x := Anomaly{Type: NewService, Since: d.now, Time: d.now, Server: p, Seen: 1, Score: 1,
			Message:  "a " + n.kind.String() + " of a name that was never seen: its connections are learnt",
			Evidence: strings.TrimSpace(imageOf(end) + fmt.Sprintf(" first_client=%s first_server=%s first_service=%s", value(e.c.name), value(e.s.name), service(e.proto, e.port)))}
		d.begin(x, once)
	}
}

func imageOf(e *correlate.Endpoint) string {
	if e.Contain == nil {
		return ""
	}
	return "image=" + value(e.Contain.Image)
}

func containerName(e *correlate.Endpoint) string {
	if e.Contain == nil {
		return ""
	}
	return e.Contain.Name
}

// tell tells of a new edge.
func (d *Detector) tell(t Type, e *edge, r *correlate.Record) {
	x := d.of(t, e)
	x.Client = party(e.c, r.Client.Process, containerName(&r.Client))
	x.Server = party(e.s, r.Server.Process, containerName(&r.Server))
	x.Seen, x.Score = 1, 1
	what := "a service it never talked to"
	if t == NewDestination {
		what = "a place elsewhere it never talked to"
	}
	x.Message = fmt.Sprintf("%s talks to %s (%s): %s", x.Client.Name, x.Server.Name, service(e.proto, e.port), what)
	x.Evidence = fmt.Sprintf("client_address=%s server_address=%s server_port=%d to_server_bytes=%d to_client_bytes=%d other_edges_of_client=%d",
		r.Client.Addr, r.Server.Addr, r.Server.Port, r.Delta.ToServer.Payload, r.Delta.ToClient.Payload, e.c.edges-1)
	if r.Server.DNSName != "" {
		x.Evidence += " server_dns_name=" + value(r.Server.DNSName)
	}
	d.begin(x, once)
}

// of begins the description of something about an edge.
func (d *Detector) of(t Type, e *edge) Anomaly {
	return Anomaly{Type: t, Since: d.now, Time: d.now, Client: party(e.c, e.process[0], e.container[0]),
		Server: party(e.s, e.process[1], e.container[1]), Port: e.port, Proto: e.proto}
}

// begin tells of x unless that goes on already, and returns its fingerprint.
func (d *Detector) begin(x Anomaly, lasts int64) uint64 {
	x.Fingerprint = fingerprint(x.Type, &x.Client, &x.Server, x.Port, x.Proto)
	if d.alarms.goesOn(x.Fingerprint, x.Time, x.Seen, x.Score) == nil {
		d.alarms.begin(x, lasts)
	}
	return x.Fingerprint
}

func service(p flows.Proto, port uint16) string {
	if port == 0 {
		return p.String()
	}
	return fmt.Sprintf("%s/%d", p, port)
}

// knownPlace says whether a place elsewhere is known to the client by its network,
// from before it had a name: what the probe is told of names after a start is not what
// it was told before.
func (d *Detector) knownPlace(e *edge, r *correlate.Record) bool {
	was := d.places[placeOf(e.c, r)]
	d.place(e, r)
	if e.s.net != (flows.Addr{}) {
		return was.bare || was.named != nil
	}
	return was.bare && was.named == nil
}

// place takes note of a network elsewhere that e leads to.
func (d *Detector) place(e *edge, r *correlate.Record) {
	k := placeOf(e.c, r)
	e.network = k.net
	p, ok := d.places[k]
	switch {
	case !ok && len(d.places) >= maxPlaces:
		d.stats.Refused++
		return
	case e.s.net != (flows.Addr{}):
		p.bare = true
	default:
		p.named = e
	}
	d.places[k] = p
}

// alias is the edge that leads to where r does, under the name that it had there.
func (d *Detector) alias(c *node, r *correlate.Record) *edge {
	if r.Server.Kind != correlate.KindExternal || r.Server.Name != external {
		return nil
	}
	return d.places[placeOf(c, r)].named
}

// placeKey is a network elsewhere that a client has talked to.
type placeKey struct {
	client uint64 // hash of its name
	net    flows.Addr
	port   uint16
	proto  flows.Proto
}

func placeOf(c *node, r *correlate.Record) placeKey {
	return placeKey{hash(c.name), networkOf(r.Server.Addr), portOf(r), protoOf(r.Proto)}
}

// place is as what a network is known.
type place struct {
	bare  bool  // without a name
	named *edge // the latest under a name
}

// maxPlaces bounds the networks that are remembered; they cost some 60 octets each.
const maxPlaces = 16384
