// Package alertmanager starts a real Alertmanager for tests, the version that build.sh in
// this folder makes.
package alertmanager

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/machine"
)

// Version that build.sh makes.
const Version = "0.28.1"

// Server is one Alertmanager, which tells of groups by alertname at once.
type Server struct {
	URL string
	cmd *exec.Cmd
}

// Alert is what GET /api/v2/alerts says of one.
type Alert struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
}

// Start runs an Alertmanager for t that notifies the webhook. Where it is not built it
// skips t, or fails it when WEIR_REQUIRE contains "alertmanager".
func Start(t testing.TB, webhook string) *Server {
	t.Helper()
	bin := machine.Cached("alertmanager-" + Version)
	if bin == "" {
		machine.Missing(t, "alertmanager", "Alertmanager is not built: test/alertmanager/build.sh")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	text := fmt.Sprintf(`route: {receiver: hook, group_by: [alertname], group_wait: 1ms, group_interval: 100ms, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: %q, send_resolved: true}]}]
`, webhook)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := machine.FreeAddress(t)
	logFile, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{URL: "http://" + addr}
	s.cmd = exec.Command(bin, "--config.file", config, "--storage.path", filepath.Join(dir, "data"), "--web.listen-address", addr, "--cluster.listen-address=")
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, logFile, logFile
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start Alertmanager: %v", err)
	}
	done := make(chan struct{})
	go func() { _ = s.cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-done
		logFile.Close()
		if t.Failed() {
			b, _ := os.ReadFile(logFile.Name())
			t.Logf("end of the log of Alertmanager:\n%s", b[max(0, len(b)-3000):])
		}
	})
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(s.URL + "/-/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s
			}
		}
		select {
		case <-done:
			t.Fatal("Alertmanager ended at its start")
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("Alertmanager did not get ready in 60 s")
		}
	}
}

// Alerts are those that go on.
func (s *Server) Alerts(t testing.TB) (list []Alert) {
	t.Helper()
	resp, err := http.Get(s.URL + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("ask Alertmanager for its alerts: %s: %v", resp.Status, err)
	}
	return list
}
