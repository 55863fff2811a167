package dashboards

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// cogPanel is any panel under construction.
type cogPanel = cog.Builder[dashboard.Panel]

// Page is one dashboard, complete.
type Page struct {
	Name string // file name without .json
	dashboard.Dashboard
}

// Pages builds all dashboards.
func Pages() ([]Page, error) {
	var pages []Page
	for _, p := range []struct {
		name  string
		build func() *dashboard.DashboardBuilder
		next  []onward
	}{
		{"overview", overview, []onward{toServices, {"Topology", topologyUID, sameEdges}, {"Errors", errorsUID, sameEdges}, {"Connections", connectionsUID, sameFilters}, {"Capacity", capacityUID, same(hostVariable)}}},
		{"topology", topology, []onward{toServices, {"Overview", overviewUID, sameEdges}, {"Connections", connectionsUID, sameFilters}}},
		{"errors", failing, []onward{toServices, {"Connections", connectionsUID, sameFilters}, {"Anomalies", anomaliesUID, same(hostVariable, clientVariable, serverVariable)}}},
		{"edge", edge, []onward{
			{"Service page of the client", serviceUID, []string{give(serviceVariable, "${client:percentencode}")}},
			{"Service page of the server", serviceUID, []string{give(serviceVariable, "${server:percentencode}")}},
			{"Connections", connectionsUID, same(clientVariable, serverVariable)},
		}},
		{"service", service, []onward{
			{"Container page", containerUID, []string{give(containerVariable, "${service:percentencode}")}},
			{"Connections", connectionsUID, []string{give(containerVariable, "${service:percentencode}")}},
		}},
		{"container", container, []onward{
			{"Processes", processesUID, same(hostVariable, containerVariable)},
			{"Connections", connectionsUID, same(hostVariable, containerVariable)},
		}},
		{"processes", processPage, []onward{{"Connections", connectionsUID, same(hostVariable, containerVariable, processVariable)}}},
		{"connections", connections, []onward{{"Errors", errorsUID, sameFilters}, {"Processes", processesUID, same(hostVariable, containerVariable, processVariable)}}},
		{"dns", dns, []onward{{"Connections", connectionsUID, same(hostVariable, clientVariable, serverVariable)}}},
		{"tls", handshakes, []onward{{"Connections", connectionsUID, same(hostVariable, clientVariable, serverVariable)}}},
		{"capacity", capacity, []onward{{"Containers", containerUID, same(hostVariable)}, {"Processes", processesUID, same(hostVariable)}, {"Overview", overviewUID, same(hostVariable)}}},
		{"anomalies", anomalies, []onward{{"Connections", connectionsUID, same(hostVariable, clientVariable, serverVariable)}, {"Errors", errorsUID, same(hostVariable, clientVariable, serverVariable)}}},
		{"health", health, []onward{{"Capacity", capacityUID, same(hostVariable)}}},
	} {
		d, err := p.build().Build()
		if err != nil {
			return nil, fmt.Errorf("build dashboard %s: %w", p.name, err)
		}
		numberPanels(d.Panels)
		lead(d.Panels, p.next)
		keepToPage(&d)
		if slices.Contains(longPages, *d.Uid) {
			anyTime(&d)
			keepSource(&d)
			leadBack(&d)
		}
		pages = append(pages, Page{p.name, d})
	}
	return pages, nil
}

// numberPanels gives panels the ids that links and screenshots of single panels
// go by; Grafana would make them up at each load.
func numberPanels(panels []dashboard.PanelOrRowPanel) {
	for i, x := range panels {
		id := uint32(i + 1)
		if x.Panel != nil {
			x.Panel.Id = &id
		}
		if x.RowPanel != nil {
			x.RowPanel.Id = id
		}
	}
}

// JSON is the file that Grafana reads.
func (p *Page) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(p.Dashboard, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode dashboard %s: %w", p.Name, err)
	}
	return append(b, '\n'), nil
}

// Query is one InfluxQL statement of a panel or a variable.
type Query struct {
	Dashboard string
	Panel     string // its title, or "variable NAME"
	Database  string // weir or weir_log, or in their place Values.Source
	Raw       string // as it stands in the dashboard
	Text      string // with the variables substituted
}

// Values is what Grafana puts in place of variables.
type Values struct {
	// TimeFilter is a condition on time, such as `time > now() - 1h`.
	TimeFilter string
	// Interval is the width of a point of a graph.
	Interval time.Duration
	// Range is how long the time range is; default 1h.
	Range time.Duration
	// Variables are regular expressions by name, or by PAGE.NAME for one page; `.*`
	// where there is none, which is what "All" stands for, or nothing where one types.
	Variables map[string]string
	// Source is the database chosen on pages that can read several; default weir.
	Source string
}

// database is the one behind the uid of a data source.
func (v Values) database(uid string) string {
	if uid != string(anyLength) {
		return uid
	}
	if v.Source != "" {
		return v.Source
	}
	return string(mainDB)
}

// Queries returns the queries of all dashboards, over the last hour and
// everything there is.
func Queries() ([]Query, error) {
	return QueriesWith(Values{TimeFilter: "time > now() - 1h", Interval: 10 * time.Second})
}

// QueriesWith is Queries with other values.
func QueriesWith(v Values) ([]Query, error) {
	pages, err := Pages()
	if err != nil {
		return nil, err
	}
	var list []Query
	for _, p := range pages {
		for _, variable := range p.Templating.List {
			if variable.Type != dashboard.VariableTypeQuery {
				continue
			}
			text := *variable.Query.String
			list = append(list, Query{p.Name, "variable " + variable.Name, v.database(*variable.Datasource.Uid), text, v.apply(text, p)})
		}
		for _, panel := range p.panels() {
			for _, q := range panel.Targets {
				t, ok := q.(target)
				if !ok {
					return nil, fmt.Errorf("dashboard %s, panel %s: query of unexpected type %T", p.Name, *panel.Title, q)
				}
				list = append(list, Query{p.Name, *panel.Title, v.database(*t.Datasource.Uid), t.Query, v.apply(t.Query, p)})
			}
		}
	}
	return list, nil
}

// panels are all panels, also those inside collapsed rows.
func (p *Page) panels() []dashboard.Panel {
	var list []dashboard.Panel
	for _, x := range p.Panels {
		if x.Panel != nil {
			list = append(list, *x.Panel)
		}
		if x.RowPanel != nil {
			list = append(list, x.RowPanel.Panels...)
		}
	}
	return list
}

var (
	variableName = regexp.MustCompile(`\$\w+`)
	encodedName  = regexp.MustCompile(`\$\{(\w+):percentencode\}`)
)

// apply substitutes as Grafana's data source does. What is no variable of the page
// stays as it is.
func (v Values) apply(text string, p Page) string {
	ms := strconv.FormatInt(v.Interval.Milliseconds(), 10)
	long := cmp.Or(v.Range, time.Hour)
	values := map[string]string{
		"$timeFilter": v.TimeFilter, "$__interval_ms": ms, "$__interval": ms + "ms",
		"$__from": "0", "$__to": strconv.FormatInt(long.Milliseconds(), 10), // only their difference is asked for
	}
	for _, variable := range p.Templating.List {
		values["$"+variable.Name] = everything
		if variable.Type == dashboard.VariableTypeTextbox {
			values["$"+variable.Name] = ""
		}
		for _, name := range []string{variable.Name, p.Name + "." + variable.Name} {
			if value, ok := v.Variables[name]; ok {
				values["$"+variable.Name] = value
			}
		}
	}
	text = encodedName.ReplaceAllStringFunc(text, func(name string) string {
		return url.QueryEscape(values["$"+encodedName.FindStringSubmatch(name)[1]])
	})
	return variableName.ReplaceAllStringFunc(text, func(name string) string {
		if value, ok := values[name]; ok {
			return value
		}
		return name
	})
}
