package cases

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/podman"
	"github.com/weir-probe/weir/test/probe"
)

func TestCaseH7_Podman(t *testing.T) {
	p := podman.Start(t, podman.Config{Subnet: "10.205.64.0/24"})
	rows := ownKnowing(t, "--runtime", "podman:"+p.Socket)
	wait := func(id string) { p.Do(t, "wait", id) }

	web := p.Serving(t, "--name", "web", podman.Image, "server", "-tcp", ":9311")
	p.Do(t, "rename", web, "web2")
	ip := p.Inspect(t, web, "{{.NetworkSettings.IPAddress}}")
	composed := p.Run(t, "--name", "shop_job_1", "--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=job",
		podman.Image, "client", "-addr", ip+":9311", "-send", "100", "-recv", "300")
	wait(composed)
	p.Do(t, "pod", "create", "--name", "group", "--infra-image", podman.Image, "--infra-command", "/workload client -n 0 -linger 1000h")
	served := p.Serving(t, "--pod", "group", "--name", "group-server", podman.Image, "server", "-tcp", ":9312")
	// Events do not tell the pod: a member that is gone before the engine has answered has none.
	member := p.Run(t, "--pod", "group", "--name", "group-client", podman.Image, "client", "-addr", "127.0.0.1:9312", "-send", "7", "-recv", "9", "-hold", "5s")
	wait(member)
	// nobody listens: only the address tells who was meant, and that is the pod's
	podIP := p.Inspect(t, served, "{{.NetworkSettings.IPAddress}}")
	wait(p.Run(t, "--name", "knock", podman.Image, "client", "-addr", podIP+":9313"))

	want(t, rows.final(t, 1, serverPort(9311))[0], map[string]any{
		"client": "shop/job", "client_container": "shop_job_1", "client_container_id": composed, "server": "web2", "server_container_id": web,
		"to_server_bytes": 108, "to_client_bytes": 300, "reporter": "both", "client_image": podman.Image,
	})
	want(t, rows.final(t, 1, serverPort(9312))[0], map[string]any{
		"client": "group-client", "client_container_id": member, "client_pod": "group", "server": "group-server", "server_pod": "group",
		"server_container_id": served, "to_server_bytes": 15, "to_client_bytes": 9,
	})
	want(t, rows.final(t, 1, serverPort(9313))[0], map[string]any{
		"client": "knock", "server": "group", "server_pod": "group", "server_container": "", "server_container_id": "", "server_method": "address", "close_cause": "refused",
	})
}

// rootlessUID is Debian's nobody, who has no session here.
const rootlessUID = 65534

// A user's own Podman names that user's containers. This host has no systemd, so
// that the runtime leaves the container in its own group: the test puts it where
// systemd's driver would.
func TestCaseH7_PodmanRootless(t *testing.T) {
	machine.Root(t, "runs the probe")
	run := fmt.Sprint("/run/user/", rootlessUID)
	if _, err := os.Stat(run); err == nil {
		t.Skip(run + " exists: it is somebody's session")
	}
	t.Cleanup(func() { os.RemoveAll(run); os.Remove("/run/user") })
	p := podman.Start(t, podman.Config{UID: rootlessUID, Socket: run + "/podman/podman.sock"})
	_, rows := own(t, "--runtime", "auto") // it finds the socket by the container
	web := p.Serving(t, "--name", "mine", "--network", "host", podman.Image, "server", "-tcp", ":9314")
	pid, err := strconv.Atoi(p.Inspect(t, web, "{{.State.Pid}}"))
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("user.slice/user-%d.slice/user@%[1]d.service/user.slice/libpod-%s.scope/container", rootlessUID, web)
	for _, root := range cgroupRoots(t) {
		dir := filepath.Join(root, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			probe.Until(t, patience, "the container's group is empty", func() error { return os.Remove(dir) })
			for d := filepath.Dir(dir); d != root; d = filepath.Dir(d) {
				os.Remove(d) // those of others stay
			}
		})
	}
	var from []int
	for range 3 {
		c := spawn(t, p.NS, "call", "127.0.0.1:9314", "8")
		from = append(from, c.number())
		c.ended()
		rows.settle(t)
	}
	got := rows.final(t, 3, serverPort(9314))
	want(t, got[2], map[string]any{"client_port": from[2], "server": "mine", "server_container": "mine", "server_container_id": web, "server_user": "nobody"})
}

// cgroupRoots are the hierarchies that weir looks at.
func cgroupRoots(t *testing.T) (roots []string) {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"} {
		if _, err := os.Stat(dir + "/cgroup.procs"); err == nil {
			roots = append(roots, dir)
		}
	}
	if len(roots) == 0 {
		t.Fatal("no control groups are mounted")
	}
	return roots
}
