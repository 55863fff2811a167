package dashboards

import (
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/sink"
)

const processVariable = "process"

// Processes chosen by host, container (or display name) and executable; and the
// traffic they have as servers and clients.
var (
	chosenProcesses = []string{
		matches(sink.TagHost, hostVariable), matches(sink.TagEndProcess, processVariable),
		either(matches(sink.TagEndContainer, containerVariable), matches(sink.TagEnd, containerVariable)),
	}
	processServes = append(processEnd(sink.ServerEnd), not(sink.TagReporter, "client"))
	processAsks   = append(processEnd(sink.ClientEnd), not(sink.TagReporter, "server"))
)

func processEnd(end int) []string {
	return []string{
		matches(sink.TagHost, hostVariable), matches(sink.TagProcess[end], processVariable),
		either(matches(sink.TagContainer[end], containerVariable), matches(sink.TagName[end], containerVariable)),
	}
}

// processPage is the last level of the physical way down.
func processPage() *dashboard.DashboardBuilder {
	const m, flow = sink.MeasurementProcess, sink.MeasurementFlow
	f := sink.ProcessField
	serves, asks := sink.TagProcess[sink.ServerEnd], sink.TagProcess[sink.ClientEnd]
	each := ofProcess
	d := page(processesUID, "Weir / Processes", "What the processes use that are an end of a connection, and what they move.").
		WithVariable(hosts()).
		WithVariable(choice(containerVariable, "Container", containersOf(onHost))).
		WithVariable(choice(processVariable, "Process", processesOf(chosenProcesses[0], chosenProcesses[2])))
	narrowed(d, containerVariable, processVariable).WithRow(dashboard.NewRowBuilder("All")).WithPanel(processTable())
	processes(d, chosenProcesses)
	last := func(v usage.Value) query {
		return overBy(m, chosenProcesses, as("last("+ident(f(v))+")", f(v)), each, sink.TagEndProcess, sink.TagEndContainer, sink.TagHost)
	}
	return d.
		WithPanel(graph("Threads by process", "At the end of each interval.", "short", last(usage.Threads))).
		WithPanel(graph("Sockets by process", "TCP sockets that are connected or connecting.", "short", last(usage.Sockets))).
		WithPanel(graph("Accept queue by process", "Connections that wait to be accepted at the end of each interval.", "short", last(usage.Waiting))).
		WithPanel(bars(graph("Failed attempts by process", "As client, per point of the graph.", "short",
			overBy(flow, append(slices.Clone(processAsks), ident(sink.FieldFailed)+" > 0"), sum(sink.FieldFailed), "$tag_"+asks, asks)))).
		WithRow(dashboard.NewRowBuilder("Traffic")).
		WithPanel(stacked("As server", "Payload in both directions.", "Bps", overBy(flow, processServes, bytesExpr("bytes"), "$tag_"+serves, serves))).
		WithPanel(stacked("As client", "Payload in both directions.", "Bps", overBy(flow, processAsks, bytesExpr("bytes"), "$tag_"+asks, asks))).
		WithPanel(recentConnections([]string{onHost, narrow(containerVariable), logContainer, narrow(processVariable), logProcess}))
}

// processTable has a row per process name and place.
func processTable() cogPanel {
	f := sink.ProcessField
	tags := []string{sink.TagHost, sink.TagEnd, sink.TagEndContainer, sink.TagEndProcess}
	s := stmt{
		fields: slices.Concat(
			[]string{as("sum("+ident(f(usage.CPUUser))+") + sum("+ident(f(usage.CPUSystem))+")", "cpu")},
			[]string{most(f(usage.Resident)), most(f(usage.Threads)), most(f(usage.OpenFiles)), most(f(usage.Sockets)), most(f(usage.Listeners)), most(f(usage.Waiting))},
			[]string{sum(f(usage.ReadOctets)), sum(f(usage.WriteOctets)), last(sink.FieldProcesses)}),
		from: sink.MeasurementProcess, where: chosenProcesses, by: idents(tags...),
	}
	p := tabular("Processes", "CPU seconds and block I/O of the time range, the largest of the rest; processes: how many share the row.", mainDB, query{text: s.String()}, "cpu", 500)
	units(p, "s", "cpu")
	units(p, "bytes", f(usage.Resident))
	units(p, traffic, f(usage.ReadOctets), f(usage.WriteOctets))
	inOrder(p, sink.TagEndProcess, sink.TagEnd, sink.TagEndContainer, sink.TagHost)
	return linked(hidden(p, "Time", "time"), tags...)
}
