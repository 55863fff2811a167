package dashboards

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

// serviceVariable is a display name: of a Compose service, a workload, a systemd
// unit, a container or a program.
const serviceVariable = "service"

// Edges whose server is the service, told by the server's host where it has one;
// and those on which it asks others.
var (
	served = []string{matches(serverTag, serviceVariable), not(sink.TagReporter, "client"), withoutTunnels}
	asked  = []string{matches(clientTag, serviceVariable), not(sink.TagReporter, "server"), withoutTunnels}
	itself = []string{matches(sink.TagEnd, serviceVariable)}
)

// service is the page of the golden signals: what is asked of a service, how much
// of it fails, how long it takes and where that time goes.
func service() *dashboard.DashboardBuilder {
	d := page(serviceUID, "Weir / Service", "One service: requests, errors, latency with the split of time, traffic, and what it has to live on.").
		WithVariable(projects()).
		WithVariable(services(lookup))
	signals(d)
	timeSplit(d)
	d.WithRow(dashboard.NewRowBuilder("What is asked")).
		WithPanel(routes(served)).
		WithRow(dashboard.NewRowBuilder("What fails")).
		WithPanel(failingEdges("Callers with failed attempts", "Attempts that never became a connection, by who tried.", sink.MeasurementFlow, served,
			sink.FieldAttempts, sink.FieldFailed)).
		WithPanel(failingEdges("Servers with failed attempts", "Attempts of this service, by who was called.", sink.MeasurementFlow, asked,
			sink.FieldAttempts, sink.FieldFailed)).
		WithPanel(failures(served)).
		WithPanel(bars(graph("Request errors by caller", "Requests that failed by the protocol's own rules, per point of the graph.", "short",
			overBy(sink.MeasurementFlowError, served, sum(sink.FieldRequestErrors), "$tag_"+clientTag, clientTag))))
	dnsHealth(d)
	resources(d, itself)
	d.WithPanel(events("Events", "What happened to this service: out of memory, throttled, failures.", logEnds(serviceVariable)))
	return d
}

func signals(d *dashboard.DashboardBuilder) {
	r, l := sink.Response, sink.MeasurementL7
	d.WithRow(dashboard.NewRowBuilder("Golden signals of $" + serviceVariable)).
		WithPanel(figure("Requests per second", "Answered ones: as the protocol tells, or, where it is not known, each change of a connection's direction to the client.", "reqps", sink.MeasurementFlowLatency, served, perSecond(r.Count, "requests"))).
		WithPanel(alarming(number("Failed requests", "By the protocol's own rules, in the time range.", "short", "sum",
			over(l, served, sum(sink.FieldErrors))))).
		WithPanel(alarming(number("Failed attempts", "Connections that could not be opened, in the time range.", "short", "sum",
			over(sink.MeasurementFlow, served, sum(sink.FieldFailed))))).
		WithPanel(figure("Response time", "Exact mean: last octet of the request in to first octet of the answer out.", "s", sink.MeasurementFlowLatency, served, as(mean(r), "mean"))).
		WithPanel(figure("Throughput", "Payload in both directions.", "Bps", sink.MeasurementFlow, served, bytesExpr("throughput"))).
		WithPanel(number("Callers", "Different clients in the time range.", "short", "lastNotNull", callers())).
		WithPanel(stacked("Requests by caller", "Who asks how often.", "reqps",
			overBy(sink.MeasurementFlowLatency, served, perSecond(r.Count, "requests"), "$tag_"+clientTag, clientTag))).
		WithPanel(stacked("Requests by result", "As the protocol says it; only of protocols that are understood.", "reqps",
			overBy(l, served, perSecond(sink.FieldRequests, "requests"), "$tag_"+sink.TagL7+" $tag_"+sink.TagStatus, sink.TagL7, sink.TagStatus))).
		WithPanel(graph("Error ratio", "Of requests: errors by the protocol's own rules; of attempts: connections that could not be opened.", "percentunit",
			over(l, served, as(ratio(sink.FieldErrors, sink.FieldRequests), "requests")),
			over(sink.MeasurementFlow, served, as(ratio(sink.FieldFailed, sink.FieldAttempts), "attempts"))).Max(1)).
		WithPanel(graph("Response time", "The exact mean; of the worst edge and interval the 99th and 90th percentile: quantiles of edges have no average.", "s",
			over(sink.MeasurementFlowLatency, served, as(mean(r), "mean"),
				as("max("+ident(r.P90)+")", "worst p90"), as("max("+ident(r.P99)+")", "worst p99"), as("max("+ident(r.Max)+")", "slowest"))))
}

// timeSplit answers: is it the network, the queue, or the application.
func timeSplit(d *dashboard.DashboardBuilder) {
	part := func(x sink.Distribution, name string) string { return as(mean(x), name) }
	d.WithRow(dashboard.NewRowBuilder("Where the time goes")).
		WithPanel(stacked("Per request, at the server", "Mean times, one after the other: the request arrives (network and client), the application works, the answer leaves (network and client).", "s",
			over(sink.MeasurementFlowLatency, served,
				part(sink.Request, "request received"), part(sink.Response, "application"), part(sink.Sent, "answer sent")))).
		WithPanel(stacked("Per connection", "Mean times: clients on hosts with a probe wait for the name and for the handshake (network); the accept queue (the application is too slow to accept).", "s",
			over(sink.MeasurementFlowLatency, served,
				part(sink.Resolve, "name"), part(sink.Connect, "handshake"), part(sink.Accept, "accept queue")))).
		WithPanel(graph("Handshake of clients elsewhere", "SYN to SYN-ACK as packets show it on the server's host: this host's network and kernel. Much of it is SYNs that were dropped.", "s",
			over(sink.MeasurementFlowLatency, served, part(sink.SynAck, "mean"), as("max("+ident(sink.SynAck.P99)+")", "worst p99")))).
		WithPanel(roundTrip(query{}, served)).
		WithPanel(bars(graph("Trouble on the way", "Segments sent again, out of order, double; segments that say that an end takes no more; connections that the accept queue had no room for, or that clients did not complete. Per point of the graph.", "short",
			over(sink.MeasurementFlow, served, as(total(sink.FieldRetransmitsToServer, sink.FieldRetransmitsToClient), "retransmits")),
			over(sink.MeasurementFlowError, served, sum(sink.FieldOutOfOrder), sum(sink.FieldDuplicates), sum(sink.FieldZeroWindowsClient), sum(sink.FieldZeroWindowsServer),
				sum(sink.FieldAcceptQueueDrops), sum(sink.FieldHandshakes))))).
		WithPanel(stacked("What it waits for: answers of others", "Mean response time of the servers that this service asks, as it sees them.", "s",
			overBy(sink.MeasurementFlowLatency, asked, as(mean(sink.Response), "response"), "$tag_"+serverTag, serverTag)))
}

// routes are operations, the slowest first.
func routes(where []string) cogPanel {
	r := sink.Response
	tags := []string{sink.TagL7, sink.TagOperation, sink.TagStatus}
	s := stmt{
		fields: []string{
			sum(sink.FieldRequests), sum(sink.FieldErrors), sum(sink.FieldUnanswered),
			as(mean(r), "mean"), as("max("+ident(r.P99)+")", "worst p99"), most(r.Max),
			sum(sink.FieldRequestBytes), sum(sink.FieldResponseBytes),
		},
		from: sink.MeasurementL7, where: where, by: idents(tags...),
	}
	p := tabular("Routes and statements", "What was asked, the slowest on average first.", mainDB, query{text: s.String()}, "mean", 100)
	units(p, "s", "mean", "worst p99", r.Max)
	units(p, traffic, sink.FieldRequestBytes, sink.FieldResponseBytes)
	return hidden(p, "Time", "time")
}

// failingEdges is a table of who is at the other end of what failed, worst first.
func failingEdges(title, description, from string, where []string, all, bad string) cogPanel {
	edge := []string{clientTag, serverTag, sink.TagServerPort}
	inner := stmt{fields: []string{as("sum("+ident(bad)+")", bad), as("sum("+ident(all)+")", all)}, from: from, where: where}
	inner.by = idents(edge...)
	outer := stmt{
		fields: []string{ident(bad), ident(all), as(ident(bad)+" / "+ident(all), "ratio"), names(edge...)},
		from:   "(" + inner.String() + ")", where: []string{ident(bad) + " > 0"},
	}
	p := inOrder(tabular(title, description, mainDB, query{text: outer.String()}, bad, 20), edge...).Span(12).Height(8)
	units(p, "percentunit", "ratio")
	return quiet(linked(hidden(p, "Time", "time"), clientTag, serverTag), nothing)
}

// dnsHealth shows what DNS says and how long the service waits for it.
func dnsHealth(d *dashboard.DashboardBuilder) {
	asksDNS := append([]string{equals(sink.TagL7, "dns")}, asked...)
	r := sink.Response
	d.WithRow(dashboard.NewRowBuilder("Names")).
		WithPanel(stacked("DNS questions by answer", "What this service asked, and what it was told.", "reqps",
			overBy(sink.MeasurementL7, asksDNS, perSecond(sink.FieldRequests, "questions"), "$tag_"+sink.TagOperation+" $tag_"+sink.TagStatus, sink.TagOperation, sink.TagStatus))).
		WithPanel(graph("DNS time", "Mean and slowest answer, and how long connections waited for their name.", "s",
			over(sink.MeasurementL7, asksDNS, as(mean(r), "mean answer"), as("max("+ident(r.Max)+")", "slowest answer")),
			over(sink.MeasurementFlowLatency, asked, as(mean(sink.Resolve), "mean wait"), as("max("+ident(sink.Resolve.Max)+")", "longest wait"))))
}

// callers counts display names.
func callers() query {
	inner := stmt{fields: []string{as("sum("+ident(sink.FieldAttempts)+")", "n")}, from: sink.MeasurementFlow, where: served, by: idents(clientTag)}
	return query{stmt{fields: []string{as(`count("n")`, "callers")}, from: "(" + inner.String() + ")"}.String(), "$col", nil, false}
}

// mean of a distribution, over whatever the statement groups by: exact.
func mean(x sink.Distribution) string { return ratio(x.Sum, x.Count) }

func ratio(part, whole string) string {
	return fmt.Sprintf("sum(%s) / sum(%s)", ident(part), ident(whole))
}
