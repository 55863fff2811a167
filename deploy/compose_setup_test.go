package deploy

import (
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/influxd"
)

// TestComposeStartsWeirAfterSetup lets Compose start the service weir beside InfluxDB:
// weir-setup runs first, with each `up` again, and leaves the token where weir alone reads
// it; where it fails weir is not started and Compose says why.
func TestComposeStartsWeirAfterSetup(t *testing.T) {
	p := newProject(t, "weirsetuptest")
	image(t, p.Engine, "weir", "./cmd/weir")
	influxd.Image(t, p.Engine, readCompose(t).Services["influxdb"].Image)
	p.change("services:\n  influxdb:\n    ports: !reset []\n  weir:\n    command: [version]\n    restart: 'no'\n")

	there := p.command
	p.change("services: {weir-setup: {environment: {WEIR_INFLUXDB_URL: 'http://influxdb:1'}}}\n") // nobody listens there
	if out, err := p.run("up", "-d", "--no-build", "weir"); err == nil || !strings.Contains(err.Error(), "weir-setup") {
		t.Errorf("without a database: %s, %v", out, err)
	}
	if logs := p.logs("weir-setup"); !strings.Contains(logs, "connection refused") {
		t.Errorf("weir-setup does not say why it failed: %s", logs)
	}
	if ran := p.logs("weir"); ran != "" {
		t.Errorf("weir was started: %q", ran)
	}

	p.command = there
	for i, want := range []string{" created, 0 changed, 0 removed, ", "0 created, 0 changed, 0 removed, "} {
		p.must("up", "-d", "--no-build", "weir")
		logs := p.logs("weir-setup")
		lines := strings.Split(strings.TrimSpace(logs), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, want) {
			t.Errorf("run %d of weir-setup: %s", i+1, logs)
		}
	}
	if ran := p.logs("weir"); !strings.Contains(ran, "weir") {
		t.Errorf("weir was not started: %q", ran)
	}
	out := p.Docker(t, "run", "--rm", "-v", "weirsetuptest_weir-token:/secrets:ro", p.Busybox(t), "stat", "-c", "%a %u", "/secrets/token")
	if strings.TrimSpace(out) != "600 0" {
		t.Errorf("mode and owner of the token: %s", out)
	}
}
