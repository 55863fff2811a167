package setup

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
)

// downsampled are the measurements that are kept per minute and per hour.
var downsampled = []string{
	sink.MeasurementFlow, sink.MeasurementFlowLatency, sink.MeasurementFlowError, sink.MeasurementL7, sink.MeasurementContainer,
}

// weights are, by field that is a mean, the fields of the same row whose sum is
// how much the row weighs: how many connections lived in the interval.
var weights = map[string][]string{
	sink.FieldRTTAvg: {sink.FieldActive, sink.FieldClosed},
}

// lost are means without a weight in their row: an average of averages would be
// wrong, so they are not downsampled.
var lost = []string{sink.FieldJitter}

// level is one step of downsampling. A row's time is the end of its interval, so
// a window is what comes after its start up to and with its end.
type level struct {
	from, to place
	source   Place
	window   string
	every    string // how often
	back     string // how far back a run goes over it again, for rows that come late
	offset   string // after the end of the window
}

func levels(places [Places]place) []level {
	return []level{
		{places[Raw], places[Minute], Raw, "1m", "5m", "15m", "30s"},
		{places[Minute], places[Hour], Minute, "1h", "1h", "6h", "6m"},
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
        start: experimental.addDuration(d: 1ns, to: experimental.subDuration(d: %s, from: stop)),
        stop: experimental.addDuration(d: 1ns, to: stop),
    )
    |> filter(fn: (r) => r._measurement == %s and r._field =~ fields)
`, head, stop, fluxString(l.from.name), back, fluxString(t.measurement))
	fmt.Fprintf(&b, `keep = (tables=<-) => tables
    |> truncateTimeColumn(unit: %s)
    |> to(bucket: %s)%s
`, l.window, fluxString(l.to.name), tail)
	for _, a := range []struct {
		fn     string
		fields []string
	}{{"sum", t.sum}, {"min", t.min}, {"max", t.max}} {
		if len(a.fields) > 0 {
			fmt.Fprintf(&b, `
rows(fields: %s)
    |> aggregateWindow(every: %s, offset: 1ns, fn: %s, createEmpty: false)
    |> keep()
    |> yield(name: %q)
`, fluxRegexp(a.fields), l.window, a.fn, a.fn)
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

// fluxMean is Σ value·weight ⁄ Σ weight.
func (l *level) fluxMean(b *strings.Builder, field string) {
	weight := make([]string, 0, 2)
	for _, w := range weights[field] {
		weight = append(weight, fmt.Sprintf("(if exists r.%s then float(v: r.%[1]s) else 0.0)", w))
	}
	fmt.Fprintf(b, `
rows(fields: %s)
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> map(fn: (r) => ({r with weight: %s}))
    |> filter(fn: (r) => exists r.%s and r.weight > 0.0)
    |> window(every: %[4]s, offset: 1ns)
    |> reduce(
        identity: {product: 0.0, weight: 0.0},
        fn: (r, accumulator) => ({product: accumulator.product + r.%[3]s * r.weight, weight: accumulator.weight + r.weight}),
    )
    |> map(fn: (r) => ({r with _time: r._stop, _field: %[5]s, _value: r.product / r.weight}))
    |> drop(columns: ["product", "weight"])
    |> keep()
    |> yield(name: %[5]s)
`, fluxRegexp(append([]string{field}, weights[field]...)), strings.Join(weight, " + "), field, l.window, fluxString(field))
}

// fluxQuantiles takes quantiles out of the summed buckets, whose largest bound
// is +Inf: the count. They are as fine as the bounds.
func (l *level) fluxQuantiles(b *strings.Builder, distributions []string) {
	fmt.Fprintf(b, `
quantile = (of, q, field) => rows(fields: regexp.compile(v: "^" + of + "_(le_.+|count)$"))
    |> aggregateWindow(every: %s, offset: 1ns, fn: sum, createEmpty: false)
    |> map(
        fn: (r) => ({r with
            le: if r._field == of + "_count" then float(v: "+Inf") else float(v: strings.trimPrefix(v: r._field, prefix: of + "_le_")),
            _value: float(v: r._value),
        }),
    )
    |> group(columns: ["_field", "_value", "le", "_start", "_stop"], mode: "except")
    |> histogramQuantile(quantile: q, countColumn: "_value", upperBoundColumn: "le", valueColumn: "_value")
    |> set(key: "_field", value: field)
    |> keep()
    |> yield(name: field)

`, l.window)
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
