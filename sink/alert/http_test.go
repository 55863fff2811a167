package alert_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/alert"
	"github.com/weir-probe/weir/test/alertmanager"
	"github.com/weir-probe/weir/test/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run tells to one receiver, without waits, until the test ends.
func run(t *testing.T, to alert.Receiver, change func(*alert.Config)) *alert.Manager {
	t.Helper()
	cfg := alert.Config{Host: "one", Version: "test", Receivers: []alert.Receiver{to}, Quiet: time.Minute, Timeout: 10 * time.Second, Rand: func(int64) int64 { return 0 }}
	if change != nil {
		change(&cfg)
	}
	m, err := alert.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		m.Close()
	})
	return m
}

func tell(m *alert.Manager, fingerprint string, severity sink.Severity, over bool) {
	m.Tell(time.Now(), &alert.Alert{Fingerprint: fingerprint, Resolved: over, Event: sink.Event{
		Type: "unusual", Severity: severity, Client: "shop/web", Server: `db "1" <x>`, Message: "slow answers", Evidence: "p99=2.5", Expected: 0.1, Seen: 2.5,
		Actors: [2]sink.Actor{{Process: "curl", PID: 7, User: "app", Cmdline: "curl \x1b[2J\n-H <b>\u202e"}}}})
}

// notices are what an Alertmanager posts to its webhook.
type notices struct {
	mu   sync.Mutex
	said []string // "status alertname severity client server summary"
}

func (n *notices) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var body struct {
		Alerts []struct {
			Status              string
			Labels, Annotations map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range body.Alerts {
		n.said = append(n.said, strings.Join([]string{a.Status, a.Labels["alertname"], a.Labels["severity"], a.Labels["host"], a.Labels["client"], a.Labels["server"], a.Annotations["summary"], a.Annotations["description"]}, "|"))
	}
}

func (n *notices) has(s string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.said {
		if strings.Contains(x, s) {
			return true
		}
	}
	return false
}

// A real Alertmanager takes what goes on, changes and ends, and tells people so.
func TestRealAlertmanager(t *testing.T) {
	n := &notices{}
	hook := httptest.NewServer(n)
	t.Cleanup(hook.Close)
	am := alertmanager.Start(t, hook.URL)
	m := run(t, alert.Receiver{Kind: alert.Alertmanager, URL: alert.Secret(am.URL)}, nil)
	if f := m.Check(t.Context()); len(f) != 1 || f[0].Err != nil || !strings.HasSuffix(f[0].Detail, "is an Alertmanager") {
		t.Errorf("%+v", f)
	}
	tell(m, "f1", sink.SeverityWarning, false)
	machine.Until(t, "the alert fires", func() bool {
		return n.has(`firing|unusual|warning|one|shop/web|db "1" <x>|shop/web → db "1" <x>: slow answers|p99=2.5`)
	})
	list := am.Alerts(t)
	if len(list) != 1 || list[0].Labels["fingerprint"] != "f1" || list[0].Labels["job"] != "weir" || list[0].Annotations["seen"] != "2.5" ||
		list[0].Annotations["client_process"] != "curl" || list[0].Annotations["client_pid"] != "7" || list[0].Annotations["client_cmdline"] != "curl  [2J -H <b>" {
		t.Fatalf("%+v", list)
	}
	if left := list[0].EndsAt.Sub(list[0].StartsAt); left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("it ends by itself after %v", left)
	}
	tell(m, "f1", sink.SeverityError, false)
	machine.Until(t, "it gets worse", func() bool { return n.has("firing|unusual|error") && n.has("resolved|unusual|warning") })
	if list := am.Alerts(t); len(list) != 1 || list[0].Labels["severity"] != "error" {
		t.Errorf("%+v", list)
	}
	tell(m, "f1", sink.SeverityError, true)
	machine.Until(t, "it is over", func() bool { return n.has("resolved|unusual|error") })
	if list := am.Alerts(t); len(list) != 0 {
		t.Errorf("it goes on: %+v", list)
	}
	m.Tell(time.Now(), &alert.Alert{Event: sink.Event{Type: sink.EventOOM, Severity: sink.SeverityError, Server: "web", Message: "\xff1 process killed\n"}})
	machine.Until(t, "the event", func() bool { return n.has("firing|oom|error|one||web|web: �1 process killed|") })
	machine.Until(t, "it is known to be told", func() bool { return m.Stats().Waiting == 0 }) // people may know sooner
	if s := m.Stats(); s.Sent < 4 || s.Lost() != 0 || s.Retries != 0 {
		t.Errorf("%+v", s)
	}
}

// Whatever goes wrong, the alert arrives when it is right again, and nothing said of
// the trouble holds the secrets of the address.
func TestFaults(t *testing.T) {
	const secret = "T0S3cr3tB0/xoxb-v3ry"
	stalled := make(chan struct{})
	t.Cleanup(func() { close(stalled) })
	hijack := func(w http.ResponseWriter, f func(*net.TCPConn)) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		f(c.(*net.TCPConn))
		c.Close()
	}
	for _, c := range []struct {
		name  string
		fault http.HandlerFunc
		want  string // in the error
	}{
		{"stalls before the answer", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-stalled:
			case <-r.Context().Done():
			}
		}, "Timeout exceeded"},
		{"stalls in the answer", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "500"},
		{"500", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no: "+r.URL.String(), 500) }, "500 Internal Server Error: no: [redacted]"},
		{"429", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "0")
			http.Error(w, r.URL.Path, http.StatusTooManyRequests)
		}, "429 Too Many Requests: [redacted]"},
		{"connection reset", func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, func(c *net.TCPConn) { c.SetLinger(0) })
		}, "connection reset by peer"},
		{"connection closed", func(w http.ResponseWriter, _ *http.Request) { hijack(w, func(*net.TCPConn) {}) }, "EOF"},
		{"not HTTP", func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, func(c *net.TCPConn) { io.WriteString(c, "SSH-2.0-x\r\n") })
		}, "malformed HTTP"},
		{"endless header", func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)) })
		}, "exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			var arrived []string
			broken := true
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				mu.Lock()
				now := broken
				if !broken {
					arrived = append(arrived, string(body))
				}
				mu.Unlock()
				if now {
					c.fault(w, r)
				}
			}))
			t.Cleanup(s.Close)
			address := strings.Replace(s.URL, "http://", "http://bot:pa55word@", 1) + "/services/" + secret + "?key=qu3rysecret"
			var log bytes.Buffer
			m := run(t, alert.Receiver{Kind: alert.Slack, URL: alert.Secret(address)}, func(cfg *alert.Config) {
				cfg.Timeout = 300 * time.Millisecond
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			tell(m, "f1", sink.SeverityError, false)
			var st alert.Status
			machine.Until(t, "the trouble is told", func() bool { st = m.Status()[0]; return st.Error != "" })
			if !strings.Contains(st.Error, c.want) {
				t.Errorf("%q does not say %q", st.Error, c.want)
			}
			mu.Lock()
			broken = false
			mu.Unlock()
			machine.Until(t, "it arrives", func() bool { return m.Stats().Waiting == 0 && m.Status()[0].Error == "" })
			mu.Lock()
			defer mu.Unlock()
			if len(arrived) == 0 || !strings.Contains(arrived[len(arrived)-1], "slow answers") {
				t.Errorf("arrived: %q", arrived)
			}
			said := fmt.Sprint(st, m.Status(), log.String())
			for _, s := range []string{"T0S3cr3tB0", "v3ry", "pa55word", "qu3rysecret"} {
				if strings.Contains(said, s) {
					t.Errorf("%s is shown: %s", s, said)
				}
			}
		})
	}
}

// A certificate that nobody vouches for is an error until it is told who does.
func TestTLS(t *testing.T) {
	got := make(chan string, 100)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	to := alert.Receiver{Kind: alert.Webhook, URLFile: write("url", s.URL+"/hook\n"), TokenFile: write("token", "t0ken\n")}
	m := run(t, to, nil)
	tell(m, "f1", sink.SeverityError, false)
	machine.Until(t, "an error", func() bool { return strings.Contains(m.Status()[0].Error, "certificate") })
	to.CAFile = ca
	m = run(t, to, nil)
	tell(m, "f1", sink.SeverityError, false)
	if a := <-got; a != "Bearer t0ken" {
		t.Errorf("Authorization: %q", a)
	}
	to.CAFile = write("url2", "nonsense")
	if _, err := alert.New(alert.Config{Timeout: time.Second, Receivers: []alert.Receiver{to}}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("got %v", err)
	}
}

// An address that changes in its file is used at the next request.
func TestURLFileIsReadAgain(t *testing.T) {
	got := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.URL.Path }))
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "url")
	write := func(path string) {
		if err := os.WriteFile(file, []byte(s.URL+path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("/a")
	m := run(t, alert.Receiver{Kind: alert.Webhook, URLFile: file}, nil)
	for _, path := range []string{"/a", "/b"} {
		write(path)
		tell(m, path, sink.SeverityError, false)
		if p := <-got; p != path {
			t.Errorf("asked for %s, want %s", p, path)
		}
	}
}

// Check says who cannot be reached and why, tells nobody anything, and shows no secret.
func TestCheck(t *testing.T) {
	var asked atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); http.NotFound(w, nil) })
	plain, private := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	private.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	private.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(private.Close)
	gone := httptest.NewServer(h)
	gone.Close()
	cfg := alert.DefaultConfig()
	want := map[string]string{}
	for i, c := range []struct {
		to   alert.Receiver
		want string // of the error; "": none
	}{
		{alert.Receiver{Kind: alert.Webhook, URL: alert.Secret(plain.URL + "/s3cret")}, ""},
		{alert.Receiver{Kind: alert.Slack, URL: alert.Secret(private.URL + "/s3cret")}, "certificate"},
		{alert.Receiver{Kind: alert.Slack, URL: alert.Secret(private.URL + "/s3cret"), InsecureSkipVerify: true}, ""},
		{alert.Receiver{Kind: alert.Webhook, URL: alert.Secret(gone.URL + "/s3cret")}, "refused"},
		{alert.Receiver{Kind: alert.Alertmanager, URL: alert.Secret(plain.URL + "/s3cret")}, "answers 404"},
		{alert.Receiver{Kind: alert.Alertmanager, URL: alert.Secret(gone.URL + "/s3cret")}, "refused"},
		{alert.Receiver{Kind: alert.Webhook, URLFile: "/nonexistent"}, "no such file"},
	} {
		c.to.Name = fmt.Sprint(i)
		want[c.to.Name] = c.want
		cfg.Receivers = append(cfg.Receivers, c.to)
	}
	m, err := alert.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, f := range m.Check(t.Context()) {
		if w := want[f.Name]; (f.Err == nil) != (w == "") || f.Err != nil && !strings.Contains(f.Err.Error(), w) {
			t.Errorf("%s: %q, %v, want %q", f.Name, f.Detail, f.Err, w)
		}
		if s := fmt.Sprint(f); strings.Contains(s, "s3cret") {
			t.Errorf("a secret is shown: %s", s)
		}
	}
	if n := asked.Load(); n != 1 { // the Alertmanager that is none
		t.Errorf("%d requests were made", n)
	}
}

// What is wrong is said before anything runs, without the address.
func TestValidate(t *testing.T) {
	ok := alert.Receiver{Kind: alert.Webhook, URL: "http://h/p"}
	for _, c := range []struct {
		change func(*alert.Receiver)
		want   string
	}{
		{func(*alert.Receiver) {}, ""},
		{func(r *alert.Receiver) { r.Kind = "pager" }, "must be webhook, alertmanager or slack"},
		{func(r *alert.Receiver) { r.URL = "" }, "set url"},
		{func(r *alert.Receiver) { r.URLFile = "/x" }, "set one of them"},
		{func(r *alert.Receiver) { r.URL = "s3cret" }, "write it like"},
		{func(r *alert.Receiver) { r.URL = "http://u:s3cret@h:port/" }, "write it like"},
		{func(r *alert.Receiver) { r.Severity = "fatal" }, "info, warning or error"},
		{func(r *alert.Receiver) { r.Types = []string{"OOM!"} }, "not the type of an event"},
		{func(r *alert.Receiver) { r.CAFile, r.InsecureSkipVerify = "/x", true }, "no effect"},
	} {
		r := ok
		c.change(&r)
		cfg := alert.DefaultConfig()
		cfg.Receivers = []alert.Receiver{r}
		err := cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		if s := fmt.Sprint(err) + fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg); strings.Contains(s, "s3cret") {
			t.Errorf("a secret is shown: %s", s)
		}
	}
	cfg := alert.DefaultConfig()
	cfg.Receivers = []alert.Receiver{ok, ok}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "two receivers") {
		t.Errorf("got %v", err)
	}
}

// Test tells every receiver that it is a test, whatever that filters, and says who did not
// take it, without a secret.
func TestTest(t *testing.T) {
	got := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(body)
		if r.URL.Path == "/no/s3cret" {
			http.Error(w, "no_service: s3cret", http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	cfg := alert.DefaultConfig()
	cfg.Receivers = []alert.Receiver{
		{Name: "a", Kind: alert.Webhook, URL: alert.Secret(s.URL + "/hook"), Types: []string{"oom"}, Severity: sink.SeverityError},
		{Name: "b", Kind: alert.Slack, URL: alert.Secret(s.URL + "/chat")},
		{Name: "c", Kind: alert.Alertmanager, URL: alert.Secret(s.URL)},
		{Name: "d", Kind: alert.Slack, URL: alert.Secret(s.URL + "/no/s3cret")},
	}
	m, err := alert.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i, f := range m.Test(t.Context()) {
		if bad := i == 3; (f.Err != nil) != bad || bad && !strings.Contains(f.Err.Error(), "404 Not Found: no_service: [redacted]") || strings.Contains(fmt.Sprint(f), "s3cret") {
			t.Errorf("%+v", f)
		}
	}
	said := map[string]bool{}
	for range cfg.Receivers {
		path, body, _ := strings.Cut(<-got, " ")
		said[path] = strings.Contains(body, "this is a test by weir doctor") && json.Valid([]byte(body))
	}
	if len(said) != 4 || !said["/hook"] || !said["/chat"] || !said["/api/v2/alerts"] || !said["/no/s3cret"] {
		t.Errorf("%v", said)
	}
	if st := m.Stats(); st.Seen+st.Sent != 0 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}

// An alert goes by way of the proxy that the environment names, and Check connects to that.
// The environment is read once in a process: this one is the test's child.
func TestProxy(t *testing.T) {
	const to = "http://hook.invalid/s3cret"
	if os.Getenv("HTTP_PROXY") == "" {
		got := make(chan string, 10)
		proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.RequestURI }))
		t.Cleanup(proxy.Close)
		cmd := exec.Command(os.Args[0], "-test.run=^TestProxy$", "-test.v")
		cmd.Env = append(os.Environ(), "HTTP_PROXY="+proxy.URL, "NO_PROXY=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if n := len(got); n != 1 || <-got != to {
			t.Errorf("the proxy was asked %d times", n)
		}
		return
	}
	m := run(t, alert.Receiver{Kind: alert.Webhook, URL: to}, nil)
	if f := m.Check(t.Context())[0]; f.Err != nil || !strings.HasPrefix(f.Detail, "the proxy 127.0.0.1:") {
		t.Errorf("%+v", f)
	}
	tell(m, "f", sink.SeverityError, false)
	machine.Until(t, "it is taken", func() bool { return m.Stats().Sent == 1 })
}
