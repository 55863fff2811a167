package dashboards

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// The same pages for Chronograf: a page of Grafana's is the definition, this
// file turns it into what Chronograf imports. Its queries name their database,
// and its variables are texts put in their place as they are.

// chronograf is the file that Chronograf imports ("Import Dashboard").
type chronograf struct {
	Meta struct {
		Version string            `json:"chronografVersion"`
		Sources map[string]string `json:"sources"` // none: the user chooses one
	} `json:"meta"`
	Dashboard board `json:"dashboard"`
}

type board struct {
	ID           int        `json:"id"`
	Cells        []cell     `json:"cells"`
	Templates    []template `json:"templates"`
	Name         string     `json:"name"`
	Organization string     `json:"organization"`
}

type cell struct {
	I              string          `json:"i"`
	X              int             `json:"x"` // of 12 columns
	Y              int             `json:"y"`
	W              int             `json:"w"`
	H              int             `json:"h"`
	Name           string          `json:"name"`
	Queries        []cellQuery     `json:"queries"`
	Axes           map[string]axis `json:"axes"`
	Type           string          `json:"type"`
	Colors         []color         `json:"colors"`
	Legend         struct{}        `json:"legend"`
	TableOptions   tableOptions    `json:"tableOptions"`
	FieldOptions   []fieldOption   `json:"fieldOptions"`
	TimeFormat     string          `json:"timeFormat"`
	DecimalPlaces  decimals        `json:"decimalPlaces"`
	Note           string          `json:"note"`
	NoteVisibility string          `json:"noteVisibility"`
}

type cellQuery struct {
	Query  string      `json:"query"`
	Config queryConfig `json:"queryConfig"`
	Source string      `json:"source"`
	Type   string      `json:"type"`
}

// queryConfig says that a query is not one of the query builder's.
type queryConfig struct {
	Database        string              `json:"database"`
	Measurement     string              `json:"measurement"`
	RetentionPolicy string              `json:"retentionPolicy"`
	Fields          []string            `json:"fields"`
	Tags            map[string]string   `json:"tags"`
	GroupBy         map[string]any      `json:"groupBy"`
	AreTagsAccepted bool                `json:"areTagsAccepted"`
	RawText         string              `json:"rawText"`
	Range           *struct{}           `json:"range"`
	Shifts          []map[string]string `json:"shifts"`
}

type axis struct {
	Bounds [2]string `json:"bounds"`
	Label  string    `json:"label"`
	Prefix string    `json:"prefix"`
	Suffix string    `json:"suffix"`
	Base   string    `json:"base"`
	Scale  string    `json:"scale"`
}

type color struct {
	ID    string `json:"id"`
	Type  string `json:"type"`
	Hex   string `json:"hex"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

type fieldOption struct {
	InternalName string `json:"internalName"`
	DisplayName  string `json:"displayName"`
	Visible      bool   `json:"visible"`
}

type tableOptions struct {
	VerticalTimeAxis bool        `json:"verticalTimeAxis"`
	SortBy           fieldOption `json:"sortBy"`
	Wrapping         string      `json:"wrapping"`
	FixFirstColumn   bool        `json:"fixFirstColumn"`
}

type decimals struct {
	IsEnforced bool `json:"isEnforced"`
	Digits     int  `json:"digits"`
}

type template struct {
	ID     string            `json:"id"`
	Var    string            `json:"tempVar"`
	Values []templateValue   `json:"values"`
	Type   string            `json:"type"`
	Label  string            `json:"label"`
	Query  map[string]string `json:"query,omitempty"`
}

type templateValue struct {
	Value    string `json:"value"`
	Type     string `json:"type"`
	Selected bool   `json:"selected"`
}

// secondsVariable is the width of a point: Chronograf's own :interval: is a
// duration, by which InfluxQL cannot divide.
const secondsVariable = ":seconds:"

// corePages are those that Chronograf gets too: what it can draw and somebody without
// Grafana cannot do without.
var corePages = []string{"overview", "service", "container", "errors", "dns", "anomalies", "health"}

// InChronograf says whether Chronograf gets the page.
func (p *Page) InChronograf() bool { return slices.Contains(corePages, p.Name) }

// inChronograf says whether a panel shows the answers to its queries as they are: what
// Grafana makes of the rows of others, Chronograf cannot.
func inChronograf(panel *dashboard.Panel) bool {
	return !slices.ContainsFunc(panel.Transformations, func(t transformation) bool { return t.Id == "groupBy" || t.Id == "merge" || t.Id == "reduce" })
}

// Chronograf is the page as Chronograf imports it.
func (p *Page) Chronograf() ([]byte, error) {
	c, err := p.chronograf()
	if err != nil {
		return nil, fmt.Errorf("dashboard %s for Chronograf: %w", p.Name, err)
	}
	return p.forChronograf(c)
}

// ChronografResource is the page as Chronograf finds it in its folder of resources,
// in a file *.dashboard: there without what is around it, and with a number that
// none of those has which somebody makes in the browser.
func (p *Page) ChronografResource() ([]byte, error) {
	c, err := p.chronograf()
	if err != nil {
		return nil, fmt.Errorf("dashboard %s for Chronograf: %w", p.Name, err)
	}
	c.Dashboard.ID = -1 - slices.Index(corePages, p.Name)
	return p.forChronograf(c.Dashboard)
}

func (p *Page) forChronograf(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode dashboard %s for Chronograf: %w", p.Name, err)
	}
	return b.Bytes(), nil
}

func (p *Page) chronograf() (*chronograf, error) {
	c := &chronograf{Dashboard: board{Name: *p.Title, Organization: "default"}}
	c.Meta.Version, c.Meta.Sources = "1.10", map[string]string{}
	x, y, high := 0, 0, 0
	place := func(k cell, w, h int) {
		if x+w > 12 {
			x, y, high = 0, y+high, 0
		}
		k.I, k.X, k.Y, k.W, k.H = p.id("cell", len(c.Dashboard.Cells)), x, y, w, h
		x, high = x+w, max(high, h)
		c.Dashboard.Cells = append(c.Dashboard.Cells, k)
	}
	place(note(*p.Description), 12, 1)
	var panels func(list []dashboard.PanelOrRowPanel) error
	panels = func(list []dashboard.PanelOrRowPanel) error {
		for _, o := range list {
			if r := o.RowPanel; r != nil {
				x, y, high = 0, y+high, 0
				place(note(p.chronografText(*r.Title)), 12, 1)
				for _, inner := range r.Panels {
					if err := panels([]dashboard.PanelOrRowPanel{{Panel: &inner}}); err != nil {
						return err
					}
				}
				continue
			}
			if !inChronograf(o.Panel) {
				continue
			}
			k, err := p.cell(o.Panel)
			if err != nil {
				return err
			}
			place(k, int(o.Panel.GridPos.W/2), max(2, int(o.Panel.GridPos.H*3/8)))
		}
		return nil
	}
	if err := panels(p.Panels); err != nil {
		return nil, err
	}
	c.Dashboard.Templates = p.templates(c.Dashboard.Cells)
	return c, nil
}

// id is made of the place, so that it is the same each time.
func (p *Page) id(kind string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", p.Name, kind, n))
	h := hex.EncodeToString(sum[:16])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func note(text string) cell {
	return cell{Type: "note", Note: text, NoteVisibility: "default", Queries: []cellQuery{}, Axes: axes(""), Colors: []color{}, FieldOptions: []fieldOption{}}
}

// cell is a panel. A number over the whole time range needs no points; one that
// is a rate or the latest value is shown with its history.
func (p *Page) cell(panel *dashboard.Panel) (cell, error) {
	unit := ""
	if panel.FieldConfig != nil && panel.FieldConfig.Defaults.Unit != nil {
		unit = *panel.FieldConfig.Defaults.Unit
	}
	k := cell{
		Name: p.chronografText(*panel.Title), Note: p.chronografText(*panel.Description), NoteVisibility: "default", Axes: axes(unit),
		Colors: lineColors(), FieldOptions: []fieldOption{{InternalName: "time", Visible: true}},
		TimeFormat: "MM/DD/YYYY HH:mm:ss", DecimalPlaces: decimals{true, 2},
		TableOptions: tableOptions{VerticalTimeAxis: true, SortBy: fieldOption{InternalName: "time", Visible: true}, Wrapping: "truncate", FixFirstColumn: true},
	}
	whole := false
	switch panel.Type {
	case "timeseries":
		k.Type = lineType(panel)
	case "table":
		k.Type, k.Colors = "table", textColors()
	case "stat":
		k.Type, k.Colors = "line-plus-single-stat", append(textColors(), lineColors()...)
		if whole = p.wholeRange(panel); whole {
			k.Type, k.Colors = "single-stat", textColors()
		}
	default:
		return k, fmt.Errorf("panel %s: no cell for type %s", *panel.Title, panel.Type)
	}
	for _, q := range panel.Targets {
		t, ok := q.(target)
		if !ok {
			return k, fmt.Errorf("panel %s: query of unexpected type %T", *panel.Title, q)
		}
		text := t.Query
		switch {
		case whole:
			text = strings.Replace(text, graphGroup, "", 1)
		case strings.Contains(text, inRange):
			text = strings.Replace(text, inRange, inPoint, 1) + graphGroup
		}
		text = p.chronografQuery(text, strings.ReplaceAll(*t.Datasource.Uid, string(anyLength), databaseVariable))
		k.Queries = append(k.Queries, cellQuery{Query: text, Type: "influxql", Config: queryConfig{
			Fields: []string{}, Tags: map[string]string{}, GroupBy: map[string]any{"time": "", "tags": []string{}}, RawText: text,
		}})
	}
	return k, nil
}

const graphGroup = " GROUP BY " + byTime + " fill(null)"

// wholeRange says whether a number is the sum, or the ratio of sums, of all there
// is: the aggregate of the query without its points. A rate is not, since Chronograf
// cannot say how long the time range is: its history is shown.
func (p *Page) wholeRange(panel *dashboard.Panel) bool {
	o, ok := panel.Options.(*stat.Options)
	if !ok || len(panel.Targets) != 1 {
		return false
	}
	text := panel.Targets[0].(target).Query
	return slices.Equal(o.ReduceOptions.Calcs, []string{"sum"}) && strings.HasSuffix(text, graphGroup) ||
		!strings.Contains(text, byTime) && !strings.Contains(text, inRange)
}

func lineType(panel *dashboard.Panel) string {
	if f, ok := panel.FieldConfig.Defaults.Custom.(*timeseries.FieldConfig); ok {
		switch {
		case f.DrawStyle != nil && *f.DrawStyle == common.GraphDrawStyleBars:
			return "bar"
		case f.Stacking != nil && f.Stacking.Mode != nil && *f.Stacking.Mode == common.StackingModeNormal:
			return "line-stacked"
		}
	}
	return "line"
}

var fromMeasurement = regexp.MustCompile(`FROM "([^"]+)"`)

// databaseVariable is the database of what a page can read of several.
const databaseVariable = ":" + sourceVariable + ":"

// chronografQuery puts Chronograf's variables in place of Grafana's. A variable
// of one value is compared, since the value may hold what ends a regular
// expression; of one with any value the user writes a regular expression.
func (p *Page) chronografQuery(text, db string) string {
	pairs := []string{timeFilter, "time > :dashboardTime: AND time < :upperDashboardTime:",
		"$__interval_ms", "(" + secondsVariable + " * 1000)", "$__interval", secondsVariable + "s"}
	for _, v := range p.Templating.List {
		if anyValue(v) {
			pairs = append(pairs, "/^$"+v.Name+"$/", "/^:"+v.Name+":$/", "/^$"+v.Name+"(", "/^:"+v.Name+":(")
		} else {
			pairs = append(pairs, "=~ /^$"+v.Name+"$/", "= ':"+v.Name+":'")
		}
	}
	text = strings.ReplaceAll(text, " AND "+narrow(containerVariable), "") // it has no variables that nobody sees
	text = strings.NewReplacer(pairs...).Replace(text)
	return fromMeasurement.ReplaceAllString(text, `FROM "`+db+`".."$1"`)
}

// chronografText is a title or description: Chronograf puts no variables there.
func (p *Page) chronografText(text string) string {
	for _, v := range p.Templating.List {
		text = strings.ReplaceAll(text, "$"+v.Name, "The chosen "+strings.ToLower(*v.Label))
	}
	return text
}

func anyValue(v dashboard.VariableModel) bool { return v.IncludeAll != nil && *v.IncludeAll }

// templates are the variables that cells use. What is looked up is not narrowed by
// another variable, as Grafana does.
func (p *Page) templates(cells []cell) []template {
	var list []template
	for i, v := range p.Templating.List {
		if !slices.ContainsFunc(cells, func(k cell) bool {
			return slices.ContainsFunc(k.Queries, func(q cellQuery) bool { return strings.Contains(q.Query, ":"+v.Name+":") })
		}) {
			continue
		}
		t := template{ID: p.id("template", i), Var: ":" + v.Name + ":", Label: *v.Label}
		if v.Name == sourceVariable {
			t.Type = "csv"
			for _, db := range append([]database{mainDB}, longDBs...) {
				t.Values = append(t.Values, templateValue{string(db), "csv", db == mainDB})
			}
		} else if anyValue(v) {
			t.Type, t.Label = "text", *v.Label+" (regular expression)"
			t.Values = []templateValue{{".*", "constant", true}}
		} else {
			t.Type, t.Values = "influxql", []templateValue{}
			all, _, _ := strings.Cut(*v.Query.String, " WHERE ")
			t.Query = map[string]string{"influxql": strings.Replace(all, "SHOW TAG VALUES ", "SHOW TAG VALUES ON "+ident(mainDB)+" ", 1)}
		}
		list = append(list, t)
	}
	width := template{ID: p.id("template", len(list)), Var: secondsVariable, Type: "csv", Label: "Seconds per point"}
	for _, s := range []string{"10", "60", "300", "3600"} {
		width.Values = append(width.Values, templateValue{s, "csv", s == "10"})
	}
	return append(list, width)
}
