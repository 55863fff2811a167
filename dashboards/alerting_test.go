package dashboards

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	texttemplate "text/template"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/lineproto"
	"github.com/weir-probe/weir/test/influxd"
)

const rulesFile = "grafana/provisioning/alerting/weir.yaml"

// TestAlertRulesAreGenerated: the committed file is what the code generates.
func TestAlertRulesAreGenerated(t *testing.T) {
	want, err := AlertRules()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(rulesFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(rulesFile)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code generates (%v): run make dashboards", rulesFile, err)
	}
}

// provisionedRules is the file as Grafana's documentation describes it.
type provisionedRules struct {
	APIVersion int `yaml:"apiVersion"`
	Groups     []struct {
		OrgID                  int `yaml:"orgId"`
		Name, Folder, Interval string
		Rules                  []struct {
			UID, Title, Condition, For string
			NoDataState                string `yaml:"noDataState"`
			ExecErrState               string `yaml:"execErrState"`
			Annotations, Labels        map[string]string
			Data                       []struct {
				RefID             string                 `yaml:"refId"`
				DatasourceUID     string                 `yaml:"datasourceUid"`
				RelativeTimeRange struct{ From, To int } `yaml:"relativeTimeRange"`
				Model             map[string]any
			}
		}
	}
}

// TestAlertRulesAreProvisioned: Grafana finds everything that it needs, and nothing in
// which it would expand a variable of its environment.
func TestAlertRulesAreProvisioned(t *testing.T) {
	var file provisionedRules
	decode(t, rulesFile, &file)
	if file.APIVersion != 1 || len(file.Groups) != 1 {
		t.Fatalf("%+v", file)
	}
	g := file.Groups[0]
	if g.OrgID != 1 || g.Folder != "Weir" || g.Interval != "1m" || len(g.Rules) != len(checks()) {
		t.Errorf("group %q in folder %q every %q with %d rules", g.Name, g.Folder, g.Interval, len(g.Rules))
	}
	seen := map[string]bool{}
	for _, r := range g.Rules {
		if seen[r.UID] || seen[r.Title] || !regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`).MatchString(r.UID) {
			t.Errorf("%s: uid %q or title is not its own, or none", r.Title, r.UID)
		}
		seen[r.UID], seen[r.Title] = true, true
		if d, err := time.ParseDuration(r.For); err != nil || d%time.Minute != 0 {
			t.Errorf("%s: for %q", r.UID, r.For)
		}
		if !slices.Contains([]string{"OK", "NoData", "Alerting"}, r.NoDataState) || r.ExecErrState != "Error" || r.Labels["severity"] == "" {
			t.Errorf("%s: %q, %q, %v", r.UID, r.NoDataState, r.ExecErrState, r.Labels)
		}
		var refs []string
		for i, q := range r.Data {
			refs = append(refs, q.RefID)
			want := []string{string(mainDB), expressions, expressions}[i]
			if q.DatasourceUID != want || q.Model["refId"] != q.RefID || q.RelativeTimeRange.From < 300 {
				t.Errorf("%s: query %s: %+v", r.UID, q.RefID, q)
			}
		}
		if !slices.Equal(refs, []string{"A", "B", "C"}) || r.Condition != "C" ||
			r.Data[0].Model["rawQuery"] != true || r.Data[1].Model["type"] != "reduce" || r.Data[1].Model["expression"] != "A" ||
			r.Data[2].Model["type"] != "threshold" || r.Data[2].Model["expression"] != "B" {
			t.Errorf("%s: %+v", r.UID, r.Data)
		}
		for _, text := range r.Annotations {
			if strings.Contains(text, "$") {
				t.Errorf("%s: Grafana would expand %q", r.UID, text)
			}
		}
	}
}

// value is what a template has as Values.B.
type value struct{ Value float64 }

// firing says for which hosts a check fires, as Grafana evaluates it, with its severity and
// its summary.
func firing(t *testing.T, s *server, c *check, now time.Time) map[string]string {
	t.Helper()
	filter := fmt.Sprintf("time >= %dms and time <= %dms", now.Add(-c.reach).UnixMilli(), now.UnixMilli())
	text := strings.ReplaceAll(c.query, timeFilter, filter)
	got, err := s.ask(string(mainDB), text)
	if err != nil {
		t.Fatalf("%s: %v\n%s", c.uid, err, text)
	}
	text = c.severity + ", " + c.summary
	summary := texttemplate.Must(texttemplate.New("").Option("missingkey=error").Funcs(texttemplate.FuncMap{
		"humanizePercentage": func(f float64) string { return fmt.Sprintf("%.4g%%", 100*f) },
	}).Parse(text))
	fires := map[string]string{}
	for _, x := range got {
		if len(x.Columns) != 2 || len(x.Values) == 0 {
			t.Fatalf("%s: not one number per series: %+v", c.uid, x)
		}
		var last float64
		for _, row := range x.Values {
			if v, ok := row[1].(float64); ok {
				last = v
			}
		}
		if (last > c.limit) == c.below || last == c.limit {
			continue
		}
		var b strings.Builder
		if err := summary.Execute(&b, map[string]any{"Labels": x.Tags, "Values": map[string]value{"B": {last}}}); err != nil {
			t.Errorf("%s: %v", c.uid, err)
		}
		fires[x.Tags[sink.TagHost]] = b.String()
	}
	return fires
}

// state is one host's rows of five minutes that end at now: bad ones or good ones.
func state(host string, now time.Time, bad bool) []byte {
	var e lineproto.Encoder
	row := func(m string, at time.Time, tags map[string]string, fields map[string]int64) {
		set := []lineproto.Tag{{Key: sink.TagHost, Value: host}}
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			set = append(set, lineproto.Tag{Key: k, Value: tags[k]})
		}
		e.Begin(m, e.AppendTags(nil, set))
		for _, k := range slices.Sorted(maps.Keys(fields)) {
			e.Int(k, fields[k])
		}
		e.End(at.UnixNano())
	}
	of := func(good, isBad int64) int64 {
		if bad {
			return isBad
		}
		return good
	}
	edge := map[string]string{clientTag: "shop/web", serverTag: "shop/db", sink.TagReporter: "both", sink.TagKind[0]: "container", sink.TagKind[1]: "container"}
	served := maps.Clone(edge)
	served[sink.TagReporter] = "server"
	in := func(s sink.Stage) map[string]string { return map[string]string{sink.TagStage: string(s)} }
	for i := range 30 {
		at := now.Add(-time.Duration(i) * 10 * time.Second)
		row(sink.MeasurementFlow, at, edge, map[string]int64{sink.FieldFailed: of(0, 1), sink.FieldAttempts: 5,
			sink.FieldRetransmitsToServer: of(0, 20), sink.FieldRetransmitsToClient: of(1, 30), sink.FieldToServerPackets: 100, sink.FieldToClientPackets: 100})
		// the server's host tells the same connections, and all the better of them
		row(sink.MeasurementFlow, at, served, map[string]int64{sink.FieldFailed: 0, sink.FieldAttempts: 500, sink.FieldToServerPackets: 1000, sink.FieldToClientPackets: 1000})
		if bad { // what is 0 is not written
			row(sink.MeasurementFlowError, at, edge, map[string]int64{sink.FieldAcceptQueueDrops: 1})
		}
		row(sink.MeasurementL7, at, edge, map[string]int64{sink.FieldErrors: of(0, 1), sink.FieldRequests: 5})
		row(sink.MeasurementContainer, at, map[string]string{sink.TagEnd: "shop/web"},
			map[string]int64{sink.ContainerField(usage.Periods): 100, sink.ContainerField(usage.ThrottledPeriods): of(10, 60)})
		row(sink.MeasurementSelf, at, in(sink.StageJoin), map[string]int64{string(sink.SelfLocalBytes): 1e6, string(sink.SelfAttributedBytes): of(999_000, 900_000), string(sink.SelfLost): 0})
		row(sink.MeasurementSelf, at, in(sink.StageDelivery), map[string]int64{string(sink.SelfRejected): of(0, 2), string(sink.SelfLost): of(0, 2)})
		row(sink.MeasurementInfo, at, nil, map[string]int64{sink.InfoStarted: 1796e15 + of(0, int64(i/8))})
		row(sink.MeasurementSelf, at, in(sink.StageAlerts), map[string]int64{string(sink.SelfAlertsFailing): of(0, 1)})
		if !bad || i > 15 { // silent for two and a half minutes
			row(sink.MeasurementSelf, at, in(sink.StageProcess), map[string]int64{string(sink.SelfRSS): 1})
		}
	}
	event := sink.EventThrottled // is none of oom's
	if bad {
		event = sink.EventOOM
	}
	left := 30 * 86400 // one certificate among others, an hour ago
	if bad {
		left = 6 * 86400
	}
	certificates := fmt.Sprintf("l7,host=%s,server=shop/web,server_name=a.test certificate_left_seconds=5e6 %d\nl7,host=%s,server=shop/web,server_name=shop.test certificate_left_seconds=%d.5 %d\n",
		host, now.Add(-time.Minute).UnixNano(), host, left, now.Add(-59*time.Minute).UnixNano())
	b := fmt.Appendf(append(e.Bytes(), certificates...), "event,host=%s,server=shop/web,severity=error,type=%s seen=1,message=\"m\" %d\n", host, event, now.Add(-time.Minute).UnixNano())
	return append(b, unusual(host, now, bad)...)
}

// unusual is what began hours ago and goes on, or is over, between two ends of a host.
func unusual(host string, now time.Time, goesOn bool) (b []byte) {
	cfg := sink.DefaultConfig()
	cfg.Host = host
	events := sink.NewEvents(cfg)
	add := func(ago time.Duration, state anomaly.State, ongoing int) {
		for _, kind := range []anomaly.Type{anomaly.NewEdge, anomaly.PortScan, anomaly.NewService} {
			x := sink.AnomalyEvent(&anomaly.Anomaly{Type: kind, State: state, Ongoing: ongoing, Client: anomaly.Party{Name: "shop/web"}, Message: "m"})
			events.Add(now.Add(-ago), &x)
		}
	}
	add(20*time.Hour, anomaly.Active, 1)
	add(3*time.Hour, anomaly.Active, 2)
	add(2*time.Hour, anomaly.Resolved, 1)
	if !goesOn {
		add(time.Hour, anomaly.Resolved, 0)
	}
	for _, batch := range events.Flush() {
		b = append(b, batch.Lines...)
	}
	return b
}

// TestAlertRulesFire: on a real server each rule fires for the host that has its trouble
// and not for the one that has none, wherever in a minute it is evaluated.
func TestAlertRulesFire(t *testing.T) {
	for _, version := range []string{influxd.V1, influxd.V2} {
		t.Run(version, func(t *testing.T) {
			s := startServer(t, version)
			now := sampleTime.Add(time.Hour)
			s.write(t, mainDB, append(state("good", now, false), state("bad", now, true)...))
			want := map[string]string{
				"weir-connections-fail": "warning, shop/web → shop/db on bad: 20% of the attempts to connect fail",
				"weir-requests-fail":    "warning, shop/web → shop/db on bad: 20% of the requests fail or get no answer",
				"weir-retransmits":      "critical, shop/web → shop/db on bad: 25% of the packets are retransmits",
				"weir-not-accepted":     "warning, shop/db on bad: the listener had no room for 30 connections",
				"weir-oom":              "critical, shop/web on bad: 1 processes were killed for want of memory",
				"weir-throttled":        "warning, shop/web on bad: the CPU quota is used up in 60% of the periods",
				"weir-unusual":          "warning, new_edge: shop/web on bad: 1 of that kind go on",
				"weir-suspicious":       "critical, port_scan: shop/web on bad: 1 of that kind go on",
				"weir-silent":           "critical, bad: the probe has sent nothing for two minutes",
				"weir-coverage":         "warning, bad: of 90% of the payload is it known whose it is",
				"weir-lost":             "warning, bad, stage delivery: 60 were lost",
				"weir-rejected":         "warning, bad: the database refused 60 rows for good",
				"weir-receivers":        "warning, bad: the probe cannot tell 1 of its receivers",
				"weir-twice":            "warning, bad: the probe was another one 3 times",
				"weir-certificate":      "warning, shop/web on bad: its certificate for shop.test expires within a week, or has expired",
			}
			for _, c := range checks() {
				if d := cmp.Diff(map[string]string{"bad": want[c.uid]}, firing(t, s, &c, now)); d != "" {
					t.Errorf("%s (-want +got):\n%s", c.uid, d)
				}
				// the last row may be ten seconds and its way old, and any part of a minute have gone by
				for _, later := range []time.Duration{0, time.Second, 5 * time.Second, 15 * time.Second} {
					if c.uid == "weir-silent" {
						if f := firing(t, s, &c, now.Add(later)); f["good"] != "" || f["bad"] == "" {
							t.Errorf("%v later: %v", later, f)
						}
					}
				}
			}
		})
	}
}
