package cases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// program is what processes of sections A and B run that Go cannot be: it forks,
// has threads with names and lives for less than a millisecond.
var program struct {
	once sync.Once
	path string
	err  error
}

// life builds the program of testdata/life.
func life(t *testing.T) string {
	t.Helper()
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("needs gcc: test/install.sh")
	}
	program.once.Do(func() {
		program.path = filepath.Join(dir, "life")
		sources, _ := filepath.Glob("testdata/life/*.c")
		out, err := exec.Command(cc, append([]string{"-std=gnu11", "-O1", "-Wall", "-Werror", "-static", "-pthread", "-o", program.path}, sources...)...).CombinedOutput()
		if err != nil {
			program.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if program.err != nil {
		t.Fatalf("build testdata/life: %v", program.err)
	}
	return program.path
}

// live starts a role of the program in a namespace.
func live(t *testing.T, ns *netlab.NS, args ...any) *process {
	t.Helper()
	return launch(t, ns, lifeCommand(t, args...))
}

func lifeCommand(t *testing.T, args ...any) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(life(t))
	for _, a := range args {
		cmd.Args = append(cmd.Args, fmt.Sprint(a))
	}
	return cmd
}

// named gives the program another name, as the next image of a process.
func named(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.Link(life(t), path); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(filepath.Dir(path), 0o755)
	return path
}

// lan is a namespace with a wire to the host: 10.201.n.1 here, 10.201.n.2 there.
type lan struct {
	host, box   *netlab.NS
	here, there string
}

func newLAN(t *testing.T, n int) *lan {
	t.Helper()
	alone(t, n)
	l := &lan{host: netlab.Host(t), box: netlab.New(t), here: fmt.Sprintf("10.201.%d.1", n), there: fmt.Sprintf("10.201.%d.2", n)}
	netlab.Veth(t, netlab.End{NS: l.host, Name: fmt.Sprint("wl", n), CIDR: l.here + "/24"}, netlab.End{NS: l.box, Name: "eth0", CIDR: l.there + "/24"})
	return l
}

// alone waits until no test run of another checkout has the same network.
func alone(t *testing.T, n int) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprint("weir-lan-", n, ".lock")), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() }) // and the lock goes with it
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// unattributed wants no row of a server port in which an end that lives here has
// no owner.
func (r *rows) unattributed(t *testing.T, port int) {
	t.Helper()
	for _, x := range r.all(t, "flow", func(x row) bool { return x.tag("server_port") == strconv.Itoa(port) }) {
		if x.tag("attribution") == "none" {
			t.Errorf("without an owner: %v", x)
		}
	}
}

// reach waits until a time, unix ns, is written about.
func (r *rows) reach(t *testing.T, until int64) {
	t.Helper()
	probe.Until(t, patience, "some seconds", func() error {
		if len(r.all(t, "weir_self", func(x row) bool { return x.time >= until })) == 0 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}
