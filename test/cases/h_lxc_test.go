package cases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/netlab"
)

// needs skips where a program of a Debian package is not installed, or fails
// where WEIR_REQUIRE asks for the package.
func needs(t *testing.T, program, debian string) {
	t.Helper()
	machine.Root(t, "starts containers")
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	machine.Missing(t, debian, program+" is not installed (Debian: "+debian+")")
}

// startLXC starts the test binary as a child in a real LXC container on a bridge
// and returns it; the container has the host's files.
func startLXC(t *testing.T, name, bridge, cidr, role string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// What a killed run left behind would make LXC call this one name-1.
	left, _ := filepath.Glob("/sys/fs/cgroup/*/lxc.*." + name)
	pure, _ := filepath.Glob("/sys/fs/cgroup/lxc.*." + name)
	for _, dir := range append(left, pure...) {
		_ = os.Remove(dir)
	}
	base := t.TempDir()
	config := strings.Join([]string{
		"lxc.uts.name = " + name,
		"lxc.environment = " + childRole + "=" + role,
		"lxc.init.cmd = " + exe + " " + strings.Join(args, " "),
		"lxc.apparmor.profile = unconfined",
		"lxc.console.path = none",
		"lxc.net.0.type = veth", "lxc.net.0.link = " + bridge, "lxc.net.0.flags = up", "lxc.net.0.ipv4.address = " + cidr,
	}, "\n") + "\n"
	dir := filepath.Join(base, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	p := launch(t, nil, exec.Command("lxc-start", "-F", "-P", base, "-n", name, "-o", base+"/log"))
	t.Cleanup(func() { // before lxc-start is killed: it takes the container's groups away
		_ = exec.Command("lxc-stop", "--kill", "-P", base, "-n", name).Run()
		if t.Failed() {
			log, _ := os.ReadFile(base + "/log")
			t.Logf("lxc-start:\n%.3000s", log)
		}
		_ = p.Wait()
	})
	return p
}

// A container that no engine knows of has its LXC name; its monitor, which
// watches it from outside, is not in it.
func TestCaseH7_LXC(t *testing.T) {
	needs(t, "lxc-start", "lxc")
	r := watch(t)
	t.Cleanup(func() { // LXC leaves an empty group of its own in every hierarchy
		left, _ := filepath.Glob("/sys/fs/cgroup/*/lxc.pivot")
		for _, dir := range left {
			_ = os.Remove(dir)
		}
	})
	netlab.Bridge(t, netlab.End{NS: netlab.Host(t), Name: "whlxc", CIDR: "10.206.7.1/24"})
	port := startLXC(t, "weir-test-lxc-db", "whlxc", "10.206.7.2/24", "serve", "10.206.7.2:0", "400").number()
	web := startLXC(t, "weir-test-lxc-web", "whlxc", "10.206.7.3/24", "call", fmt.Sprint("10.206.7.2:", port), "300")
	from := web.number()
	c := spawn(t, nil, "call", fmt.Sprint("10.206.7.2:", port), "301")
	fromHost := c.number()
	c.ended()
	for _, got := range r.final(t, 2, serverPort(port)) {
		want(t, got, map[string]any{"server": "weir-test-lxc-db", "server_container": "weir-test-lxc-db", "server_image": "",
			"server_method": "cookie", "to_client_bytes": 400})
		switch int(got.num("client_port")) {
		case from:
			want(t, got, map[string]any{"client": "weir-test-lxc-web", "client_container": "weir-test-lxc-web", "client_process": self(t), "to_server_bytes": 300})
		case fromHost:
			want(t, got, map[string]any{"client": self(t), "client_container": "", "to_server_bytes": 301})
		default:
			t.Errorf("nobody called from there: %v", got)
		}
	}
	for _, got := range r.all(t, "flow", func(x row) bool { return x.tag("server") == "weir-test-lxc-db" }) {
		want(t, got, map[string]any{"server_kind": "container"})
	}
}
