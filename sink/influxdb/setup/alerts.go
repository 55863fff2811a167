package setup

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/sink"
)

// alert is a figure that is looked at every so often, and the bounds at which it
// is told. One definition gives the check of 2.x and the TICKscript of 1.x.
type alert struct {
	name    string
	field   string // what the figure is called
	meaning string
	// The figure is Σ top ⁄ Σ bottom over the time every, or Σ top without a
	// bottom, for each value of by.
	measurement string
	stage       sink.Stage // of weir_self
	top, bottom []string
	by          []string
	atLeast     float64       // of bottom; less is no evidence
	every       time.Duration // often or seldom
	warn, crit  float64       // told when it is more; 0 = never
	below       bool          // told when it is less
}

// The two paces: seldom, where a figure needs some evidence.
const (
	often  = time.Minute
	seldom = 5 * time.Minute
)

// silence is the alert about the probe itself: no rows from a host.
var silence = struct {
	name, meaning, measurement, field string
	after, forget                     time.Duration
}{"probe silent", "a host's probe has sent nothing", sink.MeasurementSelf, string(sink.SelfRSS), 2 * time.Minute, time.Hour}

var (
	edge = []string{sink.TagHost, sink.TagName[sink.ClientEnd], sink.TagName[sink.ServerEnd]}
	end  = []string{sink.TagHost, sink.TagEnd}
)

func alerts() []alert {
	return []alert{
		{name: "connections fail", field: "failed_ratio", meaning: "more than a tenth (half: critical) of the attempts to connect fail",
			measurement: sink.MeasurementFlow, top: []string{sink.FieldFailed}, bottom: []string{sink.FieldAttempts},
			by: edge, atLeast: 20, every: seldom, warn: 0.1, crit: 0.5},
		{name: "requests fail", field: "error_ratio", meaning: "more than a twentieth (half: critical) of the requests fail",
			measurement: sink.MeasurementL7, top: []string{sink.FieldErrors, sink.FieldUnanswered}, bottom: []string{sink.FieldRequests},
			by: edge, atLeast: 20, every: seldom, warn: 0.05, crit: 0.5},
		{name: "segments are sent again", field: "retransmit_ratio", meaning: "more than a twentieth of the packets are retransmits",
			measurement: sink.MeasurementFlow,
			top:         []string{sink.FieldRetransmitsToServer, sink.FieldRetransmitsToClient},
			bottom:      []string{sink.FieldToServerPackets, sink.FieldToClientPackets},
			by:          edge, atLeast: 1000, every: seldom, warn: 0.05, crit: 0.2},
		{name: "connections are not accepted", field: sink.FieldAcceptQueueDrops, meaning: "a listener has no room for connections",
			measurement: sink.MeasurementFlowError, top: []string{sink.FieldAcceptQueueDrops}, by: edge, every: often, warn: 0.5},
		{name: "out of memory", field: sink.ContainerField(usage.OOMKills), meaning: "processes of a container were killed for want of memory",
			measurement: sink.MeasurementContainer, top: []string{sink.ContainerField(usage.OOMKills)}, by: end, every: often, crit: 0.5},
		{name: "CPU quota used up", field: "throttled_ratio", meaning: "a container is throttled in more than half of its periods",
			measurement: sink.MeasurementContainer, top: []string{sink.ContainerField(usage.ThrottledPeriods)}, bottom: []string{sink.ContainerField(usage.Periods)},
			by: end, atLeast: 100, every: seldom, warn: 0.5},
		{name: "rows are lost", field: string(sink.SelfDroppedRows), meaning: "rows were given up before they were delivered",
			measurement: sink.MeasurementSelf, stage: sink.StageDelivery, top: []string{string(sink.SelfDroppedRows)},
			by: []string{sink.TagHost}, every: often, crit: 0.5},
		{name: "rows are refused", field: string(sink.SelfRejected), meaning: "the database refuses rows for good",
			measurement: sink.MeasurementSelf, stage: sink.StageDelivery, top: []string{string(sink.SelfRejected)},
			by: []string{sink.TagHost}, every: often, warn: 0.5},
		{name: "owners are missing", field: string(sink.SelfCoverage), meaning: "more than a twentieth of the payload of local sockets has no known owner",
			measurement: sink.MeasurementSelf, stage: sink.StageJoin,
			top: []string{string(sink.SelfAttributedBytes)}, bottom: []string{string(sink.SelfLocalBytes)},
			by: []string{sink.TagHost}, atLeast: 1e6, every: seldom, below: true, warn: 0.95},
	}
}

// check is the query of a check of 2.x. The server puts its own every in place
// of the start, and takes the field's name from the only comparison with one.
func (a *alert) check(bucket string) string {
	where := "r._measurement == " + fluxString(a.measurement)
	if a.stage != "" {
		where += fmt.Sprintf(" and r.%s == %s", sink.TagStage, fluxString(string(a.stage)))
	}
	group := `"_measurement", "_start", "_stop", "` + strings.Join(a.by, `", "`) + `"`
	value, enough := "r.top", "true"
	if len(a.bottom) > 0 {
		value, enough = "r.top / r.bottom", "r.bottom >= "+float(a.atLeast)
	}
	return fmt.Sprintf(`from(bucket: %s)
    |> range(start: -%s)
    |> filter(fn: (r) => %s and r._field =~ %s)
    |> sum()
    |> group(columns: [%s])
    |> reduce(
        identity: {top: 0.0, bottom: 0.0},
        fn: (r, accumulator) => ({
            top: accumulator.top + (if r._field =~ %s then float(v: r._value) else 0.0),
            bottom: accumulator.bottom + (if r._field =~ %s then float(v: r._value) else 0.0),
        }),
    )
    |> filter(fn: (r) => %s)
    |> map(fn: (r) => ({r with _time: r._stop, _field: %s, _value: %s}))
    |> drop(columns: ["top", "bottom"])
    |> group(columns: [%s, "_field"])
    |> filter(fn: (r) => r._field == %[9]s)`,
		fluxString(bucket), minutes(a.every), where, fluxRegexp(append(append([]string{}, a.top...), a.bottom...)),
		group, fluxRegexp(a.top), fluxRegexp(orNothing(a.bottom)), enough, fluxString(a.field), value, group)
}

// orNothing matches no field where there is no name.
func orNothing(names []string) []string {
	if len(names) == 0 {
		return []string{" "}
	}
	return names
}

// message is the text of a status on 2.x.
func (a *alert) message() string {
	var who []string
	for _, t := range a.by {
		who = append(who, fmt.Sprintf("%s ${r.%s}", t, t))
	}
	return fmt.Sprintf("${r._level}: %s: %s: %s ${string(v: r.%s)} (${r._check_name})", a.meaning, strings.Join(who, ", "), a.field, a.field)
}

// minutes writes a duration as Flux, TICK and InfluxQL all read it.
func minutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return strconv.Itoa(int(d/time.Second)) + "s"
}

// float is written with a point, so that Flux takes it for one.
func float(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

var notFile = regexp.MustCompile(`[^a-z0-9]+`)

// file is a name as one of a file.
func file(name string) string { return notFile.ReplaceAllString(strings.ToLower(name), "_") }

// silenceQuery is what has to come from every host.
func silenceQuery(bucket string) string {
	return fmt.Sprintf(`from(bucket: %s)
    |> range(start: -%s)
    |> filter(fn: (r) => r._measurement == %s and r.%s == %s and r._field == %s)`,
		fluxString(bucket), minutes(silence.forget), fluxString(silence.measurement), sink.TagStage, fluxString(string(sink.StageProcess)), fluxString(silence.field))
}
