package faults

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// webhook is a receiver of alerts that can be away.
type webhook struct {
	*httptest.Server
	mu    sync.Mutex
	away  bool
	tries int
	told  []string // "type evidence" of events
	froms []string // ports of the probe
}

func receive(t *testing.T) *webhook {
	w := &webhook{}
	w.Server = httptest.NewServer(w)
	t.Cleanup(func() {
		if w.Close(); t.Failed() {
			tries, told, _ := w.state()
			t.Logf("the webhook was told in %d tries: %q", tries, told)
		}
	})
	return w
}

func (w *webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var body struct {
		Alerts []struct{ Type, Client, Server, Evidence string }
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries++
	if _, port, e := net.SplitHostPort(r.RemoteAddr); e == nil {
		w.froms = append(w.froms, port)
	}
	if w.away || err != nil {
		http.Error(rw, "away", http.StatusInternalServerError)
		return
	}
	for _, a := range body.Alerts {
		w.told = append(w.told, fmt.Sprint(a.Type, " ", a.Evidence))
	}
}

func (w *webhook) set(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
}

func (w *webhook) state() (tries int, told, froms []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tries, append([]string(nil), w.told...), append([]string(nil), w.froms...)
}

// refused tries to connect to a port where nobody is, and returns it.
func refused(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Fatalf("somebody is at port %d", port)
	}
	return port
}

// An event is told to a webhook. One that it could not be told before a reload, because
// the webhook was away, is told after it. The probe's own connections to the webhook are
// no rows, whether they succeed or not.
func TestAlerts(t *testing.T) {
	needsRoot(t)
	w := receive(t)
	alerts := "alerts: {wait: 0s, every: 0s, quiet: 0s, receivers: [{kind: webhook, types: [connection_failed], url: '" + w.URL + "/s3cr3t'}]}\n"
	r := runConfigured(t)
	configure(t, r.file, "before", r.out, alerts)
	r.Signal(t, syscall.SIGHUP)
	r.WaitLogs(t, "msg=ready", 2)

	has := func(port int) func() bool {
		want := fmt.Sprintf("server_port=%d ", port)
		return func() bool {
			_, told, _ := w.state()
			return strings.Count(strings.Join(told, " \n")+" ", want) == 1
		}
	}
	until(t, "an alert of the first failure", has(refused(t)))
	w.set(true)
	before, _, _ := w.state()
	second := refused(t)
	until(t, "a try while the webhook is away", func() bool { n, _, _ := w.state(); return n > before })
	configure(t, r.file, "after", r.out, alerts)
	r.Signal(t, syscall.SIGHUP)
	r.WaitLogs(t, "msg=ready", 3)
	w.set(false)
	until(t, "an alert of the second failure after the reload", has(second))
	u, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	r.Stop(t)
	_, _, froms := w.state()
	if len(froms) < 3 {
		t.Errorf("requests came from %v", froms)
	}
	lines := read(r.out)
	sent := 0
	for line := range strings.Lines(lines) {
		if p := field(line, "server_port"); p == port {
			t.Errorf("a row of the probe's own: %s", line)
		}
		if strings.HasPrefix(line, "weir_self,host=after,stage=alerts ") {
			sent += max(0, field(line, "alerts_sent"))
		}
	}
	if sent == 0 { // others on this machine may have failed, too
		t.Error("no row of stage alerts")
	}
	if strings.Contains(r.Stderr.String(), "s3cr3t") {
		t.Error("the log shows the webhook's address")
	}
}

// What cannot be opened is not taken, and the old configuration goes on.
func TestAlertsNotTaken(t *testing.T) {
	needsRoot(t)
	r := runConfigured(t)
	configure(t, r.file, "before", r.out, "alerts: {receivers: [{kind: slack, url: 'https://h.example/s3cr3t', ca_file: /nonexistent}]}\n")
	r.Signal(t, syscall.SIGHUP)
	r.WaitLog(t, "configuration not taken")
	r.Stop(t)
	if s := r.Stderr.String(); strings.Contains(s, "s3cr3t") || !strings.Contains(s, "read certificate authorities") {
		t.Errorf("the log: %s", s)
	}
}
