package setup

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb"
	"github.com/weir-probe/weir/test/influxd"
)

// line is a row of an alert's measurement whose figure is value, with tags whose
// values begin with who.
func (a *alert) line(who string, value float64, at time.Time) string {
	tags := a.measurement
	for _, t := range a.by {
		tags += fmt.Sprintf(",%s=%s-%s", t, who, t)
	}
	if a.stage != "" {
		tags += fmt.Sprintf(",%s=%s", sink.TagStage, a.stage)
	}
	top := int(value)
	fields := ""
	if len(a.bottom) > 0 {
		top = int(value * 1e7)
		for _, f := range a.bottom {
			fields += fmt.Sprintf("%s=%di,", f, 10_000_000/len(a.bottom))
		}
	}
	for i, f := range a.top {
		v := top
		if i > 0 {
			v = 0
		}
		fields += fmt.Sprintf("%s=%di,", f, v)
	}
	return fmt.Sprintf("%s %s %d", tags, strings.TrimSuffix(fields, ","), at.UnixNano())
}

// worst is a figure beyond an alert's last bound, and the level it has to have;
// fine is one that is none.
func (a *alert) worst() (value float64, level string) {
	bound, level := a.warn, "warn"
	if a.crit != 0 {
		bound, level = a.crit, "crit"
	}
	switch {
	case a.below:
		return bound / 2, level
	case len(a.bottom) == 0:
		return 3, level
	}
	return (bound + 1) / 2, level
}

func (a *alert) fine() float64 {
	if a.below {
		return 1
	}
	return 0
}

// systemTasks are the tasks behind checks and rules, by name.
func (b *bed) systemTasks() map[string]string {
	b.t.Helper()
	ids := map[string]string{}
	for _, k := range []alertKind{checks, rules} {
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

// TestChecksTellWhatIsWrong runs every check twice on a real server, before and
// after everything goes wrong for one set of names and stays fine for another,
// and follows the change to the URL that is told.
func TestChecksTellWhatIsWrong(t *testing.T) {
	b := newBed(t, influxd.Start(t, influxd.V2))
	told := make(chan string, 100)
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
	now := time.Now().Truncate(time.Minute).Add(-3 * seldom) // a run in the future would wait for its time
	b.breakEverything(now)
	tasks, s := b.systemTasks(), b.admin()
	for _, times := range []time.Duration{1, 0} { // the run before, and the last
		runs := []taskRun{b.startTask(s, tasks["net: "+silence.name], silence.name, now.Add(-times*often))}
		for _, a := range alerts() {
			runs = append(runs, b.startTask(s, tasks["net: "+a.name], a.name, now.Add(-times*a.every)))
		}
		b.wait(s, runs)
	}
	got := b.statuses(now)
	for _, a := range alerts() {
		_, level := a.worst()
		for who, level := range map[string]string{"bad": level, "good": "ok"} {
			message, ok := got["net: "+a.name+" "+who+"-host "+level]
			if !ok {
				t.Errorf("%s of %s is not %s: %v", a.name, who, level, got)
			}
			if !strings.Contains(message, a.meaning) || !strings.Contains(message, who+"-"+a.by[len(a.by)-1]) {
				t.Errorf("%s: %q", a.name, message)
			}
		}
	}
	for who, level := range map[string]string{"bad": "crit", "good": "ok"} {
		if _, ok := got["net: "+silence.name+" "+who+"-host "+level]; !ok {
			t.Errorf("the silence of %s is not %s: %v", who, level, got)
		}
	}
	if got := b.notify(tasks, told, now); len(got) != len(alerts())+1 {
		t.Errorf("told of %q", got)
	}
}

// notify runs the rules and returns whose changes the URL was told.
func (b *bed) notify(tasks map[string]string, told chan string, now time.Time) []string {
	b.t.Helper()
	s := b.admin()
	for at := range 3 { // a rule tells what came before its time; nothing is told twice
		var runs []taskRun
		for _, every := range []time.Duration{often, seldom} {
			name := "net: notify on change, every " + minutes(every)
			runs = append(runs, b.startTask(s, tasks[name], name, now.Add(time.Duration(at)*every)))
		}
		b.wait(s, runs)
	}
	var names []string
	for len(told) > 0 { // a run has ended: it has told what it had to
		var v map[string]any
		if err := json.Unmarshal([]byte(<-told), &v); err != nil || v["host"] != "bad-host" {
			b.t.Errorf("told %v", v)
		}
		names = append(names, fmt.Sprint(v["_check_name"]))
	}
	return names
}

// breakEverything writes rows that are fine in the window before the last, and in
// the last are bad for one set of names and fine for another.
func (b *bed) breakEverything(now time.Time) {
	b.t.Helper()
	var lines []string
	for _, a := range alerts() {
		value, _ := a.worst()
		lines = append(lines, a.line("bad", a.fine(), now.Add(-a.every-30*time.Second)),
			a.line("bad", value, now.Add(-30*time.Second)), a.line("good", a.fine(), now.Add(-30*time.Second)))
	}
	for at, who := range map[time.Duration]string{silence.after + 10*time.Second: "bad", 30 * time.Second: "good"} {
		lines = append(lines, fmt.Sprintf("%s,host=%s-host,stage=process %s=1i %d", silence.measurement, who, silence.field, now.Add(-at).UnixNano()))
	}
	if err := b.write(b.admin(), "net", lines...); err != nil {
		b.t.Fatal(err)
	}
}
