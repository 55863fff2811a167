package dashboards

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

// Rows are kept for days, what they add up to per minute and per hour for a month and
// a year (weir setup influxdb): the same measurements under the same names in other
// databases. Pages about edges and containers can be asked of any of them.

// sourceVariable is the data source that a page reads, by its uid.
const sourceVariable = "source"

// longDBs are the databases of downsampled rows.
var longDBs = []database{"weir_1m", "weir_1h"}

// anyLength is one of mainDB and longDBs.
const anyLength database = "${" + sourceVariable + "}"

// Downsampled are the measurements that are in longDBs, too.
var Downsampled = []string{
	sink.MeasurementFlow, sink.MeasurementFlowLatency, sink.MeasurementFlowError, sink.MeasurementL7, sink.MeasurementContainer,
	sink.MeasurementProcess,
}

// longPages are those that are about little else.
var longPages = []string{overviewUID, topologyUID, errorsUID, edgeUID, serviceUID, containerUID, processesUID, dnsUID, tlsUID, capacityUID}

// sources offers the data sources by the names they are provisioned under.
func sources() *dashboard.DatasourceVariableBuilder {
	return dashboard.NewDatasourceVariableBuilder(sourceVariable).Label("Rows").
		Description("Weir: at the probe's interval, for days. Weir 1m, Weir 1h: per minute and per hour, for a month and a year.").
		Type("influxdb").Regex(`/^Weir( 1m| 1h)?$/`).
		Current(dashboard.VariableOption{
			Text:  dashboard.StringOrArrayOfString{String: cog.ToPtr("Weir")},
			Value: dashboard.StringOrArrayOfString{String: cog.ToPtr(string(mainDB))},
		})
}

// Age is a time range that the head of a page leads to, with the rows that suit it: what
// a query costs is the rows it reads.
type Age struct {
	Title  string
	From   string // in Grafana's terms
	Length time.Duration
	Rows   string // database
}

// Ages are all of them (docs/dashboards.md has what they cost).
var Ages = []Age{
	{"Hour", "now-1h", time.Hour, string(mainDB)},
	{"12 hours", "now-12h", 12 * time.Hour, string(longDBs[0])},
	{"Week", "now-7d", 7 * 24 * time.Hour, string(longDBs[1])},
	{"Year", "now-1y", 365 * 24 * time.Hour, string(longDBs[1])},
}

// leadBack gives a page the links to these, of what is chosen.
func leadBack(d *dashboard.Dashboard) {
	var chosen []string
	for _, v := range d.Templating.List {
		if v.Name != sourceVariable && !hiddenVariable(v) {
			chosen = append(chosen, same(v.Name)...)
		}
	}
	for _, a := range Ages {
		to := "/d/" + *d.Uid + "?" + strings.Join(append(chosen[:len(chosen):len(chosen)], give(sourceVariable, a.Rows), "from="+a.From, "to=now"), "&")
		d.Links = append(d.Links, dashboard.DashboardLink{Title: a.Title, Type: dashboard.DashboardLinkTypeLink, Url: &to, Tags: []string{},
			Tooltip: "The last " + strings.ToLower(a.Title) + ", of rows that suit it."})
	}
}

// anyTime makes a page's panels and variables ask the data source chosen, where that
// has what they ask for. How fine its points are is then the data source's to say.
func anyTime(d *dashboard.Dashboard) {
	for i := range d.Templating.List {
		v := &d.Templating.List[i]
		if hiddenVariable(*v) { // about the log, which is as old as the rows at the interval
			continue
		}
		if v.Type == dashboard.VariableTypeQuery && *v.Datasource.Uid == string(mainDB) && slices.ContainsFunc(measurementsOf(*v.Query.String), isDownsampled) {
			v.Datasource = cog.ToPtr(anyLength.ref())
		}
	}
	for _, x := range d.Panels {
		if x.Panel != nil {
			anyTimePanel(x.Panel)
		}
		if x.RowPanel != nil {
			for i := range x.RowPanel.Panels {
				anyTimePanel(&x.RowPanel.Panels[i])
			}
		}
	}
}

// anyTimePanel says in the panel's description when it cannot.
func anyTimePanel(p *dashboard.Panel) {
	if p.Datasource == nil || *p.Datasource.Uid != string(mainDB) {
		return
	}
	for _, q := range p.Targets {
		if !isLong(q.(target).Query) {
			p.Description = cog.ToPtr(*p.Description + " Of rows at the probe's interval, whatever is chosen.")
			return
		}
	}
	p.Datasource, p.Interval = cog.ToPtr(anyLength.ref()), nil
	for i, q := range p.Targets {
		t := q.(target)
		t.Datasource = anyLength.ref()
		p.Targets[i] = t
	}
}

// isLong says whether longDBs have all that a query asks for.
func isLong(query string) bool {
	return !slices.ContainsFunc(measurementsOf(query), func(m string) bool { return !isDownsampled(m) })
}

func isDownsampled(m string) bool { return slices.Contains(Downsampled, m) }

var fromMeasurements = regexp.MustCompile(`FROM ("[^"]+"(?:, "[^"]+")*)`)

// measurementsOf are those that a query reads itself or in a subquery.
func measurementsOf(query string) (list []string) {
	for _, m := range fromMeasurements.FindAllStringSubmatch(query, -1) {
		list = append(list, strings.Split(strings.ReplaceAll(m[1], `"`, ""), ", ")...)
	}
	return list
}

// keepSource hands the data source on from one of longPages to another.
func keepSource(d *dashboard.Dashboard) {
	keep := func(url string) string {
		for _, uid := range longPages {
			if strings.HasPrefix(url, "/d/"+uid+"?") {
				return strings.Replace(url, "?", "?"+same(sourceVariable)[0]+"&", 1)
			}
		}
		return url
	}
	for _, x := range d.Panels {
		var panels []*dashboard.Panel
		if x.Panel != nil {
			panels = append(panels, x.Panel)
		}
		if x.RowPanel != nil {
			for i := range x.RowPanel.Panels {
				panels = append(panels, &x.RowPanel.Panels[i])
			}
		}
		for _, p := range panels {
			for i := range p.Links {
				p.Links[i].Url = cog.ToPtr(keep(*p.Links[i].Url))
			}
			if p.FieldConfig == nil {
				continue
			}
			for _, o := range p.FieldConfig.Overrides {
				for _, property := range o.Properties {
					if links, ok := property.Value.([]dataLink); ok {
						for i := range links {
							links[i].URL = keep(links[i].URL)
						}
					}
				}
			}
		}
	}
}
