package dashboards

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

const (
	typeVariable     = "type"
	severityVariable = "severity"
)

// anomalies is the page of what happened: every type of event that there is, now
// or later, by the tags it has.
func anomalies() *dashboard.DashboardBuilder {
	const m = sink.MeasurementEvent
	chosen := []string{
		matches(sink.TagHost, hostVariable), matches(sink.TagEventType, typeVariable), matches(sink.TagSeverity, severityVariable),
		matches(clientTag, clientVariable), matches(serverTag, serverVariable),
	}
	count := as("count("+ident(sink.FieldMessage)+")", "events")
	of := func(severity string) []string { return append([]string{equals(sink.TagSeverity, severity)}, chosen...) }
	return page(anomaliesUID, "Weir / Anomalies and events", "What happened that was not to be expected: by type, severity and edge, with the evidence.").
		WithVariable(choice(hostVariable, "Host", tagValues(m, sink.TagHost))).
		WithVariable(choice(typeVariable, "Type", tagValues(m, sink.TagEventType))).
		WithVariable(choice(severityVariable, "Severity", tagValues(m, sink.TagSeverity))).
		WithVariable(choice(clientVariable, "Client", tagValues(m, clientTag))).
		WithVariable(choice(serverVariable, "Server (or whom it happened to)", tagValues(m, serverTag))).
		WithRow(dashboard.NewRowBuilder("At a glance")).
		WithPanel(alarming(number("Errors", "In the time range.", "short", "sum", over(m, of("error"), count))).Span(8)).
		WithPanel(number("Warnings", "In the time range.", "short", "sum", over(m, of("warning"), count)).Thresholds(steps("green", step{1, "orange"})).Span(8)).
		WithPanel(number("Information", "In the time range.", "short", "sum", over(m, of("info"), count)).Span(8)).
		WithPanel(bars(graph("By type", "Events per point of the graph.", "short", overBy(m, chosen, count, "$tag_"+sink.TagEventType, sink.TagEventType)))).
		WithPanel(bars(graph("By severity", "Events per point of the graph.", "short", overBy(m, chosen, count, "$tag_"+sink.TagSeverity, sink.TagSeverity)))).
		WithPanel(bars(graph("By edge", "Events per point of the graph; of one end: without a client.", "short",
			overBy(m, chosen, count, "$tag_"+clientTag+" to $tag_"+serverTag, clientTag, serverTag))).Span(24)).
		WithRow(dashboard.NewRowBuilder("Edges out of their usual range")).
		WithPanel(mostUnusual()).
		WithRow(dashboard.NewRowBuilder("Events")).
		WithPanel(eventful(chosen)).
		WithPanel(events("Events", "The newest, with what was seen, what was to be expected, and the figures behind it.", chosen))
}

// mostUnusual are the edges that were farthest from what is usual of them, whether an
// event came of it or not.
func mostUnusual() cogPanel {
	s := stmt{
		fields: []string{most(sink.FieldScore), as("count("+ident(sink.FieldScore)+")", "intervals")},
		from:   sink.MeasurementFlow,
		where:  []string{matches(sink.TagHost, hostVariable), matches(clientTag, clientVariable), matches(serverTag, serverVariable), ident(sink.FieldScore) + " > 0"},
		by:     idents(sink.TagHost, clientTag, serverTag, sink.TagServerPort),
	}
	p := tabular("Most unusual edges", "By the highest score: how far the measure of an interval that is farthest from the usual of its edge is, in widths of the usual spread. The usual has no score, and is not here; nor has anything in the first day.",
		mainDB, query{text: s.String()}, sink.FieldScore, 50)
	return linked(hidden(p, "Time", "time"), clientTag, serverTag)
}

// eventful are the edges with most events.
func eventful(where []string) cogPanel {
	tags := []string{sink.TagEventType, sink.TagSeverity, clientTag, serverTag}
	s := stmt{
		fields: []string{as("count("+ident(sink.FieldMessage)+")", "events"), as("max("+ident(sink.FieldSeen)+")", "most seen"), as(fmt.Sprintf("last(%s)", ident(sink.FieldMessage)), "the last")},
		from:   sink.MeasurementEvent, where: where, by: idents(tags...),
	}
	p := tabular("Where most happens", "By type and edge.", mainDB, query{text: s.String()}, "events", 50)
	return linked(hidden(p, "Time", "time"), sink.TagEventType, clientTag, serverTag)
}
