package deploy

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/probe"
)

// runSetup runs the command of a service that prepares a database as Compose would, with
// the server and the folder of secrets that the test has, and returns what it prints.
func runSetup(t *testing.T, service string, s *influxd.Server, secrets string) string {
	t.Helper()
	of := readCompose(t).Services[service]
	args := slices.Clone(of.Command)
	for i, a := range args {
		args[i] = strings.Replace(a, "=/secrets/", "="+secrets+"/", 1)
	}
	cmd := exec.CommandContext(t.Context(), probe.Build(t, "./cmd/weir"), args...)
	cmd.Env = probe.Environment()
	for key, value := range of.Environment {
		switch key {
		case "WEIR_CONFIG":
			continue
		case "WEIR_INFLUXDB_URL":
			value = s.URL
		case "WEIR_INFLUXDB_ORG":
			value = s.Org
		case "WEIR_INFLUXDB_TOKEN_FILE":
			value = strings.Replace(value, "/secrets/", secrets+"/", 1)
		}
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("weir %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestTokensAreHandedOver: the file that a probe reads its token from is the one that the
// setup it waits for writes, the administrator's is where the server's start leaves it,
// and nobody else mounts that.
func TestTokensAreHandedOver(t *testing.T) {
	c := readCompose(t)
	// place is the volume and the path in it of the file that a flag, or the variable that
	// stands for it, names.
	place := func(service, flag string) string {
		s := c.Services[service]
		file := s.Environment["WEIR_"+strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(flag, "--"), "-", "_"))]
		for _, a := range s.Command {
			if v, ok := strings.CutPrefix(a, flag+"="); ok {
				file = v
			}
		}
		for _, v := range s.Volumes {
			parts := strings.Split(v, ":")
			if rest, ok := strings.CutPrefix(file, parts[1]+"/"); ok {
				return parts[0] + ":" + rest
			}
		}
		return ""
	}
	for _, x := range []struct{ probe, setup, server string }{
		{"weir", "weir-setup", "influxdb"}, {"weir-tick", "weir-tick-setup", "influxdb1"},
	} {
		if want, got := place(x.setup, "--write-token-file"), place(x.probe, "--influxdb-token-file"); got == "" || got != want {
			t.Errorf("%s reads its token from %q, %s writes %q", x.probe, got, x.setup, want)
		}
		if _, waits := c.Services[x.probe].DependsOn[x.setup]; !waits {
			t.Errorf("%s does not wait for %s", x.probe, x.setup)
		}
		admin, file, _ := strings.Cut(place(x.setup, "--influxdb-token-file"), ":")
		for name, s := range c.Services {
			for _, v := range s.Volumes {
				if source, target, _ := strings.Cut(v, ":"); source == admin {
					switch {
					case name == x.setup && !strings.HasSuffix(target, ":ro"):
						t.Errorf("%s may write to %s", name, source)
					case name == x.server && path.Join(target, file) != "/secrets/admin/token":
						t.Errorf("%s leaves the administrator's token elsewhere: %s", name, v)
					case name != x.server && name != x.setup:
						t.Errorf("%s mounts the administrator's token: %s", name, v)
					}
				}
			}
		}
		if s := c.Services[x.setup]; len(s.CapAdd) > 0 || !slices.Equal(s.CapDrop, []string{"ALL"}) || !s.ReadOnly || s.NetworkMode != "" {
			t.Errorf("%s has more rights than it needs: %+v", x.setup, s)
		}
	}
}

// influx is a real InfluxDB 2 as the image leaves it after its set-up, with what the
// scripts of the service influxdb add.
type influx struct {
	*influxd.Server
	dir, org string // dir has what is below /secrets
}

func startInflux(t *testing.T) *influx {
	t.Helper()
	x := &influx{Server: influxd.Start(t, influxd.V2), dir: t.TempDir()}
	var orgs struct{ Orgs []struct{ ID string } }
	x.list(t, "orgs?org="+x.Org, &orgs)
	x.org = orgs.Orgs[0].ID
	x.DeleteBucket(t, influxd.Bucket)
	x.DeleteBucket(t, influxd.LogBucket)
	bucket := `{"orgID":"` + x.org + `","name":"weir","retentionRules":[{"type":"expire","everySeconds":604800}]}`
	if status, answer := x.ask(t, x.Token, "POST", "/api/v2/buckets", bucket); status != http.StatusCreated {
		t.Fatalf("bucket weir: %d %s", status, answer)
	}
	for _, sub := range []string{"bin", "config", "admin", "weir", "grafana"} {
		if err := os.Mkdir(filepath.Join(x.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	x.write(t, "bin/entrypoint", "#!/bin/bash\nenv > \"$SECRETS/given\"\n")
	x.command(t)
	x.run(t, "compose/influxdb-entrypoint.sh", "influxd")
	x.run(t, "compose/influxdb-init.sh")
	return x
}

// command puts the influx command into the PATH, configured for the operator as the image
// leaves it: the real one, or where that was not built one that knows a single command.
func (x *influx) command(t *testing.T) {
	t.Helper()
	if cli := influxd.Command(); cli != "" {
		if err := os.Symlink(cli, filepath.Join(x.dir, "bin", "influx")); err != nil {
			t.Fatal(err)
		}
		x.run(t, "-c", `influx config create --config-name default --host-url "$0" --org "$DOCKER_INFLUXDB_INIT_ORG" --token "$1" --active`, x.URL, x.Token)
		return
	}
	t.Log("the influx command is not built (test/influxd/cli.sh): a stand-in takes its place")
	x.write(t, "config/influx-configs", "[default]\n  url = \"http://localhost:8086\"\n  token = \""+x.Token+"\"\n  org = \"weir\"\n  active = true\n")
	x.write(t, "bin/influx", "#!/bin/bash\n[ \"$*\" = 'auth create --org "+x.Org+" --description grafana reads --read-buckets --json' ] || exit 1\n"+
		"exec curl -sSf -H 'Authorization: Token "+x.Token+"' "+x.URL+"/api/v2/authorizations -d '{\"orgID\":\""+x.org+
		"\",\"description\":\"grafana reads\",\"permissions\":[{\"action\":\"read\",\"resource\":{\"type\":\"buckets\",\"orgID\":\""+x.org+"\"}}]}'\n")
}

func (x *influx) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(x.dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// run has bash run a script with the environment of the image.
func (x *influx) run(t *testing.T, script ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", script...)
	config := filepath.Join(x.dir, "config")
	cmd.Env = []string{"PATH=" + filepath.Join(x.dir, "bin") + ":" + os.Getenv("PATH"), "SECRETS=" + x.dir, "CONFIG=" + config,
		"INFLUX_CONFIGS_PATH=" + filepath.Join(config, "influx-configs"),
		"ENTRYPOINT=" + filepath.Join(x.dir, "bin", "entrypoint"), "OWNER=" + ownUser(), "DOCKER_INFLUXDB_INIT_ORG=" + x.Org}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

func ownUser() string {
	b, _ := exec.Command("id", "-u").Output()
	return strings.TrimSpace(string(b))
}

func (x *influx) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(x.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// ask sends a request as whom a token says.
func (x *influx) ask(t *testing.T, token, method, path, body string) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, x.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Token "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func (x *influx) list(t *testing.T, path string, into any) {
	t.Helper()
	status, answer := x.ask(t, x.Token, "GET", "/api/v2/"+path, "")
	if err := json.Unmarshal(answer, into); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d, %v", path, status, err)
	}
}

// TestSecretsOfInflux: made at the first start, the same at each other one; a server that
// is older than the file keeps its token.
func TestSecretsOfInflux(t *testing.T) {
	x := startInflux(t)
	if got := x.read(t, "admin/token"); got != x.Token {
		t.Errorf("the token of the server that is there is not found: %q", got)
	}
	if err := os.Remove(filepath.Join(x.dir, "config", "influx-configs")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(x.dir, "admin", "token")); err != nil {
		t.Fatal(err)
	}
	x.run(t, "compose/influxdb-entrypoint.sh", "influxd")
	token, password := x.read(t, "admin/token"), x.read(t, "config/admin-password")
	if len(token) != 32 || len(password) != 32 || token == password || password == x.read(t, "grafana/password") {
		t.Errorf("token %q, password %q", token, password)
	}
	for _, want := range []string{"DOCKER_INFLUXDB_INIT_ADMIN_TOKEN=" + token, "DOCKER_INFLUXDB_INIT_PASSWORD=" + password} {
		if !slices.Contains(strings.Split(x.read(t, "given"), "\n"), want) {
			t.Errorf("the image's entrypoint is not given %s", want)
		}
	}
	x.run(t, "compose/influxdb-entrypoint.sh", "influxd")
	if x.read(t, "admin/token") != token || x.read(t, "config/admin-password") != password {
		t.Error("a restart makes new secrets")
	}
	for file, want := range map[string]os.FileMode{"admin/token": 0o600, "config/admin-password": 0o600, "grafana/password": 0o644, "grafana/token": 0o644} {
		if st, err := os.Stat(filepath.Join(x.dir, file)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", file, st.Mode(), err)
		}
	}
}

// TestSetupOfCompose runs the command of weir-setup against a real InfluxDB 2: all that
// `docker compose up` promises is there, a second run changes nothing, and each token
// may do what it is for.
func TestSetupOfCompose(t *testing.T) {
	x := startInflux(t)
	first := runSetup(t, "weir-setup", x.Server, x.dir)
	if !strings.Contains(first, "0 changed, 0 removed, 1 as they were") { // the bucket weir is the image's
		t.Errorf("the first run says:\n%s", first)
	}
	var buckets struct {
		Buckets []struct {
			Name, Type     string
			RetentionRules []struct{ EverySeconds int64 }
		}
	}
	x.list(t, "buckets?limit=100", &buckets)
	keeps := map[string]time.Duration{}
	for _, b := range buckets.Buckets {
		if strings.HasPrefix(b.Name, "weir") && len(b.RetentionRules) == 1 {
			keeps[b.Name] = time.Duration(b.RetentionRules[0].EverySeconds) * time.Second
		}
	}
	const day = 24 * time.Hour
	if d := cmp.Diff(map[string]time.Duration{"weir": 7 * day, "weir_log": day, "weir_1m": 30 * day, "weir_1h": 365 * day}, keeps); d != "" {
		t.Errorf("retention (-want +got):\n%s", d)
	}
	var mappings struct{ Content []struct{ Database string } }
	x.list(t, "dbrps?orgID="+x.org, &mappings)
	var mapped []string
	for _, m := range mappings.Content {
		mapped = append(mapped, m.Database)
	}
	for _, name := range slices.Sorted(maps.Keys(keeps)) {
		if !slices.Contains(mapped, name) {
			t.Errorf("no mapping for %s", name)
		}
	}
	for _, tasks := range []string{"weir_1m flow", "weir_1h flow"} {
		var list struct{ Tasks []struct{ Status string } }
		x.list(t, "tasks?name="+url.QueryEscape(tasks), &list)
		if len(list.Tasks) != 1 || list.Tasks[0].Status != "active" {
			t.Errorf("task %s: %+v", tasks, list)
		}
	}
	var checks struct {
		Checks []struct{ Name, Status string }
	}
	x.list(t, "checks?limit=100&orgID="+x.org, &checks)
	if len(checks.Checks) < 5 {
		t.Errorf("checks: %+v", checks)
	}

	if st, err := os.Stat(filepath.Join(x.dir, "weir/token")); err != nil || st.Mode() != 0o600 {
		t.Fatalf("token of the probe: %v, %v", st, err)
	}
	token, grafana := x.read(t, "weir/token"), x.read(t, "grafana/token")
	if second := runSetup(t, "weir-setup", x.Server, x.dir); !strings.Contains(second, "0 created, 0 changed, 0 removed") {
		t.Errorf("the second run says:\n%s", second)
	}
	if again := x.read(t, "weir/token"); again != token {
		t.Error("a second run makes another token")
	}
	write := func(bucket string) string { return "/api/v2/write?org=" + x.Org + "&bucket=" + bucket }
	ask := func(db string) string {
		return "/query?db=" + db + "&q=" + url.QueryEscape("SELECT count(v) FROM m")
	}
	for _, c := range []struct {
		who, token, method, path, body string
		want                           int
	}{
		{"weir", token, "POST", write("weir"), "m v=1", 204},
		{"weir", token, "POST", write("weir_log"), "m v=1", 204},
		{"weir", token, "POST", write("weir_1m"), "m v=1", 403},
		{"operator", x.Token, "POST", write("weir_1m"), "m v=1", 204},
		{"grafana", grafana, "GET", ask("weir"), "", 200},
		{"grafana", grafana, "GET", ask("weir_log"), "", 200},
		{"grafana", grafana, "GET", ask("weir_1m"), "", 200},
		{"grafana", grafana, "POST", write("weir"), "m v=1", 403},
	} {
		status, answer := x.ask(t, c.token, c.method, c.path, c.body)
		if status != c.want || c.want == 200 && !strings.Contains(string(answer), `"count"`) {
			t.Errorf("%s %s %s: %d %s, want %d", c.who, c.method, c.path, status, answer, c.want)
		}
	}
	if status, answer := x.ask(t, token, "GET", ask("weir"), ""); status == 200 && strings.Contains(string(answer), `"count"`) {
		t.Errorf("the probe may read: %s", answer)
	}
}

// TestSetupOfTick does the same for InfluxDB 1.8.
func TestSetupOfTick(t *testing.T) {
	k := startTick(t)
	first := runSetup(t, "weir-tick-setup", k.Server, k.dir)
	if !strings.Contains(first, "0 changed, 0 removed, 4 as they were") { // the databases are the script's
		t.Errorf("the first run says:\n%s", first)
	}
	keeps := map[string]any{}
	for _, db := range []string{"weir", "weir_log", "weir_1m", "weir_1h"} {
		for _, r := range k.QueryInfluxQL(t, "", `SHOW RETENTION POLICIES ON "`+db+`"`) {
			keeps[db] = r.Values["duration"]
		}
	}
	if d := cmp.Diff(map[string]any{"weir": "168h0m0s", "weir_log": "24h0m0s", "weir_1m": "720h0m0s", "weir_1h": "8760h0m0s"}, keeps); d != "" {
		t.Errorf("retention (-want +got):\n%s", d)
	}
	for _, want := range []string{"weir_1m flow [", "weir_1h flow ["} {
		if !slices.ContainsFunc(k.QueryInfluxQL(t, "", "SHOW CONTINUOUS QUERIES"), func(r influxd.Row) bool {
			name, _ := r.Values["name"].(string)
			return strings.HasPrefix(name, want)
		}) {
			t.Errorf("no continuous query %s…", want)
		}
	}
	if second := runSetup(t, "weir-tick-setup", k.Server, k.dir); !strings.Contains(second, "0 created, 0 changed, 0 removed") {
		t.Errorf("the second run says:\n%s", second)
	}
}
