package anomaly

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/weir-probe/weir/correlate"
)

// What the state's file looks like: the magic, the version, the body, CRC-32C of all
// before it. Numbers are little-endian.
const (
	stateMagic   = "weiranom"
	stateVersion = uint16(2)
	oldestState  = uint16(1) // that is read: without what is held, hours' totals, users
	// maxState bounds a file that is read, octets: maxMaxEdges full profiles do not
	// fit, and are not kept by anybody.
	maxState = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendState appends all that was learnt to b.
func (d *Detector) AppendState(b []byte) []byte {
	at := len(b)
	c := &codec{b: binary.LittleEndian.AppendUint16(append(b, stateMagic...), stateVersion), version: stateVersion}
	d.code(c)
	return binary.LittleEndian.AppendUint32(c.b, crc32.Checksum(c.b[at:], castagnoli))
}

// Restore returns a Detector that knows what AppendState wrote. What is older than
// Forget at now is of no use: then, and with nil, it knows nothing. cfg has been
// validated.
func Restore(cfg Config, b []byte, now time.Time) (*Detector, error) {
	d := New(cfg)
	if b == nil {
		return d, nil
	}
	head := len(stateMagic) + 2
	if len(b) < head+4 || string(b[:len(stateMagic)]) != stateMagic {
		return nil, errors.New("it is no state of the anomaly detector")
	}
	version := binary.LittleEndian.Uint16(b[len(stateMagic):])
	if version < oldestState || version > stateVersion {
		return nil, fmt.Errorf("it has version %d, this weir reads %d to %d", version, oldestState, stateVersion)
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, errors.New("its checksum is wrong: it was cut or changed")
	}
	c := &codec{b: body[head:], reading: true, version: version}
	d.code(c)
	if c.err == nil && len(c.b) > 0 {
		c.err = errRange
	}
	if c.err != nil {
		return nil, c.err
	}
	t := now.UnixNano()
	if d.last > t || t-d.last > int64(d.cfg.Forget) {
		return New(cfg), nil
	}
	d.now, d.last = d.last, 0 // the first Tick begins after a pause
	d.steady = t + d.settling()
	return d, nil
}

// code writes or reads everything.
func (d *Detector) code(c *codec) {
	number(c, &d.began, 8)
	number(c, &d.last, 8)
	if d.began > d.last+minute {
		c.fail()
	}
	c.float(&d.owners.usual)
	order := d.codeNodes(c)
	edges := d.codeEdges(c, order)
	d.codePlaces(c, edges)
	d.codeAlarms(c)
	d.codeDomains(c)
}

// count writes or reads how many of something follow, each of at least size octets.
func (c *codec) count(n, size int) int {
	below(c, &n, 4, maxState)
	if c.reading && c.err == nil && n*size > len(c.b) {
		c.err = errShort
	}
	if c.err != nil {
		return 0
	}
	return n
}

func (d *Detector) codeNodes(c *codec) []*node {
	var order []*node
	for _, n := range d.nodes.all {
		if n != nil {
			order = append(order, n)
		}
	}
	for i := range c.count(len(order), 40) {
		var n *node
		if c.reading {
			n = &node{}
		} else {
			n = order[i]
		}
		below(c, &n.kind, 1, correlate.KindRemote+1)
		c.text(&n.name)
		c.addr(&n.net)
		number(c, &n.born, 8)
		number(c, &n.settles, 8)
		number(c, &n.aged, 8)
		for i := range n.revisions {
			number(c, &n.revisions[i], 8)
		}
		several := n.replicas != nil
		if c.flag(&several); several {
			if c.reading {
				n.replicas = new(replicas)
			}
			c.float(&n.replicas.usual)
		}
		c.float(&n.novel)
		number(c, &n.hosts, 2)
		number(c, &n.ports, 2)
		if c.err != nil {
			return nil
		}
		if c.reading {
			if !d.nodes.insert(n) {
				c.fail()
				return nil
			}
			order = append(order, n)
		}
	}
	return order
}

func (d *Detector) codeEdges(c *codec, nodes []*node) []*edge {
	index := map[*node]int{}
	for i, n := range nodes {
		index[n] = i
	}
	var order []*edge
	for _, e := range d.edges {
		order = append(order, e)
	}
	for i := range c.count(len(order), 40) {
		var e *edge
		if c.reading {
			e = &edge{}
		} else {
			e = order[i]
		}
		cl, sv := index[e.c], index[e.s]
		below(c, &cl, 4, len(nodes))
		below(c, &sv, 4, len(nodes))
		if c.err != nil {
			return nil
		}
		e.c, e.s = nodes[cl], nodes[sv]
		e.code(c)
		if c.err != nil {
			return nil
		}
		if c.reading {
			if !d.insert(e) {
				c.fail()
				return nil
			}
			order = append(order, e)
		}
	}
	return order
}

// insert adds an edge that was read.
func (d *Detector) insert(e *edge) bool {
	e.client, e.server = e.c.id, e.s.id
	if d.edges[e.edgeKey] != nil {
		return false
	}
	d.edges[e.edgeKey] = e
	d.limit(e)
	d.pairs[pairOf(e.c, e.s)]++
	e.c.edges++
	e.s.edges++
	if e.told {
		e.cameThrough(1)
	} else {
		d.attempts++
	}
	if e.beacon != nil {
		d.beacons++
	}
	return true
}

func (e *edge) code(c *codec) {
	number(c, &e.port, 2)
	number(c, &e.proto, 1)
	for _, t := range [...]*int64{&e.born, &e.last, &e.settles} {
		number(c, t, 8)
	}
	has, times := e.profile != nil, e.beacon != nil
	for _, f := range [...]*bool{&e.told, &e.folded, &e.known, &e.settling, &has, &times} {
		c.flag(f)
	}
	below(c, &e.minutes, 1, profileAfter+1)
	c.addr(&e.network)
	for i := range e.alarm {
		number(c, &e.alarm[i], 8)
	}
	if c.reading && has {
		e.profile = new(profile)
	}
	if c.reading && times {
		e.beacon = new(beacon)
	}
	if has {
		e.profile.code(c)
	}
	if times {
		e.beacon.code(c)
	}
}

func (d *Detector) codePlaces(c *codec, edges []*edge) {
	index := map[*edge]int{nil: 0}
	for i, e := range edges {
		index[e] = i + 1
	}
	entry := func(k placeKey, p place) (placeKey, place) {
		i := index[p.named]
		number(c, &k.client, 8)
		c.addr(&k.net)
		number(c, &k.port, 2)
		number(c, &k.proto, 1)
		c.flag(&p.bare)
		below(c, &i, 4, len(edges)+1)
		if c.reading && c.err == nil && i > 0 {
			p.named = edges[i-1]
		}
		return k, p
	}
	n := c.count(len(d.places), 32)
	if !c.reading {
		for k, p := range d.places {
			entry(k, p)
		}
		return
	}
	for range min(n, maxPlaces) {
		k, p := entry(placeKey{}, place{})
		if c.err != nil {
			return
		}
		d.places[k] = p
	}
}

func (d *Detector) codeAlarms(c *codec) {
	var order []*alarm
	for _, a := range d.alarms.active {
		order = append(order, a)
	}
	for i := range c.count(len(order), 40) {
		a := &alarm{}
		if !c.reading {
			a = order[i]
		}
		below(c, &a.Type, 1, numTypes)
		for _, t := range [...]*int64{&a.Since, &a.Time, &a.seen, &a.lasts} {
			number(c, t, 8)
		}
		c.flag(&a.silent)
		for _, p := range [...]*Party{&a.Client, &a.Server} {
			below(c, &p.Kind, 1, correlate.KindRemote+1)
			number(c, &p.PID, 4)
			for _, s := range [...]*string{&p.Name, &p.Address, &p.Container, &p.Process, &p.Cmdline} {
				c.text(s)
			}
			if c.version > 1 {
				c.text(&p.User)
			}
		}
		number(c, &a.Port, 2)
		number(c, &a.Proto, 1)
		for _, f := range [...]*float64{&a.Expected, &a.Seen, &a.Score} {
			c.float(f)
		}
		c.text(&a.Message)
		c.text(&a.Evidence)
		number(c, &a.Fingerprint, 8)
		if c.err != nil {
			return
		}
		if c.reading && len(d.alarms.active) < maxAlarms {
			d.alarms.active[a.Fingerprint] = a
		}
	}
}

// codeDomains keeps what is usual of domains.
func (d *Detector) codeDomains(c *codec) {
	var keys []uint64
	for k, t := range d.dns.domains {
		if t.most > 0 {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for i := range c.count(len(keys), 20) {
		t, k := &tunnel{}, uint64(0)
		if !c.reading {
			k = keys[i]
			t = d.dns.domains[k]
		}
		number(c, &k, 8)
		c.text(&t.domain)
		number(c, &t.most, 2)
		number(c, &t.used, 8)
		if c.err != nil {
			return
		}
		if c.reading && len(d.dns.domains) < maxDomains {
			d.dns.domains[k] = t
		}
	}
}
