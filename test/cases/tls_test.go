package cases

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-probe/weir/test/probe"
)

// container makes a control group that looks like that of an LXC container, which
// needs no engine to have a name, and returns the name and its directory.
func container(t *testing.T, name string) (called, dir string) {
	t.Helper()
	called = fmt.Sprintf("%s-%d", name, os.Getpid())
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
			continue
		}
		dir = filepath.Join(root, "lxc.payload."+called)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			probe.Until(t, patience, "the end of "+dir, func() error { return os.Remove(dir) }) // the last process may still be leaving
		})
		return called, dir
	}
	t.Skip("no cgroup v2 hierarchy is mounted")
	return "", ""
}

// intoGroup has a command run in a control group.
func intoGroup(t *testing.T, dir string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(d.Fd())}
	return cmd
}

// secrets writes a certificate and its key.
func secrets(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=localhost").CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	return cert, key
}

// serveNginx runs nginx with TLS in a group and returns its port.
func serveNginx(t *testing.T, group string) int {
	t.Helper()
	dir := t.TempDir()
	cert, key := secrets(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log; user root;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server {
    listen 127.0.0.1:%[2]d ssl http2; ssl_certificate %[3]s; ssl_certificate_key %[4]s;
    location /ok { return 200 "fine\n"; }
    location /gone { return 410; }
  }
}`, dir, port, cert, key)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	launch(t, nil, intoGroup(t, group, exec.Command("nginx", "-c", conf, "-e", filepath.Join(dir, "error.log"))))
	probe.Until(t, patience, "nginx", func() error {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err
	})
	return port
}

// curlHTTPS asks n times for /ok and /gone, over one connection.
func curlHTTPS(t *testing.T, version string, port, n int) {
	t.Helper()
	args := []string{"-sk", version, "--max-time", "20"}
	for range n {
		for _, p := range []string{"/ok", "/gone"} {
			args = append(args, "-o", "/dev/null", fmt.Sprintf("https://127.0.0.1:%d%s", port, p))
		}
	}
	if out, err := exec.Command("curl", args...).CombinedOutput(); err != nil {
		t.Fatalf("curl: %v: %s", err, out)
	}
}

// operations waits for n requests in l7 of a server port and counts them by
// protocol, operation and status; what TLS tells of itself is left out.
func operations(t *testing.T, rows *rows, port, n int) map[string]int64 {
	t.Helper()
	mine := func(x row) bool { return x.tag("server_port") == strconv.Itoa(port) && x.tag("l7") != "tls" }
	probe.Until(t, patience, fmt.Sprintf("%d requests in l7", n), func() error {
		var got int64
		for _, x := range rows.all(t, "l7", mine) {
			got += x.num("requests")
		}
		if got < int64(n) {
			return errors.New(strconv.FormatInt(got, 10) + " so far")
		}
		return nil
	})
	rows.settle(t)
	counts := map[string]int64{}
	for _, x := range rows.all(t, "l7", mine) {
		counts[x.tag("server")+" "+x.tag("l7")+" "+x.tag("operation")+" "+x.tag("status")] += x.num("requests")
	}
	return counts
}

// probes is how many uprobes a process holds.
func probes(t *testing.T, pid int) (n int) {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		t.Fatalf("files of %d: %v", pid, err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.Contains(to, "perf_event") {
			n++
		}
	}
	return n
}

// Inside TLS of a selected container, requests to nginx (OpenSSL) have their names
// and answers, by HTTP/1.1 and HTTP/2, each counted once; those to a container that
// was not selected have not, though both run the same library.
func TestTLS_OpenSSL(t *testing.T) {
	needs(t, "nginx", "nginx")
	needs(t, "curl", "curl")
	needs(t, "openssl", "openssl")
	name, group := container(t, "tlsweb")
	_, other := container(t, "tlshidden")
	p, rows := own(t, "--tls", "tlsweb-*")
	hidden := serveNginx(t, other)
	port := serveNginx(t, group)
	p.WaitLog(t, "inside TLS\" file=/")
	const n = 7
	for _, to := range []int{hidden, port} {
		curlHTTPS(t, "--http1.1", to, n)
		curlHTTPS(t, "--http2", to, n)
	}
	got := operations(t, rows, port, 4*n)
	want := map[string]int64{
		name + " http GET /ok 200": n, name + " http GET /gone 410": n,
		name + " http2 GET /ok 200": n, name + " http2 GET /gone 410": n,
	}
	if !maps.Equal(got, want) {
		t.Errorf("told %v\nwant %v", got, want)
	}
	if got := operations(t, rows, hidden, 0); len(got) != 0 {
		t.Errorf("told of a container that was not selected: %v", got)
	}
	if probes(t, p.PID()) == 0 {
		t.Error("no probe is held: the next test proves nothing")
	}
}

// The same of a stripped Go program that serves by net/http.
func TestTLS_GoStripped(t *testing.T) {
	needs(t, "curl", "curl")
	needs(t, "openssl", "openssl")
	t.Setenv("GOFLAGS", "-ldflags=-s -buildvcs=false")
	server, err := probe.BuildIn(t.TempDir(), "./kprobes/tls/testdata/server")
	if err != nil {
		t.Skip(err)
	}
	name, group := container(t, "tlsgo")
	p, rows := own(t, "--tls", name)
	cert, key := secrets(t, t.TempDir())
	port := launch(t, nil, intoGroup(t, group, exec.Command(server, "serve", cert, key))).number()
	p.WaitLog(t, "inside TLS\" file=")
	const n = 7
	curlHTTPS(t, "--http1.1", port, n)
	curlHTTPS(t, "--http2", port, n)
	got := operations(t, rows, port, 4*n)
	want := map[string]int64{
		name + " http GET /ok 200": n, name + " http GET /gone 410": n,
		name + " http2 GET /ok 200": n, name + " http2 GET /gone 410": n,
	}
	if !maps.Equal(got, want) {
		t.Errorf("told %v\nwant %v", got, want)
	}
}

// What looks inside TLS comes and goes with the configuration, without a restart: a
// process that was there before is looked into, and afterwards nothing is held.
func TestTLS_Reload(t *testing.T) {
	needs(t, "nginx", "nginx")
	needs(t, "curl", "curl")
	needs(t, "openssl", "openssl")
	name, group := container(t, "tlsreload")
	file := filepath.Join(t.TempDir(), "weir.yaml")
	configure := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("")
	p, rows := own(t, "--config", file)
	port := serveNginx(t, group)
	configure("tls: [" + name + "]\n")
	p.Signal(t, syscall.SIGHUP)
	p.WaitLog(t, "inside TLS\" file=/")
	const n = 5
	curlHTTPS(t, "--http1.1", port, n)
	want := map[string]int64{name + " http GET /ok 200": n, name + " http GET /gone 410": n}
	if got := operations(t, rows, port, 2*n); !maps.Equal(got, want) {
		t.Errorf("told %v\nwant %v", got, want)
	}
	configure("")
	p.Signal(t, syscall.SIGHUP)
	p.WaitLogs(t, "msg=ready", 3)
	if held := probes(t, p.PID()); held != 0 {
		t.Errorf("%d probes are held", held)
	}
	curlHTTPS(t, "--http1.1", port, n)
	if got := operations(t, rows, port, 2*n); !maps.Equal(got, want) {
		t.Errorf("switched off: told %v\nwant %v", got, want)
	}
	configure("l7: turns\n")
	p.Signal(t, syscall.SIGHUP)
	p.WaitLog(t, "take effect when weir starts again")
	probe.Until(t, patience, "a row says so", func() error {
		for _, x := range rows.all(t, "weir_info", func(row) bool { return true }) {
			if x.str("restart_needed") == "l7" {
				return nil
			}
		}
		return errors.New("none yet")
	})
}

// Nothing is attached unless it is asked for.
func TestTLS_OffByDefault(t *testing.T) {
	needs(t, "nginx", "nginx")
	needs(t, "curl", "curl")
	needs(t, "openssl", "openssl")
	_, group := container(t, "tlsoff")
	p, rows := own(t)
	port := serveNginx(t, group)
	curlHTTPS(t, "--http1.1", port, 1)
	probe.Until(t, patience, "the connection", func() error {
		if len(rows.all(t, "flow_log", serverPort(port))) == 0 {
			return errors.New("not told yet")
		}
		return nil
	})
	if n := probes(t, p.PID()); n != 0 {
		t.Errorf("%d probes", n)
	}
	if got := operations(t, rows, port, 0); len(got) != 0 {
		t.Errorf("told %v", got)
	}
	if got := rows.all(t, "weir_self", func(r row) bool { return r.tag("stage") == "tls" }); len(got) != 0 {
		t.Errorf("rows of a stage that is off: %v", got)
	}
}
