package dockerd

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/machine"
)

// Engine is a running Docker Engine.
type Engine struct {
	// Host is the engine's address as DOCKER_HOST has it.
	Host string

	bridge, subnet string // of an own engine
	data, run      string
	cmd            *exec.Cmd
	log            *os.File
	exited         chan struct{}
	keeps          bool // nobody else begins: KeepRules
}

// Start returns an engine, or skips the test with the reason; where WEIR_REQUIRE
// contains "docker" a missing one is a failure. Everything is removed when the
// test ends.
func Start(t testing.TB) *Engine {
	t.Helper()
	for _, name := range []string{"WEIR_TEST_DOCKER", "DOCKER_HOST"} {
		if h := os.Getenv(name); h != "" {
			if strings.HasPrefix(h, "/") {
				h = "unix://" + h
			}
			e := &Engine{Host: h}
			if _, err := e.CLI("version"); err != nil {
				missing(t, fmt.Sprintf("%s=%s does not answer: %v", name, h, err))
			}
			return e
		}
	}
	if os.Geteuid() != 0 {
		missing(t, "needs root to start dockerd")
	}
	for _, bin := range []string{"dockerd", "docker", "ip"} {
		if _, err := exec.LookPath(bin); err != nil {
			missing(t, bin+" is not installed (Debian: docker.io, iproute2)")
		}
	}
	e := &Engine{}
	t.Cleanup(func() { e.close(t) })
	if err := e.prepare(); err != nil {
		missing(t, err.Error())
	}
	if err := e.start(); err != nil {
		missing(t, err.Error())
	}
	return e
}

// missing skips, or fails where docker is required.
func missing(t testing.TB, why string) {
	t.Helper()
	machine.Missing(t, "docker", "no docker engine: "+why)
}

// prepare makes the engine's directories and bridge. An own bridge and pool keep
// it apart from any other engine of this host.
func (e *Engine) prepare() error {
	var err error
	if e.data, err = os.MkdirTemp("/var/lib", "weir-test-docker-"); err != nil {
		return fmt.Errorf("make the engine's data directory: %w", err)
	}
	if e.run, err = os.MkdirTemp("/run", "weir-docker-"); err != nil {
		return fmt.Errorf("make the engine's run directory: %w", err)
	}
	if e.log, err = os.Create(filepath.Join(e.run, "log")); err != nil {
		return fmt.Errorf("make the engine's log: %w", err)
	}
	e.Host = "unix://" + e.run + "/docker.sock"
	// An engine that finds forwarding switched off drops everybody's forwarded
	// packets when it switches it on.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("allow forwarding: %w", err)
	}
	for range 16 {
		n := 16 + rand.IntN(220)
		e.bridge, e.subnet = fmt.Sprintf("weirdk%d", n), fmt.Sprintf("10.%d", n)
		if err = command("ip", "link", "add", e.bridge, "type", "bridge"); err == nil {
			return errors.Join(
				command("ip", "addr", "add", e.subnet+".0.1/24", "dev", e.bridge),
				command("ip", "link", "set", e.bridge, "up"))
		}
	}
	e.bridge = ""
	return fmt.Errorf("make a bridge for the engine: %w", err)
}

func (e *Engine) start() error {
	begun, err := e.inTurn()
	if err != nil {
		return err
	}
	defer begun()
	e.cmd = exec.Command("dockerd",
		"--data-root", e.data, "--exec-root", e.run+"/exec", "--pidfile", e.run+"/pid", "-H", e.Host,
		"--bridge", e.bridge, "--default-address-pool", "base="+e.subnet+".128.0/17,size=24",
		"--storage-driver", "overlay2", "--shutdown-timeout", "1")
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := e.cmd.Start(); err != nil {
		return fmt.Errorf("start dockerd: %w", err)
	}
	e.exited = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { _ = cmd.Wait(); close(done) }(e.cmd, e.exited)
	deadline := time.After(60 * time.Second)
	for {
		if _, err := e.CLI("version"); err == nil {
			return nil
		}
		select {
		case <-e.exited:
			return fmt.Errorf("dockerd ended at once:\n%s", e.tail())
		case <-deadline:
			return fmt.Errorf("dockerd does not answer:\n%s", e.tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// inTurn waits until no other test's engine is beginning, and returns what ends that:
// engines that begin take the chains of the packet filter away from each other, and from
// who makes a network meanwhile.
func (e *Engine) inTurn() (done func(), err error) {
	if e.keeps {
		return func() {}, nil
	}
	lock, err := os.OpenFile("/run/weir-dockerd.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("wait for other engines: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for other engines: %w", err), lock.Close())
	}
	return func() { _ = lock.Close() }, nil
}

// KeepRules has no other test's engine begin until the test ends: it would take away the
// rules of the ports that this one publishes.
func (e *Engine) KeepRules(t testing.TB) {
	t.Helper()
	done, err := e.inTurn()
	if err != nil {
		t.Fatal(err)
	}
	e.keeps = true
	t.Cleanup(func() { e.keeps = false; done() })
}

// Restart stops an own engine, containers included, and starts it again.
func (e *Engine) Restart(t testing.TB) {
	t.Helper()
	if e.cmd == nil {
		t.Skip("the engine is not ours to restart")
	}
	e.stop()
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
}

func (e *Engine) stop() {
	if e.cmd == nil || e.exited == nil {
		return
	}
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.exited:
	case <-time.After(30 * time.Second):
		_ = e.cmd.Process.Kill()
		<-e.exited
	}
}

func (e *Engine) close(t testing.TB) {
	if t.Failed() && e.log != nil {
		t.Logf("dockerd:\n%s", e.tail())
	}
	if e.exited != nil {
		if ids, err := e.CLI("ps", "-aq"); err == nil && ids != "" {
			_, _ = e.CLI(append([]string{"rm", "-f"}, strings.Fields(ids)...)...)
		}
		if ids, err := e.CLI("network", "ls", "-q", "--filter", "type=custom"); err == nil && ids != "" {
			_, _ = e.CLI(append([]string{"network", "rm"}, strings.Fields(ids)...)...)
		}
		e.stop()
	}
	if e.log != nil {
		e.log.Close()
	}
	if e.bridge != "" {
		_ = command("ip", "link", "del", e.bridge)
		e.dropRules()
	}
	for _, dir := range []string{e.data, e.run} {
		if dir != "" {
			unmountBelow(dir)
			if err := os.RemoveAll(dir); err != nil {
				t.Logf("left behind: %v", err)
			}
		}
	}
}

// dropRules takes away the packet filter rules for the engine's own bridge and
// addresses, which it leaves behind; its chains stay, others may use them.
func (e *Engine) dropRules() {
	for _, table := range []string{"filter", "nat"} {
		rules, err := exec.Command("iptables", "-t", table, "-S").Output()
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(rules)) {
			f := strings.Fields(line)
			ours := slices.Contains(f, e.bridge) || strings.Contains(line, " "+e.subnet+".0.0/24 ")
			if ours && f[0] == "-A" {
				f[0] = "-D"
				_ = command("iptables", append([]string{"-w", "-t", table}, f...)...)
			}
		}
	}
}

// unmountBelow takes away the mounts an engine left, so that removing a
// directory removes nothing else.
func unmountBelow(dir string) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if f := strings.Fields(lines[i]); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			_ = syscall.Unmount(f[4], syscall.MNT_DETACH)
		}
	}
}

func (e *Engine) tail() string {
	b, _ := os.ReadFile(e.log.Name())
	return string(b[max(0, len(b)-4000):])
}

// CLI runs the docker command against the engine and returns what it printed.
func (e *Engine) CLI(args ...string) (string, error) {
	cmd := exec.Command("docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
