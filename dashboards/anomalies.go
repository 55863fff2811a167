package dashboards

import (
	"fmt"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/sink"
)

const (
	typeVariable     = "type"
	severityVariable = "severity"
	stateVariable    = "state"
)

// ofEvents are the events chosen. One that does not last has no state, and so no
// field that is there for any choice; its severity is, which is never a state.
var ofEvents = []string{
	onHost, matches(sink.TagEventType, typeVariable), matches(sink.TagSeverity, severityVariable),
	matches(clientTag, clientVariable), matches(serverTag, serverVariable),
	either(matches(sink.FieldState, stateVariable), matches(sink.TagSeverity, stateVariable)),
}

// begun leaves out the row of the end of what lasts, so that it counts once.
var begun = either(equals(sink.FieldState, anomaly.Active.String()), fmt.Sprintf("%s !~ /^(%s)$/", ident(sink.TagEventType), anomalyTypes()))

// anomalyTypes are the types of events that last, as a regular expression has them.
func anomalyTypes() string {
	var list []string
	for _, t := range anomaly.Types() {
		list = append(list, t.String())
	}
	return strings.Join(list, "|")
}

// anomalies is the page of what happened: every type of event that there is, now
// or later, by the tags it has.
func anomalies() *dashboard.DashboardBuilder {
	const m = sink.MeasurementEvent
	chosen := append(slices.Clone(ofEvents), begun)
	count := as("count("+ident(sink.FieldMessage)+")", "events")
	of := func(severity string) []string { return append([]string{equals(sink.TagSeverity, severity)}, chosen...) }
	ends := append(slices.Clone(ofEvents), equals(sink.FieldState, anomaly.Resolved.String()))
	return page(anomaliesUID, "Weir / Anomalies and events", "What happened that was not to be expected: by type, severity and edge, with the evidence.").
		WithVariable(hosts()).
		WithVariable(choice(typeVariable, "Type", tagValues(m, sink.TagEventType))).
		WithVariable(choice(severityVariable, "Severity", tagValues(m, sink.TagSeverity))).
		WithVariable(oneOf(stateVariable, "State", []string{anomaly.Active.String(), anomaly.Resolved.String()})).
		WithVariable(clients(onHost)).
		WithVariable(servers(onHost).Label("Server (or whom it happened to)")).
		WithRow(dashboard.NewRowBuilder("At a glance")).
		WithPanel(number("Going on", "Anomalies that go on, as the probes of the hosts chosen count them, silenced ones included.", "short", "lastNotNull",
			lastSum(sink.MeasurementSelf, []string{onHost}, string(sink.SelfAlarms))).Thresholds(steps("green", step{1, "orange"}))).
		WithPanel(alarming(number("Errors", "That began in the time range, or happened and were over.", "short", "sum", over(m, of("error"), count)))).
		WithPanel(number("Warnings", "That began in the time range, or happened and were over.", "short", "sum", over(m, of("warning"), count)).Thresholds(steps("green", step{1, "orange"}))).
		WithPanel(number("Information", "That began in the time range, or happened and was over.", "short", "sum", over(m, of("info"), count))).
		WithPanel(number("Ended", "Anomalies that ended in the time range, whenever they began.", "short", "sum", over(m, ends, count)).Span(8)).
		WithRow(dashboard.NewRowBuilder("Going on now")).
		WithPanel(goingOn()).
		WithRow(dashboard.NewRowBuilder("Over time")).
		WithPanel(bars(graph("By type", "Events per point of the graph, each where it began.", "short", overBy(m, chosen, count, "$tag_"+sink.TagEventType, sink.TagEventType)))).
		WithPanel(bars(graph("By severity", "Events per point of the graph, each where it began.", "short", overBy(m, chosen, count, "$tag_"+sink.TagSeverity, sink.TagSeverity)))).
		WithPanel(bars(graph("By edge", "Events per point of the graph, each where it began; of one end: without a client.", "short",
			overBy(m, chosen, count, "$tag_"+clientTag+" to $tag_"+serverTag, clientTag, serverTag))).Span(24)).
		WithRow(dashboard.NewRowBuilder("Edges out of their usual range")).
		WithPanel(mostUnusual()).
		WithRow(dashboard.NewRowBuilder("Events")).
		WithPanel(eventful(chosen)).
		WithPanel(eventLog())
}

// eventColumns are what a row of event says, whom it is about first.
var eventColumns = []string{
	sink.FieldState, sink.TagEventType, sink.TagSeverity, sink.FieldScore,
	clientTag, sink.LogContainer[sink.ClientEnd], sink.LogProcess[sink.ClientEnd], sink.LogPID[sink.ClientEnd], sink.LogCmdline[sink.ClientEnd], sink.LogAddress[sink.ClientEnd],
	serverTag, sink.LogContainer[sink.ServerEnd], sink.LogProcess[sink.ServerEnd], sink.LogPID[sink.ServerEnd], sink.LogCmdline[sink.ServerEnd], sink.LogAddress[sink.ServerEnd],
	sink.LogPort[sink.ServerEnd], sink.FieldEventProto, sink.FieldMessage, sink.FieldExpected, sink.FieldSeen, sink.FieldEvidence,
}

// eventLog are the rows as they are: of what lasts one when it begins and one when
// it is over, with the same fingerprint.
func eventLog() cogPanel {
	s := stmt{
		fields: []string{names(append(slices.Clone(eventColumns), sink.LogDuration, sink.FieldFingerprint, sink.TagHost)...)},
		from:   sink.MeasurementEvent, where: ofEvents, order: "time DESC", limit: 500,
	}
	p := tabular("Events", "The 500 newest rows, with who it was, what was seen, what was to be expected, and the figures behind it. An anomaly has two, with the same fingerprint: state active when it begins, resolved when it is over.",
		mainDB, query{text: s.String()}, "Time", 500)
	units(p, "s", sink.LogDuration)
	return quiet(ofWhom(p), nothing)
}

// goingOn are the anomalies whose newest row says that they are active. Fingerprints
// are fields, which InfluxQL cannot group by: Grafana does. An anomaly that began
// before the time range goes on as well, so it looks back as far as rows are kept.
func goingOn() cogPanel {
	columns := append(slices.Clone(eventColumns), sink.LogStart)
	s := stmt{
		fields: []string{names(append([]string{sink.TagHost, sink.FieldFingerprint}, columns...)...)},
		from:   sink.MeasurementEvent,
		where: []string{
			onHost, matches(sink.TagEventType, typeVariable), matches(sink.TagSeverity, severityVariable),
			matches(clientTag, clientVariable), matches(serverTag, serverVariable), ident(sink.FieldFingerprint) + " =~ /./",
		},
		order: "time DESC", limit: 5000,
	}
	p := tableOf("Going on now", "Anomalies that began in the last 7 days and are not over: of each fingerprint on a host the newest row, where that says active. Of the 5000 newest rows.",
		mainDB, []query{{text: s.String()}}, sink.FieldScore, 200,
		newest([]string{sink.TagHost, sink.FieldFingerprint}, columns...), renamed(columns...),
		only(sink.FieldState, anomaly.Active.String())).
		TimeFrom("7d").HideTimeOverride(true)
	quiet(p, "Nothing goes on that is not as usual.")
	p.OverrideByName(sink.LogStart, []dashboard.DynamicConfigValue{{Id: "unit", Value: "dateTimeFromNow"}})
	return ofWhom(p)
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
	inOrder(p, clientTag, serverTag, sink.TagServerPort, sink.FieldScore, "intervals")
	return quiet(linked(hidden(p, "Time", "time"), clientTag, serverTag), nothing)
}

// eventful are the edges with most events.
func eventful(where []string) cogPanel {
	tags := []string{sink.TagEventType, sink.TagSeverity, clientTag, serverTag}
	s := stmt{
		fields: []string{as("count("+ident(sink.FieldMessage)+")", "events"), as("max("+ident(sink.FieldSeen)+")", "most seen"), as(fmt.Sprintf("last(%s)", ident(sink.FieldMessage)), "the last")},
		from:   sink.MeasurementEvent, where: where, by: idents(tags...),
	}
	p := tabular("Where most happens", "By type and edge, each event once.", mainDB, query{text: s.String()}, "events", 50)
	inOrder(p, tags...)
	return quiet(ofWhom(hidden(p, "Time", "time")), nothing)
}
