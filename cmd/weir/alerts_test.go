package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// pager is a webhook and an Alertmanager; it hands on "status type starts" of each alert
// that it is told as the one, "type starts" as the other.
func pager(t *testing.T) (url string, told, held chan string) {
	told, held = make(chan string, 100), make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v2/alerts" {
			var list []struct {
				Labels   map[string]string
				StartsAt time.Time
			}
			if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
				t.Error(err)
			}
			for _, a := range list {
				held <- fmt.Sprint(a.Labels["alertname"], " ", a.StartsAt.Unix())
			}
			return
		}
		var body struct {
			Alerts []struct {
				Status, Type string
				Starts       time.Time
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		for _, a := range body.Alerts {
			told <- fmt.Sprint(a.Status, " ", a.Type, " ", a.Starts.Unix())
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, told, held
}

// An anomaly begins, a minute later the probe is killed. The next one has an Alertmanager
// hold it, and tells everybody that it is over, and when it began.
func TestAlertsAfterCrash(t *testing.T) {
	url, told, held := pager(t)
	cfg, odd, out, _ := anomalyRig(t, "anomaly: {learn: 1h}\nalerts: {wait: 0s, every: 0s, receivers: [{kind: webhook, url: '"+url+"'}, {kind: alertmanager, url: '"+url+"'}]}\n")
	now := time.Now().Truncate(time.Minute).Add(-4 * time.Hour)
	interval := func(names ...string) {
		for _, n := range names {
			r := &correlate.Record{Proto: flows.TCP, Client: serviceEnd(n), Server: serviceEnd("db"), Reporter: correlate.ReporterBoth, Initiator: correlate.InitiatorSYN}
			r.Server.Port, r.Server.Listened = 5432, true
			r.Delta.ToServer.Payload, r.Delta.ToClient.Payload, r.Delta.Opened = 10, 20, 1
			odd.add(r)
		}
		now = now.Add(10 * time.Second)
		odd.tick(now, out)
		select {
		case s := <-odd.saver.queue:
			odd.saver.write(s, false)
			odd.saver.busy.Store(false)
		default:
		}
	}
	live := func() (end func(drain time.Duration)) {
		m, err := newAlerts(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		tellEvents(out.events, m, odd.ongoing())
		stop := startAlerts(t.Context(), m)
		return func(drain time.Duration) { stop(drain); m.Close() }
	}
	end := live()
	for range 6 * 75 {
		interval("web")
	}
	saves := odd.saver.saves.Load()
	want := fmt.Sprint("new_edge ", now.Unix())
	interval("web", "tool")
	if got := <-told; got != "firing "+want {
		t.Errorf("told %q, want firing %s", got, want)
	}
	for range 6 {
		interval("web")
	}
	if odd.saver.saves.Load() == saves {
		t.Fatal("what was told was not saved within a minute")
	}
	end(0)
	if got := <-held; got != want {
		t.Errorf("the Alertmanager holds %q, want %s", got, want)
	}

	odd = newAnomalies(cfg, slog.New(slog.DiscardHandler))
	end = live()
	if got := <-held; got != want {
		t.Errorf("after the crash the Alertmanager holds %q, want %s", got, want)
	}
	now = now.Add(2 * time.Hour)
	interval("web")
	end(5 * time.Second)
	if len(told) != 1 {
		t.Fatalf("told %d alerts after the crash, want one", len(told))
	}
	if got := <-told; got != "resolved "+want {
		t.Errorf("told %q, want resolved %s", got, want)
	}
}
