package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	dockercompose "github.com/weir-probe/weir/test/compose"
	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/machine"
)

// TestComposeStartsWeirAfterSetup lets Compose start the service weir, in the image and
// with the rights and volumes of the file, beside a real InfluxDB: weir-setup runs first,
// with each `up` again, its token is there for weir, and where it fails weir is not
// started and Compose says why. In place of the image of InfluxDB, which no registry
// gives here, stands one that leaves the operator's token.
func TestComposeStartsWeirAfterSetup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to start dockerd")
	}
	if dockercompose.Command() == nil {
		machine.Missing(t, "docker", "Docker Compose v2 is not here: test/compose/build.sh")
	}
	command, file := composeCommand(t)
	command[slices.Index(command, "weir")] = "weirsetuptest" // the project
	e := dockerd.Start(t)
	s := influxd.Start(t, influxd.V2)
	name := image(t, e, "weir-setup-test", "../cmd/weir")
	box := e.Busybox(t)
	// What this engine cannot do is left out, as in runArguments.
	capabilities := strings.Join(instead(t, e, readCompose(t).Services["weir"].CapAdd), ", ")
	override := func(server string) string {
		b, err := yaml.Marshal(map[string]any{"services": map[string]any{
			"influxdb": map[string]any{"image": box, "network_mode": "host", "entrypoint": []string{"/bin/sh", "-c"},
				"command":     []string{"umask 077; echo '" + s.Token + "' > /secrets/admin/token; exec sleep 600"},
				"healthcheck": map[string]any{"test": []string{"CMD", "test", "-s", "/secrets/admin/token"}, "interval": "1s"}},
			"weir-setup": map[string]any{"image": name, "network_mode": "host",
				"environment": map[string]string{"WEIR_INFLUXDB_URL": server, "WEIR_INFLUXDB_ORG": s.Org}},
			"weir": map[string]any{"image": name, "command": []string{"version"}, "restart": "no"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("  influxdb:\n", "  influxdb:\n    ports: !reset []\n",
			"  weir:\n", "  weir:\n    ulimits: !reset {}\n    cap_add: !override ["+capabilities+"]\n").Replace(string(b))
		path := filepath.Join(filepath.Dir(file), "override.yml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	compose := func(server string, args ...string) (string, error) {
		cmd := exec.Command(command[0], slices.Concat(command[1:], []string{"-f", override(server)}, args)...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("compose %v: %w: %s", args, err, out)
		}
		return string(out), err
	}
	t.Cleanup(func() { _, _ = compose(s.URL, "down", "--timeout", "1", "--volumes") })

	dead := "http://" + machine.FreeAddress(t)
	if out, err := compose(dead, "up", "-d", "--no-build", "weir"); err == nil || !strings.Contains(err.Error(), "weir-setup") {
		t.Errorf("without a database: %s, %v", out, err)
	}
	if logs, err := compose(dead, "logs", "--no-color", "weir-setup"); err != nil || !strings.Contains(logs, "connection refused") {
		t.Errorf("weir-setup does not say why it failed: %s, %v", logs, err)
	}
	if ran, err := compose(dead, "logs", "--no-color", "--no-log-prefix", "weir"); err != nil || ran != "" {
		t.Errorf("weir was started: %q, %v", ran, err)
	}
	for i, want := range []string{" created, 0 changed, 0 removed, ", "0 created, 0 changed, 0 removed, "} {
		if _, err := compose(s.URL, "up", "-d", "--no-build", "weir"); err != nil {
			t.Fatal(err)
		}
		logs, err := compose(s.URL, "logs", "--no-color", "--no-log-prefix", "weir-setup")
		lines := strings.Split(strings.TrimSpace(logs), "\n")
		if last := lines[len(lines)-1]; err != nil || !strings.Contains(last, want) {
			t.Errorf("run %d of weir-setup: %v\n%s", i+1, err, logs)
		}
	}
	if ran, err := compose(s.URL, "logs", "--no-color", "weir"); err != nil || !strings.Contains(ran, "weir") {
		t.Errorf("weir was not started: %q, %v", ran, err)
	}
	out := e.Docker(t, "run", "--rm", "-v", "weirsetuptest_weir-token:/secrets:ro", box, "stat", "-c", "%a %u", "/secrets/token")
	if strings.TrimSpace(out) != "600 0" {
		t.Errorf("mode and owner of the token: %s", out)
	}
}
