package setup

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/sink/influxdb/rules"
	"github.com/weir-probe/weir/test/influxd"
)

// lineOf is a row of a rule's measurement whose figure is value, with tags whose values begin
// with who. How often something changes takes more of them.
func lineOf(r *rules.Rule, who string, value float64, at time.Time) string {
	if r.Of == rules.Changes {
		var lines []string
		for i := range 8 {
			ago := time.Duration(7-i) * time.Second
			lines = append(lines, fmt.Sprintf("%s,%s=%s-%s %s=%di %d", r.From, r.By[0], who, r.By[0], r.Top[0], (1796000000+min(i, int(value)))*1e9, at.Add(-ago).UnixNano()))
		}
		return strings.Join(lines, "\n")
	}
	line := r.From
	for _, any := range r.Where {
		if is := any[0]; !is.Not {
			line += fmt.Sprintf(",%s=%s", is.Tag, is.Value)
		}
	}
	if r.From == sink.MeasurementFlow || r.From == sink.MeasurementL7 { // conditions are on these
		line += ",reporter=both,client_kind=container,server_kind=container"
	}
	for _, t := range r.By {
		line += fmt.Sprintf(",%s=%s-%s", t, who, t)
	}
	top, fields := int(value), ""
	if r.Share() {
		top = int(value * 1e7)
		for _, f := range r.Bottom {
			fields += fmt.Sprintf("%s=%di,", f, 10_000_000/len(r.Bottom))
		}
	}
	fields += fmt.Sprintf("%s=%di", r.Top[0], top) // what is 0 is mostly not written
	for _, d := range r.Details {
		fields += fmt.Sprintf(",%s=\"%s of %s\"", d, d, who)
	}
	return fmt.Sprintf("%s %s %d", line, fields, at.UnixNano())
}

// worst is a figure beyond a rule's last bound, and the level it has to have; fine is one
// that is none.
func worst(r *rules.Rule) (value float64, level string) {
	bound, level := r.Warn, "warn"
	if r.Crit != 0 {
		bound, level = r.Crit, "crit"
	}
	switch {
	case r.Below:
		return bound / 2, level
	case !r.Share():
		return 3, level
	}
	return (bound + 1) / 2, level
}

func fine(r *rules.Rule) float64 {
	if r.Below {
		return 1
	}
	return 0
}

// systemTasks are the tasks behind checks and rules, by name.
func (b *bed) systemTasks() map[string]string {
	b.t.Helper()
	ids := map[string]string{}
	for _, k := range []alertKind{checks, notifications} {
		var answer map[string]json.RawMessage
		if err := b.admin().call(b.t.Context(), "GET", "api/v2/"+k.path+"?limit=100&orgID="+b.orgID(), nil, &answer); err != nil {
			b.t.Fatal(err)
		}
		var list []struct{ TaskID, Name string }
		if err := json.Unmarshal(answer[k.list], &list); err != nil {
			b.t.Fatal(err)
		}
		for _, o := range list {
			ids[o.Name] = o.TaskID
		}
	}
	return ids
}

// statuses are what checks have said at a time, by check and level.
func (b *bed) statuses(at time.Time) map[string]string {
	b.t.Helper()
	flux := fmt.Sprintf(`from(bucket: "_monitoring") |> range(start: %s, stop: %s)
  |> filter(fn: (r) => r._measurement == "statuses" and r._field == "_message") |> group()
  |> keep(columns: ["_check_name", "_level", "_value", "host"])`,
		at.UTC().Format(time.RFC3339), at.Add(time.Second).UTC().Format(time.RFC3339))
	in, err := json.Marshal(body{"query": flux, "dialect": body{"annotations": []string{}}})
	if err != nil {
		b.t.Fatal(err)
	}
	s := b.admin()
	req, err := http.NewRequestWithContext(b.t.Context(), "POST", s.url+"api/v2/query?org="+b.Org, strings.NewReader(string(in)))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.db.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	rows, err := csv.NewReader(resp.Body).ReadAll()
	if err != nil {
		b.t.Fatal(err)
	}
	found := map[string]string{}
	for i, r := range rows {
		if i == 0 {
			continue
		}
		v := map[string]string{}
		for c, name := range rows[0] {
			v[name] = r[c]
		}
		found[v["_check_name"]+" "+v["host"]+" "+v["_level"]] = v["_value"]
	}
	return found
}

// TestChecksTellWhatIsWrong runs every check on a real server, before and after everything
// goes wrong for some and stays well for others, and when it is well again, and follows
// the changes to the URL that is told.
func TestChecksTellWhatIsWrong(t *testing.T) {
	b := newBed(t, influxd.Start(t, influxd.V2))
	told := make(chan string, 1000)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		told <- string(body)
	}))
	defer web.Close()
	b.o.NotifyURL, b.o.NoDownsampling = influxdb.Secret(web.URL+"/hook?key=secret"), true
	for _, s := range b.apply().Steps {
		if strings.Contains(s.Detail+s.Name, "secret") {
			t.Errorf("the URL is told: %+v", s)
		}
	}
	now := time.Now().Truncate(time.Minute).Add(-15 * time.Minute) // a run in the future would wait for its time
	over := now.Add(rules.Window)
	b.breakEverything(now, over)
	tasks, silent := b.systemTasks(), rules.Silent()
	b.runChecks(tasks, now.Add(-rules.Every), now)
	got := b.statuses(now)
	for _, r := range rules.All() {
		_, level := worst(&r)
		for who, level := range map[string]string{"new": level, "bad": level, "good": "ok"} {
			message, ok := got["net: "+r.Name+" "+who+"-host "+level]
			if !ok {
				t.Errorf("%s of %s is not %s: %v", r.Name, who, level, got)
			}
			for _, want := range append([]string{r.Meaning, who + "-" + r.By[len(r.By)-1]}, r.Details...) {
				if !strings.Contains(message, want) {
					t.Errorf("%s: %q does not tell %q", r.Name, message, want)
				}
			}
		}
		if _, ok := got["net: "+r.Name+" good-host "+level]; ok {
			t.Errorf("%s of good is %s", r.Name, level)
		}
	}
	for who, level := range map[string]string{"bad": "crit", "good": "ok"} {
		if _, ok := got["net: "+silent.Name+" "+who+"-host "+level]; !ok {
			t.Errorf("the silence of %s is not %s: %v", who, level, got)
		}
	}
	began, ended := []string{"net: " + silent.Name + " bad-host crit"}, []string{"net: " + silent.Name + " bad-host ok"}
	for _, r := range rules.All() {
		_, level := worst(&r)
		for _, who := range []string{"bad", "new"} {
			began = append(began, "net: "+r.Name+" "+who+"-host "+level)
			ended = append(ended, "net: "+r.Name+" "+who+"-host ok")
		}
	}
	b.toldOf(b.notify(tasks, told, now), began)
	b.runChecks(tasks, over.Add(-2*rules.Every), over.Add(-rules.Every), over)
	b.toldOf(b.notify(tasks, told, over.Add(rules.Every)), ended)
}

// toldOf compares what was told with what should have been.
func (b *bed) toldOf(got, want []string) {
	b.t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		b.t.Errorf("told (-want +got):\n%s", d)
	}
}

// runChecks runs all checks for each of some times.
func (b *bed) runChecks(tasks map[string]string, times ...time.Time) {
	b.t.Helper()
	s := b.admin()
	for _, at := range times {
		var runs []taskRun
		for _, name := range append(names(), rules.Silent().Name) {
			runs = append(runs, b.startTask(s, tasks["net: "+name], name, at))
		}
		b.wait(s, runs)
	}
}

func names() (list []string) {
	for _, r := range rules.All() {
		list = append(list, r.Name)
	}
	return list
}

// notify runs the notification rule and returns whose changes the URL was told.
func (b *bed) notify(tasks map[string]string, told chan string, now time.Time) []string {
	b.t.Helper()
	s := b.admin()
	for at := range 3 { // a rule tells what came before its time; nothing is told twice
		const name = "net: notify on change"
		b.wait(s, []taskRun{b.startTask(s, tasks[name], name, now.Add(time.Duration(at)*rules.Every))})
	}
	var names []string
	for len(told) > 0 { // a run has ended: it has told what it had to
		var v map[string]any
		if err := json.Unmarshal([]byte(<-told), &v); err != nil {
			b.t.Errorf("told %v: %v", v, err)
		}
		names = append(names, fmt.Sprint(v["_check_name"], " ", v["host"], " ", v["_level"]))
	}
	return names
}

// breakEverything writes rows of two that are not well until now, one of which was before
// and one that nobody knows, and of one that is well. At over all are.
func (b *bed) breakEverything(now, over time.Time) {
	b.t.Helper()
	var lines []string
	last := now.Add(-30 * time.Second)
	for _, r := range rules.All() {
		value, _ := worst(&r)
		lines = append(lines, lineOf(&r, "bad", fine(&r), now.Add(-rules.Window-90*time.Second)), lineOf(&r, "bad", fine(&r), now.Add(-rules.Window-30*time.Second)),
			lineOf(&r, "bad", value, last), lineOf(&r, "new", value, last), lineOf(&r, "good", fine(&r), last))
		for _, who := range []string{"bad", "new", "good"} {
			lines = append(lines, lineOf(&r, who, fine(&r), over.Add(-30*time.Second)))
		}
	}
	s := rules.Silent()
	for _, x := range []struct {
		who string
		at  time.Time
	}{{"bad", now.Add(-s.After - 10*time.Second)}, {"good", last}, {"good", over.Add(-2 * time.Minute)}, {"bad", over.Add(-30 * time.Second)}, {"good", over.Add(-30 * time.Second)}} {
		lines = append(lines, fmt.Sprintf("%s,host=%s-host,stage=process %s=1i %d", s.Measurement, x.who, s.Field, x.at.UnixNano()))
	}
	if err := b.write(b.admin(), "net", lines...); err != nil {
		b.t.Fatal(err)
	}
}

// TestOldChecksAreReplaced: a check of another type and a notification rule under another
// name, as an older Weir made them, become what is wanted.
func TestOldChecksAreReplaced(t *testing.T) {
	b := newBed(t, influxd.Start(t, influxd.V2))
	b.o.NotifyURL, b.o.NoDownsampling = "http://127.0.0.1:1/", true
	old := "x. " + mark{Version, "net", "00000000"}.String()
	const name = "net: out of memory"
	check := body{"type": "threshold", "name": name, "description": old, "status": "active", "orgID": b.orgID(), "every": "1m", "offset": "15s", "tags": []body{},
		"thresholds": []body{{"type": "greater", "level": "CRIT", "value": 0.5, "allValues": false}}, "statusMessageTemplate": "x",
		"query": body{"text": `from(bucket: "net") |> range(start: -1m) |> filter(fn: (r) => r._field == "oom_kills") |> sum()`, "editMode": "advanced"}}
	if err := b.admin().call(t.Context(), "POST", "api/v2/checks", check, nil); err != nil {
		t.Fatal(err)
	}
	if p := b.apply(); p.Count(Change) != 1 || p.Count(Remove) != 0 {
		t.Errorf("%q", steps(p))
	}
	var all struct {
		Checks []struct{ Name, Type string }
	}
	if err := b.admin().call(t.Context(), "GET", "api/v2/checks?limit=100&orgID="+b.orgID(), nil, &all); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(all.Checks, func(c struct{ Name, Type string }) bool { return c.Name == name && c.Type == "custom" }) || len(all.Checks) != len(rules.All())+1 {
		t.Errorf("%+v", all.Checks)
	}
	if got := steps(b.plan()); got != nil {
		t.Errorf("a second run changes %q", got)
	}
	b.o.NotifyURL = "" // it is known from before
	p := b.plan()
	if got := steps(p); got != nil || p.Count(Note) > 0 || !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == notifications.kind }) {
		t.Errorf("without a URL another run changes %q; %v", got, p.Steps)
	}
}
