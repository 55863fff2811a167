package deploy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/dockerd"
	"github.com/weir-probe/weir/test/probe"
)

// image builds deploy/Dockerfile.prebuilt around the package's binary, with the classic
// builder and no registry, as Debian's Docker 20.10 would.
func image(t *testing.T, e *dockerd.Engine, name, pkg string) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "weir"), pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	for _, f := range []string{"../LICENSE", "../.dockerignore", "Dockerfile.prebuilt"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOCKER_BUILDKIT", "0")
	e.Docker(t, "build", "-q", "-t", name, "-f", filepath.Join(dir, "Dockerfile.prebuilt"), dir)
	return name
}

// TestImage: the image holds the program and runs it.
func TestImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to start dockerd")
	}
	e := dockerd.Start(t)
	name := image(t, e, "weir-image-test", "../cmd/weir")
	if out := e.Docker(t, "run", "--rm", "--network=none", name, "version"); !strings.Contains(out, "weir") {
		t.Errorf("weir version says %q", out)
	}
}

// TestContainerPrivileges runs the image as docker-compose.yml does and looks at
// what the kernel, Docker's seccomp profile and the mounts allow.
func TestContainerPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to start dockerd")
	}
	e := dockerd.Start(t)
	name := image(t, e, "weir-standin", "./testdata/standin")
	secrets := t.TempDir()
	// as some volume may have it: another user's, for nobody else to read
	token := filepath.Join(secrets, "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(token, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	out := e.Docker(t, runArguments(t, e, name, secrets, strconv.Itoa(os.Getpid()))...)
	got := map[string]string{}
	for line := range strings.Lines(out) {
		what, result, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[what] = result
	}
	for _, what := range []string{"map", "tracing program", "cgroups", "docker socket", "other processes", "other namespaces", "token", "journal"} {
		if got[what] != "ok" {
			t.Errorf("%s: %s", what, got[what])
		}
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err == nil && got["btf"] != "ok" {
		t.Errorf("btf: %s", got["btf"])
	}
	for _, what := range []string{"root file system", "module loading", "raw sockets"} {
		if got[what] == "ok" {
			t.Errorf("%s is allowed and need not be", what)
		}
	}
	if t.Failed() {
		t.Logf("the container says:\n%s", out)
	}
}

// TestWeirRunsInItsImage: with the privileges of docker-compose.yml, every hook
// attaches from inside the container and a connection of the host comes out with
// both owners.
func TestWeirRunsInItsImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to start dockerd")
	}
	e := dockerd.Start(t)
	name := image(t, e, "weir-run-test", "../cmd/weir")
	args := runArguments(t, e, name, t.TempDir(), "--interval=1s", "--sink=stdout", "--duration=20s", "--listen=", "--journal=/var/lib/weir/journal")
	args = slices.Replace(args, 0, 2, "run", "-d", "--name", "weir-run-test") // -d in place of --rm
	id := e.Docker(t, args...)
	t.Cleanup(func() { e.CLI("rm", "-f", id) })
	probe.Until(t, 30*time.Second, "weir writes rows in its container", func() error {
		if logs, _ := e.CLI("logs", id); !strings.Contains(logs, "hooks_attached=") {
			return errors.New("it has written no rows yet")
		}
		return nil
	})
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Write(make([]byte, 777))
	c.Close()
	if s, err := ln.Accept(); err == nil {
		io.Copy(io.Discard, s)
		s.Close()
	}
	want := []string{"reporter=both", fmt.Sprintf("client_pid=%di", os.Getpid()), fmt.Sprintf("server_pid=%di", os.Getpid()), "to_server_bytes=777i", "to_server_wire_bytes=", `client_process="deploy.test"`}
	probe.Until(t, 10*time.Second, "the connection is in the container's output", func() error {
		logs, _ := e.CLI("logs", id)
		for _, line := range strings.Split(logs, "\n") {
			if strings.HasPrefix(line, "flow_log,") && !slices.ContainsFunc(want, func(s string) bool { return !strings.Contains(line, s) }) {
				return nil
			}
		}
		return fmt.Errorf("no row with %q", want)
	})
}

// runArguments translates the service of docker-compose.yml to docker run; all
// but the ulimit, which an engine without CAP_SYS_RESOURCE cannot set and which
// only kernels before 5.11 look at.
func runArguments(t *testing.T, e *dockerd.Engine, image, secrets string, more ...string) []string {
	t.Helper()
	w := readCompose(t).Services["weir"]
	args := []string{"run", "--rm", "--network", w.NetworkMode, "--pid", w.PID, "--cgroupns", w.Cgroup}
	for _, c := range w.CapDrop {
		args = append(args, "--cap-drop", c)
	}
	for _, c := range instead(t, e, w.CapAdd) {
		args = append(args, "--cap-add", c)
	}
	for _, o := range w.SecurityOpt {
		args = append(args, "--security-opt", o)
	}
	if w.ReadOnly {
		args = append(args, "--read-only")
	}
	for _, v := range w.Volumes {
		source, rest, _ := strings.Cut(v, ":")
		if strings.HasPrefix(source, "./") {
			abs, err := filepath.Abs(filepath.Join("..", source))
			if err != nil {
				t.Fatal(err)
			}
			v = abs + ":" + rest
		}
		switch source {
		case "weir-token":
			v = secrets + ":" + rest
		case "/var/run/docker.sock":
			v = strings.TrimPrefix(e.Host, "unix://") + ":" + rest
		case "/sys/kernel/btf":
			if _, err := os.Stat(source); err != nil {
				continue
			}
		}
		args = append(args, "-v", v)
	}
	return append(append(args, image, "run"), more...)
}

// instead does what docker-compose.yml says for Docker before 23, which calls
// CAP_BPF and CAP_PERFMON unknown (moby/moby#42601).
func instead(t *testing.T, e *dockerd.Engine, capabilities []string) []string {
	t.Helper()
	version := strings.TrimSpace(e.Docker(t, "version", "--format", "{{.Server.Version}}"))
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n >= 23 {
		return capabilities
	}
	t.Logf("Docker %s: SYS_ADMIN in place of BPF and PERFMON", version)
	without := slices.DeleteFunc(slices.Clone(capabilities), func(c string) bool { return c == "BPF" || c == "PERFMON" })
	return append(without, "SYS_ADMIN")
}
