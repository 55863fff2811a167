package faults

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/probe"
)

// weir is the binary under test, built once.
var weir string

func TestMain(m *testing.M) {
	os.Exit(build(m))
}

func build(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // every test skips
	}
	dir, err := os.MkdirTemp("", "weir-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	_ = os.Chmod(dir, 0o755) // nobody runs it, too
	if weir, err = probe.BuildIn(dir, "./cmd/weir"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func needsRoot(t *testing.T) {
	t.Helper()
	machine.Root(t, "runs the probe")
}

// patience is how long anything that must happen may take on a busy machine.
const patience = 60 * time.Second

// common is what every run here has: fast, silent, away from the host's own weir.
var common = []string{"--interval", "1s", "--packets", "off", "--docker", "/nonexistent", "--host", "h"}

// command is `weir run` with what every run here has, and args.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(weir, append(append([]string{"run"}, common...), args...)...)
	cmd.Env = probe.Environment()
	return cmd
}

// run starts `weir run` and waits until it is ready.
func run(t *testing.T, args ...string) *probe.Process {
	t.Helper()
	p := probe.Spawn(t, command(args...))
	p.WaitReady(t)
	return p
}

// until polls a condition that nothing announces.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	probe.Until(t, patience, what, func() error {
		if !ok() {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}
