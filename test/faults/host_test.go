package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-probe/weir/test/probe"
)

// I11: no capabilities at all.
func TestCaseI11_NoPermission(t *testing.T) {
	needsRoot(t)
	cmd := command("--journal", "", "--listen", "")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = "/"
	p := probe.Spawn(t, cmd)
	if st := p.Status(t); st != 1 {
		t.Errorf("exit status %d", st)
	}
	log := p.Stderr.String()
	if !strings.Contains(log, "CAP_BPF") || !strings.Contains(log, "root") {
		t.Errorf("the message names neither CAP_BPF nor root: %s", log)
	}
	if last := lastLine(log); !strings.HasPrefix(last, "weir: ") || len(last) > 500 {
		t.Errorf("the last line is not a message for a person: %s", last)
	}
	t.Run("doctor", func(t *testing.T) {
		cmd := exec.Command(weir, "doctor", "--json", "--packets", "off", "--docker", "/nonexistent")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir, cmd.Env = "/", probe.Environment()
		d := examined(t, cmd)
		if c := d.check(t, "privileges"); c.State != "failed" || !strings.Contains(c.Detail, "CAP_BPF") || d.OK || d.status != 1 {
			t.Errorf("doctor says %+v, ok %v, exit status %d", c, d.OK, d.status)
		}
	})
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// doctor is the answer of weir doctor --json.
type doctor struct {
	Version, Kernel string
	OK              bool
	Checks          []finding
	status          int
	stderr          string
}

type finding struct{ Area, Name, State, Detail, Remedy string }

func (d *doctor) check(t *testing.T, name string) finding {
	t.Helper()
	for _, c := range d.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("doctor says nothing of %s", name)
	return finding{}
}

func examined(t *testing.T, cmd *exec.Cmd) *doctor {
	t.Helper()
	p := probe.Spawn(t, cmd)
	d := &doctor{status: p.Status(t), stderr: p.Stderr.String()}
	if err := json.Unmarshal([]byte(p.Stdout.String()), d); err != nil {
		t.Fatalf("doctor --json: %v in %.300s, %s", err, p.Stdout, d.stderr)
	}
	return d
}

// I1: a kernel that does not describe its types.
func TestCaseI1_NoBTF(t *testing.T) {
	needsRoot(t)
	hide := "mount -t tmpfs weir /sys/kernel/btf"
	// Nothing can work without packets, either.
	p := probe.Spawn(t, inMounts(t, hide, "--journal", "", "--listen", "", "--packets", "off"))
	if st := p.Status(t); st != 1 {
		t.Errorf("exit status %d", st)
	}
	if log := p.Stderr.String(); !strings.Contains(log, "BTF") {
		t.Errorf("the message does not say that BTF is missing: %s", log)
	}
	// Packets are still counted, without owners, and it says so.
	s := listen(t)
	p = probe.Spawn(t, inMounts(t, hide, "--journal", "", "--listen", "", "--sink", "stdout", "--packets", "auto",
		"--flow-log-rate", "1000000")) // whatever else goes on here
	p.WaitLog(t, "msg=ready")
	if log := p.Stderr.String(); !strings.Contains(log, "no socket path") || !strings.Contains(log, "BTF") {
		t.Errorf("the loss is not said: %s", log)
	}
	port := s.connect(t, 1)[0]
	p.Stop(t)
	seen := false
	for _, line := range strings.Split(p.Stdout.String(), "\n") {
		seen = seen || strings.HasPrefix(line, "flow_log,") && strings.Contains(line, fmt.Sprintf("client_port=%di", port)) && strings.Contains(line, "to_server_wire_bytes=")
	}
	if !seen {
		t.Error("a connection has no row of packets")
	}
	d := examined(t, wrapped(hide, []string{"doctor", "--json", "--docker", "/nonexistent"}))
	if c := d.check(t, "BTF"); c.State != "failed" || c.Remedy == "" || d.OK || d.status != 1 {
		t.Errorf("doctor says %+v, ok %v, exit status %d", c, d.OK, d.status)
	}
}

// The unified hierarchy is not mounted: what hangs on cgroups goes, or is
// mounted by the probe for itself; connections keep their processes.
func TestNoCgroup2(t *testing.T) {
	needsRoot(t)
	mount := cgroup2(t)
	hide := "umount -l " + mount
	d := examined(t, wrapped(hide, []string{"doctor", "--json", "--packets", "off", "--docker", "/nonexistent"}))
	for _, c := range d.Checks {
		if c.State == "failed" {
			t.Errorf("doctor says %+v", c)
		}
		if c.State == "limited" && c.Remedy == "" {
			t.Errorf("no remedy: %+v", c)
		}
	}
	s := listen(t)
	p := probe.Spawn(t, inMounts(t, hide, "--journal", "", "--listen", "", "--sink", "stdout"))
	p.WaitLog(t, "msg=ready")
	ports := s.connect(t, 20)
	p.Stop(t)
	s.exactlyOnce(t, p.Stdout.String(), ports)
	for line := range strings.Lines(p.Stdout.String()) {
		if strings.HasPrefix(line, "flow_log,") && field(line, "server_port") == s.port && field(line, "client_pid") != os.Getpid() {
			t.Errorf("the owner is not this process: %s", line)
		}
	}
}

func cgroup2(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			return f[1]
		}
	}
	t.Skip("needs a cgroup2 mount")
	return ""
}

// H9: no runtime socket; said once, and connections keep their owners.
func TestCaseH9_NoRuntimeSocket(t *testing.T) {
	needsRoot(t)
	s := listen(t)
	p := run(t, "--journal", "", "--listen", "", "--sink", "stdout")
	ports := s.connect(t, 20)
	until(t, "the rows", func() bool { _, n := s.ended(p.Stdout.String()); return len(n) == len(ports) })
	p.Stop(t)
	s.exactlyOnce(t, p.Stdout.String(), ports)
	if n := strings.Count(p.Stderr.String(), "no container engine"); n != 1 {
		t.Errorf("said %d times that there is no container engine", n)
	}
}
