package setup

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// continuous are the continuous queries of 1.x that downsample a measurement, by
// what they are called. A row's time there is the start of its window (InfluxQL
// has no other) plus 1 ns for the first level: the offset with which the window
// is the same as on 2.x.
func (l *level) continuous(t totals) map[string]string { return l.influxql(t, "") }

// influxqlOnce are statements that do what the continuous queries do for the time
// from start to stop, once.
func (l *level) influxqlOnce(t totals, start, stop time.Time) []string {
	var offset int64 = 1
	if l.source != Raw {
		offset = 0
	}
	queries := l.influxql(t, fmt.Sprintf(" WHERE time >= %d AND time < %d", start.UnixNano()+offset, stop.UnixNano()+offset))
	return slices.Sorted(maps.Values(queries))
}

func (l *level) influxql(t totals, where string) map[string]string {
	var fields []string
	for _, a := range []struct {
		fn     string
		fields []string
	}{{"sum", t.sum}, {"min", t.min}, {"max", t.max}} {
		for _, f := range a.fields {
			fields = append(fields, fmt.Sprintf("%s(%s) AS %s", a.fn, ident(f), ident(f)))
		}
	}
	queries := map[string]string{
		t.measurement: l.selectInto(strings.Join(fields, ", "), t.measurement, l.reads(t.measurement), where),
	}
	for _, f := range t.mean {
		queries[t.measurement+" "+f] = l.selectInto(fmt.Sprintf(`sum("product") / sum("weight") AS %s`, ident(f)), t.measurement,
			fmt.Sprintf("(SELECT %s * (%s) AS \"product\", (%[2]s) + 0 * %[1]s AS \"weight\" FROM %[3]s GROUP BY *)",
				ident(f), weightSum(f), l.reads(t.measurement)), where)
	}
	return queries
}

// weightSum is null, in InfluxQL, where one of the weights is.
func weightSum(field string) string {
	var w []string
	for _, f := range weights[field] {
		w = append(w, ident(f))
	}
	return strings.Join(w, " + ")
}

// reads is where a level reads a measurement.
func (l *level) reads(measurement string) string {
	return ident(l.from.name) + "." + policy(l.from.policy) + "." + ident(measurement)
}

func (l *level) selectInto(fields, into, from, where string) string {
	by := "time(" + l.window + ", 1ns)"
	if l.source != Raw {
		by = "time(" + l.window + ")" // its rows' times are starts of windows
	}
	return fmt.Sprintf("SELECT %s INTO %s.%s.%s FROM %s%s GROUP BY %s, *", fields, ident(l.to.name), policy(l.to.policy), ident(into), from, where, by)
}

// policy is nothing for the default one: "db".."m".
func policy(name string) string {
	if name == "" {
		return ""
	}
	return ident(name)
}

// createContinuous is the statement that creates a continuous query.
func (l *level) createContinuous(name, query string) string {
	return fmt.Sprintf("CREATE CONTINUOUS QUERY %s ON %s RESAMPLE EVERY %s FOR %s BEGIN %s END",
		ident(name), ident(l.from.name), l.every, l.back, query)
}

// ident quotes a name for InfluxQL.
func ident(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// text quotes a string for InfluxQL.
func text(s string) string {
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(s) + `'`
}
