package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

func health() *dashboard.DashboardBuilder {
	const self = sink.MeasurementSelf
	host := []string{matches(sink.TagHost, hostVariable)}
	byStage := "$tag_" + sink.TagStage
	return page(healthUID, "Weir / Probe health", "What the probe sees, loses, costs and delivers.").
		WithVariable(hosts()).
		WithRow(dashboard.NewRowBuilder("At a glance")).
		WithPanel(coverageNumber()).
		WithPanel(alarming(number("Lost", "In all stages, in the time range.", "short", "sum",
			over(self, host, sum(sink.SelfLost))))).
		WithPanel(alarming(number("Rejected rows", "Refused by the database for good.", "short", "sum",
			over(self, host, sum(sink.SelfRejected))))).
		WithPanel(number("Waiting", "Age of the oldest row that is not delivered.", "s", "lastNotNull",
			over(self, host, most(sink.SelfQueueAge)))).
		WithPanel(number("CPU", "Of one core, all probes chosen.", "percentunit", "mean", cpu(host, "cpu"))).
		WithPanel(number("Memory", "Resident, the largest probe chosen.", "bytes", "lastNotNull",
			over(self, host, most(sink.SelfRSS)))).
		WithRow(dashboard.NewRowBuilder("Seen and attributed")).
		WithPanel(graph("Coverage", "Payload with a known owner, of the payload with a local socket.", "percentunit",
			overBy(self, host, coverageExpr, "$tag_"+sink.TagHost, sink.TagHost)).Max(1)).
		WithPanel(stacked("Flows by how they were matched", "Per second; unmatched has no socket, ambiguous several possible owners.", "short",
			over(self, host, rates(sink.SelfMatchedCookie, sink.SelfMatchedTuple, sink.SelfMatchedNAT, sink.SelfUnmatched, sink.SelfAmbiguous)...))).
		WithPanel(graph("Payload by what is known of it", "Per second: with a local socket, attributed to a process, seen on packets only.", "Bps",
			over(self, host, rates(sink.SelfLocalBytes, sink.SelfAttributedBytes, sink.SelfPacketOnlyBytes)...))).
		WithPanel(graph("Seen by stage", "What came into each stage, per second.", "short",
			overBy(self, host, perSecond(sink.SelfSeen, "seen"), byStage, sink.TagStage))).
		WithRow(dashboard.NewRowBuilder("Lost and limits")).
		WithPanel(stacked("Lost by stage", "Per point of the graph.", "short",
			overBy(self, host, sum(sink.SelfLost), byStage, sink.TagStage))).
		WithPanel(stacked("Lost by reason", "Per point of the graph.", "short",
			over(self, host, sums(sink.SelfLostMapFull, sink.SelfLostRingFull, sink.SelfLostTableFull, sink.SelfLostQueueFull, sink.SelfLostDecode, sink.SelfLostDropped)...))).
		WithPanel(graph("Kernel map fill", "The fullest map.", "percentunit",
			over(self, host, as("max("+ident(sink.SelfMapEntries)+") / max("+ident(sink.SelfMapCapacity)+")", "fill"))).Max(1)).
		WithPanel(graph("Table sizes", "Entries of the probe's own tables.", "short",
			over(self, host, mosts(sink.SelfConnections, sink.SelfProcesses, sink.SelfContainers)...))).
		WithPanel(graph("Series", "Held against the budget (series_budget).", "short",
			over(self, host, mosts(sink.SelfSeries, sink.SelfLogSeries)...))).
		WithPanel(graph("Series admitted and refused", "Refused: written in a coarser row. Folded: how.", "short",
			over(self, host, sums(sink.SelfSeriesAdmitted, sink.SelfSeriesRefused, sink.SelfSeriesExpired,
				sink.SelfFoldedProcess, sink.SelfFoldedContainer, sink.SelfFoldedOneEnd, sink.SelfFoldedOther, sink.SelfLogSuppressed)...))).
		WithPanel(losses(host)).
		WithRow(dashboard.NewRowBuilder("Journal and delivery")).
		WithPanel(graph("Queue and journal", "Rows and octets waiting for delivery, and the journal's size on disk.", "bytes",
			over(self, host, mosts(sink.SelfQueueBytes, sink.SelfSpoolBytes)...))).
		WithPanel(graph("Rows waiting", "Not yet delivered.", "short", over(self, host, mosts(sink.SelfQueueRows)...))).
		WithPanel(graph("Age of the oldest row waiting", "Grows while the database is away.", "s",
			over(self, host, most(sink.SelfQueueAge)))).
		WithPanel(graph("Rows per second", "Encoded (sink), kept (journal) and accepted by the database (delivery).", "short",
			overBy(self, host, perSecond(sink.SelfRows, "rows"), byStage, sink.TagStage))).
		WithPanel(graph("Delivery errors", "Per point of the graph.", "short",
			over(self, host, sums(sink.SelfRejectedType, sink.SelfRejectedAge, sink.SelfRejectedParse, sink.SelfRejectedOther,
				sink.SelfRetries, sink.SelfThrottled, sink.SelfConfigErrors, sink.SelfDroppedRows, sink.SelfCorrupt)...))).
		WithRow(dashboard.NewRowBuilder("Cost and hooks")).
		WithPanel(graph("CPU", "Of one core, by host.", "percentunit",
			overBy(self, process(host), perSecond(sink.SelfCPU, "cpu"), "$tag_"+sink.TagHost, sink.TagHost))).
		WithPanel(graph("Memory", "Resident.", "bytes",
			over(self, host, mosts(sink.SelfRSS)...))).
		WithPanel(hooks(host))
}

// process narrows to the row of the whole process: stages report CPU time too.
func process(host []string) []string {
	return append(host[:len(host):len(host)], equals(sink.TagStage, string(sink.StageProcess)))
}

func cpu(host []string, name string) query {
	return over(sink.MeasurementSelf, process(host), perSecond(sink.SelfCPU, name))
}

func sums(fields ...sink.SelfInt) (list []string) {
	for _, f := range fields {
		list = append(list, sum(f))
	}
	return list
}

func mosts(fields ...sink.SelfInt) (list []string) {
	for _, f := range fields {
		list = append(list, most(f))
	}
	return list
}

func rates(fields ...sink.SelfInt) (list []string) {
	for _, f := range fields {
		list = append(list, perSecond(f, string(f)))
	}
	return list
}

// losses names each counter of a loss or a limit that is not 0, and what it counts. The
// answer has a column per counter, which become the rows.
func losses(host []string) cogPanel {
	const name, total = "Field", "Total" // as the transformation calls them
	var fields []string
	meanings := map[string]any{}
	for i, f := range sink.Losses() {
		fields = append(fields, sum(f.Name))
		meanings[f.Name] = map[string]any{"index": i, "text": f.Name + ": " + f.Meaning}
	}
	s := stmt{fields: fields, from: sink.MeasurementSelf, where: host}
	p := tableOf("Losses and limits", "Each counter that is not 0 in the time range: what is missing from the rows, or coarser in them than it was. No rows: nothing is.",
		mainDB, []query{{text: s.String()}}, total, len(fields), turned("sum"), above(total, 0))
	p.OverrideByName(name, []dashboard.DynamicConfigValue{
		{Id: "mappings", Value: []map[string]any{{"type": "value", "options": meanings}}},
	})
	return p
}

// hooks says what runs where, how much of it got attached and what waits for a restart.
func hooks(host []string) cogPanel {
	s := stmt{
		fields: []string{last(sink.InfoVersion), last(sink.InfoSchema), last(sink.InfoKernel),
			last(sink.InfoHooksAttached), last(sink.InfoHooksFallback), last(sink.InfoHooksMissing),
			last(sink.InfoOutOfSight), last(sink.InfoRestartNeeded)},
		from: sink.MeasurementInfo, where: host, by: []string{ident(sink.TagHost)},
	}
	p := tabular("Probes", "Version, kernel and hooks by state; weir doctor on the host says which and why. restart_needed: settings that a reload has read and that wait for a restart.", mainDB, query{text: s.String()}, sink.InfoHooksMissing, 500)
	p.OverrideByName(sink.InfoHooksMissing, []dashboard.DynamicConfigValue{
		{Id: "thresholds", Value: map[string]any{"mode": "absolute", "steps": []map[string]any{{"color": "green", "value": nil}, {"color": "orange", "value": 1}}}},
		{Id: "custom.cellOptions", Value: map[string]any{"type": "color-text"}},
	})
	return hidden(p, "Time", "time")
}
