package dashboards

import (
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

const portVariable = "port"

// The edge as both of its ends tell it together, each connection once; and as the
// client's and the server's host see it. Where both ends live on one host, that is
// the same row.
var (
	chosenEdge = []string{matches(clientTag, clientVariable), matches(serverTag, serverVariable)}
	onPort     = matches(sink.TagServerPort, portVariable)
	oneEdge    = slices.Concat(chosenEdge, []string{onPort, oncePerConnection, withoutTunnels})
	clientSide = slices.Concat(chosenEdge, []string{onPort, not(sink.TagReporter, "server"), withoutTunnels})
	serverSide = slices.Concat(chosenEdge, []string{onPort, not(sink.TagReporter, "client"), withoutTunnels})
)

// edge is the page of one client and one server.
func edge() *dashboard.DashboardBuilder {
	d := page(edgeUID, "Weir / Edge", "One client and one server: traffic, connections, failures by cause, where the time goes, what is asked, what is lost.").
		WithVariable(lookup(clientVariable, "Client", tagValuesIn(edges, clientTag))).
		WithVariable(lookup(serverVariable, "Server", among(tagValuesIn(edges, serverTag), matches(clientTag, clientVariable)))).
		WithVariable(choice(portVariable, "Port", among(tagValues(sink.MeasurementFlow, sink.TagServerPort), chosenEdge...)))
	edgeSignals(d)
	edgeLatency(d)
	d.WithRow(dashboard.NewRowBuilder("What is asked")).
		WithPanel(stacked("Requests by operation", "Only of protocols that are understood.", "reqps",
			overBy(sink.MeasurementL7, oneEdge, perSecond(sink.FieldRequests, "requests"), "$tag_"+sink.TagL7+" $tag_"+sink.TagOperation, sink.TagL7, sink.TagOperation))).
		WithPanel(stacked("Requests by status", "The protocol's own word for the result.", "reqps",
			overBy(sink.MeasurementL7, oneEdge, perSecond(sink.FieldRequests, "requests"), "$tag_"+sink.TagL7+" $tag_"+sink.TagStatus, sink.TagL7, sink.TagStatus))).
		WithPanel(routes(oneEdge))
	edgeLoss(d)
	return d.WithRow(dashboard.NewRowBuilder("One by one")).
		WithPanel(edgeTable(oneEdge)).
		WithPanel(events("Events", "What happened on this edge.", chosenEdge)).
		WithPanel(connectionTable("Recent connections, on every port", "The 200 newest rows of flow_log of this edge: ended connections, and heartbeats of those that live (end_reason active). "+
			"A port is a number there, which no choice can be compared with: the head of its column filters.", chosenEdge, 200))
}

func edgeSignals(d *dashboard.DashboardBuilder) {
	const flow = sink.MeasurementFlow
	r := sink.Response
	d.WithRow(dashboard.NewRowBuilder("$" + clientVariable + " to $" + serverVariable)).
		WithPanel(figure("Throughput", "Payload in both directions.", "Bps", flow, oneEdge, bytesExpr("throughput"))).
		WithPanel(number("Active connections", "Open at the end of each interval.", "short", "lastNotNull", lastSum(flow, oneEdge, sink.FieldActive))).
		WithPanel(number("Opened", "Connections established in the time range.", "short", "sum", over(flow, oneEdge, sum(sink.FieldOpened)))).
		WithPanel(alarming(number("Failed", "Attempts that failed in the time range.", "short", "sum", over(flow, oneEdge, sum(sink.FieldFailed))))).
		WithPanel(figure("Requests per second", "Of every protocol.", "reqps", sink.MeasurementFlowLatency, oneEdge, perSecond(r.Count, "requests"))).
		WithPanel(figure("Response time", "Exact mean.", "s", sink.MeasurementFlowLatency, oneEdge, as(mean(r), "mean"))).
		WithPanel(graph("Traffic", "Payload as the sockets count it, and frames on the wire.", "Bps",
			over(flow, oneEdge,
				perSecond(sink.FieldToServerBytes, "to server"), perSecond(sink.FieldToClientBytes, "to client"),
				perSecond(sink.FieldToServerWireBytes, "to server, wire"), perSecond(sink.FieldToClientWireBytes, "to client, wire")))).
		WithPanel(graph("Packets", "On the wire.", "pps",
			over(flow, oneEdge, perSecond(sink.FieldToServerPackets, "to server"), perSecond(sink.FieldToClientPackets, "to client")))).
		WithPanel(graph("Connections per second", "Attempts are opened, failed and aborted together.", "cps",
			over(flow, oneEdge, perSecond(sink.FieldAttempts, "attempts"), perSecond(sink.FieldOpened, "opened"), perSecond(sink.FieldClosed, "closed"), perSecond(sink.FieldFailed, "failed")))).
		WithPanel(graph("Active connections", "Open at the end of each interval.", "short", lastSum(flow, oneEdge, sink.FieldActive))).
		WithPanel(failures(oneEdge).Span(24))
}

// edgeLatency has the same request as both ends see it: what the client waits for
// and the server does not is the network's.
func edgeLatency(d *dashboard.DashboardBuilder) {
	const m = sink.MeasurementFlowLatency
	part := func(x sink.Distribution, name string) string { return as(mean(x), name) }
	d.WithRow(dashboard.NewRowBuilder("Where the time goes")).
		WithPanel(stacked("Per request, as the client sees it", "Mean times, one after the other: asking, waiting for the answer (network and application), receiving it.", "s",
			over(m, clientSide, part(sink.Request, "request sent"), part(sink.Response, "waiting"), part(sink.Sent, "answer received")))).
		WithPanel(stacked("Per request, at the server", "Mean times; only where the server's host has a probe.", "s",
			over(m, serverSide, part(sink.Request, "request received"), part(sink.Response, "application"), part(sink.Sent, "answer sent")))).
		WithPanel(stacked("Per connection", "Mean times: the name and the handshake as the client sees them.", "s",
			over(m, clientSide, part(sink.Resolve, "name"), part(sink.Connect, "handshake")))).
		WithPanel(stacked("Accept queue", "How long connections waited for the server's process to accept them, in the mean.", "s",
			over(m, serverSide, part(sink.Accept, "accept queue")))).
		WithPanel(roundTrip(query{}, oneEdge)).
		WithPanel(connectLatency(oneEdge))
}

func edgeLoss(d *dashboard.DashboardBuilder) {
	const flow = sink.MeasurementFlow
	d.WithRow(dashboard.NewRowBuilder("Loss")).
		WithPanel(graph("Segments sent again", "Share of the packets in that direction.", "percentunit",
			over(flow, oneEdge, as(ratio(sink.FieldRetransmitsToServer, sink.FieldToServerPackets), "to server"), as(ratio(sink.FieldRetransmitsToClient, sink.FieldToClientPackets), "to client")))).
		WithPanel(trouble(oneEdge))
}

// trouble is what packets and queues say of the way.
func trouble(where []string) cogPanel {
	return bars(graph("Trouble on the way", "Segments sent again, out of order, double; SYNs sent again; connections that the accept queue had no room for. Per point of the graph.", "short",
		over(sink.MeasurementFlow, where, as(total(sink.FieldRetransmitsToServer, sink.FieldRetransmitsToClient), "retransmits")),
		over(sink.MeasurementFlowError, where, sum(sink.FieldOutOfOrder), sum(sink.FieldDuplicates), sum(sink.FieldSYNRetransmits), sum(sink.FieldAcceptQueueDrops))))
}
