package dashboards

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

var update = flag.Bool("update", false, "write the generated dashboards to grafana/ and chronograf/")

// TestGenerated: the committed JSON is what the code generates.
func TestGenerated(t *testing.T) {
	for _, p := range mustPages(t) {
		for path, encode := range map[string]func() ([]byte, error){
			"grafana/" + p.Name + ".json":                   p.JSON,
			"chronograf/" + p.Name + ".json":                p.Chronograf,
			"chronograf/resources/" + p.Name + ".dashboard": p.ChronografResource,
		} {
			if strings.HasPrefix(path, "chronograf/") && !p.InChronograf() {
				continue
			}
			want, err := encode()
			if err != nil {
				t.Fatal(err)
			}
			checkGenerated(t, path, want)
		}
	}
}

func checkGenerated(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run make dashboards", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code generates: run make dashboards", path)
	}
}

func mustPages(t *testing.T) []Page {
	t.Helper()
	pages, err := Pages()
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// chronografPages are those that Chronograf gets too.
func chronografPages(t *testing.T) []Page {
	t.Helper()
	pages := mustPages(t)
	return slices.DeleteFunc(pages, func(p Page) bool { return !p.InChronograf() })
}

func mustQueries(t *testing.T, v Values) []Query {
	t.Helper()
	queries, err := QueriesWith(v)
	if err != nil {
		t.Fatal(err)
	}
	return queries
}

var (
	newName    = regexp.MustCompile(`AS "([^"]+)"`)
	quotedName = regexp.MustCompile(`"([^"]+)"`)
	legendTag  = regexp.MustCompile(`\$tag_([a-z0-9_]+)`)
)

// TestNamesAreInTheSchema: every measurement, tag and field of a query is one
// that Weir writes, into the database that the panel asks.
func TestNamesAreInTheSchema(t *testing.T) {
	streams := map[string]sink.Stream{}
	planned := map[string]bool{}
	for _, m := range sink.Measurements() {
		streams[m.Name] = m.Stream
		for _, f := range m.Fields {
			if f.Planned {
				planned[m.Name+" "+f.Name] = true
			}
		}
	}
	queries := append(mustQueries(t, Values{}), alertQueries(Values{})...)
	if len(queries) < 40 {
		t.Fatalf("%d queries: panels are missing", len(queries))
	}
	for _, q := range queries {
		where := q.Dashboard + ", " + q.Panel
		measurements := measurementsOf(q.Raw)
		if measurements == nil {
			t.Errorf("%s: no measurement in %s", where, q.Raw)
		}
		known, given := map[string]bool{}, map[string]bool{}
		for _, of := range measurements {
			names, err := sink.Names(of)
			if err != nil {
				t.Errorf("%s: %v", where, err)
				continue
			}
			maps.Copy(known, names)
			given[of] = true
			if want := map[sink.Stream]string{sink.Main: "weir", sink.Log: "weir_log"}[streams[of]]; q.Database != want {
				t.Errorf("%s: asks %s for %s, which is in %s", where, q.Database, of, want)
			}
			for _, n := range quotedName.FindAllStringSubmatch(q.Raw, -1) {
				if planned[of+" "+n[1]] {
					t.Errorf("%s: nothing writes %s.%s yet", where, of, n[1])
				}
			}
		}
		for _, n := range newName.FindAllStringSubmatch(q.Raw, -1) {
			given[n[1]] = true
		}
		for _, n := range quotedName.FindAllStringSubmatch(q.Raw, -1) {
			if !known[n[1]] && !given[n[1]] && n[1] != noTag {
				t.Errorf("%s: %q is neither in the schema of %s nor made by the query: %s", where, n[1], measurements, q.Raw)
			}
		}
	}
}

// TestLegendsNameGroups: a $tag_… in a legend is a tag the query groups by.
func TestLegendsNameGroups(t *testing.T) {
	for _, p := range mustPages(t) {
		for _, panel := range p.panels() {
			for _, q := range panel.Targets {
				tg := q.(target)
				_, groups, _ := strings.Cut(tg.Query, "GROUP BY")
				for _, m := range legendTag.FindAllStringSubmatch(tg.Alias, -1) {
					if !strings.Contains(groups, `"`+m[1]+`"`) {
						t.Errorf("%s, %s: legend %s needs GROUP BY %q", p.Name, *panel.Title, tg.Alias, m[1])
					}
				}
			}
		}
	}
}

// TestVariablesExist: a query uses no variable that its dashboard does not have
// (Grafana would send the dollar sign to the database), and none is idle.
func TestVariablesExist(t *testing.T) {
	for _, p := range mustPages(t) {
		used := map[string]bool{}
		for _, q := range mustQueries(t, Values{}) {
			if q.Dashboard != p.Name {
				continue
			}
			if strings.Contains(q.Text, "$timeFilter") || strings.Contains(strings.ReplaceAll(q.Text, "$/", ""), "$") {
				t.Errorf("%s, %s: a variable is left: %s", p.Name, q.Panel, q.Text)
			}
			for _, m := range variableName.FindAllString(q.Raw, -1) {
				used[m[1:]] = true
			}
		}
		for _, v := range p.Templating.List {
			if v.Regex != nil {
				for _, m := range variableName.FindAllString(*v.Regex, -1) {
					used[m[1:]] = true
				}
			}
		}
		for _, panel := range p.panels() {
			if panel.Datasource != nil && *panel.Datasource.Uid == string(anyLength) {
				used[sourceVariable] = true
			}
		}
		for _, v := range p.Templating.List {
			if !used[v.Name] {
				t.Errorf("%s: no query uses the variable %s", p.Name, v.Name)
			}
		}
	}
}

// TestDashboardsAreWhole checks what Grafana needs and what makes a panel useful.
func TestDashboardsAreWhole(t *testing.T) {
	var uids []string
	for _, p := range mustPages(t) {
		if p.Uid == nil || slices.Contains(uids, *p.Uid) {
			t.Fatalf("%s: no uid of its own", p.Name)
		}
		uids = append(uids, *p.Uid)
		taken := map[[2]uint32]string{}
		for _, panel := range p.panels() {
			title := *panel.Title
			if panel.Description == nil || *panel.Description == "" {
				t.Errorf("%s, %s: no description", p.Name, title)
			}
			if len(panel.Targets) == 0 || panel.GridPos == nil || panel.GridPos.W == 0 {
				t.Errorf("%s, %s: no query or no place", p.Name, title)
				continue
			}
			at := [2]uint32{panel.GridPos.X, panel.GridPos.Y}
			if other, ok := taken[at]; ok {
				t.Errorf("%s: %s lies on %s", p.Name, title, other)
			}
			taken[at] = title
			if panel.GridPos.X+panel.GridPos.W > 24 {
				t.Errorf("%s, %s: wider than the grid", p.Name, title)
			}
			for _, q := range panel.Targets {
				checkQuery(t, p.Name+", "+title, panel, q.(target).Query)
			}
			checkEmpty(t, p.Name+", "+title, panel)
		}
	}
}

var (
	ofPoints  = regexp.MustCompile(`GROUP BY time\(`)
	aRatio    = regexp.MustCompile(`sum\("[^"]+"\) / sum\(`)
	onlyCount = regexp.MustCompile(`^SELECT (sum|count)\("([^"]+)"\) AS "[^"]+" FROM`)
)

// checkEmpty: what an empty panel says is not in every empty cell of one that is not.
func checkEmpty(t *testing.T, where string, panel dashboard.Panel) {
	t.Helper()
	if panel.Type == "stat" || panel.FieldConfig == nil || panel.FieldConfig.Defaults.NoValue == nil {
		return
	}
	if !slices.ContainsFunc(panel.FieldConfig.Overrides, func(o dashboard.DashboardFieldConfigSourceOverrides) bool {
		return o.Matcher.Id == "byRegexp" && slices.ContainsFunc(o.Properties, func(v dashboard.DynamicConfigValue) bool { return v.Id == "noValue" && v.Value == "" })
	}) {
		t.Errorf("%s: %q stands in each empty cell", where, *panel.FieldConfig.Defaults.NoValue)
	}
}

// checkQuery is what makes a query fit its panel.
func checkQuery(t *testing.T, where string, panel dashboard.Panel, text string) {
	t.Helper()
	points := ofPoints.MatchString(text)
	switch panel.Type {
	case "stat":
		if points && (aRatio.MatchString(text) || strings.Contains(text, inPoint)) && !strings.Contains(text, ident(sink.MeasurementSelf)) {
			t.Errorf("%s: the mean of what points say is not what the range says: %s", where, text)
		}
		if panel.FieldConfig == nil || panel.FieldConfig.Defaults.Thresholds == nil {
			t.Errorf("%s: without thresholds Grafana shows all above 80 in red", where)
		}
	case "timeseries":
		bars := lineType(&panel) == "bar"
		if points && strings.HasSuffix(text, "fill(none)") && onlyCount.MatchString(text) && !bars && !strings.Contains(text, ident(sink.MeasurementSelf)) {
			t.Errorf("%s: a line goes on where nothing was counted: %s", where, text)
		}
		if strings.HasSuffix(text, "fill(none)") && strings.Contains(text, inPoint) && !strings.Contains(text, ident(sink.MeasurementSelf)) {
			t.Errorf("%s: a rate without rows is zero: %s", where, text)
		}
	case "table":
		if strings.HasPrefix(text, "SELECT top(") && strings.Count(text[:strings.Index(text, " FROM ")], ident(clientTag)) > 1 {
			t.Errorf("%s: a column comes twice: %s", where, text)
		}
	}
}

var (
	linkURL   = regexp.MustCompile(`"/d/([a-z-]+)\?([^"]*)"`)
	given     = regexp.MustCompile(`(?:^|&)var-(\w+)=([^&]*)`)
	handedOn  = regexp.MustCompile(`\$\{(\w+):queryparam\}`)
	ownVar    = regexp.MustCompile(`^\$\{(\w+):percentencode\}$`)
	timeRange = regexp.MustCompile(`(?:\$\{__url_time_range\}|&from=now-\w+&to=now)$`) // the same, or another
	otherPart = regexp.MustCompile(`^(?:var-\w+=.*|\$\{\w+:queryparam\}|\$\{__url_time_range\}|from=.*|to=now)$`)
)

// nextLevel is where every panel of a page leads, one level further down: from what is
// about many to services, containers, processes and their single connections. The log
// of connections is the last; from there it goes back up.
var nextLevel = map[string][]string{
	"overview":    {serviceUID, connectionsUID},
	"topology":    {serviceUID, connectionsUID},
	"errors":      {serviceUID, connectionsUID},
	"edge":        {serviceUID, connectionsUID},
	"service":     {containerUID, connectionsUID},
	"container":   {processesUID, connectionsUID},
	"processes":   {connectionsUID},
	"connections": {processesUID},
	"dns":         {connectionsUID},
	"tls":         {connectionsUID},
	"capacity":    {containerUID, processesUID},
	"anomalies":   {connectionsUID},
	"health":      {capacityUID},
}

// handsOn are the variables that a page's link to another keeps, beside those of a row.
var handsOn = map[[2]string][]string{
	{"processes", connectionsUID}: {hostVariable, containerVariable, processVariable},
	{"container", processesUID}:   {hostVariable, containerVariable},
	{"container", connectionsUID}: {hostVariable, containerVariable},
	{"service", containerUID}:     {containerVariable},
	{"edge", connectionsUID}:      {clientVariable, serverVariable},
	{"overview", serviceUID}:      {projectVariable},
	{"overview", connectionsUID}:  {hostVariable, protoVariable, clientVariable, serverVariable},
	{"capacity", containerUID}:    {hostVariable},
}

// TestLinksHandOn: what is chosen on a page is chosen on the next, too.
func TestLinksHandOn(t *testing.T) {
	for _, p := range mustPages(t) {
		for between, variables := range handsOn {
			if between[0] != p.Name {
				continue
			}
			for _, panel := range p.panels() {
				i := slices.IndexFunc(panel.Links, func(l dashboard.DashboardLink) bool { return strings.HasPrefix(*l.Url, "/d/"+between[1]+"?") })
				if i < 0 {
					t.Errorf("%s, %s: does not lead to %s", p.Name, *panel.Title, between[1])
					continue
				}
				for _, v := range variables {
					if to := *panel.Links[i].Url; !strings.Contains(to, "${"+v+":queryparam}") && !strings.Contains(to, "var-"+v+"=") {
						t.Errorf("%s, %s: the choice of %s is lost: %s", p.Name, *panel.Title, v, to)
					}
				}
			}
		}
	}
}

// TestLinks: every panel leads to the next level, every link to a page that there
// is, with variables that both pages have, and with the time range.
func TestLinks(t *testing.T) {
	variables := map[string]map[string]bool{}
	for _, p := range mustPages(t) {
		variables[*p.Uid] = map[string]bool{}
		for _, v := range p.Templating.List {
			variables[*p.Uid][v.Name] = true
		}
	}
	for _, p := range mustPages(t) {
		if nextLevel[p.Name] == nil {
			t.Errorf("%s: what is its next level?", p.Name)
		}
		for _, panel := range p.panels() {
			for _, next := range nextLevel[p.Name] {
				if !slices.ContainsFunc(panelLinks(panel), func(l panelLink) bool { return strings.HasPrefix(l.URL, "/d/"+next+"?") }) {
					t.Errorf("%s, %s: does not lead to %s", p.Name, *panel.Title, next)
				}
			}
		}
		b, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var links int
		for _, m := range linkURL.FindAllStringSubmatch(string(b), -1) {
			links++
			query := strings.ReplaceAll(m[2], `\u0026`, "&")
			there, here := variables[m[1]], variables[*p.Uid]
			if there == nil {
				t.Errorf("%s: link to a dashboard that there is not: %s", p.Name, m[0])
				continue
			}
			if !timeRange.MatchString(query) {
				t.Errorf("%s: link loses the time range: %s", p.Name, m[0])
			}
			for _, part := range strings.Split(query, "&") {
				if !otherPart.MatchString(part) {
					t.Errorf("%s: %q in %s", p.Name, part, m[0])
				}
			}
			for _, v := range given.FindAllStringSubmatch(query, -1) {
				if !there[v[1]] {
					t.Errorf("%s: %s has no variable %s: %s", p.Name, m[1], v[1], m[0])
				}
				if own := ownVar.FindStringSubmatch(v[2]); own != nil && !here[own[1]] {
					t.Errorf("%s: no variable %s: %s", p.Name, own[1], m[0])
				}
			}
			for _, v := range handedOn.FindAllStringSubmatch(query, -1) {
				if !there[v[1]] || !here[v[1]] {
					t.Errorf("%s: variable %s is not on both pages: %s", p.Name, v[1], m[0])
				}
			}
		}
		if links < 5 {
			t.Errorf("%s: only %d links", p.Name, links)
		}
	}
}
