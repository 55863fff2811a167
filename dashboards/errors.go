package dashboards

import (
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

// failing is the page of everything that goes wrong, on whatever edge.
func failing() *dashboard.DashboardBuilder {
	const flow, wrong = sink.MeasurementFlow, sink.MeasurementFlowError
	resets := as("sum("+ident(sink.FieldResetByClient)+")", "by client")
	counted := func(title, description, field string) cogPanel {
		return alarming(number(title, description, "short", "sum", over(wrong, edgeFilter, sum(field))))
	}
	toEdge := "$tag_" + clientTag + " to $tag_" + serverTag
	return edgeVariables(page(errorsUID, "Weir / Errors", "Every edge that fails, and why: attempts, connections, requests, queues, events.")).
		WithRow(dashboard.NewRowBuilder("At a glance")).
		WithPanel(alarming(number("Failed attempts", "In the time range.", "short", "sum", over(flow, edgeFilter, sum(sink.FieldFailed))))).
		WithPanel(counted("Reset by servers", "Established connections, in the time range.", sink.FieldResetByServer)).
		WithPanel(counted("Reset by clients", "Established connections, in the time range.", sink.FieldResetByClient)).
		WithPanel(counted("Request errors", "By the protocol's own rules, in the time range.", sink.FieldRequestErrors)).
		WithPanel(counted("No room to accept", "Connections that a listener's queue had no room for, in the time range.", sink.FieldAcceptQueueDrops)).
		WithPanel(figure("Failure ratio", "Of attempts.", "percentunit", flow, edgeFilter, as(ratio(sink.FieldFailed, sink.FieldAttempts), "ratio")).Max(1)).
		WithRow(dashboard.NewRowBuilder("Edges")).
		WithPanel(failures(edgeFilter).Span(24)).
		WithPanel(failingByCause(edgeFilter)).
		WithRow(dashboard.NewRowBuilder("Over time")).
		WithPanel(bars(graph("Failed attempts by edge", "Per point of the graph.", "short",
			overBy(flow, withSome(sink.FieldFailed), sum(sink.FieldFailed), toEdge, clientTag, serverTag)))).
		WithPanel(bars(graph("Request errors by edge", "By the protocol's own rules, per point of the graph.", "short",
			overBy(wrong, edgeFilter, sum(sink.FieldRequestErrors), toEdge, clientTag, serverTag)))).
		WithPanel(bars(graph("Resets by edge", "Established connections, per point of the graph.", "short",
			overBy(wrong, edgeFilter, resets, toEdge+", by client", clientTag, serverTag),
			overBy(wrong, edgeFilter, as("sum("+ident(sink.FieldResetByServer)+")", "by server"), toEdge+", by server", clientTag, serverTag)))).
		WithPanel(bars(graph("No room to accept, by server", "Connections that a listener's queue had no room for, per point of the graph.", "short",
			overBy(wrong, edgeFilter, sum(sink.FieldAcceptQueueDrops), "$tag_"+serverTag, serverTag)))).
		WithPanel(trouble(edgeFilter)).
		WithPanel(bars(graph("Events by type", "Of severity warning and error, per point of the graph, each where it began.", "short",
			overBy(sink.MeasurementEvent, append(badEvents(), begun), as("count("+ident(sink.FieldSeen)+")", "events"), "$tag_"+sink.TagEventType, sink.TagEventType)))).
		WithRow(dashboard.NewRowBuilder("Requests and events")).
		WithPanel(failingRequests(edgeFilter)).
		WithPanel(events("Events", "Of severity warning and error.", badEvents()))
}

// withSome chooses rows of the edges chosen that count something: every row of flow has
// how many failed, and each edge would be in the legend.
func withSome(field string) []string {
	return append(slices.Clone(edgeFilter), ident(field)+" > 0")
}

// badEvents are those of the chosen ends that are no mere information. An event of
// one end has no client.
func badEvents() []string {
	return []string{
		matches(sink.TagHost, hostVariable), matches(clientTag, clientVariable), matches(serverTag, serverVariable),
		either(equals(sink.TagSeverity, "warning"), equals(sink.TagSeverity, "error")),
	}
}

// failingByCause has a row per edge that fails in whatever way.
func failingByCause(where []string) cogPanel {
	causes := append(sink.FieldFailedBy[:], sink.FieldAborted, sink.FieldResetByClient, sink.FieldResetByServer,
		sink.FieldTimeoutEstablished, sink.FieldRequestErrors, sink.FieldAcceptQueueDrops)
	fields := []string{}
	for _, c := range append(slices.Clone(causes), sink.FieldSYNRetransmits) {
		fields = append(fields, sum(c))
	}
	tags := []string{clientTag, serverTag, sink.TagServerPort, sink.TagContainer[sink.ClientEnd], sink.TagProcess[sink.ClientEnd], sink.TagContainer[sink.ServerEnd]}
	s := stmt{fields: fields, from: sink.MeasurementFlowError, where: where, by: idents(tags...)}
	p := tableOf("Failing edges by cause", "Everything that is not as it should be; all: the causes together, without SYNs sent again.", mainDB,
		[]query{{text: s.String()}}, "all", 200, added("all", causes...))
	inOrder(p, append(append(slices.Clone(tags[:3]), "all"), causes...)...)
	return quiet(linked(hidden(p, "Time", "time"), tags...), nothing)
}

// failingRequests are the operations that fail, the most often first.
func failingRequests(where []string) cogPanel {
	tags := []string{clientTag, serverTag, sink.TagL7, sink.TagOperation, sink.TagStatus}
	inner := stmt{fields: []string{sum(sink.FieldErrors), sum(sink.FieldUnanswered), sum(sink.FieldRequests)}, from: sink.MeasurementL7, where: where, by: idents(tags...)}
	outer := stmt{
		fields: []string{names(sink.FieldErrors, sink.FieldUnanswered, sink.FieldRequests), names(tags...)},
		from:   "(" + inner.String() + ")", where: []string{either(ident(sink.FieldErrors)+" > 0", ident(sink.FieldUnanswered)+" > 0")},
	}
	p := inOrder(tabular("Failing requests", "By operation and status.", mainDB, query{text: outer.String()}, sink.FieldErrors, 200), tags...)
	return quiet(linked(hidden(p, "Time", "time"), clientTag, serverTag), nothing)
}
