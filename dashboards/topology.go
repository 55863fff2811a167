package dashboards

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/nodegraph"
	"github.com/weir-probe/weir/sink"
)

// topology is the map: who is connected with whom.
func topology() *dashboard.DashboardBuilder {
	return edgeVariables(page(topologyUID, "Weir / Topology", "The map of who talks to whom, of a host, a Compose project, a namespace, or everything.")).
		WithRow(dashboard.NewRowBuilder("Map")).
		WithPanel(nodeGraph()).
		WithRow(dashboard.NewRowBuilder("The same as a list")).
		WithPanel(edgeTable(edgeFilter))
}

// What Grafana's node graph asks of its two frames: an `id` in both, `source` and
// `target` (ids of nodes, all of which have to be there) in that of the edges.
const (
	nodeID, nodeTitle = "id", "title"
	edgeSource        = "source"
	edgeTarget        = "target"
	mainStat          = "mainstat"
	secondStat        = "secondarystat"
	receivedDetail    = "detail__to_server_bytes"
	sentDetail        = "detail__to_client_bytes"
	failedDetail      = "detail__failed"
)

// mostEdges is what the map shows at most; Grafana draws up to 1500 nodes.
const mostEdges = 500

// nodeGraph builds both frames from InfluxQL. A node is a client, a server, or
// both: two queries, merged by their id. Edges have no id of their own in the
// database: the number of the row will do.
func nodeGraph() cogPanel {
	list := targets(mainDB, rows, []query{edgesOfMap(), nodesOfMap(serverTag, "served"), nodesOfMap(clientTag, "asked")})
	for i, ref := range []string{"edges", "nodes_served", "nodes_asked"} {
		list[i].RefID = ref
	}
	p := nodegraph.NewPanelBuilder().
		Title("Map").Description(fmt.Sprintf("A line is an edge with its payload and failed attempts, a node an end with the payload it received as a server and asked for as a client. The %d edges with most payload.", mostEdges)).
		Datasource(mainDB.ref()).Interval(rowInterval).
		Span(24).Height(22).
		Nodes(nodegraph.NewNodeOptionsBuilder().MainStatUnit(traffic).SecondaryStatUnit(traffic)).
		Edges(nodegraph.NewEdgeOptionsBuilder().MainStatUnit(traffic).SecondaryStatUnit("short"))
	for _, t := range list {
		p.WithTarget(t)
	}
	p.WithTransformation(onlyOf("/nodes_.*/", merged())).
		WithTransformation(onlyOf("edges", numbered(nodeID)))
	id := []dataLink{}
	for _, to := range []place{toService, toContainer} {
		id = append(id, dataLink{to.title + " ${__data.fields.id}", pageURL(to.uid, give(to.variable, fieldOf(nodeID)))})
	}
	p.OverrideByName(nodeTitle, []dashboard.DynamicConfigValue{{Id: "links", Value: id}})
	p.OverrideByName(edgeSource, []dashboard.DynamicConfigValue{{Id: "links", Value: []dataLink{edgeLink(fieldOf(edgeSource), fieldOf(edgeTarget))}}})
	return p
}

// edgesOfMap has source, target and their numbers.
func edgesOfMap() query {
	inner := stmt{
		fields: []string{
			as(total(sink.FieldToServerBytes, sink.FieldToClientBytes), "bytes"), as("sum("+ident(sink.FieldFailed)+")", sink.FieldFailed),
			sum(sink.FieldToServerBytes), sum(sink.FieldToClientBytes),
		},
		from: sink.MeasurementFlow, where: edgeFilter, by: idents(clientTag, serverTag),
	}
	ranked := stmt{
		fields: []string{as(fmt.Sprintf(`top("bytes", %d)`, mostEdges), "bytes"), names(sink.FieldFailed, sink.FieldToServerBytes, sink.FieldToClientBytes, clientTag, serverTag)},
		from:   "(" + inner.String() + ")",
	}
	outer := stmt{
		fields: []string{
			as(ident(clientTag), edgeSource), as(ident(serverTag), edgeTarget),
			as(`"bytes"`, mainStat), as(ident(sink.FieldFailed), secondStat),
			as(ident(sink.FieldToServerBytes), receivedDetail), as(ident(sink.FieldToClientBytes), sentDetail),
		},
		from: "(" + ranked.String() + ")",
	}
	return query{text: outer.String()}
}

// nodesOfMap are the ends on one side of the edges.
func nodesOfMap(tag, stat string) query {
	inner := stmt{
		fields: []string{as(total(sink.FieldToServerBytes, sink.FieldToClientBytes), "bytes")},
		from:   sink.MeasurementFlow, where: edgeFilter, by: idents(tag),
	}
	names := map[string]string{"served": mainStat, "asked": secondStat}
	outer := stmt{
		fields: []string{as(ident(tag), nodeID), as(ident(tag), nodeTitle), as(`"bytes"`, names[stat])},
		from:   "(" + inner.String() + ")",
	}
	return query{text: outer.String()}
}
