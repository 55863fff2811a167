// Package kapacitor starts a real Kapacitor, the one that build.sh in this folder
// makes, for tests of TICKscripts.
package kapacitor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/machine"
)

const version = "1.5.9"

// Server is one Kapacitor, with the tasks that it was started with.
type Server struct {
	url     string
	logFile string
}

// Binary is the program's path. Where it is not built it skips t, or fails it when
// WEIR_REQUIRE contains "kapacitor".
func Binary(t testing.TB) string {
	t.Helper()
	bin := machine.Find("kapacitord-"+version, "kapacitord")
	if bin == "" {
		machine.Missing(t, "kapacitor", "Kapacitor is not built: test/kapacitor/build.sh")
	}
	return bin
}

// Start runs a server of its own for t that loads scripts, by file name, and
// asks an InfluxDB.
func Start(t testing.TB, influxURL string, scripts map[string]string) *Server {
	t.Helper()
	bin := Binary(t)
	dir := t.TempDir()
	tasks := filepath.Join(dir, "load", "tasks")
	if err := os.MkdirAll(tasks, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(tasks, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addr := machine.FreeAddress(t)
	s := &Server{url: "http://" + addr + "/kapacitor/v1", logFile: filepath.Join(dir, "log")}
	conf := fmt.Sprintf(`hostname = "localhost"
data_dir = %[1]q
[http]
  bind-address = %[2]q
  log-enabled = false
[replay]
  dir = "%[1]s/replay"
[storage]
  boltdb = "%[1]s/kapacitor.db"
[task]
  dir = "%[1]s/tasks"
[load]
  enabled = true
  dir = "%[1]s/load"
[logging]
  file = "STDERR"
  level = "INFO"
[stats]
  enabled = false
[reporting]
  enabled = false
[[influxdb]]
  enabled = true
  default = true
  urls = [%[3]q]
  disable-subscriptions = true
`, dir, addr, influxURL)
	path := filepath.Join(dir, "kapacitor.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, bin, path, len(scripts))
	return s
}

// run starts the server and waits until it runs the tasks, or says why not.
func (s *Server) run(t testing.TB, bin, conf string, tasks int) {
	t.Helper()
	log, err := os.Create(s.logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(bin, "-config", conf)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "HOME="+filepath.Dir(conf))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		if t.Failed() {
			b, _ := os.ReadFile(s.logFile)
			t.Logf("end of the log of Kapacitor:\n%s", b[max(0, len(b)-3000):])
		}
	})
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case <-done:
			t.Fatal("Kapacitor ended at its start: it does not take the scripts")
		default:
		}
		resp, err := http.Get(s.url + "/ping")
		if err != nil {
			continue
		}
		resp.Body.Close()
		// It lists a task before it has started it.
		all := s.tasks(t)
		if len(all) == tasks && !slices.ContainsFunc(all, func(x task) bool { return !x.Executing && x.Error == "" }) {
			return
		}
	}
	t.Fatalf("Kapacitor has not loaded %d tasks in 60 s", tasks)
}

// task is one as Kapacitor lists it.
type task struct {
	ID, Status, Error string
	Executing         bool
}

func (s *Server) tasks(t testing.TB) []task {
	t.Helper()
	var list struct{ Tasks []task }
	s.call(t, "GET", "/tasks?limit=-1", nil, &list)
	return list.Tasks
}

// Running are the tasks that run without an error, by name; of the others it
// tells t.
func (s *Server) Running(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, task := range s.tasks(t) {
		if task.Error != "" || !task.Executing {
			t.Errorf("task %s is %s: %s", task.ID, task.Status, task.Error)
			continue
		}
		names = append(names, task.ID)
	}
	return names
}

// Replay gives a batch task what its queries find between two times, as if they
// had been now.
func (s *Server) Replay(t testing.TB, task string, start, stop time.Time) {
	t.Helper()
	var recording, replay struct{ ID string }
	s.call(t, "POST", "/recordings/batch", map[string]any{"task": task,
		"start": start.UTC().Format(time.RFC3339Nano), "stop": stop.UTC().Format(time.RFC3339Nano)}, &recording)
	s.wait(t, "/recordings/"+recording.ID)
	s.call(t, "POST", "/replays", map[string]any{"task": task, "recording": recording.ID, "recording-time": true, "clock": "fast"}, &replay)
	s.wait(t, "/replays/"+replay.ID)
}

func (s *Server) wait(t testing.TB, path string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var x struct{ Status, Error string }
		s.call(t, "GET", path, nil, &x)
		switch x.Status {
		case "finished":
			return
		case "failed":
			t.Fatalf("%s: %s", path, x.Error)
		}
	}
	t.Fatalf("%s did not end in 30 s", path)
}

// Event is the state of an alert.
type Event struct{ ID, Level, Message string }

// Events are the states of a topic's alerts.
func (s *Server) Events(t testing.TB, topic string) []Event {
	t.Helper()
	var answer struct {
		Events []struct {
			ID    string
			State struct{ Level, Message string }
		}
	}
	s.call(t, "GET", "/alerts/topics/"+topic+"/events?min-level=ok", nil, &answer)
	var events []Event
	for _, e := range answer.Events {
		events = append(events, Event{e.ID, e.State.Level, e.State.Message})
	}
	return events
}

// Handle has the alerts of a topic handled in one more way, say kind "post" with the
// option "url".
func (s *Server) Handle(t testing.TB, topic, kind string, options map[string]any) {
	t.Helper()
	var answer struct{ ID string }
	s.call(t, "POST", "/alerts/topics/"+topic+"/handlers", map[string]any{"id": kind, "kind": kind, "options": options}, &answer)
}

func (s *Server) call(t testing.TB, method, path string, in, out any) {
	t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s: %.500s %v", method, path, resp.Status, b, err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatalf("%s %s: %v in %.300s", method, path, err, b)
	}
}
