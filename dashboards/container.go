package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

// containerVariable names the container: its own name, or the display name of
// the Compose service or workload it belongs to (what a link from the overview
// gives), which then stands for all its replicas. What there is to choose from is
// narrowed by host, project and service; the page is about the container alone.
const containerVariable = "container"

// Rows in which the container is the client, told by the client's host, and
// those in which it is the server, told by the server's: each once.
var (
	isClient = []string{
		either(matches(sink.TagContainer[sink.ClientEnd], containerVariable), matches(clientTag, containerVariable)),
		not(sink.TagReporter, "server"), onHost,
	}
	isServer = []string{
		either(matches(sink.TagContainer[sink.ServerEnd], containerVariable), matches(serverTag, containerVariable)),
		not(sink.TagReporter, "client"), onHost,
	}
	isEither = []string{either(
		matches(sink.TagContainer[sink.ClientEnd], containerVariable), matches(clientTag, containerVariable),
		matches(sink.TagContainer[sink.ServerEnd], containerVariable), matches(serverTag, containerVariable),
	), onHost}
	onHost = matches(sink.TagHost, hostVariable)
)

func container() *dashboard.DashboardBuilder {
	chosen := []string{onHost, inProject(sink.TagEnd), matches(sink.TagEnd, serviceVariable)}
	const flow = sink.MeasurementFlow
	process := [2]string{sink.TagProcess[sink.ClientEnd], sink.TagProcess[sink.ServerEnd]}
	d := page(containerUID, "Weir / Container", "One container: whom it talks to, how much, how fast, and what fails.").
		WithVariable(hosts()).
		WithVariable(projects()).
		WithVariable(services(choice)).
		WithVariable(lookup(containerVariable, "Container", containersOf(chosen...)))
	narrowed(d, containerVariable).
		WithRow(dashboard.NewRowBuilder("$" + containerVariable)).
		WithPanel(stacked("In, by peer", "Payload received.", "Bps",
			overBy(flow, isServer, perSecond(sink.FieldToServerBytes, "in"), "from client $tag_"+clientTag, clientTag),
			overBy(flow, isClient, perSecond(sink.FieldToClientBytes, "in"), "from server $tag_"+serverTag, serverTag))).
		WithPanel(stacked("Out, by peer", "Payload sent.", "Bps",
			overBy(flow, isServer, perSecond(sink.FieldToClientBytes, "out"), "to client $tag_"+clientTag, clientTag),
			overBy(flow, isClient, perSecond(sink.FieldToServerBytes, "out"), "to server $tag_"+serverTag, serverTag))).
		WithPanel(stacked("In, by process", "Payload received.", "Bps",
			overBy(flow, isServer, perSecond(sink.FieldToServerBytes, "in"), "$tag_"+process[1]+", as server", process[1]),
			overBy(flow, isClient, perSecond(sink.FieldToClientBytes, "in"), "$tag_"+process[0]+", as client", process[0]))).
		WithPanel(stacked("Out, by process", "Payload sent.", "Bps",
			overBy(flow, isServer, perSecond(sink.FieldToClientBytes, "out"), "$tag_"+process[1]+", as server", process[1]),
			overBy(flow, isClient, perSecond(sink.FieldToServerBytes, "out"), "$tag_"+process[0]+", as client", process[0]))).
		WithRow(dashboard.NewRowBuilder("Connections and errors")).
		WithPanel(graph("Connections per second", "Opened to and by this container.", "cps",
			over(flow, isServer, perSecond(sink.FieldOpened, "accepted"), perSecond(sink.FieldFailed, "failed as server")),
			over(flow, isClient, perSecond(sink.FieldOpened, "connected"), perSecond(sink.FieldFailed, "failed as client")))).
		WithPanel(graph("Active connections", "Open at the end of each interval.", "short",
			named(lastSum(flow, isServer, sink.FieldActive), "as server"),
			named(lastSum(flow, isClient, sink.FieldActive), "as client"))).
		WithPanel(failures(isEither)).
		WithPanel(graph("Retransmits per second", "TCP segments sent again.", "cps",
			over(flow, isServer, perSecond(sink.FieldRetransmitsToServer, "in, from clients"), perSecond(sink.FieldRetransmitsToClient, "out, to clients")),
			over(flow, isClient, perSecond(sink.FieldRetransmitsToClient, "in, from servers"), perSecond(sink.FieldRetransmitsToServer, "out, to servers")))).
		WithRow(dashboard.NewRowBuilder("Latency")).
		WithPanel(graph("Round-trip time by peer", "The kernel's smoothed RTT, average over the peer's edges.", "s",
			overBy(flow, isServer, as("mean("+ident(sink.FieldRTTAvg)+")", "rtt"), "client $tag_"+clientTag, clientTag),
			overBy(flow, isClient, as("mean("+ident(sink.FieldRTTAvg)+")", "rtt"), "server $tag_"+serverTag, serverTag))).
		WithPanel(connectLatency(isEither))
	resources(d, []string{either(matches(sink.TagEndContainer, containerVariable), matches(sink.TagEnd, containerVariable)), onHost})
	return d.WithRow(dashboard.NewRowBuilder("Connections")).
		WithPanel(events("Events", "What happened to this container: out of memory, throttled, failures.", append(logEnds(containerVariable), onHost))).
		WithPanel(recentConnections([]string{onHost, narrow(containerVariable), logContainer}))
}

func named(q query, alias string) query {
	q.alias = alias
	return q
}
