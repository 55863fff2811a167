package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/probe"
)

// TestDemo lets Compose start the services of the profile demo, with an outage every
// twenty seconds and a break-in after two minutes, and a Weir with the demo's configuration,
// but that it learns in less: the pager is told that the cache cannot be reached, that the
// worker was killed, and of the break-in; the rows tell who did it, and that nothing else in
// the shop is out of the usual.
func TestDemo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to start dockerd")
	}
	command, _ := composeCommand(t)
	e := dockerd.Start(t)
	dir := t.TempDir()
	if err := os.Rename(probe.Build(t, "./deploy/demo"), filepath.Join(dir, "demo")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("demo/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_BUILDKIT", "0")
	e.Docker(t, "build", "-q", "-t", "weir-demo", dir)
	compose := func(args ...string) (string, error) {
		cmd := exec.Command(command[0], slices.Concat(command[1:], []string{"--profile", "demo"}, args)...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host, "DEMO_EVERY=20s", "DEMO_FOR=6s", "DEMO_BREAK_IN=2m")
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("compose %v: %w: %s", args, err, out)
		}
		return string(out), err
	}
	t.Cleanup(func() { _, _ = compose("down", "--timeout", "1", "--volumes") })

	w := probe.Start(t, probe.Build(t, "./cmd/weir"), "run", "--config", demoConfig(t), "--interval", "1s",
		"--sink", "stdout", "--journal", "", "--listen", "", "--runtime", "docker:"+e.Host)
	w.WaitReady(t)
	services := []string{"shop-load", "shop-web", "shop-api", "shop-cache", "shop-worker", "pager"}
	if _, err := compose(append([]string{"up", "-d", "--no-build"}, services...)...); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"the cache cannot be reached": `event connection_failed (warning): "weir/shop-api" "weir/shop-cache"`,
		"the worker was killed":       `event oom (error)`,
		"the web server reads":        `new_edge (warning): "weir/shop-web" "weir/shop-cache"`,
		"the web server scans":        `port_scan (error): "weir/shop-web"`,
	} {
		probe.Until(t, 5*time.Minute, "the pager is told that "+what, func() error {
			logs, err := compose("logs", "--no-color", "pager")
			if err != nil || strings.Contains(logs, want) {
				return err
			}
			return fmt.Errorf("it says: %s", logs)
		})
	}
	rows := w.Stdout.String()
	for _, edge := range []string{"client=weir/shop-load,", "server=weir/shop-web,", "client=weir/shop-web,", "server=weir/shop-api,"} {
		if !strings.Contains(rows, edge) {
			t.Errorf("no row has %s", edge)
		}
	}
	for line := range strings.Lines(rows) {
		if strings.Contains(line, ",client=weir,") && strings.Contains(line, ",server_port=8480,") {
			t.Errorf("a row of the probe's own: %s", line)
		}
	}
	var edge string
	for line := range strings.Lines(rows) {
		if !strings.HasPrefix(line, "event,") || !strings.Contains(line, "fingerprint=") || !strings.Contains(line, "=weir/") {
			continue // none of an anomaly, or not in the shop
		}
		switch {
		case strings.Contains(line, "type=new_edge") && strings.Contains(line, "client=weir/shop-web,") && strings.Contains(line, "server=weir/shop-cache,"):
			edge = line
		case strings.Contains(line, "type=port_scan") && strings.Contains(line, "client=weir/shop-web,"):
		case strings.Contains(line, "type=new_service"): // it was not there in time to be learnt with the rest
			t.Logf("late: %s", line)
		default:
			t.Errorf("the demo's quiet part is told of: %s", line)
		}
	}
	for _, want := range []string{`state="active"`, `client_process="demo"`, "/demo web ", `server_process="demo"`, "server_port=6379i"} {
		if !strings.Contains(edge, want) {
			t.Errorf("the new edge has no %s: %s", want, edge)
		}
	}
	w.Stop(t)
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

// demoConfig is the demo's with its times to learn made shorter, as the break-in's is.
func demoConfig(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("compose/weir/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("  learn: 5m\n", "  learn: 90s\n", "  relearn: 5m ", "  relearn: 1m ").Replace(string(b))
	if !strings.Contains(text, "learn: 90s") || !strings.Contains(text, "relearn: 1m") {
		t.Fatal("the demo's configuration has other times")
	}
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
