package dashboards

import (
	"slices"
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

// traffic is the unit of octets that were moved: of 1000, as Bps is, which rates have.
// Memory has bytes, of 1024.
const traffic = "decbytes"

// rowInterval is the probe's default --interval: no graph asks for finer points,
// which would show every second one as a gap.
const rowInterval = "10s"

// nowDelay is how long before now a page ends. The rows of an interval are on their way
// for up to half of one (write_jitter): until those of all hosts are there, its sum lacks
// some.
const nowDelay = "10s"

// MaxPoints bounds the points of a line. What a query costs is series times points,
// more than it is rows (docs/dashboards.md): an hour has points of 30 s, 12 hours
// of 5 minutes, a week of two hours.
const MaxPoints = 100

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
		Legend(legend("mean", "Mean"))
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

// bars is a graph of what is counted per point. A line would go on from one point to the
// next where nothing was in between.
func bars(p *timeseries.PanelBuilder) *timeseries.PanelBuilder {
	return quiet(p.DrawStyle(common.GraphDrawStyleBars).FillOpacity(60).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal)).
		Legend(legend("sum", "Total")), nothing)
}

// nothing is what a panel about what should not be says where it is not.
const nothing = "Nothing in this time range"

// quiet has a panel say something when it is empty. Grafana writes the same into every
// empty cell of one that is not, where that has no text of its own.
func quiet[P interface {
	NoValue(string) P
	OverrideByRegexp(string, []dashboard.DynamicConfigValue) P
}](p P, text string) P {
	return p.NoValue(text).OverrideByRegexp(".*", []dashboard.DynamicConfigValue{{Id: "noValue", Value: ""}})
}

// legend names the largest first, by a calculation and what Grafana calls it.
func legend(calculation, called string) *common.VizLegendOptionsBuilder {
	return common.NewVizLegendOptionsBuilder().
		ShowLegend(true).Placement(common.LegendPlacementBottom).DisplayMode(common.LegendDisplayModeTable).
		Calcs([]string{calculation, "max"}).SortBy(called).SortDesc(true)
}

// number is a single value with its history behind it, if the query has one. Grafana
// would show every one above 80 in red, and rows that are not there as no data: absent
// means zero in all of them but those of flow (schema.md).
func number(title, description, unit, calculation string, q query) *stat.PanelBuilder {
	history := common.BigValueGraphModeArea
	if !strings.Contains(q.text, byTime) {
		history = common.BigValueGraphModeNone
	}
	p := stat.NewPanelBuilder().
		Title(title).Description(description).Unit(unit).
		Datasource(mainDB.ref()).Interval(rowInterval).MaxDataPoints(MaxPoints).
		Span(4).Height(4).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{calculation})).
		Orientation(common.VizOrientationAuto).
		GraphMode(history).ColorMode(common.BigValueColorModeValue).
		Thresholds(steps("text")).
		WithTarget(targets(mainDB, series, []query{q})[0])
	if calculation == "sum" && !slices.Contains(measurementsOf(q.text), sink.MeasurementFlow) {
		p.NoValue("0")
	}
	return p
}

// figure is a number about the whole time range, without a history: a rate or a ratio of
// sums, which the mean of what its points say is not.
func figure(title, description, unit, measurement string, where []string, field string) *stat.PanelBuilder {
	return number(title, description, unit, "lastNotNull", whole(measurement, where, strings.ReplaceAll(field, inPoint, inRange)))
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
		Span(24).Height(12).Filterable(true).MinWidth(100)
	for _, t := range targets(db, rows, queries) {
		p.WithTarget(t)
	}
	p.OverrideByName("Time", []dashboard.DynamicConfigValue{{Id: "custom.width", Value: 170}})
	for _, t := range append(first, sorted(sortBy), limited(limit)) {
		p.WithTransformation(t)
	}
	return p
}

// inOrder puts columns first, in their order. InfluxDB has tags in that of the alphabet,
// and a wide table the figures out of sight.
func inOrder(p *table.PanelBuilder, columns ...string) *table.PanelBuilder {
	return p.WithTransformation(ordered(columns...))
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

// page is what all dashboards have in common.
func page(uid, title, description string) *dashboard.DashboardBuilder {
	d := dashboard.NewDashboardBuilder(title).
		Uid(uid).Description(description).Tags([]string{"weir"}).
		Time("now-1h", "now").Refresh("30s").Timezone("browser").Readonly().
		Timepicker(dashboard.NewTimePickerBuilder().NowDelay(nowDelay)).
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Weir").
			Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"weir"}).
			KeepTime(true).IncludeVars(true).AsDropdown(false))
	if slices.Contains(longPages, uid) {
		d.WithVariable(sources())
	}
	return d
}
