package cases

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// badRuntimes listens on sockets as runtimes do that are not well: one accepts and
// never answers, one answers rubbish, one an octet at a time.
func badRuntimes(t *testing.T) (hung, rubbish, slow string) {
	t.Helper()
	dir := t.TempDir()
	serve := func(name string, say func(net.Conn)) string {
		path := filepath.Join(dir, name)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { c.Close() })
				go say(c)
			}
		}()
		return path
	}
	hung = serve("hung", func(net.Conn) {})
	rubbish = serve("rubbish", func(c net.Conn) {
		for err := error(nil); err == nil; {
			_, err = c.Write([]byte("\x00\xff{]\x1b[31mHTTP/9.9 \r\n"))
		}
	})
	slow = serve("slow", func(c net.Conn) {
		for err := error(nil); err == nil; time.Sleep(100 * time.Millisecond) {
			_, err = c.Write([]byte("H"))
		}
	})
	return hung, rubbish, slow
}

// Whatever the runtimes do, rows come as ever, and doctor says which is not well.
func TestCaseH9_RuntimesNotWell(t *testing.T) {
	var args []string
	hung, rubbish, slow := badRuntimes(t)
	for _, s := range []string{hung, rubbish, slow, "/nonexistent/socket"} {
		for _, kind := range []string{"docker", "cri"} {
			if kind == "docker" { // a path is followed once
				args = append(args, "--runtime", kind+":"+s)
			} else {
				args = append(args, "--runtime", kind+":/proc/self/root"+s)
			}
		}
	}
	_, rows := own(t, args...)
	server := spawn(t, nil, "serve", "127.0.0.1:0", "300")
	port := server.number()
	for range 5 {
		c := spawn(t, nil, "call", fmt.Sprint("127.0.0.1:", port), "100")
		c.number()
		c.ended()
	}
	for _, r := range rows.final(t, 5, serverPort(port)) {
		want(t, r, map[string]any{"server_pid": server.Process.Pid, "to_server_bytes": 100, "to_client_bytes": 300, "client_method": "cookie"})
	}

	out, _ := exec.Command(binary, append([]string{"doctor", "--json", "--packets", "off"}, args...)...).Output()
	var said struct {
		Checks []struct{ Area, Name, State, Detail, Remedy string }
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("doctor: %v: %s", err, out)
	}
	found := 0
	for _, c := range said.Checks {
		if c.Area != "containers" || c.State != "limited" {
			continue
		}
		found++
		if c.Detail == "" || c.Remedy == "" {
			t.Errorf("%+v", c)
		}
	}
	if found != 9 { // eight sockets, and that none answers
		t.Errorf("%d complaints: %s", found, out)
	}
}
