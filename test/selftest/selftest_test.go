package selftest

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/probe"
)

// answer is the part of --json that is looked at here.
type answer struct {
	OK     bool
	Levels []struct {
		Database   bool
		Host       string
		Extra      int
		Situations []struct {
			Situation, State, Why  string
			Made, Attributed, Ends int
		}
	}
}

// selftest runs the program and returns its answer and exit status.
func selftest(t *testing.T, environ []string, args ...string) (a answer, status int) {
	t.Helper()
	machine.Root(t, "makes network namespaces and runs the probe")
	cmd := exec.Command(probe.Build(t, "./cmd/weir"), append([]string{"selftest", "--json", "--duration", "3s", "--interval", "1s"}, args...)...)
	cmd.Env = append(append(os.Environ(), "WEIR_CONFIG="+os.DevNull), environ...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%v in the answer %.2000q, status %d", err, out, status)
	}
	t.Logf("%.200000s", out)
	return a, status
}

// right wants every situation of a run to have been made, and to be right.
func right(t *testing.T, a answer, status, levels int) {
	t.Helper()
	if status != 0 || !a.OK || len(a.Levels) != levels {
		t.Errorf("status %d, ok %v, %d levels, want 0, true, %d", status, a.OK, len(a.Levels), levels)
	}
	for _, l := range a.Levels {
		if len(l.Situations) < 14 {
			t.Errorf("only %d situations", len(l.Situations))
		}
		for _, s := range l.Situations {
			if s.State != "ok" && s.State != "skipped" || s.State == "ok" && (s.Made == 0 || s.Attributed != s.Ends) {
				t.Errorf("database %v: %+v", l.Database, s)
			}
		}
	}
}

func TestSelftest(t *testing.T) {
	dir := t.TempDir()
	a, status := selftest(t, nil, "--dir", dir)
	right(t, a, status, 1)
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/weir-selftest-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if rows, err := os.Stat(filepath.Join(dir, "100", "rows.lp")); err != nil || rows.Size() == 0 {
		t.Errorf("--dir keeps no rows: %v", err)
	}
}

// TestSelftestThroughInfluxDB: the database gives back what was right, and
// nothing of it stays there.
func TestSelftestThroughInfluxDB(t *testing.T) {
	for _, version := range []string{influxd.V2, influxd.V1} {
		t.Run(version, func(t *testing.T) {
			machine.Root(t, "makes network namespaces and runs the probe")
			db := influxd.Start(t, version)
			a, status := selftest(t, []string{"INFLUX_TOKEN=" + db.Token},
				"--influxdb-url", db.URL, "--influxdb-org", db.Org, "--influxdb-bucket", influxd.Bucket)
			right(t, a, status, 2)
			if n := len(a.Levels); n == 2 && !a.Levels[1].Database {
				t.Error("the second level is not the database's")
			}
			for bucket, m := range map[string]string{influxd.Bucket: "flow", influxd.LogBucket: "flow_log"} {
				if rows := db.QueryInfluxQL(t, bucket, "SELECT count(to_server_bytes) FROM "+m); len(rows) != 0 {
					t.Errorf("%s holds rows of the selftest: %v", bucket, rows)
				}
			}
		})
	}
}

// TestSelftestWithoutRoot: it says that it proves nothing, and why.
func TestSelftestWithoutRoot(t *testing.T) {
	machine.Root(t, "runs as somebody else")
	bin := probe.Build(t, "./cmd/weir")
	if err := os.Chmod(filepath.Dir(filepath.Dir(bin)), 0o755); err != nil { // as MkdirTemp makes it, nobody else gets in
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "selftest")
	cmd.Env = []string{"WEIR_CONFIG=" + os.DevNull}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 || !strings.Contains(string(out), "needs root") {
		t.Errorf("%v, want status 3: %s", err, out)
	}
}
