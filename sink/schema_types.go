package sink

import (
	"fmt"
	"slices"
)

// Type is the type of a field; it never changes.
type Type uint8

const (
	Int Type = iota + 1
	Float
	String
	Bool
)

func (t Type) String() string { return [...]string{"", "int", "float", "string", "bool"}[t] }

// Unit is what a field counts.
type Unit string

const (
	Bytes   Unit = "bytes"
	Packets Unit = "packets"
	Seconds Unit = "seconds"
	Nanos   Unit = "ns"
	Count   Unit = "count"
	Ratio   Unit = "ratio"
	NoUnit  Unit = ""
)

// Semantics says how a field may be aggregated over time.
type Semantics string

const (
	Delta Semantics = "delta" // per interval: add up
	Gauge Semantics = "gauge" // at the interval's end: min, max, last
	Mean  Semantics = "mean"  // average over the interval: weigh before averaging
	Min   Semantics = "min"
	Max   Semantics = "max"
	Quant Semantics = "quantile" // never averaged
	Total Semantics = "total"    // of the connection's life so far: last
	Label Semantics = "label"    // says what, not how much
)

// Tag describes one tag of a measurement.
type Tag struct {
	Name    string
	Meaning string
}

// Field describes one field of a measurement.
type Field struct {
	Name      string
	Type      Type
	Unit      Unit
	Semantics Semantics
	Meaning   string
	// Loss marks a counter of what is missing from the rows, or coarser in them
	// than it was: 0 is well.
	Loss bool
	// OptIn names the configuration key that a field needs to be written.
	OptIn string
	// Planned marks a field whose name is kept free and that nothing writes yet.
	Planned bool
}

// Measurement describes one measurement.
type Measurement struct {
	Name    string
	Stream  Stream
	Meaning string
	// Absent says what a missing field means.
	Absent string
	Tags   []Tag
	Fields []Field
}

// Tag returns the tag of that name.
func (m *Measurement) Tag(name string) (Tag, bool) {
	for _, t := range m.Tags {
		if t.Name == name {
			return t, true
		}
	}
	return Tag{}, false
}

// Field returns the field of that name.
func (m *Measurement) Field(name string) (Field, bool) {
	for _, f := range m.Fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// Measurements returns the whole schema: what Weir writes, in the order of
// docs/schema.md. The caller owns it.
func Measurements() []Measurement {
	return []Measurement{
		{MeasurementFlow, Main, "One row per edge (who → whom on which service) and interval.",
			"not measured", edgeTags(), flowFields()},
		{MeasurementFlowLatency, Main, "The same edge, when something was timed.",
			"zero", edgeTags(), latencyFields()},
		{MeasurementFlowError, Main, "The same edge, when something went wrong.",
			"zero", edgeTags(), errorFields()},
		{MeasurementL7, Main, "One row per edge, application protocol, operation, status and interval, where the protocol is understood.",
			"zero", l7Tags(), l7Fields()},
		{MeasurementContainer, Main, "What containers, pods and systemd services use: one row per end and interval.",
			"not measured, or (limits, quota) none; a counter: nor in the first interval of what is older than the probe", containerTags(), containerFields()},
		{MeasurementProcess, Main, "What the processes use that are an end of a connection: one row per name and interval.",
			"not measured; a counter: nor in the first interval of what is older than the probe", processTags(), processFields()},
		{MeasurementDrop, Main, "IP packets that the kernel dropped: one row per end, reason and interval. It says which packets were lost here, not which were lost elsewhere.",
			"not measured", dropTags(), dropFields()},
		{MeasurementEvent, Main, "Something happened. Its time is that of the event or of the end of its interval, made unique per host.",
			"nothing to say", eventTags(), eventFields()},
		{MeasurementFlowLog, Log, "One row per connection (or datagram flow), at its end and every log_heartbeat while it lives. Its time is the end (of a heartbeat: the interval's end), made unique per host.",
			"unknown; of the counters of flow_latency and flow_error: zero", logTags(), logFields()},
		{MeasurementSelf, Main, "The probe about itself, one row per stage and interval.",
			"nothing to report", []Tag{tagHost, {TagStage, "the stage of the pipeline: " + stageList()}}, selfFields()},
		{MeasurementInfo, Main, "What runs here.", "unknown", []Tag{tagHost}, infoFields()},
	}
}

// Losses are the counters of weir_self that count something missing.
func Losses() []Field {
	return slices.DeleteFunc(selfFields(), func(f Field) bool { return !f.Loss })
}

// Names returns every tag and field name of a measurement, or an error that
// names the measurement: what tests of queries check against.
func Names(measurement string) (map[string]bool, error) {
	for _, m := range Measurements() {
		if m.Name != measurement {
			continue
		}
		names := make(map[string]bool, len(m.Tags)+len(m.Fields))
		for _, t := range m.Tags {
			names[t.Name] = true
		}
		for _, f := range m.Fields {
			names[f.Name] = true
		}
		return names, nil
	}
	return nil, fmt.Errorf("look up measurement %q: not in the schema", measurement)
}
