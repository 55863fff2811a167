package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/sink"
)

// resources is a row about what an end uses, beside its latency: slow because
// throttled, because it waits for the disk, or not because of either.
func resources(d *dashboard.DashboardBuilder, filter []string) {
	f := sink.ContainerField
	const m = sink.MeasurementContainer
	rate := func(v usage.Value, name string) string { return perSecond(f(v), name) }
	d.WithRow(dashboard.NewRowBuilder("Resources")).
		WithPanel(graph("CPU", "Cores in use, what the quota allows to each replica, and cores' worth of time in which the quota kept it from running.", "short",
			over(m, filter,
				as("(sum("+ident(f(usage.CPUUser))+") + sum("+ident(f(usage.CPUSystem))+"))"+inPoint, "used"),
				rate(usage.Throttled, "throttled"), as("max("+ident(f(usage.Quota))+")", "quota")))).
		WithPanel(graph("Throttled periods", "Share of the quota's periods in which it was used up.", "percentunit",
			over(m, filter, as(ratio(f(usage.ThrottledPeriods), f(usage.Periods)), "throttled"))).Max(1)).
		WithPanel(graph("Memory", "What is in use (without file pages that were not touched lately), and the limits, of all replicas; processes killed for want of it.", "bytes",
			lastSum(m, filter, f(usage.WorkingSet)), lastSum(m, filter, f(usage.MemoryLimit)),
			over(m, filter, as("sum("+ident(f(usage.OOMKills))+")", "killed"))).
			OverrideByName("killed", []dashboard.DynamicConfigValue{{Id: "unit", Value: "short"}, {Id: "custom.axisPlacement", Value: "right"}})).
		WithPanel(graph("Stalled", "Share of the time in which something waited for a CPU, for memory, for block I/O (PSI some), in the replica that waited most.", "percentunit",
			worst(filter, f(usage.CPUSome), "cpu"), worst(filter, f(usage.MemorySome), "memory"), worst(filter, f(usage.IOSome), "io"))).
		WithPanel(graph("Block I/O", "Read from and written to block devices.", "Bps",
			over(m, filter, rate(usage.ReadOctets, "read"), rate(usage.WriteOctets, "written")))).
		WithPanel(graph("Processes and threads", "At the end of each interval.", "short", lastSum(m, filter, f(usage.PIDs)))).
		WithPanel(graph("Sockets", "TCP sockets that are connected or connecting, and listening ones.", "short",
			lastSum(m, filter, f(usage.Sockets)), lastSum(m, filter, f(usage.Listeners)))).
		WithPanel(graph("Accept queue", "Connections that wait to be accepted at the end of each interval, and how many may: past that SYNs are dropped.", "short",
			lastSum(m, filter, f(usage.Waiting)), lastSum(m, filter, f(usage.Backlog)))).
		WithPanel(stacked("Packets dropped by the kernel", "Lost on this host, by the kernel's reason: of its sockets, or in its network namespace.", "cps",
			overBy(sink.MeasurementDrop, filter, perSecond(sink.FieldDroppedPackets, "dropped"), "$tag_"+sink.TagReason, sink.TagReason)).Span(24))
	processes(d, filter)
}

// ofProcess names a line: several containers may run the same program.
const ofProcess = "$tag_" + sink.TagEndProcess + " $tag_" + sink.TagEndContainer

// processes is a row about the processes of an end that had traffic.
func processes(d *dashboard.DashboardBuilder, filter []string) {
	f := sink.ProcessField
	const m = sink.MeasurementProcess
	each := ofProcess
	last := func(v usage.Value) query {
		return overBy(m, filter, as("last("+ident(f(v))+")", f(v)), each, sink.TagEndProcess, sink.TagEndContainer, sink.TagHost)
	}
	d.WithRow(dashboard.NewRowBuilder("Processes")).
		WithPanel(graph("CPU by process", "Cores in use.", "short", overBy(m, filter,
			as("(sum("+ident(f(usage.CPUUser))+") + sum("+ident(f(usage.CPUSystem))+"))"+inPoint, "used"), each, sink.TagEndProcess, sink.TagEndContainer))).
		WithPanel(graph("Memory by process", "In RAM, what is shared included.", "bytes", last(usage.Resident))).
		WithPanel(graph("Block I/O by process", "Read from block devices and written to them.", "Bps", overBy(m, filter,
			as("(sum("+ident(f(usage.ReadOctets))+") + sum("+ident(f(usage.WriteOctets))+"))"+inPoint, "moved"), each, sink.TagEndProcess, sink.TagEndContainer))).
		WithPanel(graph("Open files by process", "Descriptors, sockets included.", "short", last(usage.OpenFiles)))
}

// worst is the largest of the rates that replicas have: shares of the time do not add up.
func worst(where []string, field, name string) query {
	replica := idents(sink.TagHost, sink.TagEnd, sink.TagEndContainer)
	inner := stmt{fields: []string{perSecond(field, name)}, from: sink.MeasurementContainer, where: where, by: append([]string{byTime}, replica...), fill: "none"}
	outer := stmt{fields: []string{most(name)}, from: "(" + inner.String() + ")", by: []string{byTime}, fill: "null"}
	return query{outer.String(), name, nil, false}
}

// logEnds chooses rows of event and flow_log by the name of either end.
func logEnds(variable string) []string {
	return []string{either(matches(clientTag, variable), matches(serverTag, variable))}
}

// events is a table of what happened, the newest first.
func events(title, description string, where []string) cogPanel {
	s := stmt{
		fields: []string{names(sink.FieldState, sink.TagEventType, sink.TagSeverity, sink.FieldScore, clientTag, serverTag, sink.FieldMessage, sink.FieldExpected, sink.FieldSeen, sink.FieldEvidence,
			sink.LogProcess[sink.ClientEnd], sink.LogUser[sink.ClientEnd], sink.LogCmdline[sink.ClientEnd], sink.LogProcess[sink.ServerEnd])},
		from: sink.MeasurementEvent, where: where, order: "time DESC", limit: 100,
	}
	return quiet(ofWhom(tabular(title, description, mainDB, query{text: s.String()}, "Time", 100)), nothing)
}
