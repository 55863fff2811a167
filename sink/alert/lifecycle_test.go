package alert

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-probe/weir/sink"
)

// A reload keeps what a receiver knows and what waits for it.
func TestReconfigureKeepsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hook)
		b.tell(trouble("a", false))
		time.Sleep(time.Minute)
		b.tell(oom("web"))
		b.stop()
		cfg := *b.receivers[0].cfg
		other := hook
		other.Name = "other"
		cfg.Receivers = []Receiver{other, hook}
		bad := cfg
		bad.Receivers = []Receiver{{Kind: "pigeon", URL: "http://x"}}
		if b.Reconfigure(bad) == nil || b.Receivers() != 1 {
			t.Error("a bad configuration is taken")
		}
		if err := b.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.receivers {
			r.client.Transport = b.post
		}
		b.run(t)
		b.tell(trouble("a", false))
		b.tell(trouble("a", true))
		time.Sleep(time.Minute)
		b.stop()
		// the new one never heard of a before its end
		same(t, "sent", len(b.sent(t)), 1+2+1)
		if got := strings.Join(b.sent(t), "; "); strings.Count(got, "resolved unusual a") != 2 || strings.Count(got, "event oom web x1") != 1 || strings.Count(got, "firing") != 1 {
			t.Error(got)
		}
		if s := b.Stats(); s.Sent != 4 {
			t.Errorf("%+v", s)
		}
	})
}

// At the end what waits is sent without waiting.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hook)
		b.tell(oom("web"))
		b.stop()
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, "sent", b.sent(t), []string{"event oom web x1"})
		same(t, "times", b.times, []time.Duration{0})
	})
}

// An Alertmanager is told again and again what goes on, with an end ahead; under a new
// severity the alert of the old one ends.
func TestAlertmanagerRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Receiver{Kind: Alertmanager, URL: "http://am.example"})
		begin := time.Now()
		b.tell(trouble("a", false))
		time.Sleep(5 * time.Minute)
		worse := trouble("a", false)
		worse.Severity = sink.SeverityError
		b.tell(worse)
		time.Sleep(time.Minute)
		b.tell(trouble("a", true))
		time.Sleep(time.Minute)
		b.stop()
		ends := map[string]time.Time{}
		var longest time.Duration
		for i, body := range b.bodies {
			var list []postableAlert
			if err := json.Unmarshal([]byte(body), &list); err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				longest = max(longest, b.times[i]-b.times[i-1])
			}
			for _, a := range list {
				if !a.StartsAt.Equal(begin) || a.EndsAt.Before(a.StartsAt) {
					t.Errorf("starts %s, ends %s", a.StartsAt, a.EndsAt)
				}
				ends[a.Labels["severity"]] = a.EndsAt
			}
		}
		if longest >= 4*refresh || len(b.bodies) < 6 {
			t.Errorf("%d messages, at most %v apart", len(b.bodies), longest)
		}
		for severity, end := range ends {
			if end.After(time.Now()) {
				t.Errorf("under severity %s it goes on", severity)
			}
		}
		if len(ends) != 2 {
			t.Errorf("ends: %v", ends)
		}
	})
}

// What goes on since an earlier run is told to nobody again but to who forgets, and its end
// to everybody, with when it began. What is over by then is told to be over.
func TestGoesOnAfterRestart(t *testing.T) {
	for _, kind := range []Kind{Webhook, Slack, Alertmanager} {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, Receiver{Kind: kind, URL: "http://r.example/x"})
			b.tell(trouble("gone", false))
			time.Sleep(time.Minute + time.Second)
			b.stop() // and a reload, after which gone is not known any more
			before := len(b.bodies)
			began := time.Now().Add(-time.Hour)
			old, quiet := trouble("old", false), trouble("quiet", false)
			old.Began, quiet.Severity = began, sink.SeverityInfo
			b.GoOn(time.Now(), []Alert{*old, *quiet})
			b.run(t)
			time.Sleep(5 * time.Minute)
			over := trouble("old", true)
			over.Began = began
			quiet.Resolved = true
			b.tell(over, quiet)
			time.Sleep(time.Minute)
			b.stop()
			text := strings.Join(b.bodies[before:], "\n")
			since := began.UTC().Format(time.RFC3339)
			switch kind {
			case Webhook:
				same(t, "sent", b.sent(t), []string{"firing unusual gone x1", "resolved unusual gone x1", "resolved unusual old x1"})
				if !strings.Contains(text, `"starts":"`+since) {
					t.Error(text)
				}
			case Slack:
				if len(b.bodies) != 3 || !strings.Contains(b.bodies[2], "since "+since+", for 1h5m0s") {
					t.Error(text)
				}
			case Alertmanager:
				if n := strings.Count(text, `"fingerprint":"old"`); n < 5 || n != strings.Count(text, `"startsAt":"`+since) {
					t.Errorf("told %d times: %s", n, text)
				}
			}
			if s := b.Stats(); s.Firing != 0 || s.Waiting != 0 || s.Filtered != 1 {
				t.Errorf("%s: %+v", kind, s)
			}
		})
	}
}
