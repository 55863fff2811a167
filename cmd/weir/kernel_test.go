package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/machine"
)

const childEnv = "WEIR_TEST_CHILD"

// TestChildProcess is a server or a client in a process of its own: the probe's
// own connections are not rows.
func TestChildProcess(t *testing.T) {
	role, addr, _ := strings.Cut(os.Getenv(childEnv), " ")
	switch role {
	case "server":
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(os.Stderr, "listening %s\n", ln.Addr())
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(c, io.LimitReader(c, 12345)) // an echo
		c.Close()
	case "client":
		c, err := net.Dial("tcp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		go c.Write(make([]byte, 12345))
		if n, err := io.Copy(io.Discard, c); n != 12345 || err != nil {
			t.Fatalf("%d octets back, %v", n, err)
		}
		c.Close()
	default:
		t.Skip("runs as a child of TestKernelRun only")
	}
}

func child(t *testing.T, role string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestChildProcess$")
	cmd.Env = append(os.Environ(), childEnv+"="+role)
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, out
}

// TestKernelRun runs the whole program on this kernel and asks for one thing:
// one connection comes out with both its owners and its octets.
func TestKernelRun(t *testing.T) {
	machine.Root(t, "runs the probe")
	var log machine.Buffer
	out := filepath.Join(t.TempDir(), "rows")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	args := []string{"run", "--interval", "1s", "--sink", "file:" + out, "--journal", "", "--listen", "", "--docker", "/nonexistent", "--host", "vm"}
	go func() { done <- run(ctx, args, env{stdout: io.Discard, stderr: &log}) }()
	defer stop()
	for !strings.Contains(log.String(), "msg=ready") {
		select {
		case rc := <-done:
			t.Fatalf("ended with %d before it was ready:\n%s", rc, log.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	server, said := child(t, "server")
	var addr string
	if _, err := fmt.Fscanf(said, "listening %s\n", &addr); err != nil {
		t.Fatal(err)
	}
	client, _ := child(t, "client "+addr)
	if err := client.Wait(); err != nil {
		t.Fatalf("client: %v", err)
	}
	server.Wait()
	stop()
	if rc := <-done; rc != 0 {
		t.Fatalf("weir ended with %d:\n%s", rc, log.String())
	}
	rows, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var row string
	for _, line := range strings.Split(string(rows), "\n") {
		if strings.HasPrefix(line, "flow_log,") && strings.Contains(line, fmt.Sprintf("client_pid=%di", client.Process.Pid)) {
			row = line
		}
	}
	for _, want := range []string{
		"reporter=both", fmt.Sprintf("server_pid=%di", server.Process.Pid), "to_server_bytes=12345i", "to_client_bytes=12345i",
		"opened=1i", "to_server_wire_bytes=", "connect_count=1i", `close_cause="normal"`, "-test.run ^TestChildProcess$",
	} {
		if !strings.Contains(row, want) {
			t.Errorf("no %s in %q", want, row)
		}
	}
	if t.Failed() {
		t.Logf("log:\n%s\nrows:\n%s", log.String(), rows)
	}
}
