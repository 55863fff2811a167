package sink

import (
	"github.com/cespare/xxhash/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// Port codes beyond the numbers 0…65535.
const (
	portEphemeral uint32 = 1<<16 + iota
	portOther
)

const (
	// maxPorts is how many ports of one server are written as numbers.
	maxPorts = 64
	// maxUnproven is how many of these may be ports that have only been asked
	// for: more than that is a scan.
	maxUnproven = 4
)

// hasPorts says whether a protocol has ports that name a service.
func hasPorts(p flows.Proto) bool {
	return p == flows.TCP || p == flows.UDP || p == flows.SCTP
}

// ports decides what the tag server_port says.
type ports struct {
	tables   map[uint64]*portTable // by server kind and name
	rest     *portTable            // shared by servers past maxTables
	max      int
	interval uint64
	expiry   int64 // ns
	stats    portStats
}

type portStats struct{ Ephemeral, Other, Scanned uint64 }

// portTable is what is known of the ports of one server.
type portTable struct {
	slots   []portSlot
	lastUse int64
	// asked counts the distinct unproven ports seen for the first time in
	// interval, taken or not (a repeated one without a slot counts again).
	asked    int
	interval uint64
}

type portSlot struct {
	port     uint16
	proven   bool // somebody listens there
	interval uint64
	lastUse  int64
}

func newPorts(limit int, expiry int64) *ports {
	return &ports{tables: map[uint64]*portTable{}, rest: &portTable{}, max: limit, expiry: expiry}
}

// classify returns the port code of a record and the table it was found in
// (nil when the port needed none). now is the interval's time in unix ns.
func (p *ports) classify(r *correlate.Record, now int64) (uint32, *portTable) {
	if !hasPorts(r.Proto) {
		return 0, nil
	}
	port := r.Server.Port
	known := isWellKnown(port)
	if !r.Server.Listened && !known {
		p.stats.Ephemeral++
		return portEphemeral, nil
	}
	t := p.table(r.Server.Kind, r.Server.Name, now)
	code := t.code(p, port, proven(r), now)
	return code, t
}

// proven says whether the record shows that somebody serves the port.
func proven(r *correlate.Record) bool {
	return r.Server.Listened || r.Delta.ToClient.Payload > 0 || r.Proto == flows.TCP && r.Delta.Opened > 0
}

// codeAt is classify for the port of a folded server: it shares the table of
// all that were folded, and only proven services have a number there.
func (p *ports) codeAt(code uint32, kind correlate.Kind, name string, now int64) uint32 {
	if code >= portEphemeral || code == 0 {
		return code
	}
	return p.table(kind, name, now).code(p, uint16(code), true, now)
}

func (p *ports) table(kind correlate.Kind, name string, now int64) *portTable {
	h := xxhash.Sum64String(name) ^ uint64(kind)*0x9e3779b97f4a7c15
	t := p.tables[h]
	if t == nil {
		if len(p.tables) >= p.max {
			t = p.rest
		} else {
			t = &portTable{}
			p.tables[h] = t
		}
	}
	t.lastUse = now
	return t
}

func (t *portTable) code(p *ports, port uint16, proven bool, now int64) uint32 {
	unproven := 0
	for i := range t.slots {
		s := &t.slots[i]
		if s.port == port {
			s.lastUse = now
			s.proven = s.proven || proven
			return uint32(port)
		}
		if !s.proven {
			unproven++
		}
	}
	if !proven {
		if t.interval != p.interval {
			t.interval, t.asked = p.interval, 0
		}
		t.asked++
		if unproven >= maxUnproven {
			p.stats.Ephemeral++
			return portEphemeral
		}
	}
	if !t.makeRoom(now - p.expiry) {
		p.stats.Other++
		return portOther
	}
	t.slots = append(t.slots, portSlot{port, proven, p.interval, now})
	return uint32(port)
}

// makeRoom gives up a slot unused since before then, if it has to.
func (t *portTable) makeRoom(then int64) bool {
	if len(t.slots) < maxPorts {
		return true
	}
	for i := range t.slots {
		if t.slots[i].lastUse < then {
			t.drop(i)
			return true
		}
	}
	return false
}

func (t *portTable) drop(i int) {
	t.slots[i] = t.slots[len(t.slots)-1]
	t.slots = t.slots[:len(t.slots)-1]
}

// scanned says whether a port got its slot in this interval, during a scan: it
// was only asked for, along with more others than a client that looks for a
// service would ask. The slot is given up.
func (p *ports) scanned(t *portTable, port uint16) bool {
	if t.interval != p.interval || t.asked <= maxUnproven {
		return false
	}
	for i := range t.slots {
		s := &t.slots[i]
		if s.port == port {
			return !s.proven && s.interval == p.interval
		}
	}
	return false
}

// giveUpScanned removes the slots that scanned() speaks of, after their edges
// have been folded.
func (p *ports) giveUpScanned(t *portTable) {
	for i := len(t.slots) - 1; i >= 0; i-- {
		if s := &t.slots[i]; !s.proven && s.interval == p.interval {
			p.stats.Scanned++
			t.drop(i)
		}
	}
}

// expire forgets servers unused since before then and unproven ports nobody
// asks for any more.
func (p *ports) expire(now int64) {
	then := now - p.expiry
	for h, t := range p.tables {
		if t.lastUse < then {
			delete(p.tables, h)
			continue
		}
		for i := len(t.slots) - 1; i >= 0; i-- {
			if s := &t.slots[i]; s.lastUse < then || !s.proven && s.lastUse < now-p.expiry/8 {
				t.drop(i)
			}
		}
	}
}

// registered are ports from 1024 up that name a service even when nobody has
// been seen to listen there (IANA's registry, and where it has nothing, what
// everybody uses). None lies in Linux's range of ephemeral ports, 32768 up: a
// port there is a service only when a listener proves it.
var registered = [...]uint16{
	1080, 1194, 1433, 1434, 1521, 1723, 1812, 1813, 1883, 1935, 2049, 2181, 2222, 2375, 2376, 2377, 2379, 2380,
	2888, 3000, 3100, 3128, 3260, 3268, 3269, 3306, 3389, 3478, 3690, 3888, 4222, 4317, 4318, 4369, 4443, 4500,
	4646, 4647, 4789, 5000, 5044, 5060, 5061, 5222, 5269, 5353, 5355, 5432, 5433, 5601, 5671, 5672, 5683, 5900,
	5984, 5985, 5986, 6000, 6379, 6380, 6432, 6443, 6514, 6650, 6667, 7000, 7001, 7077, 7474, 7687, 8000, 8008,
	8025, 8080, 8081, 8082, 8083, 8086, 8088, 8090, 8125, 8181, 8200, 8300, 8301, 8302, 8333, 8380, 8428, 8443,
	8472, 8500, 8529, 8600, 8834, 8883, 8888, 9000, 9042, 9080, 9090, 9091, 9092, 9093, 9094, 9100, 9115, 9200,
	9300, 9411, 9418, 9443, 9999, 10000, 10050, 10051, 10250, 10255, 10256, 10257, 10259, 11211, 11434, 15672,
	16379, 16443, 16686, 18080, 19132, 25565, 26257, 26379, 27017, 27018, 27019, 28015, 30000, 32400,
}

var wellKnown = portSet(registered[:])

func portSet(ps []uint16) (set [1 << 10]uint64) {
	for p := range uint16(1024) {
		set[p>>6] |= 1 << (p & 63)
	}
	for _, p := range ps {
		set[p>>6] |= 1 << (p & 63)
	}
	return set
}

func isWellKnown(p uint16) bool { return wellKnown[p>>6]&(1<<(p&63)) != 0 }
