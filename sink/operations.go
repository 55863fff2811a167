package sink

import (
	"github.com/cespare/xxhash/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows/l7"
)

// operations decides which operations of a server have rows of their own. Names
// are what clients ask for: half of a server's places are for whoever comes first,
// the others for what is asked in more than one interval.
type operations struct {
	tables   map[uint64]*operationTable // by server and protocol
	rest     *operationTable            // shared by servers past maxTables
	max      int                        // operations of a table
	tablesUp int                        // tables
	interval uint64
	expiry   int64 // ns
}

// operationTable is what is known of the operations of one server and protocol, by
// the hashes of their names.
type operationTable struct {
	slots   []operationSlot
	asked   []askedOperation // of those without a slot, the last ones
	next    int
	lastUse int64
}

type operationSlot struct {
	name    uint64
	lastUse int64
}

type askedOperation struct{ name, interval uint64 }

// maxAsked is how many operations without a slot are remembered.
const maxAsked = 64

// idleOperation is how long an unused operation keeps its slot from others, ns.
const idleOperation = 10 * 60e9

func newOperations(cfg Config) operations {
	return operations{
		tables: map[uint64]*operationTable{}, rest: &operationTable{}, max: cfg.Operations,
		tablesUp: cfg.SeriesBudget, expiry: int64(cfg.SeriesExpiry),
	}
}

// admit says whether an operation has a row of its own. now is the interval's time
// in unix ns.
func (o *operations) admit(server *correlate.Endpoint, p l7.Protocol, op string, now int64) bool {
	t := o.table(server, p)
	t.lastUse = now
	name := xxhash.Sum64String(op)
	for i := range t.slots {
		if s := &t.slots[i]; s.name == name {
			s.lastUse = now
			return true
		}
	}
	if len(t.slots) >= (o.max+1)/2 && !t.returns(name, o.interval) || !t.makeRoom(o.max, now) {
		return false
	}
	t.slots = append(t.slots, operationSlot{name, now})
	return true
}

func (o *operations) table(server *correlate.Endpoint, p l7.Protocol) *operationTable {
	h := xxhash.Sum64String(server.Name) ^ (uint64(server.Kind)<<8|uint64(p))*0x9e3779b97f4a7c15
	t := o.tables[h]
	if t == nil {
		if len(o.tables) >= o.tablesUp {
			return o.rest
		}
		t = &operationTable{}
		o.tables[h] = t
	}
	return t
}

// returns says whether a name was asked for in an earlier interval, and remembers
// that it was in this one.
func (t *operationTable) returns(name, interval uint64) bool {
	for i := range t.asked {
		if a := &t.asked[i]; a.name == name {
			return a.interval != interval
		}
	}
	if len(t.asked) < maxAsked {
		t.asked = append(t.asked, askedOperation{})
	}
	t.asked[t.next] = askedOperation{name, interval}
	t.next = (t.next + 1) % maxAsked
	return false
}

// makeRoom gives up a slot that nobody asks for any more, if it has to.
func (t *operationTable) makeRoom(limit int, now int64) bool {
	if len(t.slots) < limit {
		return true
	}
	for i := range t.slots {
		if now-t.slots[i].lastUse > idleOperation {
			t.slots[i] = t.slots[len(t.slots)-1]
			t.slots = t.slots[:len(t.slots)-1]
			return true
		}
	}
	return false
}

func (o *operations) expire(now int64) {
	for h, t := range o.tables {
		if now-t.lastUse > o.expiry {
			delete(o.tables, h)
		}
	}
}
