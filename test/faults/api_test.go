package faults

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/probe"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, b
}

func TestLocalAPI(t *testing.T) {
	needsRoot(t)
	s, addr := listen(t), freeAddress(t)
	p := run(t, "--journal", "", "--listen", addr)
	if code, body := get(t, "http://"+addr+"/health"); code != 200 || strings.TrimSpace(string(body)) != "ok" {
		t.Errorf("/health: %d %s", code, body)
	}
	if out, err := exec.Command(weir, "health", "--listen", addr).CombinedOutput(); err != nil || string(out) != "ok\n" {
		t.Errorf("weir health: %v %s", err, out)
	}
	until(t, "the edge in /api/edges", func() bool {
		s.connect(t, 5)
		code, body := get(t, "http://"+addr+"/api/edges")
		var v struct {
			Edges []struct {
				Client        string `json:"client"`
				ClientProcess string `json:"client_process"`
				Opened        int    `json:"opened"`
				Attribution   string `json:"attribution"`
			} `json:"edges"`
		}
		if err := json.Unmarshal(body, &v); code != 200 || err != nil {
			t.Fatalf("/api/edges: %d, %v in %.300s", code, err, body)
		}
		for _, e := range v.Edges {
			if strings.HasPrefix(e.ClientProcess, "faults") && e.Opened > 0 && e.Attribution == "exact" {
				return true
			}
		}
		return false
	})
	code, body := get(t, "http://"+addr+"/api/status")
	var st struct {
		Ready   bool
		Version string
		Hooks   []struct{ State string }
		Packets struct{ Mode string }
	}
	if err := json.Unmarshal(body, &st); code != 200 || err != nil || !st.Ready || st.Version == "" || len(st.Hooks) < 10 || st.Packets.Mode != "off" {
		t.Errorf("/api/status: %d, %v: %.500s", code, err, body)
	}
	p.Stop(t)
	if res, err := http.Get("http://" + addr + "/health"); err == nil {
		res.Body.Close()
		t.Error("the API answers after the end")
	}
}

// I10: two probes on one host; each sees everything.
func TestCaseI10_TwoProbes(t *testing.T) {
	needsRoot(t)
	s := listen(t)
	addr := freeAddress(t)
	a := run(t, "--journal", t.TempDir(), "--listen", addr, "--sink", "stdout", "--packets", "auto", "--interface", "lo")
	b := run(t, "--journal", t.TempDir(), "--listen", freeAddress(t), "--sink", "stdout", "--packets", "auto", "--interface", "lo")
	c := probe.Spawn(t, command("--journal", "", "--listen", addr))
	if st := c.Status(t); st != 1 || !strings.Contains(c.Stderr.String(), "--listen") {
		t.Errorf("a third one at the first's address: exit status %d, %s", st, c.Stderr)
	}
	ports := s.connect(t, 50)
	b.Stop(t)
	more := s.connect(t, 50)
	a.Stop(t)
	s.exactlyOnce(t, a.Stdout.String(), append(ports, more...))
	s.exactlyOnce(t, b.Stdout.String(), ports)
	for line := range strings.Lines(a.Stdout.String()) {
		if strings.HasPrefix(line, "flow_log,") && field(line, "server_port") == s.port && (field(line, "to_server_bytes") != 10 || field(line, "to_server_wire_bytes") < 10) {
			t.Errorf("wrong octets: %s", line)
		}
	}
}
