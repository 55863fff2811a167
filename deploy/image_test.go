package deploy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/probe"
)

// TestImage: the image holds the program and runs it.
func TestImage(t *testing.T) {
	e := engine(t)
	name := image(t, e, "weir-image-test", "./cmd/weir")
	if out := e.Docker(t, "run", "--rm", "--network=none", name, "version"); !strings.Contains(out, "weir") {
		t.Errorf("weir version says %q", out)
	}
}

// TestContainerPrivileges has Compose run the service weir, with another program, and looks at
// what the kernel, Docker's seccomp profile and the mounts allow.
func TestContainerPrivileges(t *testing.T) {
	p := newProject(t, "weirprivileges")
	image(t, p.Engine, "weir", "./deploy/testdata/standin")
	secrets := t.TempDir()
	// as some volume may have it: another user's, for nobody else to read
	token := filepath.Join(secrets, "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(token, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	p.change(fmt.Sprintf("services: {weir: {volumes: ['%s:/secrets:ro']}}\n", secrets))
	out := p.must("run", "--rm", "--no-deps", "-T", "weir", "run", strconv.Itoa(os.Getpid()))
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
	p := newProject(t, "weirrun")
	image(t, p.Engine, "weir", "./cmd/weir")
	const id = "weir-run-test"
	t.Cleanup(func() { _, _ = p.CLI("rm", "-f", id) })
	p.must("run", "-d", "--no-deps", "--name", id, "weir", "run", "--interval=1s", "--sink=stdout", "--duration=20s", "--listen=", "--journal=/var/lib/weir/journal")
	probe.Until(t, 30*time.Second, "weir writes rows in its container", func() error {
		if logs, _ := p.CLI("logs", id); !strings.Contains(logs, "hooks_attached=") {
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
		logs, _ := p.CLI("logs", id)
		for _, line := range strings.Split(logs, "\n") {
			if strings.HasPrefix(line, "flow_log,") && !slices.ContainsFunc(want, func(s string) bool { return !strings.Contains(line, s) }) {
				return nil
			}
		}
		return fmt.Errorf("no row with %q", want)
	})
}
