package deploy

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/influxd"
)

// TestTickScripts runs the two scripts of the influxdb1 service against a real InfluxDB
// 1.8 that asks for passwords, with a stand-in for the influx command: each user may do
// what it is for and nothing else, the passwords are different and stay on a restart.
func TestTickScripts(t *testing.T) {
	s := influxd.StartWithUsers(t, influxd.V1)
	dir := t.TempDir()
	for _, sub := range []string{"bin", "admin", "weir", "kapacitor", "chronograf"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, db := range []string{influxd.Bucket, influxd.LogBucket} { // the script makes them
		s.QueryInfluxQL(t, "", `DROP DATABASE "`+db+`"`)
	}
	// influx -host H -port P -username U -password W -execute QUERY
	influx := "#!/bin/bash\nexec curl -sSf -u \"$6:$8\" --data-urlencode \"q=${10}\" \"http://$2:$4/query\"\n"
	// The image's entrypoint makes the administrator, and sources the init script.
	entrypoint := "#!/bin/bash\nset -e\necho \"$INFLUXDB_ADMIN_PASSWORD\" > \"$SECRETS/given\"\n"
	for name, text := range map[string]string{"influx": influx, "entrypoint": entrypoint} {
		if err := os.WriteFile(filepath.Join(dir, "bin", name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	admin, password, _ := strings.Cut(s.Token, ":")
	env := []string{"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "SECRETS=" + dir, "ENTRYPOINT=" + filepath.Join(dir, "bin", "entrypoint"),
		"INFLUXDB_ADMIN_USER=" + admin, "INFLUXDB_INIT_HOST=" + u.Hostname(), "INFLUXDB_INIT_PORT=" + u.Port()}
	run := func(command string, more ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-c", command)
		cmd.Env = append(env, more...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	run("bash compose/tick-entrypoint.sh influxd")
	secrets := []string{read("admin/password"), strings.TrimPrefix(read("weir/token"), "weir:"), read("kapacitor/password"), read("chronograf/password")}
	seen := map[string]bool{}
	for _, p := range secrets {
		if len(p) != 32 || seen[p] {
			t.Errorf("password %q", p)
		}
		seen[p] = true
	}
	if got := read("given"); got != secrets[0] {
		t.Errorf("the administrator's password is not the one of the file")
	}
	run("bash compose/tick-entrypoint.sh influxd")
	if read("kapacitor/password") != secrets[2] {
		t.Error("a restart makes new passwords")
	}
	for file, want := range map[string]os.FileMode{"admin/password": 0o600, "weir/token": 0o600, "kapacitor/password": 0o644} {
		if st, err := os.Stat(filepath.Join(dir, file)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", file, st.Mode(), err)
		}
	}

	run("set -e; . compose/tick-init.sh", "INFLUXDB_ADMIN_PASSWORD="+password)
	call := func(user, secret, path, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(body))
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
		{"chronograf", secrets[3], "/query?db=weir_log", ask, 200},
		{"chronograf", secrets[3], "/write?db=weir_log", "m v=1", 403},
	} {
		if got := call(c.user, c.secret, c.path, c.body); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.user, c.path, got, c.want)
		}
	}
}
