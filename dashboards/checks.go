package dashboards

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/influxdb/rules"
)

// checks are the alert rules: those of the table that the checks of InfluxDB and the
// TICKscripts are made of, too, and one more.
func checks() []check {
	list := []check{silent()}
	for _, r := range rules.All() {
		list = append(list, checkOf(&r))
	}
	return append(list, checksOfCertificates()...)
}

func checkOf(r *rules.Rule) check {
	figure := "{{ .Values.B.Value }}"
	if r.Share() {
		figure = "{{ humanizePercentage .Values.B.Value }}"
	}
	c := check{
		uid: r.UID, title: titled(r.Name), summary: about(r.By) + ": " + fmt.Sprintf(r.Says, figure), description: r.Advice,
		query: r.InfluxQL(timeFilter), reach: r.Reach, below: r.Below, absent: "OK",
	}
	switch {
	case r.Warn == 0:
		c.limit, c.severity = r.Crit, critical
	case r.Crit == 0:
		c.limit, c.severity = r.Warn, warning
	default: // the label follows the figure: an alert that gets worse is another one
		compare := map[bool]string{true: "lt", false: "gt"}[r.Below]
		c.limit, c.severity = r.Warn, fmt.Sprintf("{{ if %s .Values.B.Value %g }}%s{{ else }}%s{{ end }}", compare, r.Crit, critical, warning)
	}
	return c
}

// Severities, as labels.
const (
	warning  = "warning"
	critical = "critical"
)

func titled(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// about names whom an alert is about, by the tags of the query's series; a tag may be empty.
func about(by []string) string {
	var b strings.Builder
	has := map[string]bool{}
	for _, t := range by {
		has[t] = true
	}
	label := func(t string) string { return "{{ .Labels." + t + " }}" }
	if has[sink.TagEventType] {
		b.WriteString(label(sink.TagEventType) + ": ")
	}
	switch {
	case has[clientTag]:
		b.WriteString(label(clientTag) + "{{ with .Labels." + serverTag + " }} → {{ . }}{{ end }} on ")
	case has[serverTag]:
		b.WriteString(label(serverTag) + " on ")
	case has[sink.TagEnd]:
		b.WriteString(label(sink.TagEnd) + " on ")
	}
	b.WriteString(label(sink.TagHost))
	if has[sink.TagStage] {
		b.WriteString(", stage " + label(sink.TagStage))
	}
	return b.String()
}

// silent is the one rule that is about what is not there.
func silent() check {
	s := rules.Silent()
	rows := stmt{
		// The last minute has only begun: both it and the one before must be empty.
		fields: []string{as("moving_average(count("+ident(s.Field)+"), 2)", "rows")},
		from:   s.Measurement, where: []string{equals(sink.TagStage, string(s.Stage))}, by: []string{"time(1m)", ident(sink.TagHost)}, fill: "0",
	}
	return check{
		uid: s.UID, title: titled(s.Name), severity: critical,
		summary:     about([]string{sink.TagHost}) + ": the probe has sent nothing for two minutes",
		description: "It was there within the last hour. Is it running, and can it reach the database? On the host: weir health, and its log.",
		query:       rows.String(), reach: s.Forget, last: s.After - time.Minute, below: true, limit: 0.25, absent: "NoData",
	}
}
