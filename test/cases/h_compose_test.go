package cases

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/probe"
)

const composeFile = `version: "3"
services:
  web:
    image: weir-test/workload:1
    command: ["/workload", "server", "-tcp", ":9321"]
    stop_signal: SIGKILL
  job:
    image: weir-test/workload:1
    command: ["/workload", "client", "-addr", "web:9321", "-linger", "1000h"]
    stop_signal: SIGKILL
    depends_on: [web]
`

// series are the tag sets of the rows of a measurement that match.
func series(t *testing.T, r *rows, measurement string, match func(row) bool) []string {
	t.Helper()
	seen := map[string]bool{}
	for _, x := range r.all(t, measurement, match) {
		var tags []string
		for k, v := range x.tags {
			tags = append(tags, k+"="+v)
		}
		slices.Sort(tags)
		seen[strings.Join(tags, ",")] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// Containers that are restarted, made anew and scaled by Compose write to the
// series they had: one for each replica, which has its number.
func TestCaseH6_ComposeScale(t *testing.T) {
	compose, err := exec.LookPath("docker-compose")
	if err != nil {
		t.Skip("docker-compose is not installed")
	}
	e := dockerd.Start(t)
	e.Import(t, "weir-test/workload:1", map[string]string{"/workload": probe.Build(t, "./test/workload")}, nil)
	rows := ownKnowing(t, "--runtime", "docker:"+e.Host)
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	if err := os.WriteFile(file, []byte(composeFile), 0o644); err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) {
		t.Helper()
		cmd := exec.Command(compose, append([]string{"-p", "wkshop", "-f", file}, args...)...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("docker-compose %v: %v\n%s", args, err, out)
		}
	}
	jobs := func(r row) bool { return r.tag("client") == "wkshop/job" && r.tag("server") == "wkshop/web" }
	connections := 0
	// after waits for n more connections and says which series there are.
	after := func(n int) []string {
		t.Helper()
		connections += n
		rows.final(t, connections, jobs)
		return series(t, rows, "flow", jobs)
	}
	do("up", "-d", "web")
	do("up", "-d", "--scale", "job=1")
	one := after(1)
	if len(one) != 1 || !strings.Contains(one[0], "client_container=wkshop_job_1") {
		t.Fatalf("%q", one)
	}
	for range 2 {
		do("restart", "job")
	}
	if got := after(2); !slices.Equal(got, one) {
		t.Errorf("restarts made series:\n%q\n%q", one, got)
	}
	do("up", "-d", "--scale", "job=3")
	three := after(2)
	if len(three) != 3 {
		t.Errorf("3 replicas have %d series: %q", len(three), three)
	}
	do("up", "-d", "--scale", "job=1")
	do("up", "-d", "--scale", "job=3")
	if got := after(2); !slices.Equal(got, three) {
		t.Errorf("scaling again made series:\n%q\n%q", three, got)
	}
	ids := map[string]bool{}
	for _, r := range rows.all(t, "flow_log", jobs) {
		ids[r.str("client_container_id")] = true
	}
	if len(ids) != 5 { // job_1 once, 2 and 3 twice
		t.Errorf("%d containers: %v", len(ids), ids)
	}
	if log := series(t, rows, "flow_log", func(r row) bool { return jobs(r) && r.tag("end_reason") == "end" }); len(log) != 1 {
		t.Errorf("flow_log has %d series: %q", len(log), log)
	}
}

// A container that is renamed is called by its new name from then on.
func TestCaseH6_Rename(t *testing.T) {
	e := dockerd.Start(t)
	e.Import(t, "weir-test/workload:1", map[string]string{"/workload": probe.Build(t, "./test/workload")}, nil)
	rows := ownKnowing(t, "--runtime", "docker:"+e.Host)
	id := e.Run(t, "--name", "before", "weir-test/workload:1", "/workload", "server", "-tcp", ":9322")
	ip := e.IP(t, id, "bridge")
	probe.Until(t, patience, "the server serves", func() error {
		_, err := e.CLI("run", "--rm", "weir-test/workload:1", "/workload", "client", "-addr", ip+":9322", "-log", "/dev/null")
		if err == nil && len(rows.all(t, "flow_log", both(serverPort(9322), func(r row) bool { return r.tag("server") == "before" }))) == 0 {
			err = fmt.Errorf("no row yet")
		}
		return err
	})
	e.Docker(t, "rename", id, "after")
	e.Docker(t, "run", "--rm", "--name", "asker", "weir-test/workload:1", "/workload", "client", "-addr", ip+":9322", "-send", "11", "-recv", "12")
	want(t, rows.final(t, 1, both(serverPort(9322), func(r row) bool { return r.tag("client") == "asker" }))[0], map[string]any{
		"server": "after", "server_container": "after", "server_container_id": id, "to_server_bytes": 19, "to_client_bytes": 12,
	})
}
