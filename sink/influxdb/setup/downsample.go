package setup

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
)

var downsampled = []string{
	sink.MeasurementFlow, sink.MeasurementFlowLatency, sink.MeasurementFlowError, sink.MeasurementL7, sink.MeasurementContainer,
	sink.MeasurementProcess,
}

// Downsampled are the measurements that are kept per minute and per hour, under the
// same names, tags and fields.
func Downsampled() []string { return slices.Clone(downsampled) }

// weights are, by field that is a mean, the fields of the same row whose sum is
// how much the row weighs: how many connections lived in the interval.
var weights = map[string][]string{
	sink.FieldRTTAvg: {sink.FieldActive, sink.FieldClosed},
}

// lost are means without a weight in their row: an average of averages would be
// wrong, so they are not downsampled.
var lost = []string{sink.FieldJitter}

// level is one step of downsampling. A raw row's time is the end of its interval,
// so a window is what comes after its start up to and with its end: for a server,
// whose windows begin with their start, one that begins 1 ns late. On 2.x a row's
// time is then the end of such a window, a nanosecond late per level: to put that
// right (timeShift, truncateTimeColumn, timeSrc) takes several times as long as
// all the rest, because the server leaves the way on which it does not make a
// table of every window.
type level struct {
	from, to place
	source   Place
	window   string
	late     string // how much later than the clock's its windows begin, on 2.x
	every    string // how often
	back     string // how far back a run goes over it again, for rows that come late
	offset   string // after the end of the window
}

func levels(places places) []level {
	return []level{
		{places[Raw], places[Minute], Raw, "1m", "1ns", minutes(influxdb.AddedUpEvery), minutes(influxdb.AddedUpAgain), "30s"},
		{places[Minute], places[Hour], Minute, "1h", "2ns", "1h", "3h", "6m"},
	}
}

// totals says what becomes of a measurement's fields.
type totals struct {
	measurement string
	sum         []string
	min         []string
	max         []string // extremes, and gauges: what has to fit somewhere
	mean        []string // those with weights
	// distributions have quantiles, which come back out of buckets.
	distributions []string
}

func totalsOf(measurement string, histograms bool) totals {
	t := totals{measurement: measurement}
	all := sink.Measurements()
	i := slices.IndexFunc(all, func(m sink.Measurement) bool { return m.Name == measurement })
	for _, f := range all[i].Fields {
		if f.Planned || f.OptIn == "histograms" && !histograms {
			continue
		}
		switch f.Semantics {
		case sink.Delta:
			t.sum = append(t.sum, f.Name)
		case sink.Min:
			t.min = append(t.min, f.Name)
		case sink.Max, sink.Gauge:
			t.max = append(t.max, f.Name)
		case sink.Mean:
			if weights[f.Name] != nil {
				t.mean = append(t.mean, f.Name)
			}
		}
		name, _, ok := strings.Cut(f.Name, "_le_")
		if ok && !slices.Contains(t.distributions, name) {
			t.distributions = append(t.distributions, name)
		}
	}
	return t
}

// about is what a step of downsampling says of itself.
func (l *level) about(measurement string) string {
	return fmt.Sprintf("adds up %s of %s into %s, per %s", measurement, l.from.name, l.to.name, l.window)
}

// fluxTask is the task of 2.x that downsamples a measurement.
func (l *level) fluxTask(name string, t totals) string {
	return l.flux(t, fmt.Sprintf("\noption task = {name: %s, every: %s, offset: %s}\n", fluxString(name), l.every, l.offset),
		"date.truncate(t: now(), unit: "+l.window+")", l.back, "")
}

// fluxOnce does what the task does for the time that ends at stop, once, and
// answers nothing.
func (l *level) fluxOnce(t totals, stop time.Time, back time.Duration) string {
	return l.flux(t, "", stop.UTC().Format(time.RFC3339), fmt.Sprintf("%ds", back/time.Second), "\n    |> filter(fn: (r) => false)")
}

// flux adds up the windows of the time back before stop; head and tail are put
// after the imports and behind what has been written.
func (l *level) flux(t totals, head, stop, back, tail string) string {
	var b strings.Builder
	b.WriteString("import \"date\"\nimport \"experimental\"\n")
	if len(t.distributions) > 0 {
		b.WriteString("import \"regexp\"\nimport \"strings\"\n")
	}
	fmt.Fprintf(&b, `%s
stop = %s
rows = (fields) => from(bucket: %s)
    |> range(
        start: experimental.addDuration(d: %[5]s, to: experimental.subDuration(d: %[4]s, from: stop)),
        stop: experimental.addDuration(d: %[5]s, to: stop),
    )
    |> filter(fn: (r) => r._measurement == %[6]s and r._field =~ fields)
per = (tables=<-, fn) => tables |> aggregateWindow(every: %[7]s, offset: %[5]s, fn: fn, createEmpty: false)
keep = (tables=<-, name) => tables
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> experimental.to(bucket: %[8]s)%[9]s
    |> yield(name: name)
`, head, stop, fluxString(l.from.name), back, l.late, fluxString(t.measurement), l.window, fluxString(l.to.name), tail)
	for _, a := range []struct {
		fn     string
		fields []string
	}{{"sum", t.sum}, {"min", t.min}, {"max", t.max}} {
		if len(a.fields) > 0 {
			fmt.Fprintf(&b, `
rows(fields: %s)
    |> per(fn: %[2]s)
    |> keep(name: %[2]q)
`, fluxRegexp(a.fields), a.fn)
		}
	}
	for _, f := range t.mean {
		l.fluxMean(&b, f)
	}
	if len(t.distributions) > 0 {
		l.fluxQuantiles(&b, t.distributions)
	}
	return b.String()
}

// fluxMean is Σ value·weight ⁄ Σ weight. Sums of the two are made apart, and put
// side by side again, for the same reason: see level.
func (l *level) fluxMean(b *strings.Builder, field string) {
	weight := make([]string, 0, 2)
	for _, w := range weights[field] {
		weight = append(weight, fmt.Sprintf("(if exists r.%s then float(v: r.%[1]s) else 0.0)", w))
	}
	fmt.Fprintf(b, `
%[1]s = rows(fields: %[2]s)
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> filter(fn: (r) => exists r.%[1]s)
    |> map(fn: (r) => ({r with weight: %[3]s}))
%[1]s_product = %[1]s |> map(fn: (r) => ({r with _value: r.%[1]s * r.weight})) |> drop(columns: [%[4]s]) |> per(fn: sum) |> set(key: "_field", value: "product")
%[1]s_weight = %[1]s |> map(fn: (r) => ({r with _value: r.weight})) |> drop(columns: [%[4]s]) |> per(fn: sum) |> set(key: "_field", value: "weight")

union(tables: [%[1]s_product, %[1]s_weight])
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> filter(fn: (r) => r.weight > 0.0)
    |> map(fn: (r) => ({r with _field: "%[1]s", _value: r.product / r.weight}))
    |> drop(columns: ["product", "weight"])
    |> keep(name: "%[1]s")
`, field, fluxRegexp(append([]string{field}, weights[field]...)), strings.Join(weight, " + "),
		`"weight", "`+strings.Join(append([]string{field}, weights[field]...), `", "`)+`"`)
}

// fluxQuantiles takes quantiles out of the summed buckets, whose largest bound
// is +Inf: the count. They are as fine as the bounds.
func (l *level) fluxQuantiles(b *strings.Builder, distributions []string) {
	fmt.Fprintf(b, `
quantile = (of, q, field) => rows(fields: regexp.compile(v: "^" + of + "_(le_.+|count)$"))
    |> per(fn: sum)
    |> map(
        fn: (r) => ({r with
            le: if r._field == of + "_count" then float(v: "+Inf") else float(v: strings.trimPrefix(v: r._field, prefix: of + "_le_")),
            _value: float(v: r._value),
        }),
    )
    |> group(columns: ["_field", "_value", "le", "_start", "_stop"], mode: "except")
    |> histogramQuantile(quantile: q, countColumn: "_value", upperBoundColumn: "le", valueColumn: "_value")
    |> group(columns: ["_time", "_value"], mode: "except")
    |> set(key: "_field", value: field)
    |> keep(name: field)

`)
	for _, d := range distributions {
		for _, q := range []string{"50", "90", "99"} {
			fmt.Fprintf(b, "quantile(of: %q, q: 0.%s, field: \"%s_p%s_seconds\")\n", d, q, d, q)
		}
	}
}

func fluxString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "${", `\${`).Replace(s) + `"`
}

// fluxRegexp matches one of the names, which are letters, digits and '_' but for buckets.
func fluxRegexp(names []string) string {
	names = slices.Clone(names)
	for i, n := range names { // one expression for the buckets of a distribution
		if d, _, ok := strings.Cut(n, "_le_"); ok {
			names[i] = d + "_le_[0-9.]+"
		}
	}
	names = slices.Compact(names)
	return "/^(" + strings.Join(names, "|") + ")$/"
}
