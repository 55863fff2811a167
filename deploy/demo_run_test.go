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

	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/probe"
)

// TestDemo lets Compose start the services of the profile demo, with an incident every
// twenty seconds, and a Weir with the demo's configuration: the pager is told that the
// cache cannot be reached and that the worker was killed.
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
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host, "DEMO_EVERY=20s", "DEMO_FOR=6s")
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("compose %v: %w: %s", args, err, out)
		}
		return string(out), err
	}
	t.Cleanup(func() { _, _ = compose("down", "--timeout", "1", "--volumes") })

	w := probe.Start(t, probe.Build(t, "./cmd/weir"), "run", "--config", "compose/weir/demo.yaml", "--interval", "1s",
		"--sink", "stdout", "--journal", "", "--listen", "", "--runtime", "docker:"+e.Host)
	w.WaitReady(t)
	services := []string{"shop-load", "shop-web", "shop-api", "shop-cache", "shop-worker", "pager"}
	if _, err := compose(append([]string{"up", "-d", "--no-build"}, services...)...); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"the cache cannot be reached": `event connection_failed (warning): "weir/shop-api" "weir/shop-cache"`,
		"the worker was killed":       `event oom (error)`,
	} {
		probe.Until(t, 3*time.Minute, "the pager is told that "+what, func() error {
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
	w.Stop(t)
}
