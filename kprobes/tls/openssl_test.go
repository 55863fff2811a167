package tls

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nginx serves HTTPS with real OpenSSL in a control group; it returns its port.
func (f *fixture) nginx(group string) uint16 {
	f.t.Helper()
	bin, dir, port := command(f.t, "nginx"), f.t.TempDir(), freePort(f.t)
	cert, key := certificate(f.t, dir)
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; worker_processes 1; pid %[1]s/pid; error_log %[1]s/error.log; user root;
events { worker_connections 64; }
http {
  access_log off; keepalive_requests 1000000000; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server {
    listen 127.0.0.1:%[2]d ssl http2; ssl_certificate %[3]s; ssl_certificate_key %[4]s;
    location /ok { return 200 "fine\n"; }
    location /gone { return 410; }
    location /big { alias %[1]s/big; }
  }
}`, dir, port, cert, key)
	for name, b := range map[string][]byte{conf: []byte(text), filepath.Join(dir, "big"): bytes.Repeat([]byte("0123456789abcdef"), 1<<16)} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	cmd := within(f.t, group, exec.Command(bin, "-c", conf, "-e", filepath.Join(dir, "error.log")))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) // the worker goes with it
		cmd.Wait()
	})
	f.until("nginx", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return port
}

func freePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// curl asks for paths over one connection.
func curl(t testing.TB, group string, port uint16, version string, paths ...string) {
	t.Helper()
	args := []string{"-sk", version, "--max-time", "20"}
	for _, p := range paths {
		args = append(args, "-o", "/dev/null", fmt.Sprintf("https://127.0.0.1:%d%s", port, p))
	}
	cmd := exec.Command(command(t, "curl"), args...)
	if group != "" {
		within(t, group, cmd)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("curl: %v: %s", err, out)
	}
}

// TestLiveOpenSSL: what nginx reads and writes by OpenSSL is told as plain text,
// of its own socket, and once.
func TestLiveOpenSSL(t *testing.T) {
	f := open(t)
	port := f.nginx(f.group)
	f.until("probes in OpenSSL", func() bool { return f.has(OpenSSL, "libssl.so.3") })
	other := newGroup(t, "other")
	curl(t, other, port, "--http1.1", "/ok", "/gone", "/big")
	f.until("answers", func() bool { return strings.Count(f.text(port, true), "HTTP/1.1 ") >= 3 })
	in, out := f.text(port, false), f.text(port, true)
	for _, want := range []string{"GET /ok HTTP/1.1\r\n", "GET /gone HTTP/1.1\r\n", "GET /big HTTP/1.1\r\n"} {
		if strings.Count(in, want) != 1 {
			t.Errorf("%q is told %d times of the requests", want, strings.Count(in, want))
		}
	}
	for _, want := range []string{"HTTP/1.1 200 OK\r\n", "HTTP/1.1 410 Gone\r\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the answers", want)
		}
	}
	var next [2]uint32
	for _, e := range f.plain {
		d := 0
		if e.Out {
			d = 1
		}
		if e.Key.SrcPort != port || e.Cookie == 0 || e.Cookie != f.plain[0].Cookie || e.Time == 0 || time.Since(time.Unix(0, e.Time)) > time.Hour {
			t.Errorf("%+v is of another connection", e)
		}
		if e.Seq != next[d] {
			t.Errorf("octet %d follows %d", e.Seq, next[d])
		}
		next[d] = e.Seq + e.Len
	}
	if next[1] < 1<<20 {
		t.Errorf("%d octets were written", next[1])
	}
	if copied := uint64(len(out)); copied > 64<<10 {
		t.Errorf("%d octets of %d were copied", copied, next[1])
	}
	if st := f.set.TLSStats(); st.Unbound != 0 || st.Unreadable != 0 || st.Bound != 1 || st.Octets != uint64(next[0])+uint64(next[1]) {
		t.Errorf("%+v", st)
	}
}

// TestLiveOpenSSLSelection: a process of a group that is not selected is not told
// of, though it runs the same library.
func TestLiveOpenSSLSelection(t *testing.T) {
	f := open(t)
	other := newGroup(t, "other")
	hidden := f.nginx(other)
	if f.has(OpenSSL, "libssl.so.3") {
		t.Fatal("probes for a group that nobody selected")
	}
	curl(t, other, hidden, "--http1.1", "/ok")
	port := f.nginx(f.group)
	f.until("probes in OpenSSL", func() bool { return f.has(OpenSSL, "libssl.so.3") })
	curl(t, other, hidden, "--http1.1", "/ok")
	curl(t, other, port, "--http1.1", "/ok")
	f.until("the answer", func() bool { return strings.Contains(f.text(port, true), "200 OK") })
	for _, e := range f.plain {
		if e.Key.SrcPort != port {
			t.Errorf("told of %+v", e)
		}
	}
	// Deselected, nothing is told any more and the probes go.
	f.m.Select(nil)
	f.until("the end", func() bool { return f.m.Stats().Groups == 0 && len(f.m.Files()) == 0 })
	n := len(f.plain)
	curl(t, other, port, "--http1.1", "/ok")
	if _, err := f.set.Drain(f); err != nil || len(f.plain) != n {
		t.Errorf("%d events after the end, error %v", len(f.plain)-n, err)
	}
}
