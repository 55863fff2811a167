package sink

import (
	"cmp"
	"time"

	"github.com/weir-probe/weir/sink/lineproto"
)

// SelfField is one field of a row of weir_self; made by SelfInt.Is and
// SelfFloat.Is.
type SelfField struct {
	name  string
	n     uint64
	f     float64
	float bool
}

// Is gives the field a value: for a counter the increase since the last
// interval (see Meter), for a gauge the value now.
func (n SelfInt) Is(v uint64) SelfField { return SelfField{name: string(n), n: v} }

// Is gives the field a value; NaN and Inf are left out.
func (n SelfFloat) Is(v float64) SelfField { return SelfField{name: string(n), f: v, float: true} }

// Info is the row of weir_info.
type Info struct {
	Version, Kernel                            string
	Started                                    time.Time
	HooksAttached, HooksFallback, HooksMissing int
	// OutOfSight names what of the host the probe's own namespaces hide, "" for
	// nothing.
	OutOfSight string
	// RestartNeeded names settings that a reload has read and only a restart brings into
	// force, "" for none.
	RestartNeeded string
}

// Self writes what the probe says about itself. Not safe for concurrent use.
type Self struct {
	host    string
	rows    rows
	tags    []byte
	flushed bool
	before  map[meterKey]uint64
}

type meterKey struct {
	stage Stage
	name  SelfInt
}

// NewSelf returns a Self for the host of a validated Config.
func NewSelf(cfg Config) *Self {
	return &Self{host: cfg.Host, rows: rows{stream: Main}, before: map[meterKey]uint64{}}
}

// Meter gives a counter the increase of total since its last call for this
// stage and name; a total that fell (what counts was made anew) begins at 0.
func (s *Self) Meter(stage Stage, name SelfInt, total uint64) SelfField {
	k := meterKey{stage, name}
	d := total
	if old := s.before[k]; total >= old {
		d = total - old
	}
	s.before[k] = total
	return name.Is(d)
}

// Coverage is the field SelfCoverage from its two parts: attributed octets and
// octets with a local socket, of this interval. NaN, so nothing, without traffic.
func Coverage(attributed, local uint64) SelfField {
	return SelfCoverage.Is(float64(attributed) / float64(local))
}

// Stage writes the row of one stage at t; once per stage and interval.
func (s *Self) Stage(t time.Time, stage Stage, fields ...SelfField) {
	s.begin()
	s.tags = s.rows.enc.AppendTags(s.tags[:0], []lineproto.Tag{{Key: TagHost, Value: s.host}, {Key: TagStage, Value: string(stage)}})
	s.rows.enc.Begin(MeasurementSelf, s.tags)
	for _, f := range fields {
		if f.float {
			s.rows.enc.Float(f.name, f.f)
		} else {
			s.rows.enc.Uint(f.name, f.n)
		}
	}
	s.rows.end(t.UnixNano())
}

// Info writes the row of weir_info at t.
func (s *Self) Info(t time.Time, i Info) {
	s.begin()
	s.tags = s.rows.enc.AppendTags(s.tags[:0], []lineproto.Tag{{Key: TagHost, Value: s.host}})
	enc := &s.rows.enc
	enc.Begin(MeasurementInfo, s.tags)
	enc.String(InfoVersion, i.Version)
	enc.Int(InfoSchema, SchemaVersion)
	enc.String(InfoKernel, i.Kernel)
	enc.Int(InfoStarted, i.Started.UnixNano())
	enc.Int(InfoHooksAttached, int64(i.HooksAttached))
	enc.Int(InfoHooksFallback, int64(i.HooksFallback))
	enc.Int(InfoHooksMissing, int64(i.HooksMissing))
	enc.String(InfoOutOfSight, cmp.Or(i.OutOfSight, "none"))
	enc.String(InfoRestartNeeded, cmp.Or(i.RestartNeeded, "none"))
	s.rows.end(t.UnixNano())
}

// SinkStage writes the row of the stage that Aggregator and FlowLog are.
func (s *Self) SinkStage(t time.Time, a AggregatorStats, l FlowLogStats) {
	m := func(n SelfInt, total uint64) SelfField { return s.Meter(StageSink, n, total) }
	s.Stage(t, StageSink,
		m(SelfRecords, a.Records), m(SelfRows, a.Rows), m(SelfOwnRecords, a.OwnRecords),
		m(SelfWireBytes, a.WireOctets), m(SelfOwnBytes, a.OwnOctets),
		SelfSeries.Is(a.Series), SelfLogSeries.Is(l.Series), SelfL7Series.Is(a.L7Series),
		m(SelfOperationsOther, a.OperationsOther), m(SelfServerNamesOther, a.ServerNamesOther), m(SelfALPNOther, a.ALPNOther), m(SelfL7Folded, a.L7Folded),
		m(SelfSeriesAdmitted, a.Admitted), m(SelfSeriesRefused, a.Refused), m(SelfSeriesExpired, a.Expired),
		m(SelfFoldedProcess, a.FoldedProcess), m(SelfFoldedContainer, a.FoldedContainer),
		m(SelfFoldedOneEnd, a.FoldedOneEnd), m(SelfFoldedOther, a.FoldedOther),
		m(SelfPortsEphemeral, a.PortsEphemeral), m(SelfPortsOther, a.PortsOther), m(SelfPortsScanned, a.PortsScanned), m(SelfScoresLost, a.ScoresLost),
		m(SelfLogRows, l.Rows), m(SelfLogSuppressed, l.Suppressed), m(SelfLogFolded, l.Folded),
		m(SelfValuesCleaned, a.Encoder.Cleaned+l.Encoder.Cleaned),
		m(SelfValuesClamped, a.Encoder.Clamped+l.Encoder.Clamped),
		m(SelfFieldsSkipped, a.Encoder.SkippedFields+l.Encoder.SkippedFields))
}

// Flush returns the rows written since the last Flush; valid until the next
// call of any method.
func (s *Self) Flush() []*Batch {
	s.begin()
	s.flushed = true
	return s.rows.finish()
}

func (s *Self) begin() {
	if s.flushed {
		s.flushed = false
		s.rows.begin()
	}
}
