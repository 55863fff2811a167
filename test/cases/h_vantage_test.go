package cases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// confined starts a weir of the test's own behind a command, as in a container
// with namespaces of its own.
func confined(t *testing.T, behind ...string) (*probe.Process, *rows) {
	t.Helper()
	machine.Root(t, "runs the probe")
	out := filepath.Join(t.TempDir(), "rows.lp")
	command := append(append(append([]string{}, behind...), binary), options(out)...)
	p := probe.Start(t, command[0], append([]string{"WEIR_CONFIG=/dev/null"}, command[1:]...)...)
	p.WaitReady(t)
	return p, rowsFrom(out)
}

// doctor runs weir doctor behind a command and returns what it prints.
func doctor(t *testing.T, behind ...string) string {
	t.Helper()
	args := append(append([]string{}, behind...), binary, "doctor", "--docker", "/nonexistent", "--journal", "")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "WEIR_CONFIG=/dev/null")
	out, _ := cmd.CombinedOutput() // its status judges more than this
	return string(out)
}

// says wants a text to hold all of some words.
func says(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q:\n%.3000s", what, w, text)
		}
	}
}

// outOfSight waits for weir_info and returns what it says is hidden.
func outOfSight(t *testing.T, r *rows) (hidden string) {
	t.Helper()
	probe.Until(t, patience, "weir_info is written", func() error {
		all := r.all(t, "weir_info", func(row) bool { return true })
		if len(all) == 0 {
			return fmt.Errorf("not yet")
		}
		hidden = all[len(all)-1].str("out_of_sight")
		return nil
	})
	return hidden
}

// exchange makes one connection on lo, the client in a v2 control group.
func exchange(t *testing.T, addr, group string) (client *process, from, port int) {
	t.Helper()
	port = spawn(t, nil, "serve", addr+":0", "50").number()
	client = spawnInGroup(t, nil, group, "call", fmt.Sprint(addr, ":", port), "60")
	from = client.number()
	client.ended()
	return client, from, port
}

// On the host itself nothing is out of sight.
func TestCaseH12_HostSeesAll(t *testing.T) {
	r := watch(t)
	if hidden := outOfSight(t, r); hidden != "none" {
		t.Errorf("out of sight on the host: %q", hidden)
	}
	if strings.Contains(shared.weir.Log(), "out of sight") {
		t.Error("says that something is out of sight")
	}
}

// Without the host's PID namespace the probe says so in its log, in weir_info
// and in doctor; what the kernel itself tells is right all the same.
func TestCaseH12_NoHostPID(t *testing.T) {
	wrap := []string{"unshare", "--pid", "--fork", "--mount-proc", "--kill-child"}
	p, r := confined(t, wrap...)
	says(t, "the log", p.Log(), "level=ERROR", "out of sight: PID namespace: not the host's", "--pid=host")
	says(t, "doctor", doctor(t, wrap...), "PID namespace", "not the host's", "--pid=host")
	client, from, port := exchange(t, "127.206.12.1", "lxc.payload.weir-test-h12a")
	got := r.final(t, 1, both(serverPort(port), clientPort(from)))[0]
	want(t, got, map[string]any{"client_pid": client.Process.Pid, "client": "weir-test-h12a", "client_method": "cookie", "to_server_bytes": 60})
	says(t, "weir_info", outOfSight(t, r), "PID namespace")
}

// Without the host's network namespace there are sockets and no packets.
func TestCaseH12_NoHostNetwork(t *testing.T) {
	p, r := confined(t, "unshare", "--net")
	says(t, "the log", p.Log(), "level=ERROR", "out of sight: network namespace: not the host's", "--network=host")
	says(t, "doctor", doctor(t, "unshare", "--net"), "network namespace", "not the host's", "--network=host")
	client, from, port := exchange(t, "127.206.12.2", "lxc.payload.weir-test-h12b")
	got := r.final(t, 1, both(serverPort(port), clientPort(from)))[0]
	want(t, got, map[string]any{"client_pid": client.Process.Pid, "client": "weir-test-h12b", "to_server_bytes": 60, "to_client_bytes": 50})
	if hidden := outOfSight(t, r); hidden != "network namespace" {
		t.Errorf("out of sight: %q", hidden)
	}
}

// confinedGroup is a command behind which the probe has a cgroup namespace that
// begins at a group of its own.
func confinedGroup(t *testing.T, script string, flags ...string) []string {
	t.Helper()
	dir := makeGroup(t, hierarchy(t), "weir-test-agent/inner")
	script = fmt.Sprintf("echo $$ > %s/cgroup.procs && exec unshare --cgroup %s sh -c '%s exec \"$@\"' sh \"$@\"", dir, strings.Join(flags, " "), script)
	return []string{"sh", "-c", script, "sh"}
}

// In a cgroup namespace of its own the probe finds the host's hierarchies, also
// where its own mounts show its own group only: containers older than it keep
// their names, and no path is taken for another.
func TestCaseH8_ProbeInPrivateCgroupNamespace(t *testing.T) {
	v2 := hierarchy(t)
	for name, wrap := range map[string][]string{
		"host's mounts": confinedGroup(t, ""),
		// what a container runtime does: a mount made inside begins at the namespace's root
		"own mounts": confinedGroup(t, "umount -l "+v2+" && mount -t cgroup2 own "+v2+" &&", "--mount"),
	} {
		t.Run(name, func(t *testing.T) {
			port := spawn(t, nil, "serve", "127.206.8.1:0", "50").number()
			old := spawnInGroup(t, nil, "lxc.payload.weir-test-h8/init.scope", "call-on-word", fmt.Sprint("127.206.8.1:", port), "60")
			_, r := confined(t, wrap...)
			old.say("go")
			from := old.number()
			old.ended()
			young := spawnInGroup(t, nil, "lxc.payload.weir-test-h8/young", "call", fmt.Sprint("127.206.8.1:", port), "61")
			youngFrom := young.number()
			young.ended()
			for _, got := range r.final(t, 2, serverPort(port)) {
				pid := map[int]int{from: old.Process.Pid, youngFrom: young.Process.Pid}[int(got.num("client_port"))]
				want(t, got, map[string]any{"client": "weir-test-h8", "client_pid": pid})
			}
			if hidden := outOfSight(t, r); hidden != "none" {
				t.Errorf("out of sight: %q", hidden)
			}
		})
	}
}

// Where neither its own mounts nor the host's first process show the host's
// hierarchies, the probe says so and takes no relative path for a real one:
// what is below its own group is not the host's service of that name.
func TestCaseH12_NoHostCgroups(t *testing.T) {
	v2 := hierarchy(t)
	wrap := confinedGroup(t, "for d in /sys/fs/cgroup/*/; do umount -l $d 2>/dev/null; done; umount -l "+v2+" 2>/dev/null; mount -t cgroup2 own "+v2+" &&",
		"--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
	port := spawn(t, nil, "serve", "127.206.12.3:0", "50").number()
	old := spawnInGroup(t, nil, "weir-test-agent/inner/system.slice/weir-test-fake.service", "call-on-word", fmt.Sprint("127.206.12.3:", port), "60")
	p, r := confined(t, wrap...)
	says(t, "the log", p.Log(), "level=ERROR", "out of sight: cgroup v2: "+v2+" shows only what is below the probe's own group", "--cgroupns=host")
	says(t, "doctor", doctor(t, wrap...), "shows only what is below the probe's own group", "--cgroupns=host")
	old.say("go")
	from := old.number()
	old.ended()
	got := r.final(t, 1, both(serverPort(port), clientPort(from)))[0]
	// exe: what the child was started as; its file is out of sight
	want(t, got, map[string]any{"client_pid": old.Process.Pid, "client": "exe", "client_container": ""})
}

// A process in a cgroup namespace of its own is still where the host's tree has it.
func TestCaseH8_ProcessInPrivateCgroupNamespace(t *testing.T) {
	r := watch(t)
	server := spawn(t, nil, "serve", "127.206.8.2:0", "50")
	port := server.number()
	dir := makeGroup(t, hierarchy(t), "lxc.payload.weir-test-private/inner")
	cmd := exec.Command("sh", "-c", "echo $$ > "+dir+"/cgroup.procs && exec unshare --cgroup \"$@\"", "sh",
		"/proc/self/exe", fmt.Sprint("127.206.8.2:", port), "60")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args[len(cmd.Args)-3] = exe
	cmd.Env = append(os.Environ(), childRole+"=call")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := r.final(t, 1, serverPort(port))[0]
	want(t, got, map[string]any{"client": "weir-test-private", "client_container": "weir-test-private", "client_pid": cmd.Process.Pid,
		"client_netns": int(netlab.Host(t).Inode), "to_server_bytes": 60})
}

// A namespace that ip netns named has its name in the row.
func TestNamedNamespace(t *testing.T) {
	r := watch(t)
	host := netlab.Host(t)
	host.Run(t, "ip", "netns", "add", "weir-test-blue")
	t.Cleanup(func() { host.Run(t, "ip", "netns", "del", "weir-test-blue") })
	host.Run(t, "ip", "-n", "weir-test-blue", "link", "set", "lo", "up")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in := func(role string, args ...string) *process {
		cmd := exec.Command("ip", append([]string{"netns", "exec", "weir-test-blue", exe}, args...)...)
		cmd.Env = append(os.Environ(), childRole+"="+role)
		return launch(t, nil, cmd)
	}
	port := in("serve", "127.206.40.1:0", "10").number()
	calls := 0
	probe.Until(t, patience, "the name is in a row", func() error { // names are read every few seconds
		c := in("call", fmt.Sprint("127.206.40.1:", port), "100")
		from := c.number()
		c.ended()
		calls++
		got := r.final(t, 1, both(serverPort(port), clientPort(from)))[0]
		if got.str("client_netns_name") == "" && calls < 9 {
			return fmt.Errorf("no name yet")
		}
		want(t, got, map[string]any{"client_netns_name": "weir-test-blue", "server_netns_name": "weir-test-blue"})
		return nil
	})
}
