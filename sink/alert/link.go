package alert

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// around is how much a page shows before and after what happened.
const around = time.Hour

// parsePages reads where Grafana is: its address stands in every message.
func parsePages(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := parseURL(s)
	if err != nil || u.User != nil || u.RawQuery != "" {
		return "", errors.New("alerts: grafana is an address like https://grafana.example, without a user or a query")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// link is where Grafana's page of anomalies shows the event, "" where nobody said where
// Grafana is. Test alerts have no row.
func (m *message) link(it *item) string {
	if m.pages == "" || it.Type == typeTest {
		return ""
	}
	q := url.Values{"from": {strconv.FormatInt(it.began.Add(-around).UnixMilli(), 10)}, "to": {"now"}}
	if it.Alert.status() != firing {
		q.Set("to", strconv.FormatInt(it.changed.Add(around).UnixMilli(), 10))
	}
	for name, value := range map[string]string{"host": m.host, "type": string(it.Type), "client": it.Client, "server": it.Server} {
		if value != "" {
			q.Set("var-"+name, value)
		}
	}
	return m.pages + "/d/weir-anomalies?" + q.Encode()
}
