package sink

import (
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/sink/lineproto"
)

// UsageStats counts since the Usage was made, except Series.
type UsageStats struct {
	Series  uint64 // held against the budget now
	Folded  uint64 // groups in a coarser series than their own
	Encoder lineproto.Stats
}

// Usage merges what control groups or processes used in an interval by their tags,
// under a series budget of its own, and encodes the rows of container or process. Not
// safe for concurrent use.
type Usage struct {
	cfg     Config
	of      *usageSchema
	series  map[endNames]*usageSeries
	budget  *budget
	rows    rows
	used    []*usageSeries
	flushed bool
	now     int64 // time of the last Flush, unix ns
	folded  uint64
	cleaned uint64
}

type usageSeries struct {
	tags    []byte
	Place          // in the budget
	merged  uint64 // in this interval
	dropped uint64 // packets, since the row before
	sum     usage.Reading
}

// NewContainers returns the Usage of container; cfg has been validated.
func NewContainers(cfg Config) *Usage { return newUsage(cfg, &usageOfContainers) }

// NewProcesses returns the Usage of process.
func NewProcesses(cfg Config) *Usage { return newUsage(cfg, &usageOfProcesses) }

func newUsage(cfg Config, of *usageSchema) *Usage {
	return &Usage{cfg: cfg, of: of, series: map[endNames]*usageSeries{}, budget: newBudget(cfg.SeriesBudget), rows: rows{stream: Main}}
}

// Stats returns the counts.
func (u *Usage) Stats() UsageStats {
	s := UsageStats{Series: uint64(u.budget.used), Folded: u.folded, Encoder: u.rows.enc.Stats()}
	s.Encoder.Cleaned += u.cleaned
	return s
}

// Standing adds the places of its measurement to s.
func (u *Usage) Standing(s Standing) {
	s[u.of.measurement] = places(u.budget, u.series)
}

// Restore takes the places that an earlier Usage had. Nothing has been added yet.
func (u *Usage) Restore(s Standing) { u.budget.restore(s[u.of.measurement]) }

// Add takes what a group or a process of e's used; it keeps nothing of either but strings.
func (u *Usage) Add(e *correlate.Endpoint, r *usage.Reading) {
	u.begin()
	x := u.find(e)
	if x.merged == 0 {
		u.used = append(u.used, x)
		x.sum = *r
	} else {
		x.sum.Add(r)
	}
	x.merged++
}

// AddDropped takes packets of e's that the kernel dropped, for its next row: none is
// made for them alone, drop has them too.
func (u *Usage) AddDropped(e *correlate.Endpoint, packets uint64) {
	switch e.Kind {
	case correlate.KindContainer, correlate.KindPod, correlate.KindProcess:
		u.begin()
		u.find(e).dropped += packets
	}
}

func (u *Usage) begin() {
	if u.flushed {
		u.flushed = false
		u.rows.begin()
	}
}

// find returns the finest series that the budget has for e; it begins where the row
// of flow stands.
func (u *Usage) find(e *correlate.Endpoint) *usageSeries {
	start := u.cfg.Granularity.levelOf(e.Kind)
	n := endNamesOf(e)
	if !u.of.processes {
		n.process = "" // a group has many
	}
	for l := start; ; l++ {
		switch l {
		case levelContainer:
			n.process = ""
		case levelWorkload:
			n.process = ""
			n.fold(e)
		case levelOneEnd, levelOther:
			continue // there is but one end
		case levelLast:
			n.other()
		}
		cleaned := n.clean()
		x := u.series[n]
		if x == nil && u.budget.admit(l, n.hash(), u.now) {
			x = u.create(&n)
			u.cleaned += cleaned
		}
		if x != nil {
			if l > start {
				u.folded++
			}
			return x
		}
	}
}

func (u *Usage) create(n *endNames) *usageSeries {
	tags := endTags(u.cfg.Host, n)
	if n.process != "" {
		tags = append(tags, lineproto.Tag{Key: TagEndProcess, Value: n.process})
	}
	x := &usageSeries{Place: Place{n.hash(), u.now}, tags: u.rows.enc.AppendTags(nil, tags)}
	u.series[*n] = x
	return x
}

// endTags are the tags of a measurement of one end.
func endTags(host string, n *endNames) []lineproto.Tag {
	return append(make([]lineproto.Tag, 0, 8),
		lineproto.Tag{Key: TagHost, Value: host}, lineproto.Tag{Key: TagEnd, Value: n.name}, lineproto.Tag{Key: TagEndKind, Value: n.kind.String()},
		lineproto.Tag{Key: TagEndContainer, Value: n.container}, lineproto.Tag{Key: TagEndNamespace, Value: n.namespace},
		lineproto.Tag{Key: TagEndWorkload, Value: n.workload})
}

// Flush ends the interval at t and returns its rows; what it returns is valid until
// the next call of any method.
func (u *Usage) Flush(t time.Time) []*Batch {
	u.begin()
	u.now = t.UnixNano()
	for _, x := range u.used {
		x.Used = u.now
		u.write(x)
		x.merged, x.dropped = 0, 0
	}
	u.used = u.used[:0]
	u.sweep()
	u.flushed = true
	return u.rows.finish()
}

func (u *Usage) write(x *usageSeries) {
	enc := &u.rows.enc
	enc.Begin(u.of.measurement, x.tags)
	enc.Uint(u.of.merged, x.merged)
	nonZero(enc, FieldDroppedPackets, x.dropped)
	for v := range u.of.columns {
		c := &u.of.columns[v]
		switch {
		case c.per == 0: // not of this measurement
		case !x.sum.Has(usage.Value(v)):
		case c.per == 1:
			enc.Uint(c.field.Name, x.sum.Get(usage.Value(v)))
		default:
			enc.Float(c.field.Name, float64(x.sum.Get(usage.Value(v)))/c.per)
		}
	}
	u.rows.end(u.now)
}

// ContainerField is the name of a value's field in container, ProcessField in process;
// empty when it has none there.
func ContainerField(v usage.Value) string { return usageOfContainers.columns[v].field.Name }

// ProcessField is ContainerField of process.
func ProcessField(v usage.Value) string { return usageOfProcesses.columns[v].field.Name }

// UsageValue is what is written in container, for people.
func UsageValue(v usage.Value, r *usage.Reading) string {
	return strconv.FormatFloat(float64(r.Get(v))/usageOfContainers.columns[v].per, 'f', -1, 64)
}

// sweep gives up series that have not been used for the expiry time.
func (u *Usage) sweep() {
	expiry := int64(u.cfg.SeriesExpiry)
	for n, x := range u.series {
		if u.now-x.Used > expiry {
			delete(u.series, n)
			u.budget.used--
		}
	}
	u.budget.expire(u.now, expiry)
}

// clean makes names what they are in the database, so that two that look alike there
// are one, and returns how many it had to change.
func (n *endNames) clean() (changed uint64) {
	for _, s := range [...]*string{&n.name, &n.process, &n.container, &n.namespace, &n.workload} {
		if c := lineproto.CleanTag(*s); c != *s {
			*s = c
			changed++
		}
	}
	return changed
}

// hash identifies a tag set.
func (n *endNames) hash() uint64 {
	h := uint64(n.kind)
	for _, s := range [...]string{n.name, n.process, n.container, n.namespace, n.workload} {
		h = h*0x9e3779b97f4a7c15 + xxhash.Sum64String(s)
	}
	return h
}
