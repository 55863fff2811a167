package anomaly

import (
	"fmt"

	"github.com/weir-probe/weir/correlate"
)

const (
	dnsHeader = 12 // octets, RFC 1035 section 4.1.1
	dnsPort   = 53
	// maxDomains bounds the domains whose names are counted, maxAskers the sockets
	// that asked since the last interval.
	maxDomains = 2048
	maxAskers  = 4096
	// dnsTime is over what time names are counted, in two turns.
	dnsTime = 10 * minute
)

// tunnel is what was asked of one domain.
type tunnel struct {
	domain  string
	names   distinct
	queries [2]int // this turn and the one before
	octets  [2]int // of the names, without the domain
	most    uint16 // names that were asked for in dnsTime while that was usual
	used    int64  // when it was last asked for
	alarm   uint64
	// Who asked last, as near to the program as is known.
	client    nodeKey
	process   *correlate.Process
	container string
	local     bool // by way of a server here
}

// tunnels counts names by domain.
type tunnels struct {
	domains map[uint64]*tunnel // by hash
	askers  map[uint64]*tunnel // by socket cookie
	begun   int64
	refused uint64
}

func newTunnels() tunnels {
	return tunnels{domains: map[uint64]*tunnel{}, askers: map[uint64]*tunnel{}}
}

// renew begins anew.
func (s *tunnels) renew(now int64) {
	for _, t := range s.domains {
		t.names, t.queries, t.octets = distinct{}, [2]int{}, [2]int{}
	}
	clear(s.askers)
	s.begun = now
}

// turn forgets what is older than half of dnsTime.
func (s *tunnels) turn(now int64) {
	for _, t := range s.domains {
		t.names.turn()
		t.queries = [2]int{0, t.queries[0]}
		t.octets = [2]int{0, t.octets[0]}
	}
	s.begun = now
}

// Query takes a DNS message that a socket sent, as it is on the wire. For a domain
// that is known it allocates nothing.
func (d *Detector) Query(cookie uint64, b []byte) {
	q, ok := parseQuery(b)
	if !ok {
		d.stats.BadQueries++
		return
	}
	if q.answer || q.labels < 3 {
		return
	}
	d.stats.Queries++
	s := &d.dns
	t := s.domains[q.domain]
	if t == nil {
		if len(s.domains) >= maxDomains && !s.evict(d.now) {
			s.refused++
			return
		}
		t = &tunnel{domain: nameOf(b, q.at)}
		s.domains[q.domain] = t
	}
	t.used = d.now
	t.queries[0]++
	t.names.add(spread(q.name))
	t.octets[0] += q.at - dnsHeader - 1
	if len(s.askers) < maxAskers {
		s.askers[cookie] = t
	}
}

// evict forgets a domain that was not asked for lately: any of them.
func (s *tunnels) evict(now int64) bool {
	for k, t := range s.domains {
		if now-t.used > 2*dnsTime {
			delete(s.domains, k)
			return true
		}
	}
	return false
}

// asked tells who the sockets are that asked.
func (s *tunnels) asked(r *correlate.Record) {
	if r.Server.Port != dnsPort || len(s.askers) == 0 || r.Client.Cookie == 0 {
		return
	}
	t := s.askers[r.Client.Cookie]
	if t == nil || t.process != nil && t.local && !r.Server.Local {
		return // what the resolver asks it asks for somebody
	}
	t.process, t.container, t.local = r.Client.Process, containerName(&r.Client), r.Server.Local
	t.client = nodeKey{kind: r.Client.Kind, name: correlate.WorkloadName(&r.Client)}
}

// query is the question of a DNS message.
type query struct {
	answer       bool
	labels       int
	at           int    // where the domain begins in the message
	domain, name uint64 // hashes
}

// parseQuery reads the beginning of a message with one question.
func parseQuery(b []byte) (q query, ok bool) {
	if len(b) < dnsHeader+5 || b[2]&0x78 != 0 || b[4] != 0 || b[5] != 1 {
		return q, false
	}
	q.answer = b[2]&0x80 != 0
	var starts [4]int // of the last labels, the latest first
	n := dnsHeader
	for b[n] != 0 {
		l := int(b[n])
		if l > 63 || n+1+l >= len(b) || n-dnsHeader > 255 {
			return q, false
		}
		copy(starts[1:], starts[:])
		starts[0] = n
		q.labels++
		n += 1 + l
	}
	if n+5 > len(b) || q.labels == 0 {
		return q, false
	}
	own := min(q.labels, 2)
	if q.labels > 2 && b[starts[0]] == 2 && b[starts[1]] <= 3 { // co.uk and the like
		own = 3
	}
	q.at = starts[own-1]
	q.name, q.domain = fold(b[dnsHeader:n]), fold(b[q.at:n])
	return q, true
}

// fold hashes a name whatever its case (FNV-1a).
func fold(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// nameOf writes the name at n of a message that parseQuery has read.
func nameOf(b []byte, n int) string {
	var s []byte
	for b[n] != 0 {
		l := int(b[n])
		if len(s) > 0 {
			s = append(s, '.')
		}
		s = append(s, b[n+1:n+1+l]...)
		n += 1 + l
	}
	return string(s)
}

// judgeDNS ends a minute of all domains.
func (d *Detector) judgeDNS(now int64) {
	s := &d.dns
	clear(s.askers)
	for _, t := range s.domains {
		if t.queries[0] > 0 {
			d.judgeDomain(t, now)
		}
	}
	if now-s.begun >= dnsTime/2 {
		s.turn(now)
	}
}

// uniqueShare is how many of the queries must be for different names: each name is
// asked for with several types, by the program and by its resolver.
const uniqueShare = 0.25

func (d *Detector) judgeDomain(t *tunnel, now int64) {
	queries := t.queries[0] + t.queries[1]
	names, length := t.names.count(), float64(t.octets[0]+t.octets[1])/float64(queries)
	if d.learning() || now <= d.steady {
		t.most = max(t.most, uint16(names))
		return
	}
	th := d.cfg.limits(t.client.name, t.domain, dnsPort)
	limit := max(th.DNSNames, 2*int(t.most))
	if names < limit || length < th.DNSLength || float64(names) < uniqueShare*float64(queries) {
		return
	}
	if t.alarm != 0 && d.alarms.goesOn(t.alarm, now, float64(names), float64(names)/float64(limit)) != nil {
		return
	}
	x := Anomaly{Type: DNSTunnel, Since: now, Time: now, Expected: float64(limit), Seen: float64(names), Score: float64(names) / float64(limit), Port: dnsPort,
		Server: Party{Kind: correlate.KindExternal, Name: escape(t.domain)}}
	if t.client.name != "" {
		x.Client = party(&node{nodeKey: t.client}, t.process, t.container)
	}
	x.Message = fmt.Sprintf("%d different names of %s asked for in ten minutes, %.0f octets long", names, x.Server.Name, length)
	x.Evidence = fmt.Sprintf("names=%d queries=%d mean_name_octets=%.1f most_before=%d", names, queries, length, t.most)
	t.alarm = d.begin(x, 2*dnsTime)
}
