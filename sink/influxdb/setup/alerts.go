package setup

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb/rules"
)

// statusOffset is how long after the minute a figure is looked at: the rows of the minute
// are on their way.
const statusOffset = "15s"

// nobody stands for a tag that rows do not have.
const nobody = "-"

// fluxCheck is a check of 2.x as Flux. A threshold check of the server's would be less of
// it, but looks back no further than it runs often, and says nothing of who is bad at first
// sight: a notification rule tells changes, and there was no level before. So each that is
// bad has a status of being well first, whose time is the beginning of all times.
func fluxCheck(r *rules.Rule, bucket, name string, tags []body) string {
	var labels []string
	for _, t := range tags {
		labels = append(labels, fmt.Sprintf("%s: %s", t["key"], fluxString(t["value"].(string))))
	}
	return fmt.Sprintf(`import "influxdata/influxdb/monitor"

option task = {name: %[1]s, every: %[2]s, offset: %[3]s}

check = {_check_id: "0000000000000000", _check_name: %[1]s, _type: "custom", tags: {%[4]s}}
first = time(v: 0)
figures =
    %[5]s
        |> map(fn: (r) => ({r with _time: now()}))
crit = (r) => r._time > first and %[6]s
warn = (r) => r._time > first and %[7]s
messageFn = (r) => %[8]s
before = figures
    |> filter(fn: (r) => crit(r: r) or warn(r: r))
    |> map(fn: (r) => ({r with _time: first}))

union(tables: [figures, before])
    |> monitor.check(data: check, messageFn: messageFn, crit: crit, warn: warn)
`, fluxString(name), minutes(rules.Every), statusOffset, strings.Join(labels, ", "), indented(fluxFigures(r, bucket)),
		fluxBound(r, r.Crit), fluxBound(r, r.Warn), fluxMessage(r))
}

// fluxBound is the condition of a level.
func fluxBound(r *rules.Rule, bound float64) string {
	operator := ">"
	switch {
	case bound == 0:
		return "false"
	case r.Below:
		operator = "<"
	}
	return fmt.Sprintf("r.%s %s %s", r.Field, operator, float(bound))
}

// fluxFigures are the figures of now, one row for each value of By, in a column called as
// the figure is.
func fluxFigures(r *rules.Rule, bucket string) string {
	fields := slices.Concat(r.Top, r.Bottom, r.Details)
	from := fmt.Sprintf(`from(bucket: %s)
    |> range(start: -%s)
    |> filter(fn: (r) => r._measurement == %s%s and r._field =~ %s)`, fluxString(bucket), minutes(r.Reach), fluxString(r.From), fluxWhere(r), fluxRegexp(fields))
	by := `["_measurement", "` + strings.Join(r.By, `", "`) + `"]`
	if r.Of == rules.Latest {
		return from + fmt.Sprintf(`
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> filter(fn: (r) => exists r.%[1]s)
    |> map(fn: (r) => ({r with %[2]s, %[1]s: float(v: r.%[1]s)}))
    |> group(columns: %[3]s)
    |> sort(columns: ["_time"])
    |> tail(n: 1)`, r.Field, fluxNames(r.By), by)
	}
	figure := fmt.Sprintf("r with %s, %s: r.top", fluxNames(r.By), r.Field)
	enough := ""
	if r.Share() {
		figure += " / r.bottom"
		enough = fmt.Sprintf("\n    |> filter(fn: (r) => r.bottom >= %s)", float(r.AtLeast))
	}
	of := string(r.Of)
	if r.Of == rules.Changes { // also of what does not change there is a figure
		of = `difference()
    |> map(fn: (r) => ({r with _value: if r._value == 0 then 0 else 1}))
    |> sum`
	}
	return from + fmt.Sprintf(`
    |> %s()
    |> group(columns: %s)
    |> reduce(
        identity: {top: 0.0, bottom: 0.0},
        fn: (r, accumulator) => ({
            top: accumulator.top + (if r._field =~ %s then float(v: r._value) else 0.0),
            bottom: accumulator.bottom + (if r._field =~ %s then float(v: r._value) else 0.0),
        }),
    )%s
    |> map(fn: (r) => ({%s}))
    |> drop(columns: ["top", "bottom"])
    |> group(columns: %[2]s)`, of, by, fluxRegexp(r.Top), fluxRegexp(orNothing(r.Bottom)), enough, figure)
}

// fluxNames gives tags that rows do not have a value: null is no part of a text.
func fluxNames(tags []string) string {
	var s []string
	for _, t := range tags {
		s = append(s, fmt.Sprintf("%s: if exists r.%[1]s then r.%[1]s else %[2]q", t, nobody))
	}
	return strings.Join(s, ", ")
}

// fluxWhere is what rows have to be, behind another condition.
func fluxWhere(r *rules.Rule) string {
	var b strings.Builder
	for _, any := range r.Where {
		var one []string
		for _, is := range any {
			c := fmt.Sprintf("r.%s == %s", is.Tag, fluxString(is.Value))
			if is.Not {
				c = fmt.Sprintf("not exists r.%s or r.%[1]s != %s", is.Tag, fluxString(is.Value))
			}
			one = append(one, c)
		}
		fmt.Fprintf(&b, " and (%s)", strings.Join(one, " or "))
	}
	return b.String()
}

func indented(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") }

// orNothing matches no field where there is no name.
func orNothing(names []string) []string {
	if len(names) == 0 {
		return []string{" "}
	}
	return names
}

// fluxMessage is the text of a status on 2.x.
func fluxMessage(r *rules.Rule) string {
	var who []string
	for _, t := range r.By {
		who = append(who, fmt.Sprintf("%s ${r.%s}", t, t))
	}
	text := fmt.Sprintf(`"${r._level}: %s: %s: %s ${string(v: r.%s)} (${r._check_name})"`, r.Meaning, strings.Join(who, ", "), r.Field, r.Field)
	for _, d := range r.Details {
		text += fmt.Sprintf(` +
    (if exists r.%[1]s then "; %[1]s: ${r.%[1]s}" else "")`, d)
	}
	return text
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
func silenceQuery(s rules.Silence, bucket string) string {
	return fmt.Sprintf(`from(bucket: %s)
    |> range(start: -%s)
    |> filter(fn: (r) => r._measurement == %s and r.%s == %s and r._field == %s)`,
		fluxString(bucket), minutes(s.Forget), fluxString(s.Measurement), sink.TagStage, fluxString(string(s.Stage)), fluxString(s.Field))
}
