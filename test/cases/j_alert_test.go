package cases

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// alertChildren are the children of section J.
var alertChildren = map[string]func(args []string) error{"pull": childPull}

// childPull asks the last of its arguments once, as childAnswer wants to be asked, and
// takes 100 octets for it.
func childPull(args []string) error {
	c, err := net.Dial("tcp", args[len(args)-1])
	if err != nil {
		return err
	}
	_, err = c.Write([]byte{0, 0, 0, 4})
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 100))
	}
	if err = errors.Join(err, c.Close()); err == nil {
		fmt.Println("pulled")
	}
	return err
}

// paged is one alert, as a webhook is told it.
type paged struct {
	Type, Status, Severity, Client, Server, Fingerprint string
	ClientActor, ServerActor                            actor
}

type actor struct {
	Process, User, Cmdline string
	PID                    int
}

// pager is a webhook at /hook and a chat at anything else.
type pager struct {
	*httptest.Server
	mu     sync.Mutex
	alerts []paged
	bodies []string
	chat   []string
}

func newPager(t *testing.T) *pager {
	p := new(pager)
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *pager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var body struct {
		Text   string
		Alerts []struct {
			paged
			ClientActor actor `json:"client_actor"`
			ServerActor actor `json:"server_actor"`
		}
	}
	if err = errors.Join(err, json.Unmarshal(b, &body)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bodies = append(p.bodies, string(b))
	if r.URL.Path != "/hook" {
		p.chat = append(p.chat, body.Text)
		return
	}
	for _, a := range body.Alerts {
		a.paged.ClientActor, a.paged.ServerActor = a.ClientActor, a.ServerActor
		p.alerts = append(p.alerts, a.paged)
	}
}

// of are the alerts about a server, and what the chat was told of it; bodies is all.
func (p *pager) of(server string) (alerts []paged, chat []string, bodies string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.alerts {
		if a.Server == server {
			alerts = append(alerts, a)
		}
	}
	for _, text := range p.chat {
		for line := range strings.Lines(text) {
			if strings.Contains(line, server) {
				chat = append(chat, line)
			}
		}
	}
	return alerts, chat, strings.Join(p.bodies, "\n")
}

// playing starts the test binary as a child under a name of its own, and as a user.
func playing(t *testing.T, ns *netlab.NS, name string, uid uint32, role string, args ...string) *process {
	t.Helper()
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		self, err := os.ReadFile("/proc/self/exe")
		if err == nil {
			err = os.WriteFile(path, self, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return spawnWith(t, ns, func(c *exec.Cmd) {
		c.Path, c.Args[0], c.Dir = path, name, "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}, role, args...)
}

// J8: somebody whom nobody knows asks the database. Whoever is told of alerts reads in
// them which process it was, whose, and with what command line, but no secret and nothing
// that a terminal or a chat would obey. Who is known is not told.
func TestCaseJ8_UnknownClient(t *testing.T) {
	machine.Root(t, "runs the probe")
	p, b := newPager(t), newPair(t, 79)
	config := filepath.Join(t.TempDir(), "weir.yaml")
	text := fmt.Sprintf(`anomaly: {learn: 20s}
alerts:
  wait: 0s
  every: 0s
  receivers:
    - {kind: webhook, url: '%[1]s/hook'}
    - {kind: slack, url: '%[1]s/chat'}
`, p.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, rows := own(t, "--config", config)
	at := fmt.Sprintf("%s:%d", b.there, playing(t, b.far, "weir-j8-db", 0, "answer", "tcp", b.there+":0", "100").number())
	playing(t, b.near, "weir-j8-web", 0, "pull", at).hears("pulled")
	self := func(x row) bool { return x.tag("stage") == "anomaly" && x.num("learning") == 0 && x.num("edges") > 0 }
	probe.Until(t, 2*patience, "the end of learning", func() error {
		if len(rows.all(t, "weir_self", self)) == 0 {
			return errors.New("still learning")
		}
		return nil
	})
	playing(t, b.near, "weir-j8-web", 0, "pull", at).hears("pulled")
	dump := playing(t, b.near, "weir-j8-dump", 65534, "pull", "--password=hunter2", "--note=\x1b]0;evil\x07 `x` <!channel>\u202egnp", at)
	dump.hears("pulled")

	var alerts []paged
	var chat []string
	probe.Until(t, patience, "the alert, at both receivers", func() error {
		if alerts, chat, _ = p.of("weir-j8-db"); len(alerts) == 0 || len(chat) == 0 {
			return fmt.Errorf("%v, %v", alerts, chat)
		}
		return nil
	})
	rows.settle(t)
	alerts, chat, bodies := p.of("weir-j8-db")
	if len(alerts) != 1 || len(chat) != 1 {
		t.Fatalf("alerts: %+v, chat: %q", alerts, chat)
	}
	a, who := alerts[0], alerts[0].ClientActor
	if a.Type != "new_edge" || a.Status != "firing" || a.Severity != "warning" || a.Client != "weir-j8-dump" {
		t.Errorf("%+v", a)
	}
	if who.Process != "weir-j8-dump" || who.PID != dump.Process.Pid || who.User != "nobody" ||
		!strings.HasPrefix(who.Cmdline, "weir-j8-dump --password=[redacted] --note=") || !strings.HasSuffix(who.Cmdline, at) || a.ServerActor.Process != "weir-j8-db" {
		t.Errorf("client %+v, server %+v", who, a.ServerActor)
	}
	if !strings.Contains(chat[0], "`weir-j8-dump (pid ") || !strings.Contains(chat[0], "user nobody") || !strings.Contains(chat[0], "[redacted]") {
		t.Errorf("the chat: %s", chat[0])
	}
	for _, no := range []string{"hunter2", "\x1b", `\u001b`, "\x07", `\u0007`, "\u202e", "<!channel>"} {
		if strings.Contains(bodies+chat[0], no) {
			t.Errorf("%q is told: %s", no, bodies)
		}
	}
	inRow(t, rows, a)
}

// inRow wants the row of an alert to tell the same, at the end of the interval in which
// its connection ended.
func inRow(t *testing.T, rows *rows, a paged) {
	t.Helper()
	about := func(x row) bool { return x.str("fingerprint") == a.Fingerprint }
	events := rows.all(t, "event", about)
	if len(events) != 1 {
		t.Fatalf("%d rows of event", len(events))
	}
	e := events[0]
	if e.str("client_cmdline") == "" || e.str("client_user") != a.ClientActor.User || e.num("client_pid") != int64(a.ClientActor.PID) || e.num("ongoing") != 1 || e.str("state") != "active" {
		t.Errorf("the row: %s", e)
	}
	ended := rows.all(t, "flow_log", func(x row) bool { return x.str("client_process") == "weir-j8-dump" })
	if len(ended) == 0 {
		t.Fatal("no row of the connection")
	}
	if apart := e.time - ended[0].time; apart < 0 || apart > 1e9 {
		t.Errorf("the alert is of %d ns after the connection's row", apart)
	}
}
