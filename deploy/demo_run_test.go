package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/pages"
	"github.com/weir-probe/weir/test/probe"
)

// notMade is what the demo does not make of what the dashboards ask for.
var notMade = pages.OneHost.And(pages.Unmade{
	`"l7" = 'tls'`:          "nobody speaks TLS",
	`"status" = 'NXDOMAIN'`: "every name that is asked for exists",
	`sum("unanswered")`:     "every question is answered",
	`sum("reset_by_`:        "who hangs up has read what came",
	`"crosses" = 'zone'`:    "no zone is set",
	`"crosses" = 'none'`:    "no zone is set",
	`"state" = 'resolved'`:  "nothing is over after ten minutes",
	`"score" > 0`:           "how much is usual is not learnt in minutes",
})

// TestDemo is `make demo`, Grafana left out, with an outage every twenty seconds, a break-in
// after two and a half minutes and a Weir that learns in one: the pager is told that the
// cache cannot be reached, that the worker was killed, and of the break-in; and whoever reads
// the database with the token that is Grafana's finds on its pages the shop, who did it, and
// nothing else out of the usual.
func TestDemo(t *testing.T) {
	p := newProject(t, "weir")
	image(t, p.Engine, "weir", "./cmd/weir")
	build(t, p.Engine, "weir-demo", "./deploy/demo", "demo", "demo/Dockerfile")
	c := readCompose(t)
	influxd.Image(t, p.Engine, c.Services["influxdb"].Image)
	p.env = append(p.env, "WEIR_CONFIG=/etc/weir/demo.yaml", "DEMO_EVERY=20s", "DEMO_FOR=6s", "DEMO_BREAK_IN=150s")
	config := demoConfig(t)
	p.change(fmt.Sprintf("services:\n  weir: {volumes: ['%[1]s:/etc/weir:ro']}\n  weir-setup: {volumes: ['%[1]s:/etc/weir:ro']}\n", config))
	up := []string{"--profile", "demo", "up", "-d", "--no-build", "--pull", "never"}
	for name, s := range c.Services {
		if name != "grafana" && (s.Profiles == nil || slices.Contains(s.Profiles, "demo")) {
			up = append(up, name)
		}
	}
	p.must(up...)
	for what, want := range map[string]string{
		"the cache cannot be reached": `event connection_failed (warning): "weir/shop-api" "weir/shop-cache"`,
		"the worker was killed":       `event oom (error)`,
		"the web server reads":        `new_edge (warning): "weir/shop-web" "weir/shop-cache"`,
		"the web server scans":        `port_scan (error): "weir/shop-web"`,
	} {
		probe.Until(t, 6*time.Minute, "the pager is told that "+what, func() error {
			logs, err := p.run("logs", "--no-color", "pager")
			if err != nil || strings.Contains(logs, want) {
				return err
			}
			time.Sleep(time.Second)
			return fmt.Errorf("it says: %s", logs)
		})
	}
	checkDemo(t, p.grafana())
}

// grafana is the server as Grafana may read it.
func (p *project) grafana() *influxd.Server {
	p.t.Helper()
	token := p.must("exec", "-T", "influxdb", "cat", "/secrets/grafana/token")
	return &influxd.Server{URL: "http://127.0.0.1:8086", Version: influxd.V2, Org: "weir", Token: strings.TrimSpace(token)}
}

// checkDemo looks at what is in the database once all has happened.
func checkDemo(t *testing.T, db *influxd.Server) {
	t.Helper()
	var edge *influxd.Row
	probe.Until(t, time.Minute, "the break-in is in the database", func() error {
		edge = nil
		scans := 0
		for _, e := range anomaliesOfShop(t, db) {
			switch of := fmt.Sprint(e.Values["type"]); {
			case of == "new_edge" && e.Values["client"] == "weir/shop-web" && e.Values["server"] == "weir/shop-cache":
				edge = &e
			case of == "port_scan" && e.Values["client"] == "weir/shop-web":
				scans++
			}
		}
		if edge == nil || scans == 0 {
			return fmt.Errorf("new edge: %v, %d scans", edge, scans)
		}
		return nil
	})
	for field, want := range map[string]string{"state": "active", "client_process": "demo", "client_cmdline": "/demo web ", "server_process": "demo", "server_port": "6379"} {
		if got := fmt.Sprint(edge.Values[field]); !strings.HasPrefix(got, want) {
			t.Errorf("the new edge: %s is %q, want %q", field, got, want)
		}
	}
	for _, e := range anomaliesOfShop(t, db) {
		switch of := fmt.Sprint(e.Values["type"]); {
		case of == "new_service": // it was not there in time to be learnt with the rest
			t.Logf("late: %v", e.Values)
		case e.Values["client"] != "weir/shop-web" || of != "new_edge" && of != "port_scan":
			t.Errorf("the demo's quiet part is told of: %v", e.Values)
			for _, r := range db.QueryInfluxQL(t, influxd.LogBucket, fmt.Sprintf(`SELECT * FROM flow_log WHERE (client = '%[1]v' AND server = '%[2]v') OR (client = '%[2]v' AND server = '%[1]v')`,
				e.Values["client"], e.Values["server"])) {
				t.Log(r)
			}
		}
	}
	if own := db.QueryInfluxQL(t, influxd.Bucket, `SELECT * FROM flow WHERE client = 'weir/weir' AND (server_port = '8480' OR server_port = '8086')`); len(own) > 0 {
		t.Errorf("rows of the probe's own: %v", own)
	}
	checkPages(t, pages.Ask(t, db, notMade))
}

// anomaliesOfShop are the rows of event about an end in the shop that have a fingerprint.
func anomaliesOfShop(t *testing.T, db *influxd.Server) (rows []influxd.Row) {
	t.Helper()
	for _, r := range db.QueryInfluxQL(t, influxd.Bucket, `SELECT * FROM event`) {
		if r.Values["fingerprint"] != nil && (strings.HasPrefix(fmt.Sprint(r.Values["client"]), "weir/shop") || strings.HasPrefix(fmt.Sprint(r.Values["server"]), "weir/shop")) {
			rows = append(rows, r)
		}
	}
	return rows
}

// checkPages wants the shop on the pages that one looks at first.
func checkPages(t *testing.T, answers []pages.Answer) {
	t.Helper()
	shown := map[string]string{}
	for _, a := range answers {
		for _, r := range a.Rows {
			shown[a.Dashboard] += fmt.Sprintln(r.Tags, r.Values)
		}
	}
	shop := []string{"weir/shop-load", "weir/shop-web", "weir/shop-api", "weir/shop-cache"}
	for page, wants := range map[string][]string{
		"overview": shop, "service": shop, "topology": shop, "connections": shop, "edge": shop, "container": append(slices.Clone(shop), "weir/shop-worker"),
		"errors": {"weir/shop-api", "weir/shop-cache"}, "anomalies": {"new_edge", "port_scan", "weir/shop-web", "/demo web "},
	} {
		for _, want := range wants {
			if !strings.Contains(shown[page], want) {
				t.Errorf("page %s does not show %s", page, want)
			}
		}
	}
}

// TestDemoLearnsBeforeTheBreakIn: with three minutes for InfluxDB and its set-up, which
// Weir waits for and the shop does not.
func TestDemoLearnsBeforeTheBreakIn(t *testing.T) {
	var config struct {
		Anomaly struct{ Learn, Relearn time.Duration }
	}
	b, err := os.ReadFile("compose/weir/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &config); err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(readCompose(t).Services["shop-web"].Environment["DEMO_BREAK_IN"], ":-")
	breakIn, err := time.ParseDuration(strings.TrimSuffix(after, "}"))
	if a := config.Anomaly; err != nil || a.Learn <= 0 || a.Relearn <= 0 || breakIn < max(a.Learn, a.Relearn)+3*time.Minute || breakIn > 9*time.Minute {
		t.Errorf("learns %v, after a deployment %v; broken into after %v, %v", a.Learn, a.Relearn, breakIn, err)
	}
}

// demoConfig is a folder with the demo's, its times to learn made shorter, as the break-in's
// is.
func demoConfig(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("compose/weir/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("  learn: 5m\n", "  learn: 1m\n", "  relearn: 5m ", "  relearn: 1m ").Replace(string(b))
	if !strings.Contains(text, "\n  learn: 1m\n") || !strings.Contains(text, "relearn: 1m") {
		t.Fatal("the demo's configuration has other times")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "demo.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
