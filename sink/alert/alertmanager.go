package alert

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
)

// alertmanager is the API v2, POST /api/v2/alerts: an alert is its labels, and is over
// at endsAt. What goes on is sent again every refresh with an end that lies four times as
// far ahead, as Prometheus does: if the probe dies, its alerts end.
type alertmanager struct {
	quiet time.Duration // how long what happened is shown
}

type postableAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	From        string            `json:"generatorURL,omitempty"`
}

const alertsPath = "/api/v2/alerts"

func (alertmanager) endpoint(u *url.URL) *url.URL {
	c := *u
	c.Path = strings.TrimSuffix(strings.TrimRight(c.Path, "/"), alertsPath) + alertsPath
	c.RawPath = ""
	return &c
}

func (alertmanager) perMessage() int { return 200 }
func (alertmanager) refreshes() bool { return true }

func (w alertmanager) encode(m *message) ([]byte, error) {
	list := make([]postableAlert, 0, len(m.items))
	for i := range m.items {
		it := &m.items[i]
		a := postableAlert{Labels: labels(m.host, it, it.Severity), Annotations: annotations(it), StartsAt: it.began.UTC(), From: m.link(it)}
		switch it.Alert.status() {
		case firing:
			a.EndsAt = m.now.Add(4 * refresh)
		case happened:
			a.EndsAt = m.now.Add(max(w.quiet, refresh))
		case resolved:
			a.EndsAt = it.changed
		}
		a.EndsAt = a.EndsAt.UTC()
		list = append(list, a)
		if it.was != "" { // the severity is a label: under the old one it is another alert
			a.Labels, a.EndsAt = labels(m.host, it, it.was), m.now.UTC()
			list = append(list, a)
		}
	}
	return encodeJSON(list)
}

// labels identify an alert; empty ones are none.
func labels(host string, it *item, severity sink.Severity) map[string]string {
	l := map[string]string{"alertname": string(it.Type), "job": "weir", "severity": string(severity)}
	for k, v := range map[string]string{"host": host, "client": it.Client, "server": it.Server, "fingerprint": it.Fingerprint} {
		if v != "" {
			l[k] = v
		}
	}
	return l
}

func annotations(it *item) map[string]string {
	a := map[string]string{"summary": it.Message}
	if about := it.about(); about != "" {
		a["summary"] = about + ": " + it.Message
	}
	if it.Evidence != "" {
		a["description"] = it.Evidence
	}
	for k, v := range map[string]float64{"expected": it.Expected, "seen": it.Seen} {
		if v != 0 && finite(v) != nil {
			a[k] = strconv.FormatFloat(v, 'g', -1, 64)
		}
	}
	for i, end := range [...]string{"client", "server"} {
		p := &it.Actors[i]
		for name, v := range map[string]string{"container": p.Container, "process": p.Process, "user": p.User, "cmdline": p.Cmdline} {
			if v != "" {
				a[end+"_"+name] = v
			}
		}
		if p.PID != 0 {
			a[end+"_pid"] = strconv.FormatUint(uint64(p.PID), 10)
		}
	}
	return a
}
