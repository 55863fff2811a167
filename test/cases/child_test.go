package cases

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
)

// childRole is the environment variable that makes the test binary a child.
const childRole = "WEIR_TEST_CHILD"

// children are what the test binary can be: each section of cases has its own.
// A child prints what the test has to know, a line each.
var children = []map[string]func(args []string) error{lifetimeChildren, explainChildren, hostChildren, activationChildren, tupleChildren, natChildren, outcomeChildren, sockmapChildren, l7Children, pushChildren, resourceChildren, dropChildren, namesChildren, alertChildren}

func beChild(role string) int {
	for _, m := range children {
		if f := m[role]; f != nil {
			if err := f(os.Args[1:]); err != nil {
				fmt.Fprintf(os.Stderr, "child %s: %v\n", role, err)
				return 1
			}
			return 0
		}
	}
	fmt.Fprintln(os.Stderr, "no child role", role)
	return 2
}

// process is a running child.
type process struct {
	*exec.Cmd
	t     *testing.T
	lines *bufio.Reader
	stdin io.WriteCloser
}

// spawn starts the test binary as a child in a namespace; nil is the host's. It
// is killed with the test.
func spawn(t *testing.T, ns *netlab.NS, role string, args ...string) *process {
	t.Helper()
	return spawnWith(t, ns, func(*exec.Cmd) {}, role, args...)
}

// spawnWith is spawn with something changed on the command before it starts.
func spawnWith(t *testing.T, ns *netlab.NS, change func(*exec.Cmd), role string, args ...string) *process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childRole+"="+role)
	change(cmd)
	return launch(t, ns, cmd)
}

// programNamed is a change for spawnWith: the child's program has another name.
func programNamed(t *testing.T, name string) func(*exec.Cmd) {
	t.Helper()
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return func(c *exec.Cmd) { c.Path, c.Args[0] = path, path }
}

// launch starts a command as a child in a namespace; nil is the host's.
func launch(t *testing.T, ns *netlab.NS, cmd *exec.Cmd) *process {
	t.Helper()
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if ns == nil {
		err = cmd.Start()
	} else {
		ns.StartCommand(t, cmd)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: cmd, t: t, lines: bufio.NewReader(out), stdin: in}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return p
}

// line waits for the next line the child prints.
func (p *process) line() string {
	p.t.Helper()
	s, err := p.lines.ReadString('\n')
	if err != nil {
		p.t.Fatalf("child %v: no line: %v (%q)", p.Args, err, s)
	}
	return strings.TrimSpace(s)
}

// number is line as a number.
func (p *process) number() (n int) {
	p.t.Helper()
	if _, err := fmt.Sscan(p.line(), &n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// say writes a line to the child's standard input.
func (p *process) say(line string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, line); err != nil {
		p.t.Fatal(err)
	}
}

// ended waits for the child's end and wants status 0.
func (p *process) ended() {
	p.t.Helper()
	if err := p.Wait(); err != nil {
		p.t.Fatalf("child %v: %v", p.Args, err)
	}
}

// stop kills the child and waits for its end.
func (p *process) stop() {
	p.t.Helper()
	p.Process.Kill()
	p.Wait() //nolint:errcheck // it was killed
}
