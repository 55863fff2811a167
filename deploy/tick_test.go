package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/kapacitor"
	"github.com/weir-probe/weir/test/probe"
)

// tick is a real InfluxDB 1.8 that asks for passwords, made ready by the scripts of the
// service influxdb1.
type tick struct {
	*influxd.Server
	dir string // with what is below /secrets
	env []string
}

func startTick(t *testing.T) *tick {
	t.Helper()
	s := influxd.StartWithUsers(t, influxd.V1)
	k := &tick{Server: s, dir: t.TempDir()}
	for _, sub := range []string{"bin", "admin", "weir", "kapacitor", "chronograf"} {
		if err := os.Mkdir(filepath.Join(k.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.DeleteBucket(t, influxd.Bucket) // the script makes them
	s.DeleteBucket(t, influxd.LogBucket)
	// influx -host H -port P -username U -password W -execute QUERY
	influx := "#!/bin/bash\nexec curl -sSf -u \"$6:$8\" --data-urlencode \"q=${10}\" \"http://$2:$4/query\"\n"
	// The image's entrypoint makes the administrator, and sources the init script.
	entrypoint := "#!/bin/bash\nset -e\necho \"$INFLUXDB_ADMIN_PASSWORD\" > \"$SECRETS/given\"\n"
	for name, text := range map[string]string{"influx": influx, "entrypoint": entrypoint} {
		if err := os.WriteFile(filepath.Join(k.dir, "bin", name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	admin, _, _ := strings.Cut(s.Token, ":")
	k.env = []string{"PATH=" + filepath.Join(k.dir, "bin") + ":" + os.Getenv("PATH"), "SECRETS=" + k.dir, "ENTRYPOINT=" + filepath.Join(k.dir, "bin", "entrypoint"),
		"INFLUXDB_ADMIN_USER=" + admin, "INFLUXDB_INIT_HOST=" + u.Hostname(), "INFLUXDB_INIT_PORT=" + u.Port()}
	k.run(t, "bash compose/tick-entrypoint.sh influxd")
	password := k.read(t, "given")
	s.QueryInfluxQL(t, "", fmt.Sprintf("SET PASSWORD FOR %q = '%s'", admin, password)) // the image's entrypoint makes the user
	s.Token = admin + ":" + password
	k.run(t, "set -e; . compose/tick-init.sh", "INFLUXDB_ADMIN_PASSWORD="+password)
	return k
}

func (k *tick) run(t *testing.T, command string, more ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", command)
	cmd.Env = append(slices.Clone(k.env), more...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

func (k *tick) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(k.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// call asks as a user and returns the status.
func (k *tick) call(t *testing.T, user, secret, path, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, secret)
	if strings.HasPrefix(path, "/query") {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if strings.HasPrefix(path, "/api/v2") {
		req.Header.Set("Authorization", "Token "+user+":"+secret)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestTickScripts: each user may do what it is for and nothing else, the passwords are
// different and stay on a restart.
func TestTickScripts(t *testing.T) {
	k := startTick(t)
	runSetup(t, "weir-tick-setup", k.Server, k.dir)
	secrets := []string{k.read(t, "admin/password"), strings.TrimPrefix(k.read(t, "weir/token"), "weir:"), k.read(t, "kapacitor/password"), k.read(t, "chronograf/password")}
	seen := map[string]bool{}
	for _, p := range secrets {
		if len(p) != 32 || seen[p] {
			t.Errorf("password %q", p)
		}
		seen[p] = true
	}
	if got := k.read(t, "given"); got != secrets[0] {
		t.Errorf("the administrator's password is not the one of the file")
	}
	k.run(t, "bash compose/tick-entrypoint.sh influxd")
	runSetup(t, "weir-tick-setup", k.Server, k.dir)
	if k.read(t, "kapacitor/password") != secrets[2] || k.read(t, "weir/token") != "weir:"+secrets[1] {
		t.Error("a restart makes new passwords")
	}
	for file, want := range map[string]os.FileMode{"admin/password": 0o600, "admin/token": 0o600, "weir/token": 0o600, "kapacitor/password": 0o644} {
		if st, err := os.Stat(filepath.Join(k.dir, file)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", file, st.Mode(), err)
		}
	}

	ask := "q=" + url.QueryEscape("SELECT * FROM m")
	for _, c := range []struct {
		user, secret, path, body string
		want                     int
	}{
		{"weir", secrets[1], "/api/v2/write?bucket=weir/autogen", "m v=1", 204},
		{"weir", secrets[1], "/api/v2/write?bucket=weir_log/autogen", "m v=1", 204},
		{"weir", secrets[1], "/query?db=weir", ask, 403},
		{"weir", "wrong", "/api/v2/write?bucket=weir/autogen", "m v=1", 401},
		{"kapacitor", secrets[2], "/query?db=weir", ask, 200},
		{"kapacitor", secrets[2], "/write?db=weir", "m v=1", 403},
		{"weir", secrets[1], "/api/v2/write?bucket=weir_1m/autogen", "m v=1", 403},
		{"kapacitor", secrets[2], "/query?db=weir_1h", ask, 200},
		{"chronograf", secrets[3], "/query?db=weir_log", ask, 200},
		{"chronograf", secrets[3], "/query?db=weir_1m", ask, 200},
		{"chronograf", secrets[3], "/write?db=weir_log", "m v=1", 403},
	} {
		if got := k.call(t, c.user, c.secret, c.path, c.body); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.user, c.path, got, c.want)
		}
	}
}

// TestKapacitorOfCompose runs a real Kapacitor with the environment of the service: as the
// user that may only read it loads and runs the TICKscripts, and one of the test's own.
func TestKapacitorOfCompose(t *testing.T) {
	bin := kapacitor.Binary(t)
	k := startTick(t)
	runSetup(t, "weir-tick-setup", k.Server, k.dir)
	_, password, _ := strings.Cut(k.read(t, "weir/token"), ":")
	if status := k.call(t, "weir", password, "/api/v2/write?bucket=weir/autogen", "m v=1"); status != http.StatusNoContent {
		t.Fatalf("write: %d", status)
	}
	dir := t.TempDir()
	tasks := filepath.Join(dir, "load", "tasks")
	if err := os.MkdirAll(tasks, 0o755); err != nil {
		t.Fatal(err)
	}
	scripts := map[string]string{"own.tick": "dbrp \"weir\".\"autogen\"\nbatch|query('SELECT count(\"v\") FROM \"weir\".\"autogen\".\"m\"').period(1m).every(1s)" +
		"|alert().id('the test').crit(lambda: \"count\" > 0).stateChangesOnly().topic('weir')\n"}
	there, err := filepath.Glob("kapacitor/*.tick")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range there {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		scripts[filepath.Base(path)] = string(b)
	}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(tasks, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	service := readCompose(t).Services["kapacitor"]
	alerts := filepath.Join(dir, "alerts.log")
	handlersOf(t, service, filepath.Join(dir, "load", "handlers"), alerts)
	entrypoint := strings.NewReplacer("$$", "$", "/secrets/password", filepath.Join(k.dir, "kapacitor", "password"),
		"/var/lib/kapacitor/alerts.log", alerts, "/entrypoint.sh kapacitord", bin).Replace(service.Entrypoint[2])
	cmd := exec.CommandContext(t.Context(), "bash", "-c", entrypoint)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Setpgid: true} // its tail ends with it
	for key, value := range service.Environment {
		switch key {
		case "KAPACITOR_INFLUXDB_0_URLS_0":
			value = k.URL
		case "KAPACITOR_LOAD_DIR":
			value = filepath.Dir(tasks)
		case "KAPACITOR_HOSTNAME":
			value = "127.0.0.1"
		}
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	cmd.Env = append(cmd.Env, "HOME="+dir, "PATH="+os.Getenv("PATH"), "KAPACITOR_HTTP_BIND_ADDRESS="+addr,
		"KAPACITOR_DATA_DIR="+dir, "KAPACITOR_STORAGE_BOLTDB="+filepath.Join(dir, "db"), "KAPACITOR_REPLAY_DIR="+filepath.Join(dir, "replay"))
	output := filepath.Join(dir, "output")
	log, err := os.Create(output)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() string {
		b, err := os.ReadFile(output)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if s := said(); t.Failed() {
			t.Logf("kapacitord says:\n%s", s[max(0, len(s)-3000):])
		}
	})
	probe.Until(t, time.Minute, "every TICKscript runs, the test's own has asked", func() error {
		var list struct {
			Tasks []struct {
				ID, Status, Error string
				Executing         bool
				Stats             struct {
					Nodes map[string]map[string]any `json:"node-stats"`
				}
			}
		}
		resp, err := http.Get("http://" + addr + "/kapacitor/v1/tasks?fields=status&fields=executing&fields=error&fields=stats")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
			return err
		}
		asked := false
		for _, x := range list.Tasks {
			if x.Status != "enabled" || !x.Executing || x.Error != "" {
				return fmt.Errorf("%+v", x)
			}
			if n := x.Stats.Nodes["query1"]; x.ID == "own" && n != nil {
				points, _ := n["points_queried"].(float64)
				asked = points > 0
			}
		}
		if len(list.Tasks) != len(scripts) || !asked {
			return fmt.Errorf("%d of %d scripts, asked: %v: %+v", len(list.Tasks), len(scripts), asked, list)
		}
		return nil
	})
	probe.Until(t, time.Minute, "the alert is in the container's output", func() error {
		if s := said(); !strings.Contains(s, `"id":"the test"`) || !strings.Contains(s, `"level":"CRITICAL"`) {
			return errors.New("not yet")
		}
		return nil
	})
}

// handlersOf puts the handlers that the service mounts into a folder; the file that they
// write is another one here.
func handlersOf(t *testing.T, s service, into, alerts string) {
	t.Helper()
	if err := os.MkdirAll(into, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, v := range s.Volumes {
		from, ok := strings.CutSuffix(v, ":/etc/kapacitor/load/handlers:ro")
		if !ok {
			continue
		}
		files, err := filepath.Glob(filepath.Join("..", from, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no handlers in %s: %v", from, err)
		}
		for _, path := range files {
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(filepath.Join(into, filepath.Base(path)), bytes.ReplaceAll(b, []byte("/var/lib/kapacitor/alerts.log"), []byte(alerts)), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	t.Fatal("the service has no handlers")
}
