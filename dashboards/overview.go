package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/weir-probe/weir/sink"
)

// Names of the overview's variables.
const (
	hostVariable   = "host"
	protoVariable  = "proto"
	clientVariable = "client"
	serverVariable = "server"
	// projectVariable is a Compose project or a namespace.
	projectVariable = "project"
)

var (
	clientTag = sink.TagName[sink.ClientEnd]
	serverTag = sink.TagName[sink.ServerEnd]
)

// edgeFilter is what the variables choose, each connection once.
var edgeFilter = []string{
	matches(sink.TagHost, hostVariable),
	matches(sink.TagProto, protoVariable),
	matches(clientTag, clientVariable),
	matches(serverTag, serverVariable),
	ofProject,
	oncePerConnection, withoutTunnels,
}

// ofProject chooses edges with an end in the project.
var ofProject = either(inProject(clientTag), inProject(serverTag))

// edgeVariables choose edges: by where they live, by what they belong to, and one
// by one.
func edgeVariables(d *dashboard.DashboardBuilder) *dashboard.DashboardBuilder {
	return d.
		WithVariable(hosts()).
		WithVariable(projects()).
		WithVariable(protocols()).
		WithVariable(clients(onHost, ofProject)).
		WithVariable(servers(onHost, ofProject))
}

// sameEdges hands all of edgeVariables on.
var sameEdges = same(hostVariable, projectVariable, protoVariable, clientVariable, serverVariable)

func overview() *dashboard.DashboardBuilder {
	return edgeVariables(page(overviewUID, "Weir / Overview", "Who talks to whom, how much, how fast, and how often it fails.")).
		WithRow(dashboard.NewRowBuilder("At a glance")).
		WithPanel(coverageNumber()).
		WithPanel(figure("Throughput", "Payload in both directions.", "Bps", sink.MeasurementFlow, edgeFilter, bytesExpr("throughput"))).
		WithPanel(number("Active connections", "Open at the end of each interval.", "short", "lastNotNull",
			lastSum(sink.MeasurementFlow, edgeFilter, sink.FieldActive))).
		WithPanel(number("Opened", "Connections established in the time range.", "short", "sum",
			over(sink.MeasurementFlow, edgeFilter, sum(sink.FieldOpened)))).
		WithPanel(alarming(number("Failed", "Connection attempts that failed in the time range.", "short", "sum",
			over(sink.MeasurementFlow, edgeFilter, sum(sink.FieldFailed))))).
		WithPanel(number("Retransmits", "TCP segments sent again in the time range.", "short", "sum",
			over(sink.MeasurementFlow, edgeFilter, as(total(sink.FieldRetransmitsToServer, sink.FieldRetransmitsToClient), "retransmits")))).
		WithRow(dashboard.NewRowBuilder("Traffic")).
		WithPanel(graph("Throughput", "Payload as the sockets count it, and frames on the wire.", "Bps",
			over(sink.MeasurementFlow, edgeFilter,
				perSecond(sink.FieldToServerBytes, "to server"), perSecond(sink.FieldToClientBytes, "to client"),
				perSecond(sink.FieldToServerWireBytes, "to server, wire"), perSecond(sink.FieldToClientWireBytes, "to client, wire")))).
		WithPanel(stacked("Throughput by attribution", "How sure it is who was behind the ends that live here.", "Bps",
			overBy(sink.MeasurementFlow, edgeFilter, bytesExpr("bytes"), "$tag_"+sink.TagAttribution, sink.TagAttribution))).
		WithPanel(topEdges("Top edges by bytes to the server", sink.FieldToServerBytes)).
		WithPanel(topEdges("Top edges by bytes to the client", sink.FieldToClientBytes)).
		WithRow(dashboard.NewRowBuilder("Connections and errors")).
		WithPanel(graph("Connections per second", "Attempts are opened, failed and aborted together.", "cps",
			over(sink.MeasurementFlow, edgeFilter,
				perSecond(sink.FieldAttempts, "attempts"), perSecond(sink.FieldOpened, "opened"), perSecond(sink.FieldClosed, "closed")))).
		WithPanel(graph("Active connections", "Open at the end of each interval.", "short",
			lastSum(sink.MeasurementFlow, edgeFilter, sink.FieldActive))).
		WithPanel(failures(edgeFilter)).
		WithPanel(graph("Retransmits per second", "TCP segments sent again.", "cps",
			over(sink.MeasurementFlow, edgeFilter,
				perSecond(sink.FieldRetransmitsToServer, "to server"), perSecond(sink.FieldRetransmitsToClient, "to client")))).
		WithRow(dashboard.NewRowBuilder("Latency")).
		WithPanel(roundTrip(query{}, edgeFilter)).
		WithPanel(connectLatency(edgeFilter)).
		WithRow(dashboard.NewRowBuilder("Edges")).
		WithPanel(edgeTable(edgeFilter))
}

// total is the sum of both directions. A direction without a row is no reason
// to lose the other: within one row both are written or none.
func total(toServer, toClient string) string {
	return "sum(" + ident(toServer) + ") + sum(" + ident(toClient) + ")"
}

func bytesExpr(name string) string {
	return as("("+total(sink.FieldToServerBytes, sink.FieldToClientBytes)+")"+inPoint, name)
}

// coverageNumber is the promise of the program: payload whose owner is known.
func coverageNumber() cogPanel {
	return figure("Attributed", "Share of the payload with a local socket whose owner is known.", "percentunit", sink.MeasurementSelf, []string{matches(sink.TagHost, hostVariable)}, coverageExpr).
		Decimals(2).Max(1).Thresholds(steps("red", step{0.95, "orange"}, step{0.99, "green"}))
}

// coverageExpr weighs intervals by their bytes, which the field coverage cannot.
var coverageExpr = as("sum("+ident(sink.SelfAttributedBytes)+") / sum("+ident(sink.SelfLocalBytes)+")", "coverage")

// topEdges lets the server choose: twenty rows come back, whatever there is.
func topEdges(title, field string) cogPanel {
	return most20(title, "Payload in the time range.", "sum("+ident(field)+")", edgeFilter, clientTag, serverTag, sink.TagServerPort, sink.TagProto).Span(12).Height(10)
}

// talkersIn are the twenty with most payload in both directions.
func talkersIn(title, description string, where []string, tags ...string) *table.PanelBuilder {
	return most20(title, description, total(sink.FieldToServerBytes, sink.FieldToClientBytes), where, tags...)
}

func most20(title, description, bytes string, where []string, tags ...string) *table.PanelBuilder {
	inner := stmt{fields: []string{as(bytes, "bytes")}, from: sink.MeasurementFlow, where: where, by: idents(tags...)}
	outer := stmt{fields: []string{as(`top("bytes", `+names(tags...)+`, 20)`, "bytes")}, from: "(" + inner.String() + ")"}
	p := inOrder(tabular(title, description, mainDB, query{text: outer.String()}, "bytes", 20), tags...)
	return linked(hidden(units(p, traffic, "bytes"), "Time", "time"), tags...)
}

func failures(filter []string) *timeseries.PanelBuilder {
	fields := []string{}
	for _, f := range sink.FieldFailedBy {
		fields = append(fields, sum(f))
	}
	for _, f := range []string{sink.FieldAborted, sink.FieldResetByClient, sink.FieldResetByServer, sink.FieldTimeoutEstablished, sink.FieldSYNRetransmits} {
		fields = append(fields, sum(f))
	}
	return bars(graph("Failures by cause", "Failed attempts by why, and connections that ended badly; per point of the graph.", "short",
		over(sink.MeasurementFlowError, filter, fields...)))
}

// roundTrip shows extra first when it has a text.
func roundTrip(extra query, filter []string) cogPanel {
	queries := []query{
		over(sink.MeasurementFlow, filter, as("mean("+ident(sink.FieldRTTAvg)+")", "average"), as("max("+ident(sink.FieldRTTMax)+")", "largest")),
		over(sink.MeasurementFlowLatency, filter, as("min("+ident(sink.FieldRTTMin)+")", "smallest")),
	}
	if extra.text != "" {
		queries = append([]query{extra}, queries...)
	}
	return graph("Round-trip time", "The kernel's smoothed RTT: average over edges and intervals, and the extremes.", "s", queries...)
}

func connectLatency(filter []string) cogPanel {
	c := sink.Connect
	return graph("Connect latency", "From SYN to established: the exact mean, the worst edge's 99th percentile, and the slowest.", "s",
		over(sink.MeasurementFlowLatency, filter,
			as("sum("+ident(c.Sum)+") / sum("+ident(c.Count)+")", "mean"),
			as("max("+ident(c.P99)+")", "worst p99"),
			as("max("+ident(c.Max)+")", "slowest")))
}

func edgeTable(filter []string) cogPanel {
	tags := []string{
		clientTag, sink.TagContainer[sink.ClientEnd], sink.TagProcess[sink.ClientEnd],
		serverTag, sink.TagContainer[sink.ServerEnd], sink.TagProcess[sink.ServerEnd],
		sink.TagServerPort, sink.TagProto, sink.TagAttribution,
	}
	s := stmt{
		fields: []string{
			sum(sink.FieldToServerBytes), sum(sink.FieldToClientBytes),
			sum(sink.FieldOpened), sum(sink.FieldFailed),
			as(total(sink.FieldRetransmitsToServer, sink.FieldRetransmitsToClient), "retransmits"),
			as("mean("+ident(sink.FieldRTTAvg)+")", sink.FieldRTTAvg), most(sink.FieldRTTMax),
		},
		from: sink.MeasurementFlow, where: filter, by: idents(tags...),
	}
	p := tabular("Edges", "A name leads to the edge's page, and to those of its ends.", mainDB, query{text: s.String()}, sink.FieldToServerBytes, 500)
	inOrder(p, clientTag, serverTag, sink.TagServerPort, sink.TagProto, sink.FieldToServerBytes, sink.FieldToClientBytes,
		sink.FieldOpened, sink.FieldFailed, "retransmits", sink.FieldRTTAvg, sink.FieldRTTMax)
	units(p, traffic, sink.FieldToServerBytes, sink.FieldToClientBytes)
	units(p, "s", sink.FieldRTTAvg, sink.FieldRTTMax)
	hidden(p, "Time", "time")
	return linked(p, clientTag, serverTag, sink.TagContainer[sink.ClientEnd], sink.TagContainer[sink.ServerEnd],
		sink.TagProcess[sink.ClientEnd], sink.TagProcess[sink.ServerEnd])
}
