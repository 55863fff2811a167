package podman

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// Image is the one image there is: /workload of test/workload.
const Image = "localhost/workload:1"

// Service is a running `podman system service`.
type Service struct {
	Socket string
	NS     *netlab.NS // where its containers' networks are

	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
	ids    []string
}

// Config says whose Podman it is.
type Config struct {
	// Subnet is the address range of the default network (root only).
	Subnet string
	// UID is the user who runs it; 0 is root.
	UID int
	// Socket is where it listens (default: in a directory of its own).
	Socket string
}

// settings are what works where no limit may be raised and no systemd runs.
const settings = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "cni"
network_config_dir = "%[1]s/net.d"
cni_plugin_dirs = ["/usr/lib/cni"]
default_subnet = %[2]q
`

// Start returns a service, or skips the test with the reason; where WEIR_REQUIRE
// contains "podman" a missing one is a failure.
func Start(t testing.TB, cfg Config) *Service {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "needs root to make namespaces")
	}
	for _, bin := range []string{"podman", "conmon", "runc", "setpriv", "/usr/lib/cni/bridge"} {
		if _, err := exec.LookPath(bin); err != nil {
			missing(t, bin+" is not installed (Debian: podman, conmon, runc, containernetworking-plugins)")
		}
	}
	s := &Service{NS: netlab.New(t), Socket: cfg.Socket}
	t.Cleanup(func() { s.close(t) })
	var err error
	if s.dir, err = os.MkdirTemp("/var/lib", "weir-test-podman-"); err != nil {
		t.Fatal(err)
	}
	if s.Socket == "" {
		s.Socket = s.dir + "/podman.sock"
	}
	conf := fmt.Sprintf(settings, s.dir, cfg.Subnet)
	if err := os.WriteFile(s.dir+"/containers.conf", []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{s.dir, s.dir + "/run", filepath.Dir(s.Socket)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(d, cfg.UID, cfg.UID); err != nil {
			t.Fatal(err)
		}
	}
	s.start(t, cfg)
	s.load(t)
	return s
}

func missing(t testing.TB, why string) {
	t.Helper()
	machine.Missing(t, "podman", "no podman: "+why)
}

func (s *Service) start(t testing.TB, cfg Config) {
	t.Helper()
	log, err := os.Create(s.dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	podman := []string{"podman", "--root", s.dir + "/root", "--runroot", s.dir + "/run/root", "--tmpdir", s.dir + "/run/tmp", "system", "service", "-t", "0", "unix://" + s.Socket}
	script := `mkdir -p /var/lib/cni; mount -t tmpfs none /var/lib/cni; cd "$1"; shift; exec "$@"`
	args := []string{"-m", "--propagation", "private", "sh", "-ec", script, "sh", s.dir}
	if cfg.UID != 0 {
		id := strconv.Itoa(cfg.UID)
		args = append(args, "setpriv", "--reuid", id, "--regid", id, "--clear-groups")
	}
	s.cmd = exec.Command("unshare", append(args, podman...)...)
	s.cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+s.dir+"/containers.conf", "HOME="+s.dir, "XDG_RUNTIME_DIR="+s.dir+"/run")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.NS.StartCommand(t, s.cmd)
	s.exited = make(chan struct{})
	go func() { _ = s.cmd.Wait(); close(s.exited) }()
	probe.Until(t, 30*time.Second, "podman answers", func() error {
		select {
		case <-s.exited:
			t.Fatalf("podman ended:\n%s", s.tail())
		default:
		}
		_, err := s.cli(t.Context(), "version")
		return err
	})
}

// load gives it its image.
func (s *Service) load(t testing.TB) {
	t.Helper()
	code, err := os.ReadFile(probe.Build(t, "./test/workload"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	if err := tw.WriteHeader(&tar.Header{Name: "workload", Mode: 0o755, Size: int64(len(code))}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(code); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(archive, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Do(t, "import", "--change", `ENTRYPOINT ["/workload"]`, archive, Image)
}

// Do runs a command of Podman's client and returns what it printed.
func (s *Service) Do(t testing.TB, args ...string) string {
	t.Helper()
	out, err := s.cli(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	return out
}

func (s *Service) cli(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "podman", append([]string{"--remote", "--url", "unix://" + s.Socket}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("podman %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// Run starts a container (podman run -d ARGS) and returns its id.
func (s *Service) Run(t testing.TB, args ...string) string {
	t.Helper()
	id := s.Do(t, append([]string{"run", "-d"}, args...)...)
	s.ids = append(s.ids, id)
	return id
}

// Serving is Run for a container that serves, and waits until it does.
func (s *Service) Serving(t testing.TB, args ...string) string {
	t.Helper()
	id := s.Run(t, args...)
	probe.Until(t, 30*time.Second, "the container serves", func() error {
		cmd := exec.Command("podman", "--remote", "--url", "unix://"+s.Socket, "logs", id)
		out, err := cmd.CombinedOutput()
		if err == nil && !strings.Contains(string(out), "serving") {
			err = fmt.Errorf("so far: %q", out)
		}
		return err
	})
	return id
}

// Inspect returns a field of a container, as a template.
func (s *Service) Inspect(t testing.TB, id, format string) string {
	t.Helper()
	return s.Do(t, "inspect", "--format", format, id)
}

func (s *Service) close(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if s.exited != nil {
		_, _ = s.cli(ctx, "pod", "rm", "-af", "-t", "0")
		_, _ = s.cli(ctx, "rm", "-af", "-t", "0")
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.exited:
		case <-time.After(10 * time.Second):
			_ = s.cmd.Process.Kill()
			<-s.exited
		}
	}
	if t.Failed() {
		t.Logf("podman:\n%s", s.tail())
	}
	s.killRest()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		for _, id := range s.ids {
			dirs, _ := filepath.Glob(root + "/libpod_parent/*" + id + "*")
			for _, d := range dirs {
				_ = os.Remove(d)
			}
		}
		// The pods' groups, and their parent, which stay when another one uses them.
		for _, group := range []string{"/libpod_parent/*", "/libpod_parent"} {
			dirs, _ := filepath.Glob(root + group)
			for _, d := range dirs {
				_ = os.Remove(d)
			}
		}
	}
	_ = os.Remove(s.Socket)
	unmountBelow(s.dir)
	if err := os.RemoveAll(s.dir); err != nil {
		t.Logf("left behind: %v", err)
	}
}

// killRest ends what Podman leaves running for its next call: as a user it is a
// process in a namespace of that user, and one that only keeps the namespace. They
// are known by the configuration they were started with.
func (s *Service) killRest() {
	if s.dir == "" {
		return
	}
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range environs {
		env, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(env, []byte("CONTAINERS_CONF="+s.dir+"/containers.conf\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func unmountBelow(dir string) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if f := strings.Fields(lines[i]); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			_ = unix.Unmount(f[4], unix.MNT_DETACH)
		}
	}
}

func (s *Service) tail() string {
	b, _ := os.ReadFile(s.dir + "/log")
	return string(b[max(0, len(b)-4000):])
}
