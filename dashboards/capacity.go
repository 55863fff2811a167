package dashboards

import (
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/correlate/usage"
	"github.com/weir-probe/weir/sink"
)

var (
	onHosts       = []string{matches(sink.TagHost, hostVariable), oncePerConnection, withoutTunnels}
	externalEdges = append(slices.Clone(onHosts), elsewhere)
	// crossHost are connections of clients here with servers on other hosts of the
	// fleet. Their hosts tell them, too; of each there is one row with such a server.
	crossHost  = append(slices.Clone(onHosts), equals(sink.TagKind[sink.ServerEnd], "remote"))
	containers = []string{matches(sink.TagHost, hostVariable)}
)

// capacity is the page of what traffic costs: who moves most, what leaves the
// host or the site, and what CPU and memory stand beside it.
func capacity() *dashboard.DashboardBuilder {
	const flow = sink.MeasurementFlow
	f := sink.ContainerField
	cores := as("(sum("+ident(f(usage.CPUUser))+") + sum("+ident(f(usage.CPUSystem))+"))"+inPoint, "cores")
	d := page(capacityUID, "Weir / Capacity and cost", "Who moves most, what leaves the host and the site, and what CPU and memory it takes.").
		WithVariable(hosts()).
		WithRow(dashboard.NewRowBuilder("At a glance")).
		WithPanel(coverageNumber()).
		WithPanel(figure("Throughput", "Payload in both directions.", "Bps", flow, onHosts, bytesExpr("throughput"))).
		WithPanel(figure("External", "Of that, with an end outside.", "Bps", flow, externalEdges, bytesExpr("external"))).
		WithPanel(figure("To other hosts", "Of that, with servers on other hosts of the fleet (setting fleet; without it they are external).", "Bps", flow, crossHost, bytesExpr("across"))).
		WithPanel(figure("CPU", "Cores in use by containers and services.", "short", sink.MeasurementContainer, containers, cores)).
		WithPanel(number("Memory", "Working set of containers and services.", "bytes", "lastNotNull", lastSum(sink.MeasurementContainer, containers, f(usage.WorkingSet)))).
		WithRow(dashboard.NewRowBuilder("Top talkers")).
		WithPanel(talkers("Top clients", "Payload in both directions, by who opened the connections.", clientTag)).
		WithPanel(talkers("Top servers", "Payload in both directions, by who was asked.", serverTag)).
		WithPanel(stacked("By client", "Payload in both directions.", "Bps", overBy(flow, onHosts, bytesExpr("bytes"), "$tag_"+clientTag, clientTag))).
		WithPanel(stacked("By host", "Payload in both directions, of the connections that each host tells.", "Bps", overBy(flow, onHosts, bytesExpr("bytes"), "$tag_"+sink.TagHost, sink.TagHost)))
	external(d)
	zones(d)
	return d.WithRow(dashboard.NewRowBuilder("To other hosts")).
		WithPanel(stacked("To other hosts, by name or network", "Payload of connections that clients on a host have with servers on other hosts of the fleet (setting fleet): what they are called by DNS, else by their network (setting subnets), else the network in fleet.", "Bps",
			overBy(flow, crossHost, bytesExpr("bytes"), "$tag_"+sink.TagHost+" to $tag_"+serverTag, sink.TagHost, serverTag))).
		WithPanel(talkersIn("Edges to other hosts", "The 20 with most payload, between hosts of the fleet.", crossHost, clientTag, serverTag).Span(12).Height(8)).
		WithRow(dashboard.NewRowBuilder("CPU and memory beside the traffic")).
		WithPanel(stacked("CPU", "Cores in use.", "short", overBy(sink.MeasurementContainer, containers, cores, "$tag_"+sink.TagEnd, sink.TagEnd))).
		WithPanel(stacked("Memory", "Working set.", "bytes", overBy(sink.MeasurementContainer, containers,
			as("mean("+ident(f(usage.WorkingSet))+")", "memory"), "$tag_"+sink.TagEnd+" $tag_"+sink.TagEndContainer, sink.TagEnd, sink.TagEndContainer, sink.TagHost))).
		WithPanel(costs()).
		WithRow(dashboard.NewRowBuilder("How much of it is known")).
		WithPanel(graph("Coverage", "Payload with a known owner, of the payload with a local socket.", "percentunit",
			overBy(sink.MeasurementSelf, containers, coverageExpr, "$tag_"+sink.TagHost, sink.TagHost)).Max(1)).
		WithPanel(stacked("Throughput by attribution", "How sure it is who was behind the ends that live here.", "Bps",
			overBy(flow, onHosts, bytesExpr("bytes"), "$tag_"+sink.TagAttribution, sink.TagAttribution)))
}

func external(d *dashboard.DashboardBuilder) {
	const flow = sink.MeasurementFlow
	d.WithRow(dashboard.NewRowBuilder("External traffic")).
		WithPanel(stacked("Asked of others, by name", "Payload with servers outside.", "Bps",
			overBy(flow, append(slices.Clone(onHosts), equals(sink.TagKind[sink.ServerEnd], "external")), bytesExpr("bytes"), "$tag_"+serverTag, serverTag))).
		WithPanel(stacked("Asked by others, by name", "Payload with clients outside.", "Bps",
			overBy(flow, append(slices.Clone(onHosts), equals(sink.TagKind[sink.ClientEnd], "external")), bytesExpr("bytes"), "$tag_"+clientTag, clientTag))).
		WithPanel(talkersIn("External edges", "The 20 with most payload.", externalEdges, clientTag, serverTag).Span(24).Height(10)).
		WithPanel(byPlace("By autonomous system", sink.LogASN, sink.LogASOrg)).
		WithPanel(byPlace("By country", sink.LogCountry, sink.LogCountry))
}

// byPlace adds up what flow_log says of ends elsewhere. Their system and country
// are fields, which InfluxQL cannot group by: Grafana does, of the newest rows.
func byPlace(title string, of ...[2]string) cogPanel {
	const most = 5000
	var by []string
	for _, pair := range of {
		if !slices.Contains(by, pair[sink.ServerEnd]) {
			by = append(by, pair[sink.ServerEnd])
		}
	}
	s := stmt{
		fields: []string{names(append(slices.Clone(by), sink.FieldToServerBytes, sink.FieldToClientBytes)...)},
		from:   sink.MeasurementFlowLog,
		where:  []string{matches(sink.TagHost, hostVariable), not(sink.TagEndReason, "active"), ident(by[len(by)-1]) + " =~ /./"},
		order:  "time DESC", limit: most,
	}
	p := tableOf(title, "Of servers outside, where a database tells (names.geoip): the 5000 newest connections that ended.", logDB,
		[]query{{text: s.String()}}, sink.FieldToClientBytes+" (sum)", 100, grouped(by, sink.FieldToServerBytes, sink.FieldToClientBytes)).
		Span(12).Height(10)
	return units(p, traffic, sink.FieldToServerBytes+" (sum)", sink.FieldToClientBytes+" (sum)")
}

func talkers(title, description, tag string) cogPanel {
	return talkersIn(title, description, onHosts, tag).Span(12).Height(10)
}

// costs has one row per container or service: what it uses and what it moves, as
// server and as client. The three answers are merged by the name they share.
func costs() cogPanel {
	f := sink.ContainerField
	used := stmt{
		fields: []string{as("sum("+ident(f(usage.CPUUser))+") + sum("+ident(f(usage.CPUSystem))+")", "cpu"), as("max("+ident(f(usage.WorkingSet))+")", "memory")},
		from:   sink.MeasurementContainer, where: containers, by: idents(sink.TagEnd),
	}
	moved := func(tag, column string) query {
		inner := stmt{
			fields: []string{as(total(sink.FieldToServerBytes, sink.FieldToClientBytes), column)},
			from:   sink.MeasurementFlow, where: onHosts, by: idents(tag),
		}
		outer := stmt{fields: []string{as(ident(tag), sink.TagEnd), ident(column)}, from: "(" + inner.String() + ")"}
		return query{text: outer.String()}
	}
	p := tableOf("What it costs", "CPU seconds and the largest working set in the time range, beside the payload in both directions.", mainDB,
		[]query{{text: used.String()}, moved(serverTag, "as server"), moved(clientTag, "as client")}, "cpu", 200, merged())
	units(p, "s", "cpu")
	inOrder(p, sink.TagEnd)
	units(p, "bytes", "memory")
	units(p, traffic, "as server", "as client")
	return linked(hidden(p, "Time", "time"), sink.TagEnd)
}
