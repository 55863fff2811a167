package dashboards

import (
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

// What goes between availability zones. InfluxQL does not compare tags with each other,
// so that the rows say it (tag crosses).
var (
	betweenZones = append(slices.Clone(onHosts), equals(sink.TagCrosses, sink.CrossesZone))
	withinZone   = append(slices.Clone(onHosts), equals(sink.TagCrosses, sink.CrossesNone))
	withoutZone  = append(slices.Clone(onHosts), equals(sink.TagCrosses, ""))

	clientZone, serverZone = sink.TagZone[sink.ClientEnd], sink.TagZone[sink.ServerEnd]
)

func zones(d *dashboard.DashboardBuilder) {
	const flow = sink.MeasurementFlow
	d.WithRow(dashboard.NewRowBuilder("Availability zones")).
		WithPanel(stacked("Between zones and within", "Payload in both directions. A zone is known where the settings zone and zones tell it.", "Bps",
			over(flow, betweenZones, bytesExpr("between zones")), over(flow, withinZone, bytesExpr("within a zone")), over(flow, withoutZone, bytesExpr("zone not known")))).
		WithPanel(stacked("Between zones, by client's and server's", "Payload in both directions of connections from a zone to another.", "Bps",
			overBy(flow, betweenZones, bytesExpr("bytes"), "$tag_"+clientZone+" to $tag_"+serverZone, clientZone, serverZone))).
		WithPanel(zoneTable()).
		WithPanel(talkersIn("Edges between zones", "The 20 with most payload in both directions, between zones.", betweenZones,
			clientTag, clientZone, serverTag, serverZone).Span(14).Height(10))
}

// zoneTable has what a cloud bills: octets by the zone that they leave and the one that
// they enter. Both ends of a connection send, so that it is two answers, merged by the
// zones they share.
func zoneTable() cogPanel {
	sent := func(from, to, payload, wire, by string) query {
		inner := stmt{
			fields: []string{as("sum("+ident(payload)+")", by), as("sum("+ident(wire)+")", by+", wire")},
			from:   sink.MeasurementFlow, where: betweenZones, by: idents(from, to),
		}
		outer := stmt{fields: []string{as(ident(from), "from"), as(ident(to), "to"), names(by, by+", wire")}, from: "(" + inner.String() + ")"}
		return query{text: outer.String()}
	}
	p := tableOf("From zone to zone", "Octets sent from one zone to another, by clients and by servers together: payload, and frames on the wire where packets are seen. An end that was folded into other has no zone.", mainDB,
		[]query{
			sent(clientZone, serverZone, sink.FieldToServerBytes, sink.FieldToServerWireBytes, "clients"),
			sent(serverZone, clientZone, sink.FieldToClientBytes, sink.FieldToClientWireBytes, "servers"),
		}, "payload", 100, merged(), added("payload", "clients", "servers"), added("wire", "clients, wire", "servers, wire"))
	units(p, traffic, "payload", "wire")
	return hidden(p, "Time", "time", "clients", "servers", "clients, wire", "servers, wire").Span(10).Height(10)
}
