package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink/influxdb/setup"
	"github.com/weir-probe/weir/test/influxd"
)

// setupRun is the program as its user runs it.
func setupRun(t *testing.T, s *influxd.Server, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, aside bytes.Buffer
	status = run(t.Context(), append([]string{"setup", "influxdb", "--influxdb-url", s.URL, "--influxdb-org", s.Org, "--influxdb-bucket", "net"}, args...),
		env{stdout: &out, stderr: &aside, environ: []string{"WEIR_CONFIG=" + os.DevNull, "INFLUX_TOKEN=" + s.Token}})
	return out.String(), aside.String(), status
}

func TestSetupInfluxDB(t *testing.T) {
	for _, version := range []string{influxd.V1, influxd.V2} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := influxd.Start(t, version)
			for _, c := range []struct {
				args []string
				want string
			}{
				{[]string{"--dry-run"}, "0 as they are (dry run: nothing was done)"},
				{[]string{"--dry-run"}, "0 as they are (dry run: nothing was done)"},
				{nil, "0 changed, 0 removed, 0 as they were"},
				{nil, "0 created, 0 changed, 0 removed"},
				{[]string{"--retention-1h", "2y"}, "0 created, 1 changed, 0 removed"},
				{[]string{"--retention-1h", "2y"}, "0 created, 0 changed, 0 removed"},
			} {
				out, aside, status := setupRun(t, s, c.args...)
				if status != 0 || !strings.Contains(out, c.want) || !strings.HasPrefix(out, "InfluxDB "+version+" at ") {
					t.Errorf("%q: status %d, %s\n%s\nwant %q", c.args, status, aside, out, c.want)
				}
				if s.Token != "" && strings.Contains(out+aside, s.Token) {
					t.Errorf("%q prints the administrator's token", c.args)
				}
			}
		})
	}
}

// TestSetupPrintsATokenOnlyWhenAsked, and then nothing else beside it, so that it
// can be taken as it is.
func TestSetupPrintsATokenOnlyWhenAsked(t *testing.T) {
	s := influxd.Start(t, influxd.V2)
	file := filepath.Join(t.TempDir(), "token")
	out, aside, status := setupRun(t, s, "--write-token-file", file)
	if status != 0 {
		t.Fatal(aside)
	}
	token, err := os.ReadFile(file)
	if err != nil || len(token) < 20 {
		t.Fatalf("%q, %v", token, err)
	}
	if strings.Contains(out+aside, strings.TrimSpace(string(token))) {
		t.Error("a token that goes to a file is printed")
	}
	out, aside, status = setupRun(t, s, "--write-token-file", "-")
	if status != 0 || out != string(token) {
		t.Errorf("status %d: printed %q, want the token and nothing else; beside it: %s", status, out, aside)
	}
}

// TestSetupMakesATokenForGrafana beside the one of the probe.
func TestSetupMakesATokenForGrafana(t *testing.T) {
	s := influxd.Start(t, influxd.V2)
	dir := t.TempDir()
	write, read := filepath.Join(dir, "write"), filepath.Join(dir, "read")
	out, aside, status := setupRun(t, s, "--write-token-file", write, "--read-token-file", read)
	if status != 0 || !strings.Contains(out, "may read net, net_log, net_1m, net_1h; in "+read) {
		t.Fatalf("status %d: %s\n%s", status, aside, out)
	}
	token, err := os.ReadFile(read)
	if err != nil || len(token) < 20 || strings.Contains(out+aside, strings.TrimSpace(string(token))) {
		t.Errorf("%q, %v", token, err)
	}
	out, aside, status = setupRun(t, s, "--read-token-file", "-")
	if status != 0 || out != string(token) {
		t.Errorf("status %d: printed %q, want the token and nothing else; beside it: %s", status, out, aside)
	}
	if _, _, status = setupRun(t, s, "--write-token-file", "-", "--read-token-file", "-"); status == 0 {
		t.Error("two tokens are printed, and who takes them cannot tell which is which")
	}
}

func TestRetention(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"": 0, "inf": setup.Forever, "7d": 168 * time.Hour, "2w": 336 * time.Hour, "1y": 8760 * time.Hour, "36h": 36 * time.Hour,
	} {
		if got, err := retention(v); got != want || err != nil {
			t.Errorf("%q: %v, %v", v, got, err)
		}
	}
	for _, v := range []string{"d", "-1d", "0", "7", "1.5d", "7 d", "forever"} {
		if got, err := retention(v); err == nil {
			t.Errorf("%q is taken for %v", v, got)
		}
	}
}
