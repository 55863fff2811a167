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

// logFilter is what the variables choose of flow_log. Every row has both
// addresses, so that an empty text finds all.
var logFilter = []string{
	matches(sink.TagHost, hostVariable), matches(sink.TagProto, protoVariable),
	matches(clientTag, clientVariable), matches(serverTag, serverVariable),
	logContainer, logProcess,
	matches(sink.TagEndReason, reasonVariable), either(withText()...),
}

// Rows of the container, or of what it belongs to, and of the process, at either
// end. These are fields: a row that lacks one matches nothing, so that there is
// always a tag or a field beside them that every row has, for when all are chosen.
var (
	logContainer = either(
		matches(sink.LogContainer[sink.ClientEnd], containerVariable), matches(sink.LogContainer[sink.ServerEnd], containerVariable),
		matches(clientTag, containerVariable), matches(serverTag, containerVariable))
	logProcess = either(
		matches(sink.LogProcess[sink.ClientEnd], processVariable), matches(sink.LogProcess[sink.ServerEnd], processVariable),
		matches(sink.LogAddress[sink.ClientEnd], processVariable))
)

// withText has no text to look for folded away by the server (so it is written in a way
// that no text can end), before it reads twenty strings of every row.
func withText() []string {
	list := []string{"'${" + textVariable + ":percentencode}' = ''"}
	for _, pair := range [][2]string{sink.LogAddress, sink.TagName, sink.LogProcess, sink.LogCmdline, sink.LogUser, sink.LogContainer, sink.LogContainerID, sink.LogPod, sink.LogImage, sink.LogDNSName} {
		list = append(list, contains(pair[sink.ClientEnd], textVariable), contains(pair[sink.ServerEnd], textVariable))
	}
	return list
}

// lives is a heartbeat.
var lives = equals(sink.TagEndReason, "active")

func ended() []string {
	return slices.Concat(logFilter, []string{not(sink.TagEndReason, "active"), matches(sink.LogCloseCause, causeVariable)})
}

// connections is the log of single connections, with filters.
func connections() *dashboard.DashboardBuilder {
	const log = sink.MeasurementFlowLog
	count := as("count("+ident(sink.LogStart)+")", "connections")
	return page(connectionsUID, "Weir / Connections", "Single connections: who, where from, where to, how long, how much, how they ended.").
		WithVariable(hosts()).
		WithVariable(protocols()).
		WithVariable(clients(onHost)).
		WithVariable(servers(onHost)).
		WithVariable(choice(containerVariable, "Container", containersOf(onHost))).
		WithVariable(choice(processVariable, "Process", processesOf(onHost))).
		WithVariable(choice(reasonVariable, "End reason", tagValues(log, sink.TagEndReason)).Datasource(logDB.ref())).
		WithVariable(oneOf(causeVariable, "Close cause", closeCauses())).
		WithVariable(typed(textVariable, "Contains", "In a name, address, process, command line, user, container, its id, pod, image or DNS name of either end")).
		WithRow(dashboard.NewRowBuilder("How many")).
		WithPanel(bars(graphFrom(logDB, "Ended connections by end reason", "Per point of the graph. The log has a budget of rows (--flow-log-rate): counts that must add up are those of the other pages.", "short",
			overBy(log, ended(), count, "$tag_"+sink.TagEndReason, sink.TagEndReason)))).
		WithPanel(bars(graphFrom(logDB, "Ended connections by edge", "Per point of the graph.", "short",
			overBy(log, ended(), count, "$tag_"+clientTag+" to $tag_"+serverTag, clientTag, serverTag)))).
		WithRow(dashboard.NewRowBuilder("One by one")).
		WithPanel(connectionTable("Ended connections", "The 500 newest.", ended(), 500)).
		WithPanel(connectionTable("Connections that live", "Heartbeats (end reason active), the 500 newest: a connection is there once per heartbeat.",
			slices.Concat(logFilter, []string{lives}), 500)).
		WithPanel(largest("Longest", "The 20 longest connections that ended.", sink.LogDuration)).
		WithPanel(largest("Most to the server", "The 20 that sent most.", sink.FieldToServerBytes)).
		WithPanel(largest("Most to the client", "The 20 that received most.", sink.FieldToClientBytes))
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

// largest are the ended connections with the most of a field.
func largest(title, description, field string) cogPanel {
	cols := []string{clientTag, serverTag, sink.LogProcess[sink.ClientEnd], sink.LogProcess[sink.ServerEnd], sink.LogPort[sink.ServerEnd]}
	s := stmt{fields: []string{as("top("+ident(field)+", 20)", field), names(cols...)}, from: sink.MeasurementFlowLog, where: ended()}
	p := tabular(title, description, logDB, query{text: s.String()}, field, 20).Span(8).Height(10)
	inOrder(p, clientTag, serverTag, field)
	units(p, traffic, sink.FieldToServerBytes, sink.FieldToClientBytes)
	units(p, "s", sink.LogDuration)
	return linked(p, clientTag, serverTag, sink.LogProcess[sink.ClientEnd], sink.LogProcess[sink.ServerEnd])
}
