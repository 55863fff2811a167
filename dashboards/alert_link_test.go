package dashboards

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/alert"
)

// TestAlertsLeadToAPage: the link of the probe's own alerts is to a page that there is, with
// variables that it has.
func TestAlertsLeadToAPage(t *testing.T) {
	links := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Alerts []struct{ Link string } }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Alerts) != 1 {
			t.Error(body, err)
		}
		links <- body.Alerts[0].Link
	}))
	defer s.Close()
	cfg := alert.DefaultConfig()
	cfg.Host, cfg.Grafana, cfg.Receivers = "h", "http://grafana.example", []alert.Receiver{{Kind: alert.Webhook, URL: alert.Secret(s.URL)}}
	m, err := alert.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.Tell(time.Now(), &alert.Alert{Event: sink.Event{Type: sink.EventConnectionFailed, Severity: sink.SeverityWarning, Client: "c", Server: "s"}})
	if err := m.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(<-links)
	if err != nil {
		t.Fatal(err)
	}
	name, ok := strings.CutPrefix(u.Path, "/d/weir-")
	b, err := os.ReadFile("grafana/" + name + ".json")
	if !ok || err != nil {
		t.Fatalf("%s: %v", u, err)
	}
	var page struct {
		UID        string
		Templating struct{ List []struct{ Name string } }
	}
	if err := json.Unmarshal(b, &page); err != nil || "/d/"+page.UID != u.Path {
		t.Fatalf("%s: %q, %v", u, page.UID, err)
	}
	given := 0
	for q := range u.Query() {
		if v, ok := strings.CutPrefix(q, "var-"); ok {
			given++
			if !slices.ContainsFunc(page.Templating.List, func(x struct{ Name string }) bool { return x.Name == v }) {
				t.Errorf("the page has no variable %s", v)
			}
		}
	}
	if given != 4 {
		t.Errorf("%s", u)
	}
}
