package alert

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weir-probe/weir/sink"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func sample() *message {
	a := Alert{Fingerprint: "f1", Event: sink.Event{Type: "unusual", Severity: sink.SeverityWarning, Client: "a", Server: "b", Message: "slow", Evidence: "p99=2", Expected: 0.5, Seen: math.NaN(),
		Actors: [2]sink.Actor{{Container: "a-1", PID: 7, Process: "curl", User: "app", Cmdline: "curl -u [redacted] b"}, {Process: "db"}}}}
	over := a
	over.Resolved = true
	return &message{host: "one", now: noon.Add(time.Hour), items: []item{
		{Alert: a, began: noon, changed: noon, count: 1},
		{Alert: over, began: noon, changed: noon.Add(time.Minute), count: 2},
		{Alert: *oom("web"), began: noon, changed: noon.Add(time.Minute), count: 3},
	}}
}

func encoded(t *testing.T, k Kind, m *message) string {
	t.Helper()
	b, err := wireOf(k, 5*time.Minute).encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The formats, to the octet: others read them.
func TestFormats(t *testing.T) {
	same(t, "webhook", encoded(t, Webhook, sample()), `{"version":1,"host":"one","sent":"2026-11-29T13:00:00Z","lost":0,"alerts":[`+
		`{"fingerprint":"f1","status":"firing","type":"unusual","severity":"warning","client":"a","server":"b","message":"slow","evidence":"p99=2","client_actor":{"process":"curl","pid":7,"user":"app","cmdline":"curl -u [redacted] b","container":"a-1"},"server_actor":{"process":"db"},"expected":0.5,"seen":null,"count":1,"starts":"2026-11-29T12:00:00Z","ends":null},`+
		`{"fingerprint":"f1","status":"resolved","type":"unusual","severity":"warning","client":"a","server":"b","message":"slow","evidence":"p99=2","client_actor":{"process":"curl","pid":7,"user":"app","cmdline":"curl -u [redacted] b","container":"a-1"},"server_actor":{"process":"db"},"expected":0.5,"seen":null,"count":2,"starts":"2026-11-29T12:00:00Z","ends":"2026-11-29T12:01:00Z"},`+
		`{"status":"event","type":"oom","severity":"error","server":"web","message":"","evidence":"","expected":0,"seen":0,"count":3,"starts":"2026-11-29T12:00:00Z","ends":"2026-11-29T12:01:00Z"}]}`)
	same(t, "alertmanager", encoded(t, Alertmanager, sample()), `[`+
		`{"labels":{"alertname":"unusual","client":"a","fingerprint":"f1","host":"one","job":"weir","server":"b","severity":"warning"},"annotations":{"client_cmdline":"curl -u [redacted] b","client_container":"a-1","client_pid":"7","client_process":"curl","client_user":"app","description":"p99=2","expected":"0.5","server_process":"db","summary":"a → b: slow"},"startsAt":"2026-11-29T12:00:00Z","endsAt":"2026-11-29T13:04:00Z"},`+
		`{"labels":{"alertname":"unusual","client":"a","fingerprint":"f1","host":"one","job":"weir","server":"b","severity":"warning"},"annotations":{"client_cmdline":"curl -u [redacted] b","client_container":"a-1","client_pid":"7","client_process":"curl","client_user":"app","description":"p99=2","expected":"0.5","server_process":"db","summary":"a → b: slow"},"startsAt":"2026-11-29T12:00:00Z","endsAt":"2026-11-29T12:01:00Z"},`+
		`{"labels":{"alertname":"oom","host":"one","job":"weir","server":"web","severity":"error"},"annotations":{"summary":"web: "},"startsAt":"2026-11-29T12:00:00Z","endsAt":"2026-11-29T13:05:00Z"}]`)
	var text struct{ Text string }
	if err := json.Unmarshal([]byte(encoded(t, Slack, sample())), &text); err != nil {
		t.Fatal(err)
	}
	same(t, "slack", text.Text, "*Weir on* `one`\n"+
		":warning: *unusual* `a → b` `slow` `p99=2` client `curl (pid 7, user app, in a-1): curl -u [redacted] b` server `db` since 2026-11-29T12:00:00Z\n"+
		":white_check_mark: resolved: *unusual* `a → b` `slow` `p99=2` client `curl (pid 7, user app, in a-1): curl -u [redacted] b` server `db` since 2026-11-29T12:00:00Z, for 1m0s\n"+
		":red_circle: *oom* `web` since 2026-11-29T12:00:00Z, 3 times")
}

// Whom an alert is about: two ends, or one of them.
func TestAbout(t *testing.T) {
	for want, e := range map[string]sink.Event{"a → b": {Client: "a", Server: "b"}, "b": {Server: "b"}, "a": {Client: "a"}, "": {}} {
		same(t, "about", (&Alert{Event: e}).about(), want)
	}
}

// A Slack message has a limit, and says what it left out.
func TestSlackIsShort(t *testing.T) {
	m := sample()
	for range 500 {
		it := m.items[0]
		it.Evidence, it.Server = strings.Repeat("<", 5000), strings.Repeat("&", 5000)
		it.Actors[0].Cmdline, it.Actors[1].Cmdline = strings.Repeat(">", 5000), strings.Repeat("&", 5000)
		m.items = append(m.items, it)
	}
	m.lost = 7
	var text struct{ Text string }
	if err := json.Unmarshal([]byte(encoded(t, Slack, m)), &text); err != nil {
		t.Fatal(err)
	}
	told := strings.Count(text.Text, " since 2026")
	if !strings.Contains(text.Text, fmt.Sprintf("… and %d more", len(m.items)-told)) || told < 6 || !strings.Contains(text.Text, "7 alerts could not be told") || utf8.RuneCountInString(text.Text) > 40000 {
		t.Errorf("%d characters, ends with %q", len(text.Text), text.Text[len(text.Text)-100:])
	}
}

// Whatever a name is made of, every format stays what it is: one line, one code span
// for each value, JSON, labels that Alertmanager takes.
func FuzzFormats(f *testing.F) {
	for _, s := range []string{"web", "<!channel> <https://x|y> `rm` *b* @here", "a\nb\r\x00\x1b[31m", "\xff\xfe", "\u202egnp.exe", "]}\"\\", strings.Repeat("é", 3000), "`", "  "} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		a := Alert{Fingerprint: name, Event: sink.Event{Type: "unusual", Severity: sink.SeverityWarning, Client: name, Server: name, Message: text, Evidence: text,
			Actors: [2]sink.Actor{{Container: name, PID: 1, Process: name, User: name, Cmdline: text}, {Cmdline: text}}}}
		c := a.cleaned()
		for _, s := range []string{c.Client, c.Server, c.Message, c.Evidence, c.Fingerprint, c.Actors[0].Container, c.Actors[0].Process, c.Actors[0].User, c.Actors[0].Cmdline, c.Actors[1].Cmdline} {
			if !utf8.ValidString(s) || len(s) > maxEvidence || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
				t.Fatalf("%q is not clean", s)
			}
		}
		m := &message{host: name, now: noon, items: []item{{Alert: c, began: noon, changed: noon, count: 1}}}
		for _, k := range []Kind{Webhook, Alertmanager} {
			if s := encoded(t, k, m); !json.Valid([]byte(s)) {
				t.Fatalf("%s: not JSON: %q", k, s)
			}
		}
		var got struct{ Text string }
		if err := json.Unmarshal([]byte(encoded(t, Slack, m)), &got); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(got.Text, "`"); n%2 != 0 || strings.Count(got.Text, "\n") != 1 || strings.ContainsAny(got.Text, "<>") {
			t.Fatalf("%q", got.Text)
		}
		for i, part := range strings.Split(got.Text, "`") {
			if i%2 == 0 && strings.ContainsAny(part, "@[]|<>") {
				t.Fatalf("outside of a code span: %q", part)
			}
		}
	})
}

// Every format leads to the page of an alert, and no name leads anywhere else.
func TestLink(t *testing.T) {
	const name = `<x>|"a&b'#%20` + "`"
	m := &message{host: "one", pages: "https://g.example/grafana", now: noon, items: []item{
		{Alert: Alert{Fingerprint: "f", Event: sink.Event{Type: "new_edge", Client: name, Server: "db"}}, began: noon, changed: noon},
		{Alert: *oom("web"), began: noon, changed: noon},
		{Alert: Alert{Event: sink.Event{Type: typeTest}}},
	}}
	began := fmt.Sprint(noon.Add(-time.Hour).UnixMilli())
	want := []map[string]string{
		{"var-host": "one", "var-type": "new_edge", "var-client": name, "var-server": "db", "from": began, "to": "now"},
		{"var-host": "one", "var-type": "oom", "var-server": "web", "from": began, "to": fmt.Sprint(noon.Add(time.Hour).UnixMilli())},
	}
	links := map[Kind][]string{}
	var hook webhookBody
	var am []postableAlert
	var chat struct{ Text string }
	for k, v := range map[Kind]any{Webhook: &hook, Alertmanager: &am, Slack: &chat} {
		if err := json.Unmarshal([]byte(encoded(t, k, m)), v); err != nil {
			t.Fatal(err)
		}
	}
	for i := range m.items {
		links[Webhook] = append(links[Webhook], hook.Alerts[i].Link)
		links[Alertmanager] = append(links[Alertmanager], am[i].From)
	}
	for _, part := range strings.Split(chat.Text, " <")[1:] {
		to, rest, ok := strings.Cut(part, "|Grafana>")
		if !ok || strings.ContainsAny(to, "<>|` ") || strings.Trim(rest, "\n") != "" && !strings.HasPrefix(rest, "\n") {
			t.Errorf("%q", part)
		}
		links[Slack] = append(links[Slack], strings.ReplaceAll(to, "&amp;", "&"))
	}
	links[Slack] = append(links[Slack], "") // the test has none
	for k, list := range links {
		if len(list) != 3 || list[2] != "" {
			t.Fatalf("%s: %q", k, list)
		}
		for i, w := range want {
			u, err := url.Parse(list[i])
			if err != nil || u.Host != "g.example" || u.Path != "/grafana/d/weir-anomalies" {
				t.Fatalf("%s: %q, %v", k, list[i], err)
			}
			got := map[string]string{}
			for name, values := range u.Query() {
				got[name] = strings.Join(values, "&")
			}
			same(t, string(k), got, w)
		}
	}
	for s, ok := range map[string]bool{"": true, "https://g.example/grafana/": true, "g.example": false, "https://u:s3cret@g.example": false, "https://g.example/?x=s3cret": false, "javascript:s3cret": false} {
		cfg := DefaultConfig()
		cfg.Grafana = s
		if err := cfg.Validate(); (err == nil) != ok || strings.Contains(fmt.Sprint(err), "s3cret") {
			t.Errorf("%s: %v", s, err)
		}
	}
}
