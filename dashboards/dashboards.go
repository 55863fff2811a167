package dashboards

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
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
	}{
		{"overview", overview},
		{"service", service},
		{"container", container},
		{"health", health},
	} {
		d, err := p.build().Build()
		if err != nil {
			return nil, fmt.Errorf("build dashboard %s: %w", p.name, err)
		}
		numberPanels(d.Panels)
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
	Database  string // weir or weir_log
	Raw       string // as it stands in the dashboard
	Text      string // with the variables substituted
}

// Values is what Grafana puts in place of variables.
type Values struct {
	// TimeFilter is a condition on time, such as `time > now() - 1h`.
	TimeFilter string
	// Interval is the width of a point of a graph.
	Interval time.Duration
	// Variables are regular expressions by name; `.*` where there is none, which
	// is what "All" stands for.
	Variables map[string]string
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
			if variable.Query == nil || variable.Query.String == nil {
				continue
			}
			list = append(list, Query{p.Name, "variable " + variable.Name, string(mainDB), *variable.Query.String, v.apply(*variable.Query.String, p)})
		}
		for _, panel := range p.panels() {
			for _, q := range panel.Targets {
				t, ok := q.(target)
				if !ok {
					return nil, fmt.Errorf("dashboard %s, panel %s: query of unexpected type %T", p.Name, *panel.Title, q)
				}
				list = append(list, Query{p.Name, *panel.Title, *t.Datasource.Uid, t.Query, v.apply(t.Query, p)})
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

// apply substitutes as Grafana's data source does. A variable stands only in a
// regular expression, /^$name$/, so that none can be the start of another.
func (v Values) apply(text string, p Page) string {
	ms := strconv.FormatInt(v.Interval.Milliseconds(), 10)
	pairs := []string{"$timeFilter", v.TimeFilter, "$__interval_ms", ms, "$__interval", ms + "ms"}
	for _, variable := range p.Templating.List {
		value, ok := v.Variables[variable.Name]
		if !ok {
			value = ".*"
		}
		pairs = append(pairs, "$"+variable.Name+"$/", value+"$/")
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
