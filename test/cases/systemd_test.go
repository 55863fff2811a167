package cases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/machine"
)

// The cases of this file want systemd as the first process: on another host they
// run in the guest of test/kernels (make vm-test).
func needsSystemd(t *testing.T) {
	t.Helper()
	machine.Root(t, "runs the probe")
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		t.Skip("needs systemd as the first process: make vm-test runs this in a guest")
	}
}

// unit starts the test binary as a child in a transient unit.
func unit(t *testing.T, options []string, role string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := append([]string{"--quiet", "--setenv=" + childRole + "=" + role}, options...)
	return launch(t, nil, exec.Command("systemd-run", append(append(c, exe), args...)...))
}

// unitFiles writes units below /run, gone with the test.
func unitFiles(t *testing.T, files map[string]string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := "/run/systemd/system/" + name
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "EXE", exe)), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(path) })
	}
	systemctl(t, "daemon-reload")
}

func systemctl(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("systemctl", args...).CombinedOutput(); err != nil {
		t.Fatalf("systemctl %v: %v\n%s", args, err, out)
	}
}

// What systemd makes of services, templates, users, logins and jobs, and what
// they are called.
func TestCaseH7_UnitsSystemd(t *testing.T) {
	needsSystemd(t)
	r := watch(t)
	const id = "4242df5f3759df5f3759df5f3759df5f3759df5f3759df5f3759df5f3759df42"
	const other = "5353df5f3759df5f3759df5f3759df5f3759df5f3759df5f3759df5f3759df53"
	const pod = "kubepods-burstable-pod11111111_2222_3333_4444_555555555555.slice"
	piped := func(more ...string) []string { return append([]string{"--wait", "--pipe"}, more...) }
	exe := self(t)
	cases := map[string]struct {
		options []string
		want    map[string]any
	}{
		"a service":    {piped("--unit=weir-test-a"), map[string]any{"client": "weir-test-a", "client_user": "root"}},
		"a transient":  {piped(), map[string]any{"client": exe}},
		"a user's":     {piped("--uid=someone", "--unit=weir-test-u"), map[string]any{"client": "weir-test-u", "client_user": "someone"}},
		"an instance":  {piped("--unit=weir-test@15-main.service"), map[string]any{"client": "weir-test@15-main"}},
		"a scope":      {[]string{"--scope", "--unit=weir-test-s"}, map[string]any{"client": exe}},
		"a user's own": {piped("--user", "--machine=someone@.host", "--unit=weir-test-a"), map[string]any{"client": exe, "client_user": "someone"}},
		"a login":      {piped("--uid=someone", "--property=PAMName=login", "--unit=weir-test-l"), map[string]any{"client": exe, "client_user": "someone"}},
		"a pod": {[]string{"--scope", "--slice=" + pod, "--unit=cri-containerd-" + id + ".scope"},
			map[string]any{"client": "pod", "client_container_id": id}}, // no runtime tells its name
		"a docker container": {[]string{"--scope", "--unit=docker-" + other + ".scope"}, map[string]any{"client": "container", "client_container_id": other}},
	}
	port := spawn(t, nil, "serve", "127.206.20.1:0", "10").number()
	callers := map[int]string{}
	for what, c := range cases {
		p := unit(t, c.options, "call", fmt.Sprint("127.206.20.1:", port), "100")
		callers[p.number()] = what
		p.ended()
	}
	for _, got := range r.final(t, len(cases), serverPort(port)) {
		what := callers[int(got.num("client_port"))]
		t.Run(strings.ReplaceAll(what, " ", "_"), func(t *testing.T) {
			want(t, got, cases[what].want)
			want(t, got, map[string]any{"client_process": exe, "client_method": "cookie"})
		})
	}
}

// A user that exists only while its service runs is a number, and no other user's.
func TestCaseH7_DynamicUserSystemd(t *testing.T) {
	needsSystemd(t)
	r := watch(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	port := spawn(t, nil, "serve", "127.206.20.2:0", "10").number()
	p := unit(t, []string{"--wait", "--pipe", "--unit=weir-test-dyn", "--property=DynamicUser=yes", "--property=BindReadOnlyPaths=" + exe},
		"call", fmt.Sprint("127.206.20.2:", port), "100")
	p.number()
	p.ended()
	got := r.final(t, 1, serverPort(port))[0]
	want(t, got, map[string]any{"client": "weir-test-dyn"})
	if uid, err := strconv.Atoi(got.str("client_user")); err != nil || uid < 61184 || uid > 65519 {
		t.Errorf("user %q is not one of systemd's dynamic users", got.str("client_user"))
	}
}

// The service owns what comes in on systemd's listener, the first process nothing.
func TestCaseA9_Systemd(t *testing.T) {
	needsSystemd(t)
	r := watch(t)
	unitFiles(t, map[string]string{
		"weir-test-echo.socket":   "[Socket]\nListenStream=127.206.20.3:4711\n",
		"weir-test-echo.service":  "[Service]\nEnvironment=" + childRole + "=activated\nExecStart=EXE\n",
		"weir-test-each.socket":   "[Socket]\nListenStream=127.206.20.3:4712\nAccept=yes\n",
		"weir-test-each@.service": "[Service]\nEnvironment=" + childRole + "=activated-accept\nExecStart=EXE\n",
	})
	systemctl(t, "start", "weir-test-echo.socket", "weir-test-each.socket")
	t.Cleanup(func() {
		systemctl(t, "stop", "weir-test-echo.socket", "weir-test-each.socket", "weir-test-echo.service")
	})
	for range 2 {
		for _, port := range []int{4711, 4712} {
			spawn(t, nil, "call", fmt.Sprint("127.206.20.3:", port), "300").ended()
		}
	}
	main, err := exec.Command("systemctl", "show", "--property=MainPID", "--value", "weir-test-echo.service").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(main)))
	for _, got := range r.final(t, 2, both(serverPort(4711), address("127.206.20.3"))) {
		want(t, got, map[string]any{"server": "weir-test-echo", "server_pid": pid, "server_process": self(t), "to_client_bytes": 700})
	}
	for _, got := range r.final(t, 2, both(serverPort(4712), address("127.206.20.3"))) {
		want(t, got, map[string]any{"server": "weir-test-each", "server_process": self(t), "server_ppid": 1, "to_client_bytes": 800})
		// the listener's maker: systemd, or a process it forks for that
		if c := got.str("server_creator_process"); c != "systemd" && c != "(sd-listen)" {
			t.Errorf("made by %q: %v", c, got)
		}
	}
}

// address matches connections to an address.
func address(a string) func(row) bool {
	return func(r row) bool { return r.str("server_address") == a }
}

// A machine that systemd knows has its machine's name. One that it was told not
// to register stays in the unit that started it, and is called after it.
func TestCaseH7_NspawnSystemd(t *testing.T) {
	needsSystemd(t)
	needs(t, "systemd-nspawn", "systemd-container")
	r := watch(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	port := spawn(t, nil, "serve", "127.206.20.4:0", "10").number()
	machine := func(name string, more ...string) []string {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "usr"), 0o755); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"systemd-nspawn", "--quiet", "--pipe", "--machine=" + name, "--directory=" + root, "--bind-ro=" + exe + ":/child",
			"--setenv=" + childRole + "=call"}, more...)
		return append(args, "/child", fmt.Sprint("127.206.20.4:", port), "100")
	}
	clients := map[int]string{}
	args := machine("weir-test-m")
	registered := launch(t, nil, exec.Command(args[0], args[1:]...))
	clients[registered.number()] = "weir-test-m"
	registered.ended()
	args = machine("weir-test-k", "--register=no", "--keep-unit")
	kept := launch(t, nil, exec.Command("systemd-run", append([]string{"--quiet", "--wait", "--pipe", "--unit=weir-test-keep"}, args...)...))
	clients[kept.number()] = "weir-test-keep"
	kept.ended()
	for _, got := range r.final(t, 2, serverPort(port)) {
		name := clients[int(got.num("client_port"))]
		want(t, got, map[string]any{"client": name, "client_process": "child"})
		if name == "weir-test-m" {
			want(t, got, map[string]any{"client_container": name})
		}
	}
}
