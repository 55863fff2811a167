package dashboards

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/weir-probe/weir/sink"
)

// database is a data source of the provisioning file: its uid is the name of
// the database (or bucket).
type database string

// The two databases of the schema.
const (
	mainDB database = "weir"
	logDB  database = "weir_log"
)

func (d database) ref() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("influxdb"), Uid: cog.ToPtr(string(d))}
}

// format is how Grafana reads the answer.
type format string

const (
	series format = "time_series"
	rows   format = "table"
)

// target is one InfluxQL query of a panel, as Grafana's influxdb data source
// keeps it; the SDK has no type for it.
type target struct {
	Alias        string               `json:"alias,omitempty"`
	Datasource   common.DataSourceRef `json:"datasource"`
	Query        string               `json:"query"`
	RawQuery     bool                 `json:"rawQuery"`
	RefID        string               `json:"refId"`
	ResultFormat format               `json:"resultFormat"`
}

// The SDK's Dataquery interface.
func (target) ImplementsDataqueryVariant() {}
func (target) DataqueryType() string       { return "influxdb" }
func (target) Validate() error             { return nil }
func (t target) Equals(o variants.Dataquery) bool {
	return reflect.DeepEqual(t, o)
}

// Build makes the target its own builder.
func (t target) Build() (variants.Dataquery, error) {
	if !json.Valid([]byte(fmt.Sprintf("%q", t.RefID))) || t.Query == "" {
		return nil, fmt.Errorf("build query %s: empty", t.RefID)
	}
	return t, nil
}

// query is what a panel's author writes.
type query struct {
	text  string
	alias string   // Grafana's pattern for the legend: $col, $tag_NAME
	tags  []string // what its lines stand for
	// oneEnd says that a line may be of one end, and have no client.
	oneEnd bool
}

// ident quotes a name. Only the fields and tags of the schema are passed in.
func ident[S ~string](name S) string { return `"` + string(name) + `"` }

func idents[S ~string](list ...S) []string {
	quoted := make([]string, len(list))
	for i, n := range list {
		quoted[i] = ident(n)
	}
	return quoted
}

func names[S ~string](list ...S) string { return strings.Join(idents(list...), ", ") }

// sum and its likes are InfluxQL aggregates of one field, under its own name.
func sum[S ~string](f S) string  { return fmt.Sprintf("sum(%s) AS %s", ident(f), ident(f)) }
func last[S ~string](f S) string { return fmt.Sprintf("last(%s) AS %s", ident(f), ident(f)) }
func most[S ~string](f S) string { return fmt.Sprintf("max(%s) AS %s", ident(f), ident(f)) }

// inPoint makes a sum a rate: $__interval_ms is the width of a point.
const inPoint = " * 1000 / $__interval_ms"

// perSecond is the rate of a delta.
func perSecond[S ~string](f S, as string) string {
	return fmt.Sprintf("sum(%s)%s AS %s", ident(f), inPoint, ident(as))
}

// inRange makes a sum a rate over the whole time range.
const inRange = " * 1000 / ($__to - $__from)"

// as gives an expression a name.
func as(expression, name string) string { return expression + " AS " + ident(name) }

// stmt is one SELECT.
type stmt struct {
	fields []string
	from   string // a measurement, or a subquery in parentheses
	where  []string
	by     []string // GROUP BY terms
	fill   string
	order  string
	limit  int
}

const (
	timeFilter = "$timeFilter"
	byTime     = "time($__interval)"
)

func (s stmt) String() string {
	var b strings.Builder
	from := s.from
	if !strings.HasPrefix(from, "(") {
		from = ident(from)
	}
	fmt.Fprintf(&b, "SELECT %s FROM %s WHERE %s", strings.Join(s.fields, ", "), from, timeFilter)
	for _, w := range s.where {
		b.WriteString(" AND " + w)
	}
	if len(s.by) > 0 {
		b.WriteString(" GROUP BY " + strings.Join(s.by, ", "))
	}
	if s.fill != "" {
		fmt.Fprintf(&b, " fill(%s)", s.fill)
	}
	if s.order != "" {
		b.WriteString(" ORDER BY " + s.order)
	}
	if s.limit > 0 {
		fmt.Fprintf(&b, " LIMIT %d", s.limit)
	}
	return b.String()
}

// over is a statement over time, with the legend made of the columns' names.
func over(measurement string, where []string, fields ...string) query {
	return query{stmt{fields: fields, from: measurement, where: where, by: []string{byTime}, fill: fill(measurement, "null", fields...)}.String(), "$col", nil, false}
}

// whole is a statement about the whole time range.
func whole(measurement string, where []string, field string) query {
	return query{stmt{fields: []string{field}, from: measurement, where: where}.String(), "$col", nil, false}
}

// overBy is one field over time, one line per value of the tags. Lines without
// data at a moment have no point there: fill(null) would make a point for each.
func overBy(measurement string, where []string, field string, legend string, tags ...string) query {
	by := append([]string{byTime}, idents(tags...)...)
	return query{stmt{fields: []string{field}, from: measurement, where: where, by: by, fill: fill(measurement, "none", field)}.String(), legend, tags, measurement == sink.MeasurementEvent}
}

// fill is what stands at a moment without rows. A rate is zero there: else a line would
// go on to the next moment that has some, and the mean in the legend be that of the busy
// moments. What the probe tells of itself is missing only where it was not running.
func fill(measurement, otherwise string, fields ...string) string {
	if measurement == sink.MeasurementSelf || slices.ContainsFunc(fields, func(f string) bool { return !strings.Contains(f, inPoint) }) {
		return otherwise
	}
	return "0"
}

// lastSum adds up the last values of a gauge of all series. An edge has a row as long as
// a connection is open: where there is none, none is.
func lastSum(measurement string, where []string, field string) query {
	absent := "null"
	if measurement == sink.MeasurementFlow {
		absent = "0"
	}
	inner := stmt{fields: []string{as("last("+ident(field)+")", field)}, from: measurement, where: where, by: []string{byTime, "*"}, fill: "none"}
	outer := stmt{fields: []string{sum(field)}, from: "(" + inner.String() + ")", by: []string{byTime}, fill: absent}
	return query{outer.String(), field, nil, false}
}

// matches is a condition on a tag (or string field) by a dashboard variable.
func matches(name, variable string) string {
	return fmt.Sprintf("%s =~ /^$%s$/", ident(name), variable)
}

// inProject is a condition on a display name: of the Compose project or namespace
// that the variable chooses.
func inProject(name string) string {
	return fmt.Sprintf("%s =~ /^$%s(\\/.*)?$/", ident(name), projectVariable)
}

// contains is a condition on a string field: it has the text of a variable in it.
func contains(name, variable string) string {
	return fmt.Sprintf("%s =~ /.*$%s.*/", ident(name), variable)
}

func equals(name, value string) string { return fmt.Sprintf("%s = '%s'", ident(name), value) }
func not(name, value string) string    { return fmt.Sprintf("%s != '%s'", ident(name), value) }

func either(conditions ...string) string { return "(" + strings.Join(conditions, " OR ") + ")" }

// oncePerConnection leaves out the server's row where the client's host reports
// too (schema.md: reporter).
var oncePerConnection = either(not(sink.TagReporter, "server"), equals(sink.TagKind[sink.ClientEnd], "external"))

// elsewhere chooses edges with an end outside what the probe knows.
var elsewhere = either(equals(sink.TagKind[sink.ClientEnd], "external"), equals(sink.TagKind[sink.ServerEnd], "external"))

// OncePerConnection is the condition by which a total over a fleet has each connection
// once.
func OncePerConnection() string { return oncePerConnection }

// withoutTunnels leaves out the packets around flows that have rows of their own.
var withoutTunnels = not(sink.TagKind[sink.ClientEnd], "tunnel") + " AND " + not(sink.TagKind[sink.ServerEnd], "tunnel")
