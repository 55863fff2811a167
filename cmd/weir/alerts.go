package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/alert"
)

// alertConfig is what the Manager needs of cfg.
func alertConfig(cfg *Config, log *slog.Logger) alert.Config {
	c := cfg.Alerts
	c.Host, c.Version, c.Logger = cfg.Host, version, log
	return c
}

func newAlerts(cfg *Config, log *slog.Logger) (*alert.Manager, error) {
	return alert.New(alertConfig(cfg, log))
}

// tellEvents has every event told to the receivers of alerts, too, and what goes on since
// an earlier run or configuration known to them.
func tellEvents(events *sink.Events, to *alert.Manager, ongoing []anomaly.Anomaly) {
	list := make([]alert.Alert, len(ongoing))
	for i := range ongoing {
		e := sink.AnomalyEvent(&ongoing[i])
		list[i] = alertOf(&e, ongoing[i].ID(), false)
	}
	to.GoOn(time.Now(), list)
	events.Also(func(t time.Time, e *sink.Event, fingerprint string, over bool) {
		a := alertOf(e, fingerprint, over)
		to.Tell(t, &a)
	})
}

func alertOf(e *sink.Event, fingerprint string, over bool) alert.Alert {
	a := alert.Alert{Fingerprint: fingerprint, Event: *e, Resolved: over}
	if e.Anomaly != nil {
		a.Began = time.Unix(0, e.Anomaly.Since)
	}
	a.Anomaly = nil // the detector's own: it goes on changing, and the alert waits
	return a
}

// startAlerts sends until stop is called, which then tries for up to the given time to
// send what waits. What is not sent stays with m: the next pipeline goes on with it.
func startAlerts(ctx context.Context, m *alert.Manager) (stop func(drain time.Duration)) {
	base := context.WithoutCancel(ctx) // the last events come after the signal that ends the capture
	run, halt := context.WithCancel(base)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(run)
	}()
	return func(drain time.Duration) {
		halt()
		<-done
		if drain > 0 {
			last, cancel := context.WithTimeout(base, drain)
			defer cancel()
			m.Drain(last)
		}
	}
}

// selfAlerts writes the row of stage alerts, if anybody is told, and returns how many
// alerts were lost so far.
func selfAlerts(s *sink.Self, t time.Time, m *alert.Manager) uint64 {
	if m == nil || m.Receivers() == 0 {
		return 0
	}
	st := m.Stats()
	age := 0.0
	if !st.Oldest.IsZero() {
		age = max(0, t.Sub(st.Oldest).Seconds())
	}
	f := func(n sink.SelfInt, v uint64) sink.SelfField { return s.Meter(sink.StageAlerts, n, v) }
	s.Stage(t, sink.StageAlerts, f(sink.SelfSeen, st.Seen), f(sink.SelfAlertsSent, st.Sent), f(sink.SelfBytes, st.Bytes),
		f(sink.SelfAlertsFiltered, st.Filtered), f(sink.SelfAlertsRepeated, st.Repeated),
		f(sink.SelfRequests, st.Requests), f(sink.SelfRetries, st.Retries), f(sink.SelfThrottled, st.Throttled),
		f(sink.SelfLost, st.Lost()), f(sink.SelfRejected, st.Rejected), f(sink.SelfAlertsStale, st.Stale), f(sink.SelfLostTableFull, st.Full),
		sink.SelfAlertsFiring.Is(uint64(st.Firing)), sink.SelfAlertsWaiting.Is(uint64(st.Waiting)),
		sink.SelfAlertsFailing.Is(uint64(st.Failing)), sink.SelfAlertsAge.Is(age))
	return st.Lost()
}

// examineAlerts tries to reach the receivers of alerts, and tells them nothing.
func examineAlerts(ctx context.Context, cfg *Config) []check {
	// Who is away is told later: the probe does its job.
	return findAlerts(cfg, "alerts", limited, func(m *alert.Manager) []alert.Finding { return m.Check(ctx) })
}

// testAlerts sends a test alert to each receiver.
func testAlerts(ctx context.Context, cfg *Config) []check {
	if len(cfg.Alerts.Receivers) == 0 {
		return []check{{Area: "test alerts", Name: "receivers", State: bad, Detail: "none", Remedy: "name some under `alerts` in the configuration: docs/alerts.md"}}
	}
	return findAlerts(cfg, "test alerts", bad, func(m *alert.Manager) []alert.Finding { return m.Test(ctx) })
}

func findAlerts(cfg *Config, area string, trouble verdict, find func(*alert.Manager) []alert.Finding) (out []check) {
	m, err := newAlerts(cfg, nil)
	if err != nil {
		return []check{{Area: area, Name: "receivers", State: bad, Detail: err.Error(), Remedy: "correct `alerts` in the configuration"}}
	}
	defer m.Close()
	for _, f := range find(m) {
		c := check{Area: area, Name: string(f.Kind) + " " + f.Name, State: good, Detail: f.Detail}
		if f.Err != nil {
			c.State, c.Detail, c.Remedy = trouble, f.Err.Error(), "see docs/alerts.md"
		}
		out = append(out, c)
	}
	return out
}
