package cases

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// hierarchy is where the v2 hierarchy is mounted here.
func hierarchy(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(dir + "/cgroup.procs"); err == nil {
			return dir
		}
	}
	t.Skip("no cgroup v2 is mounted here")
	return ""
}

// makeGroup makes the control group of a path below root, as a service manager
// or a container runtime would. What was not there goes with the test.
func makeGroup(t *testing.T, root, path string) string {
	t.Helper()
	dir := root
	for _, seg := range strings.Split(strings.Trim(path, "/"), "/") {
		dir += "/" + seg
		err := os.Mkdir(dir, 0o755)
		if os.IsExist(err) {
			continue
		}
		if err != nil {
			t.Fatalf("make control group %s: %v", path, err)
		}
		made := dir
		t.Cleanup(func() {
			probe.Until(t, patience, "control group "+made+" is empty", func() error { return os.Remove(made) })
		})
	}
	return dir
}

// spawnInGroup is spawn, born in a v2 control group of that path.
func spawnInGroup(t *testing.T, ns *netlab.NS, path, role string, args ...string) *process {
	t.Helper()
	fd, err := unix.Open(makeGroup(t, hierarchy(t), path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return spawnWith(t, ns, func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	}, role, args...)
}

// self is the executable's name of every child.
func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(exe)
}

// What a control group's path says of who its processes are, all through the
// kernel and the real weir: systemd's units and users, container runtimes that
// need no engine to name a container.
func TestCaseH7_NamesByControlGroup(t *testing.T) {
	rows := watch(t)
	exe := self(t)
	const user = "user.slice/user-4711.slice"
	const id = "5f3759df5f3759df5f3759df5f3759df5f3759df5f3759df5f3759df5f3759df"
	cases := []struct {
		group, name, kind, container string
	}{
		{"system.slice/weir-test-nginx.service", "weir-test-nginx", "process", ""},
		{"system.slice/weir-test-nginx2.service/sub/group", "weir-test-nginx2", "process", ""},
		{"system.slice/weir-test.slice/weir-test@15-main.service", "weir-test@15-main", "process", ""},
		{"system.slice/weir-test.slice/weir-test@7-10.206.0.1:80-10.206.0.2:4242.service", "weir-test", "process", ""},
		{"system.slice/run-u4711.service", exe, "process", ""},
		{"system.slice/run-rfeedfacefeedfacefeedface01234567.service", exe, "process", ""},
		{user + "/session-4711.scope", exe, "process", ""},
		{user + "/user@4711.service/app.slice/weir-test-nginx.service", exe, "process", ""},
		{user + "/user@4711.service/weir-test.slice/docker/" + id, "container", "container", ""},
		{user + "/session-4712.scope/lxc.payload.weir-test-box", "user-4711/weir-test-box", "container", "user-4711/weir-test-box"},
		{"lxc.payload.weir-test-box", "weir-test-box", "container", "weir-test-box"},
		{"lxc.payload.weir-test-box2/system.slice/ssh.service", "weir-test-box2", "container", "weir-test-box2"},
		{"lxc.monitor.weir-test-box", exe, "process", ""},
		{`machine.slice/machine-weir\x2dtest3.scope/payload/system.slice/ssh.service`, "weir-test3", "container", "weir-test3"},
		{"machine.slice/systemd-nspawn@weir-test2.service/payload", "weir-test2", "container", "weir-test2"},
		{"machine.slice/systemd-nspawn@weir-test2.service/supervisor", "systemd-nspawn@weir-test2", "process", ""},
		{"weir-test/" + strings.Repeat("n", 255) + "/" + strings.Repeat("m", 255), exe, "process", ""},
	}
	port := spawn(t, nil, "serve", "127.206.1.1:0", "10").number()
	callers := map[int]int{} // by port
	for i, c := range cases {
		p := spawnInGroup(t, nil, c.group, "call", fmt.Sprint("127.206.1.1:", port), fmt.Sprint(100+i))
		callers[p.number()] = i
		p.ended()
	}
	for _, got := range rows.final(t, len(cases), serverPort(port)) {
		i, ok := callers[int(got.num("client_port"))]
		if !ok {
			t.Fatalf("nobody called from there: %v", got)
		}
		c := cases[i]
		t.Run(c.group[max(0, len(c.group)-60):], func(t *testing.T) {
			want(t, got, map[string]any{"client": c.name, "client_process": exe, "client_container": c.container,
				"client_method": "cookie", "client_user": "root", "to_server_bytes": 100 + i})
		})
	}
	kinds := map[string]string{}
	for _, c := range cases {
		kinds[c.name] = c.kind
	}
	for _, got := range rows.all(t, "flow", func(r row) bool { return r.tag("server_port") == fmt.Sprint(port) }) {
		if k := kinds[got.tag("client")]; k != got.tag("client_kind") {
			t.Errorf("%s is %q, want %q", got.tag("client"), got.tag("client_kind"), k)
		}
	}
}

// hostChildren are the children of this file's cases.
var hostChildren = map[string]func(args []string) error{
	"call-on-word": childCallOnWord, "serve-shared": childServeShared,
}

// childServeShared is childServe on a port that others may listen on too.
func childServeShared(args []string) error {
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil {
			return e
		}
		return err
	}}
	ln, err := shared.Listen(context.Background(), "tcp", args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr().(*net.TCPAddr).Port)
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		if err := reply(c, n); err != nil {
			return err
		}
	}
}

// childCallOnWord is childCall after a line on standard input.
func childCallOnWord(args []string) error {
	var word string
	if _, err := fmt.Scanln(&word); err != nil {
		return err
	}
	return childCall(args)
}

// On a host whose containers are in a v1 hierarchy (Docker's cgroupfs driver on a
// hybrid host, everything before v2) that one tells, whatever v2 says.
func TestCaseH8_LegacyHierarchy(t *testing.T) {
	const root = "/sys/fs/cgroup/memory"
	r := watch(t)
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		t.Skip("no v1 memory hierarchy here (a host with cgroup v2 only)")
	}
	port := spawn(t, nil, "serve", "127.206.8.3:0", "10").number()
	callers := map[int]string{} // what the row must say, by port
	for group, name := range map[string]string{
		"lxc/weir-test-v1": "weir-test-v1",
		"docker/0df5f3759df5f3759df5f3759df5f3759df5f3759df5f3759df5f3759df5f375": "container",
		"system.slice/weir-test-v1.service":                                       "weir-test-v1",
		"user.slice/user-4711.slice/session-7.scope":                              self(t),
	} {
		dir := makeGroup(t, root, group)
		c := spawn(t, nil, "call-on-word", fmt.Sprint("127.206.8.3:", port), "100")
		if err := os.WriteFile(dir+"/cgroup.procs", []byte(fmt.Sprint(c.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
		c.say("go")
		callers[c.number()] = name
		c.ended()
	}
	for _, got := range r.final(t, len(callers), serverPort(port)) {
		want(t, got, map[string]any{"client": callers[int(got.num("client_port"))], "client_method": "cookie"})
	}
}
