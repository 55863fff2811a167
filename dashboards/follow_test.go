package dashboards

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// reader follows links as Grafana does, with what a real server answers.
type reader struct {
	*server
	pages   map[string]Page // by uid
	options map[string][]string
}

// checkLinkValues: every value that a link gives to a variable is one that the
// variable offers there. Grafana would keep another one until the next refresh, and
// then show the first of those in its place.
func checkLinkValues(t *testing.T, s *server) {
	r := &reader{s, map[string]Page{}, map[string][]string{}}
	for _, p := range mustPages(t) {
		r.pages[*p.Uid] = p
	}
	followed := map[string]int{}
	for _, p := range mustPages(t) {
		for _, panel := range p.panels() {
			rows := r.rows(t, p, panel)
			for _, l := range panelLinks(panel) {
				for _, to := range r.filledIn(t, p, l, rows) {
					followed[p.Name]++
					r.follow(t, fmt.Sprintf("%s, %s, %s", p.Name, *panel.Title, l.Title), to)
				}
			}
		}
		if followed[p.Name] < 5 {
			t.Errorf("%s: only %d links followed", p.Name, followed[p.Name])
		}
	}
	t.Log("links followed, by page: ", followed)
}

// panelLink is one in the head of a panel, or at the values of a column.
type panelLink struct {
	dataLink
	column string // "" = in the head, or at any line
}

func panelLinks(panel dashboard.Panel) (list []panelLink) {
	for _, l := range panel.Links {
		list = append(list, panelLink{dataLink{l.Title, *l.Url}, ""})
	}
	if panel.FieldConfig == nil {
		return list
	}
	for _, o := range panel.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.Id != "links" {
				continue
			}
			column, _ := o.Matcher.Options.(string)
			for _, l := range property.Value.([]dataLink) {
				list = append(list, panelLink{l, column})
			}
		}
	}
	return list
}

// rows are the answers to a panel's queries, each with the texts of its columns and
// the tags of its series.
func (r *reader) rows(t *testing.T, p Page, panel dashboard.Panel) (list []map[string]string) {
	t.Helper()
	for _, x := range panel.Targets {
		got, err := r.ask(sampleValues.database(*x.(target).Datasource.Uid), sampleValues.apply(x.(target).Query, p))
		if err != nil {
			t.Fatal(err)
		}
		for _, series := range got {
			for _, values := range series.Values {
				row := map[string]string{}
				for tag, v := range series.Tags {
					row[tag] = v
				}
				for i, c := range series.Columns {
					if v, ok := values[i].(string); ok && c != "time" {
						row[c] = v
					}
				}
				list = append(list, row)
			}
		}
	}
	return list
}

var (
	inURL      = regexp.MustCompile(`\$\{([^}]+)\}`)
	labelInURL = regexp.MustCompile(`^__(?:data\.fields|field\.labels)\.(\w+):percentencode$`)
	ofRow      = regexp.MustCompile(`\$\{__(?:data|field|value)\.`)
	ownInURL   = regexp.MustCompile(`^(\w+):(percentencode|queryparam)$`)
)

// filledIn are all URLs that a link may lead to: of every row, or of every value that
// the page's own variables offer, one at a time with the others at what they are first.
func (r *reader) filledIn(t *testing.T, p Page, l panelLink, rows []map[string]string) []string {
	t.Helper()
	var list []string
	add := func(row map[string]string, chosen url.Values) {
		if to := r.fillIn(t, p, l, row, chosen); to != "" && !slices.Contains(list, to) {
			list = append(list, to)
		}
	}
	if ofRow.MatchString(l.URL) {
		for _, row := range rows {
			add(row, nil)
		}
		return list
	}
	add(nil, nil)
	for _, m := range inURL.FindAllStringSubmatch(l.URL, -1) {
		if own := ownInURL.FindStringSubmatch(m[1]); own != nil {
			for _, value := range r.offers(t, p, own[1], nil) {
				add(nil, url.Values{own[1]: {value}})
			}
		}
	}
	return list
}

// fillIn puts values in the place of what a link's URL names; "": what it is about has
// no name in the row, and the link is not there.
func (r *reader) fillIn(t *testing.T, p Page, l panelLink, row map[string]string, chosen url.Values) string {
	t.Helper()
	missing := false
	of := func(column string) string {
		missing = missing || row[column] == ""
		return url.QueryEscape(row[column])
	}
	to := inURL.ReplaceAllStringFunc(l.URL, func(s string) string {
		name := s[2 : len(s)-1]
		if m := labelInURL.FindStringSubmatch(name); m != nil {
			return of(m[1])
		}
		own := ownInURL.FindStringSubmatch(name)
		switch {
		case strings.HasPrefix(name, "__value.raw"):
			return of(l.column)
		case name == "__url_time_range":
			return "from=1&to=2"
		case own == nil:
			t.Errorf("%s: %s: what is %s?", p.Name, l.Title, s)
			return ""
		case own[2] == "percentencode":
			return url.QueryEscape(r.valuesOf(t, p, own[1], chosen)[0])
		}
		var parts []string
		for _, v := range r.valuesOf(t, p, own[1], chosen) {
			parts = append(parts, "var-"+own[1]+"="+url.QueryEscape(v))
		}
		return strings.Join(parts, "&")
	})
	if !missing {
		return to
	}
	// Of an edge both ends have a name, where one has.
	if strings.Contains(l.URL, "/d/"+edgeUID) && (row[l.column] != "" || row[clientTag]+row[serverTag] != "") {
		t.Errorf("%s: %s: leads to an edge of which one end has no name: %v", p.Name, l.Title, row)
	}
	return ""
}

// follow opens a URL.
func (r *reader) follow(t *testing.T, where, to string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := r.pages[strings.TrimPrefix(u.Path, "/d/")]
	if !ok {
		t.Errorf("%s: there is no page %s", where, to)
		return
	}
	chosen := url.Values{}
	for name, values := range u.Query() {
		if v, ok := strings.CutPrefix(name, "var-"); ok {
			chosen[v] = values
		}
	}
	for name, values := range chosen {
		for _, v := range values {
			if v == "All" {
				continue
			}
			if offered := r.offers(t, p, name, chosen); !slices.Contains(offered, v) {
				t.Errorf("%s: %s offers no %s %q, but %q: %s", where, p.Name, name, v, offered, to)
			}
		}
	}
}

// valuesOf is what a variable is at: what is chosen, all, or the first it offers.
func (r *reader) valuesOf(t *testing.T, p Page, name string, chosen url.Values) []string {
	t.Helper()
	if values, ok := chosen[name]; ok {
		return values
	}
	v := p.variable(name)
	if v == nil {
		t.Fatalf("%s has no variable %s", p.Name, name)
	}
	if anyValue(*v) {
		return []string{"All"}
	}
	if offered := r.offers(t, p, name, chosen); len(offered) > 0 {
		return offered[:1]
	}
	return []string{""}
}

// offers are the options of a variable, in Grafana's order, when others are chosen.
func (r *reader) offers(t *testing.T, p Page, name string, chosen url.Values) []string {
	t.Helper()
	v := p.variable(name)
	switch {
	case v != nil && v.Type == dashboard.VariableTypeDatasource:
		return []string{string(mainDB), string(longDBs[0]), string(longDBs[1])}
	case v == nil || v.Type != dashboard.VariableTypeQuery:
		return nil
	}
	values := Values{TimeFilter: sampleValues.TimeFilter, Variables: map[string]string{}}
	regex := ""
	if v.Regex != nil {
		regex = *v.Regex
	}
	for _, m := range variableName.FindAllString(*v.Query.String+" "+regex, -1) {
		if other := m[1:]; other != name && p.variable(other) != nil {
			values.Variables[other] = expression(r.valuesOf(t, p, other, chosen))
		}
	}
	text, filter := values.apply(*v.Query.String, p), values.apply(regex, p)
	db := values.database(*v.Datasource.Uid)
	key := db + text + filter
	if got, ok := r.options[key]; ok {
		return got
	}
	got, err := r.ask(db, text)
	if err != nil {
		t.Fatalf("%s, variable %s: %v", p.Name, name, err)
	}
	list := []string{}
	for _, series := range got {
		for _, row := range series.Values {
			if option, ok := picked(filter, row[1].(string)); ok && !slices.Contains(list, option) {
				list = append(list, option)
			}
		}
	}
	slices.Sort(list)
	r.options[key] = list
	return list
}

// expression is how Grafana's data source writes values into a query.
func expression(values []string) string {
	var list []string
	for _, v := range values {
		if v == "All" {
			return everything
		}
		list = append(list, strings.ReplaceAll(regexp.QuoteMeta(v), "/", `\/`))
	}
	if len(list) == 1 {
		return list[0]
	}
	return "(" + strings.Join(list, "|") + ")"
}

// picked is what the regular expression of a variable takes of an answer: the group
// named value, else the first group, else the whole.
func picked(filter, from string) (string, bool) {
	if filter == "" {
		return from, true
	}
	re := regexp.MustCompile(strings.TrimSuffix(strings.TrimPrefix(filter, "/"), "/"))
	m := re.FindStringSubmatch(from)
	switch i := re.SubexpIndex("value"); {
	case m == nil:
		return "", false
	case i >= 0:
		return m[i], true
	case len(m) > 1:
		return m[1], true
	}
	return m[0], true
}

func (p *Page) variable(name string) *dashboard.VariableModel {
	for i := range p.Templating.List {
		if p.Templating.List[i].Name == name {
			return &p.Templating.List[i]
		}
	}
	return nil
}

// checkSameChoices: the links at the top of every page hand all variables on by name,
// so that one of a name offers the same everywhere, as long as nothing narrows it.
func checkSameChoices(t *testing.T, s *server) {
	r := &reader{s, map[string]Page{}, map[string][]string{}}
	type first struct {
		page    string
		options []string
	}
	seen := map[string]first{}
	for _, p := range mustPages(t) {
		for _, v := range p.Templating.List {
			if v.Type != dashboard.VariableTypeQuery || hiddenVariable(v) || p.Name == "edge" && v.Name != clientVariable {
				continue // of an edge the server is one of the client's
			}
			got := r.offers(t, p, v.Name, nil)
			if was, ok := seen[v.Name]; !ok {
				seen[v.Name] = first{p.Name, got}
			} else if !slices.Equal(got, was.options) {
				t.Errorf("%s offers as %s %q, %s %q", p.Name, v.Name, got, was.page, was.options)
			}
		}
	}
}

// checkWayDown: each variable offers what belongs to those chosen before it.
func checkWayDown(t *testing.T, s *server) {
	r := &reader{s, map[string]Page{}, map[string][]string{}}
	for _, p := range mustPages(t) {
		r.pages[p.Name] = p
	}
	for _, c := range []struct {
		page, variable string
		chosen         url.Values
		want           []string
	}{
		// project, service, container
		{"container", projectVariable, nil, []string{"shop"}},
		{"container", serviceVariable, url.Values{projectVariable: {"shop"}}, []string{"shop/db", "shop/web", "shop/worker"}},
		{"container", containerVariable, url.Values{projectVariable: {"shop"}, serviceVariable: {"shop/db"}}, []string{"shop-db-1", "shop-db-2", "shop/db"}},
		{"container", containerVariable, url.Values{projectVariable: {"shop"}}, []string{"shop-db-1", "shop-db-2", "shop-web-1", "shop-worker-1", "shop/db", "shop/web", "shop/worker"}},
		{"container", containerVariable, url.Values{hostVariable: {"two"}}, []string{}},
		{"service", serviceVariable, url.Values{projectVariable: {"shop"}}, []string{"shop/db", "shop/web", "shop/worker"}},
		// host, container, process
		{"processes", containerVariable, url.Values{hostVariable: {"two"}}, []string{}},
		{"processes", processVariable, url.Values{hostVariable: {"one"}, containerVariable: {"shop-web-1"}}, []string{"nginx"}},
		{"processes", processVariable, url.Values{containerVariable: {"shop/db", "shop-worker-1"}}, []string{"postgres", "ruby"}},
		// client, server, port
		{"edge", serverVariable, url.Values{clientVariable: {"shop/web"}}, []string{"api.example.com", "shop/db"}},
		{"edge", portVariable, url.Values{clientVariable: {"shop/web"}, serverVariable: {"shop/db"}}, []string{"5432"}},
		// project, client
		{"overview", clientVariable, url.Values{projectVariable: {"curl"}}, []string{"curl"}},
		{"overview", serverVariable, url.Values{projectVariable: {"curl"}}, []string{"shop/web"}},
		{"overview", serverVariable, url.Values{projectVariable: {"shop"}}, []string{"api.example.com", "shop/db", "shop/web"}},
	} {
		if got := r.offers(t, r.pages[c.page], c.variable, c.chosen); !slices.Equal(got, c.want) {
			t.Errorf("%s: of %v: %s offers %q, want %q", c.page, c.chosen, c.variable, got, c.want)
		}
	}
}
