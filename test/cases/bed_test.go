package cases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// patience is how long anything that must happen may take on a busy machine.
const patience = 30 * time.Second

// binary is the weir under test, built once; shared is the probe that most tests
// look at, started by the first of them.
var (
	dir    string
	binary string
	shared struct {
		once sync.Once
		weir *probe.Process
		out  string // its rows
		err  error
	}
)

// TestMain lets the test binary be its own children (child_test.go).
func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(beChild(role))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // every test skips
	}
	var err error
	if dir, err = os.MkdirTemp("", "weir-cases-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	_ = os.Chmod(dir, 0o755)
	if binary = os.Getenv("WEIR_TEST_BINARY"); binary != "" {
		return finish(m) // a guest without Go
	}
	if binary, err = probe.BuildIn(dir, "./cmd/weir"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return finish(m)
}

func finish(m *testing.M) int {
	code := m.Run()
	if shared.weir == nil {
		return code
	}
	_ = shared.weir.End()
	if code != 0 {
		fmt.Fprintf(os.Stderr, "the shared weir said:\n%.6000s\n", shared.weir.Log())
	}
	return code
}

// options is what every weir here has: a second's interval, every connection in
// flow_log, nothing of the host's own weir.
func options(sinkFile string) []string {
	return []string{"run", "--interval", "1s", "--host", "h", "--docker", "/nonexistent", "--listen", "", "--journal", "",
		"--flow-log-rate", "1000000", "--sink", "file:" + sinkFile}
}

// watch returns the rows of the probe that all tests share. Other tests' rows are
// among them: match by address and port.
func watch(t *testing.T) *rows {
	t.Helper()
	machine.Root(t, "runs the probe")
	shared.once.Do(func() {
		out := filepath.Join(dir, "shared.lp")
		cmd := exec.Command(binary, options(out)...)
		cmd.Env = probe.Environment()
		shared.weir, shared.err = probe.Launch(cmd)
		shared.out = out
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	shared.weir.WaitReady(t)
	return rowsFrom(shared.out)
}

// own starts a weir for this test alone, with more options, and waits until it is ready.
func own(t *testing.T, args ...string) (*probe.Process, *rows) {
	t.Helper()
	return ownBy(t, (*exec.Cmd).Start, args...)
}

// ownIn is own in a namespace, which is the host's for that weir: its devices are
// all it meters.
func ownIn(t *testing.T, ns *netlab.NS, args ...string) (*probe.Process, *rows) {
	t.Helper()
	return ownBy(t, func(c *exec.Cmd) error { ns.StartCommand(t, c); return nil }, args...)
}

func ownBy(t *testing.T, start func(*exec.Cmd) error, args ...string) (*probe.Process, *rows) {
	t.Helper()
	machine.Root(t, "runs the probe")
	out := filepath.Join(t.TempDir(), "rows.lp")
	cmd := exec.Command(binary, append(options(out), args...)...)
	cmd.Env = probe.Environment()
	p := probe.SpawnBy(t, start, cmd)
	p.WaitReady(t)
	r := rowsFrom(out)
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, x := range r.all(t, "weir_self", func(x row) bool { return x.tag("stage") == "flows" || x.tag("stage") == "join" }) {
			t.Log("it said of itself: ", x)
		}
	})
	return p, r
}
