package sink

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/sink/lineproto"
)

// DropStats counts since the Drops was made, except Series.
type DropStats struct {
	Series  uint64 // held against the budget now
	Folded  uint64 // counts in a coarser series than their own
	Encoder lineproto.Stats
}

// Drops merges the packets dropped in an interval by their tags, under a series budget
// of its own, and encodes the rows of drop. Not safe for concurrent use.
type Drops struct {
	cfg     Config
	series  map[dropNames]*dropSeries
	budget  *budget
	rows    rows
	used    []*dropSeries
	flushed bool
	now     int64 // time of the last Flush, unix ns
	folded  uint64
	cleaned uint64
}

type dropNames struct {
	end           endNames
	class, reason string
}

type dropSeries struct {
	tags            []byte
	Place                  // in the budget
	packets, octets uint64 // in this interval
}

// NewDrops returns a Drops; cfg has been validated.
func NewDrops(cfg Config) *Drops {
	return &Drops{cfg: cfg, series: map[dropNames]*dropSeries{}, budget: newBudget(cfg.SeriesBudget), rows: rows{stream: Main}}
}

// Stats returns the counts.
func (d *Drops) Stats() DropStats {
	s := DropStats{Series: uint64(d.budget.used), Folded: d.folded, Encoder: d.rows.enc.Stats()}
	s.Encoder.Cleaned += d.cleaned
	return s
}

// Standing adds the places of drop to s.
func (d *Drops) Standing(s Standing) {
	s[MeasurementDrop] = places(d.budget, d.series)
}

// Restore takes the places that an earlier Drops had. Nothing has been added yet.
func (d *Drops) Restore(s Standing) { d.budget.restore(s[MeasurementDrop]) }

// Add takes packets of e's that were dropped for a reason of a class; it keeps nothing
// of e but strings.
func (d *Drops) Add(e *correlate.Endpoint, class, reason string, packets, octets uint64) {
	d.begin()
	x := d.find(e, class, reason)
	if x.packets == 0 {
		d.used = append(d.used, x)
	}
	x.packets += packets
	x.octets += octets
}

func (d *Drops) begin() {
	if d.flushed {
		d.flushed = false
		d.rows.begin()
	}
}

// find returns the finest series that the budget has; the last is one per class.
func (d *Drops) find(e *correlate.Endpoint, class, reason string) *dropSeries {
	start := d.cfg.Granularity.levelOf(e.Kind)
	n := dropNames{endNamesOf(e), class, reason}
	n.end.process = ""
	for l := start; ; l++ {
		switch l {
		case levelWorkload:
			n.end.fold(e)
		case levelOneEnd, levelOther:
			continue // there is but one end
		case levelLast:
			n.end.other()
			n.reason = Other
		}
		cleaned := n.end.clean()
		x := d.series[n]
		if x == nil && d.budget.admit(l, n.hash(), d.now) {
			x = d.create(&n)
			d.cleaned += cleaned
		}
		if x != nil {
			if l > start {
				d.folded++
			}
			return x
		}
	}
}

func (d *Drops) create(n *dropNames) *dropSeries {
	x := &dropSeries{Place: Place{Hash: n.hash()}, tags: d.rows.enc.AppendTags(nil, append(endTags(d.cfg.Host, &n.end),
		lineproto.Tag{Key: TagClass, Value: n.class}, lineproto.Tag{Key: TagReason, Value: n.reason}))}
	d.series[*n] = x
	return x
}

// Flush ends the interval at t and returns its rows; what it returns is valid until
// the next call of any method.
func (d *Drops) Flush(t time.Time) []*Batch {
	d.begin()
	d.now = t.UnixNano()
	enc := &d.rows.enc
	for _, x := range d.used {
		enc.Begin(MeasurementDrop, x.tags)
		enc.Uint(FieldDroppedPackets, x.packets)
		enc.Uint(FieldDroppedBytes, x.octets)
		d.rows.end(d.now)
		x.Used, x.packets, x.octets = d.now, 0, 0
	}
	d.used = d.used[:0]
	d.sweep()
	d.flushed = true
	return d.rows.finish()
}

// sweep gives up series that have not been used for the expiry time.
func (d *Drops) sweep() {
	expiry := int64(d.cfg.SeriesExpiry)
	for n, x := range d.series {
		if d.now-x.Used > expiry {
			delete(d.series, n)
			d.budget.used--
		}
	}
	d.budget.expire(d.now, expiry)
}

func (n *dropNames) hash() uint64 {
	return n.end.hash()*0x9e3779b97f4a7c15 + xxhash.Sum64String(n.class)*31 + xxhash.Sum64String(n.reason)
}
