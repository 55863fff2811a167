package dashboards

import (
	"fmt"
	"slices"
	"time"

	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/sink"
)

// How far a check looks back and how long what it finds has to be so.
const (
	window = 5 * time.Minute
	// memory is how long a host that is silent is remembered.
	memory = time.Hour
)

// share is part/whole of the rows of a measurement, where whole is worth looking at.
func share(from string, where []string, part, whole string, atLeast int, by ...string) stmt {
	var tags []string
	for _, t := range by {
		tags = append(tags, ident(t))
	}
	inner := stmt{fields: []string{as("sum("+ident(part)+")", "part"), as("sum("+ident(whole)+")", "whole")}, from: from, where: where, by: tags}
	return stmt{
		fields: []string{as(`"part" / "whole"`, "ratio")}, from: "(" + inner.String() + ")",
		where: []string{fmt.Sprintf(`"whole" >= %d`, atLeast)}, by: tags,
	}
}

// amount is a sum of a measurement's field.
func amount(from string, where []string, field string, by ...string) stmt {
	s := stmt{fields: []string{as("sum("+ident(field)+")", "amount")}, from: from, where: where}
	for _, t := range by {
		s.by = append(s.by, ident(t))
	}
	return s
}

func stage(s sink.Stage) []string { return []string{equals(sink.TagStage, string(s))} }

// checks are the alert rules: what is wrong whoever runs it. `weir setup influxdb` sets
// up the like in the database.
func checks() []check {
	return slices.Concat(checksOfServices(), checksOfCertificates(), checksOfProbe())
}

const edgeWords = `{{ .Labels.client }} → {{ .Labels.server }} on {{ .Labels.host }}`

func checksOfServices() []check {
	edge := []string{sink.TagHost, clientTag, serverTag}
	once := []string{oncePerConnection, withoutTunnels}
	return []check{
		{
			uid: "weir-connections-fail", title: "Connections fail", severity: "warning",
			summary:     edgeWords + `: {{ humanizePercentage .Values.B.Value }} of the attempts to connect fail`,
			description: "More than a tenth of at least 20 attempts in five minutes. The service dashboard says why: refused, timeout, unreachable.",
			query:       share(sink.MeasurementFlow, once, sink.FieldFailed, sink.FieldAttempts, 20, edge...),
			reach:       window, limit: 0.1, absent: "OK",
		},
		{
			uid: "weir-requests-fail", title: "Requests fail", severity: "warning",
			summary:     edgeWords + `: {{ humanizePercentage .Values.B.Value }} of the requests fail`,
			description: "More than a twentieth of at least 20 requests in five minutes, by the protocol's own rules.",
			query:       share(sink.MeasurementL7, []string{oncePerConnection}, sink.FieldErrors, sink.FieldRequests, 20, edge...),
			reach:       window, limit: 0.05, absent: "OK",
		},
		{
			uid: "weir-oom", title: "Out of memory", severity: "critical",
			summary:     `{{ .Labels.server }} on {{ .Labels.host }}: processes were killed for want of memory`,
			description: "The event's row has the figures: memory, working set and limit.",
			query:       amount(sink.MeasurementEvent, []string{equals(sink.TagEventType, string(sink.EventOOM))}, sink.FieldSeen, sink.TagHost, serverTag),
			reach:       window, limit: 0, absent: "OK",
		},
		{
			uid: "weir-throttled", title: "CPU quota used up", severity: "warning",
			summary:     `{{ .Labels.name }} on {{ .Labels.host }}: the CPU quota is used up in {{ humanizePercentage .Values.B.Value }} of the periods`,
			description: "In more than half of at least 100 periods in five minutes something had to wait.",
			query: share(sink.MeasurementContainer, nil, sink.ContainerField(usage.ThrottledPeriods), sink.ContainerField(usage.Periods), 100,
				sink.TagHost, sink.TagEnd),
			reach: window, limit: 0.5, absent: "OK",
		},
	}
}

func checksOfProbe() []check {
	silent := stmt{
		// The last minute has only begun: both it and the one before must be empty.
		fields: []string{as("moving_average(count("+ident(sink.SelfRSS)+"), 2)", "rows")},
		from:   sink.MeasurementSelf, where: stage(sink.StageProcess), by: []string{"time(1m)", ident(sink.TagHost)}, fill: "0",
	}
	return []check{
		{
			uid: "weir-silent", title: "Probe silent", severity: "critical",
			summary:     `{{ .Labels.host }}: the probe has written nothing for a minute or more`,
			description: "It was there within the last hour. Is it running, and can it reach the database? On the host: weir health, and its log.",
			query:       silent, reach: memory, last: time.Minute, below: true, limit: 0.25, absent: "NoData",
		},
		{
			uid: "weir-coverage", title: "Owners are missing", severity: "warning",
			summary:     `{{ .Labels.host }}: of {{ humanizePercentage .Values.B.Value }} of the payload is it known whose it is`,
			description: "Less than 95 % of at least 1 MB with a local socket in five minutes. weir doctor on the host says which hooks are missing.",
			query:       share(sink.MeasurementSelf, stage(sink.StageJoin), string(sink.SelfAttributedBytes), string(sink.SelfLocalBytes), 1e6, sink.TagHost),
			reach:       window, last: window, below: true, limit: 0.95, absent: "OK",
		},
		{
			uid: "weir-lost", title: "The probe loses", severity: "warning",
			summary:     `{{ .Labels.host }}: stage {{ .Labels.stage }} lost {{ .Values.B }}`,
			description: "Events, packets, rows or alerts, in five minutes. The probe health dashboard shows the reason.",
			query:       amount(sink.MeasurementSelf, nil, string(sink.SelfLost), sink.TagHost, sink.TagStage),
			reach:       window, limit: 0, absent: "OK",
		},
		{
			uid: "weir-rejected", title: "Rows are refused", severity: "warning",
			summary:     `{{ .Labels.host }}: the database refused {{ .Values.B }} rows for good`,
			description: "In five minutes; the probe's log says why.",
			query:       amount(sink.MeasurementSelf, stage(sink.StageDelivery), string(sink.SelfRejected), sink.TagHost),
			reach:       window, limit: 0, absent: "OK",
		},
		{
			uid: "weir-receivers", title: "Alerts are not delivered", severity: "warning",
			summary:     `{{ .Labels.host }}: the probe cannot tell {{ .Values.B }} of its receivers`,
			description: "Of alerts, for five minutes; the probe's log says why.",
			query: stmt{fields: []string{as("last("+ident(sink.SelfAlertsFailing)+")", "failing")}, from: sink.MeasurementSelf,
				where: stage(sink.StageAlerts), by: []string{ident(sink.TagHost)}},
			reach: window, last: window, limit: 0, absent: "OK",
		},
	}
}
