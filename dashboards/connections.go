package dashboards

import (
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/sink"
)

const (
	reasonVariable = "reason"
	causeVariable  = "cause"
	textVariable   = "text"
)

// sameFilters hands on what the log can be filtered by of edgeVariables.
var sameFilters = same(hostVariable, protoVariable, clientVariable, serverVariable)

func ended() []string {
	return slices.Concat(logFilter, []string{not(sink.TagEndReason, "active"), unlessAll(matches(sink.LogCloseCause, causeVariable), causeVariable)})
}

// connections is the log of single connections, with filters.
func connections() *dashboard.DashboardBuilder {
	const log = sink.MeasurementFlowLog
	count := as("count("+ident(sink.LogStart)+")", "connections")
	d := page(connectionsUID, "Weir / Connections", "Single connections: who, where from, where to, how long, how much, how they ended.").
		WithVariable(hosts()).
		WithVariable(protocols()).
		WithVariable(clients(onHost)).
		WithVariable(servers(onHost)).
		WithVariable(choice(containerVariable, "Container", containersOf(onHost))).
		WithVariable(choice(processVariable, "Process", processesOf(onHost))).
		WithVariable(choice(reasonVariable, "End reason", tagValues(log, sink.TagEndReason)).Datasource(logDB.ref())).
		WithVariable(oneOf(causeVariable, "Close cause", closeCauses())).
		WithVariable(typed(textVariable, "Contains", "In a name, address, process, command line, user, container, its id, pod, image or DNS name of either end"))
	return narrowed(d, containerVariable, processVariable).
		WithRow(dashboard.NewRowBuilder("How many")).
		WithPanel(bars(graphFrom(logDB, "Ended connections by end reason", "Per point of the graph. The log has a budget of rows (--flow-log-rate): counts that must add up are those of the other pages.", "short",
			overBy(log, ended(), count, "$tag_"+sink.TagEndReason, sink.TagEndReason)))).
		WithPanel(bars(graphFrom(logDB, "Ended connections by edge", "Per point of the graph.", "short",
			overBy(log, ended(), count, "$tag_"+clientTag+" to $tag_"+serverTag, clientTag, serverTag)))).
		WithRow(dashboard.NewRowBuilder("One by one")).
		WithPanel(connectionTable("Ended connections", "The 500 newest.", ended(), 500)).
		WithPanel(connectionTable("Connections that live", "Heartbeats (end reason active), the 500 newest: a connection is there once per heartbeat.",
			slices.Concat(logFilter, []string{lives}), 500)).
		WithPanel(largest("Longest", "The 20 longest connections that ended", sink.LogDuration)).
		WithPanel(largest("Most to the server", "The 20 that sent most", sink.FieldToServerBytes)).
		WithPanel(largest("Most to the client", "The 20 that received most", sink.FieldToClientBytes))
}

// closeCauses are the words of the field close_cause.
func closeCauses() (list []string) {
	for c := correlate.CloseNormal; c <= correlate.CloseHandshakeIncomplete; c++ {
		list = append(list, c.String())
	}
	return list
}

// recentConnections are the newest of flow_log: the identities that the tags of
// flow leave out.
func recentConnections(where []string) cogPanel {
	return connectionTable("Recent connections", "The 200 newest rows of flow_log: ended connections, and heartbeats of those that live (end_reason active).", where, 200)
}

func connectionTable(title, description string, where []string, limit int) cogPanel {
	cols := []string{clientTag, serverTag, sink.TagProto, sink.LogPort[sink.ServerEnd], sink.TagEndReason, sink.LogCloseCause,
		sink.LogDuration, sink.FieldToServerBytes, sink.FieldToClientBytes, sink.FieldRTTAvg, sink.Connect.Sum}
	for _, pair := range [][2]string{sink.LogProcess, sink.LogContainer, sink.LogAddress} {
		cols = append(cols, pair[:]...)
	}
	cols = append(cols, sink.LogPort[sink.ClientEnd])
	for _, pair := range [][2]string{sink.LogPID, sink.LogMethod} {
		cols = append(cols, pair[:]...)
	}
	s := stmt{fields: []string{names(cols...)}, from: sink.MeasurementFlowLog, where: where, order: "time DESC", limit: limit}
	p := tabular(title, description, logDB, query{text: s.String()}, "Time", limit)
	units(p, traffic, sink.FieldToServerBytes, sink.FieldToClientBytes)
	units(p, "s", sink.LogDuration, sink.FieldRTTAvg, sink.Connect.Sum)
	return linked(p, clientTag, serverTag, sink.LogContainer[sink.ClientEnd], sink.LogContainer[sink.ServerEnd],
		sink.LogProcess[sink.ClientEnd], sink.LogProcess[sink.ServerEnd])
}

// largest are the ended connections with the most of a field. The server reads the names
// of those alone that are it in their point: read for every row they are what costs.
func largest(title, description, field string) cogPanel {
	about := names(sink.LogProcess[sink.ClientEnd], sink.LogProcess[sink.ServerEnd], sink.LogPort[sink.ServerEnd])
	inner := stmt{fields: []string{most(field), about}, from: sink.MeasurementFlowLog, where: ended(), by: []string{byTime, ident(clientTag), ident(serverTag)}, fill: "none"}
	s := stmt{fields: []string{as("top("+ident(field)+", 20)", field), names(clientTag, serverTag), about}, from: "(" + inner.String() + ")"}
	description += ", of an edge at most one per point of the graphs above, which its time is of."
	p := tabular(title, description, logDB, query{text: s.String()}, field, 20).Span(8).Height(10)
	inOrder(p, clientTag, serverTag, field)
	units(p, traffic, sink.FieldToServerBytes, sink.FieldToClientBytes)
	units(p, "s", sink.LogDuration)
	return linked(p, clientTag, serverTag, sink.LogProcess[sink.ClientEnd], sink.LogProcess[sink.ServerEnd])
}
