package dashboards

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/weir-probe/weir/sink"
)

// uid of each dashboard; links between them use it.
const (
	overviewUID  = "weir-overview"
	containerUID = "weir-container"
	serviceUID   = "weir-service"
	healthUID    = "weir-health"

	edgeUID        = "weir-edge"
	connectionsUID = "weir-connections"
	dnsUID         = "weir-dns"
	tlsUID         = "weir-tls"
	errorsUID      = "weir-errors"
	topologyUID    = "weir-topology"
	capacityUID    = "weir-capacity"
	processesUID   = "weir-processes"
	anomaliesUID   = "weir-anomalies"
)

// rowInterval is the probe's default --interval: no graph asks for finer points,
// which would show every second one as a gap.
const rowInterval = "10s"

// MaxPoints bounds the points of a line. What a query costs over a long time is
// series times points; a screen has three pixels for each of these in half its
// width. An hour still has points of 10 s.
const MaxPoints = 300

func targets(db database, f format, queries []query) []target {
	list := make([]target, len(queries))
	for i, q := range queries {
		list[i] = target{
			Alias: q.alias, Datasource: db.ref(), Query: q.text, RawQuery: true,
			RefID: string(rune('A' + i)), ResultFormat: f,
		}
	}
	return list
}

// graph is a panel of lines over time; the legend names the largest first.
func graph(title, description, unit string, queries ...query) *timeseries.PanelBuilder {
	return graphFrom(mainDB, title, description, unit, queries...)
}

func graphFrom(db database, title, description, unit string, queries ...query) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().
		Title(title).Description(description).Unit(unit).Min(0).
		Datasource(db.ref()).Interval(rowInterval).MaxDataPoints(MaxPoints).
		Span(12).Height(8).
		FillOpacity(10).ShowPoints(common.VisibilityModeNever).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)).
		Legend(common.NewVizLegendOptionsBuilder().
			ShowLegend(true).Placement(common.LegendPlacementBottom).DisplayMode(common.LegendDisplayModeTable).
			Calcs([]string{"mean", "max"}).SortBy("Mean").SortDesc(true))
	list := targets(db, series, queries)
	for _, t := range list {
		p.WithTarget(t)
	}
	follow(p, list, queries)
	return p
}

// stacked is a graph whose lines add up to a meaningful total.
func stacked(title, description, unit string, queries ...query) *timeseries.PanelBuilder {
	return graph(title, description, unit, queries...).FillOpacity(40).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
}

// bars is a graph of what is counted per point.
func bars(p *timeseries.PanelBuilder) *timeseries.PanelBuilder {
	return p.DrawStyle(common.GraphDrawStyleBars).FillOpacity(60).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
}

// number is a single value with its history behind it.
func number(title, description, unit, calculation string, q query) *stat.PanelBuilder {
	return stat.NewPanelBuilder().
		Title(title).Description(description).Unit(unit).
		Datasource(mainDB.ref()).Interval(rowInterval).MaxDataPoints(MaxPoints).
		Span(4).Height(4).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{calculation})).
		Orientation(common.VizOrientationAuto).
		GraphMode(common.BigValueGraphModeArea).ColorMode(common.BigValueColorModeValue).
		WithTarget(targets(mainDB, series, []query{q})[0])
}

// alarming colours a value that should be zero.
func alarming(p *stat.PanelBuilder) *stat.PanelBuilder {
	return p.Thresholds(steps("green", step{1, "red"}))
}

type step struct {
	from  float64
	color string
}

func steps(base string, rest ...step) *dashboard.ThresholdsConfigBuilder {
	list := []dashboard.Threshold{{Color: base}}
	for _, s := range rest {
		list = append(list, dashboard.Threshold{Value: cog.ToPtr(s.from), Color: s.color})
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(list)
}

// tabular is a table of one query's rows, sorted by a column, largest first.
func tabular(title, description string, db database, q query, sortBy string, limit int) *table.PanelBuilder {
	return tableOf(title, description, db, []query{q}, sortBy, limit)
}

// tableOf is a table of the rows of queries, after what first does to them.
func tableOf(title, description string, db database, queries []query, sortBy string, limit int, first ...transformation) *table.PanelBuilder {
	p := table.NewPanelBuilder().
		Title(title).Description(description).
		Datasource(db.ref()).Interval(rowInterval).
		Span(24).Height(12).Filterable(true)
	for _, t := range targets(db, rows, queries) {
		p.WithTarget(t)
	}
	for _, t := range append(first, sorted(sortBy), limited(limit)) {
		p.WithTransformation(t)
	}
	return p
}

// units sets the unit of columns by name.
func units(p *table.PanelBuilder, unit string, columns ...string) *table.PanelBuilder {
	for _, c := range columns {
		p.OverrideByName(c, []dashboard.DynamicConfigValue{{Id: "unit", Value: unit}})
	}
	return p
}

// hidden leaves out columns: the time of an aggregate over the whole range is
// the range's start and says nothing.
func hidden(p *table.PanelBuilder, columns ...string) *table.PanelBuilder {
	for _, c := range columns {
		p.OverrideByName(c, []dashboard.DynamicConfigValue{{Id: "custom.hidden", Value: true}})
	}
	return p
}

// choice is a variable with several values, all by default. `.*` also matches
// rows that do not have the tag.
func choice(name, label, values string) *dashboard.QueryVariableBuilder {
	return lookup(name, label, values).Multi(true).IncludeAll(true).AllValue(everything).Current(allOfThem)
}

// everything is what "All" stands for.
const everything = ".*"

var allOfThem = dashboard.VariableOption{
	Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
	Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
}

// oneOf is a choice between values that are known.
func oneOf(name, label string, values []string) *dashboard.CustomVariableBuilder {
	list := strings.Join(values, ",")
	return dashboard.NewCustomVariableBuilder(name).Label(label).
		Values(dashboard.StringOrMap{String: &list}).
		Multi(true).IncludeAll(true).AllValue(everything).Current(allOfThem)
}

// typed is a variable that is typed in; it stands in conditions of contains.
func typed(name, label, description string) *dashboard.TextBoxVariableBuilder {
	return dashboard.NewTextBoxVariableBuilder(name).Label(label).Description(description)
}

// lookup is a variable with one value out of what a query answers.
func lookup(name, label, values string) *dashboard.QueryVariableBuilder {
	return lookupIn(mainDB, name, label, values)
}

func lookupIn(db database, name, label, values string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).
		Datasource(db.ref()).
		Query(dashboard.StringOrMap{String: &values}).Definition(values).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortNaturalAsc)
}

// projects are the first parts of the names that containers, pods and services
// have: Compose projects and namespaces.
func projects() *dashboard.QueryVariableBuilder {
	return choice(projectVariable, "Project or namespace", tagValues(sink.MeasurementContainer, sink.TagEnd)).Regex(`/^([^\/]+)\/.+$/`)
}

// inChosenProject narrows what a variable offers to the project chosen. Grafana
// makes a group of several; without a name for the whole it would take that.
const inChosenProject = `/^(?<value>$` + projectVariable + `(?:\/.*)?)$/`

func tagValues(measurement string, tags ...string) string {
	if len(tags) == 1 {
		return fmt.Sprintf("SHOW TAG VALUES FROM %s WITH KEY = %s", ident(measurement), ident(tags[0]))
	}
	return fmt.Sprintf("SHOW TAG VALUES FROM %s WITH KEY IN (%s)", ident(measurement), names(tags...))
}

// among narrows the values of a tag by conditions on others.
func among(values string, where ...string) string {
	return values + " WHERE " + strings.Join(where, " AND ")
}

// page is what all dashboards have in common.
func page(uid, title, description string) *dashboard.DashboardBuilder {
	return dashboard.NewDashboardBuilder(title).
		Uid(uid).Description(description).Tags([]string{"weir"}).
		Time("now-1h", "now").Refresh("30s").Timezone("browser").Readonly().
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Weir").
			Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"weir"}).
			KeepTime(true).IncludeVars(true).AsDropdown(false))
}
