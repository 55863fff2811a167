package dashboards

import (
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

// handshakes is the page of TLS and QUIC: how long it takes until a connection is
// secure, what fails on the way there and by which alert, what is agreed on, and which
// certificates expire soon.
func handshakes() *dashboard.DashboardBuilder {
	const l7 = sink.MeasurementL7
	h := sink.HandshakeTime
	chosen := []string{matches(sink.TagHost, hostVariable), matches(clientTag, clientVariable), matches(serverTag, serverVariable), oncePerConnection, withoutTunnels}
	shakes := append([]string{isHandshake}, chosen...)
	to := "$tag_" + serverTag
	return page(tlsUID, "Weir / TLS", "Handshakes of TLS and QUIC: how long they take, which fail and why, and certificates that expire soon.").
		WithVariable(hosts()).
		WithVariable(clients(onHost)).
		WithVariable(servers(onHost)).
		WithRow(dashboard.NewRowBuilder("At a glance")).
		WithPanel(figure("Handshakes per second", "Of TLS and QUIC.", "reqps", l7, shakes, perSecond(sink.FieldRequests, "handshakes"))).
		WithPanel(figure("Whole handshake", "Exact mean, of TLS: until both ends have changed their cipher.", "s", l7, shakes, as(mean(h), "mean"))).
		WithPanel(figure("To the ServerHello", "Exact mean: what of it the server's first answer takes.", "s", l7, shakes, as(mean(sink.Response), "mean"))).
		WithPanel(alarming(number("Failed", "Ended by an alert, in the time range.", "short", "sum", over(l7, shakes, sum(sink.FieldErrors))))).
		WithPanel(alarming(number("Unanswered", "Nothing came back, in the time range.", "short", "sum", over(l7, shakes, sum(sink.FieldUnanswered))))).
		WithPanel(number("Next to expire", "Time left of the first certificate to expire of those seen in the time range.", "dtdurations", "min",
			over(l7, shakes, as("min("+ident(sink.FieldCertificateLeft)+")", "left"))).
			Thresholds(steps("red", step{7 * 86400, "orange"}, step{30 * 86400, "green"}))).
		WithRow(dashboard.NewRowBuilder("Certificates")).
		WithPanel(expiring(shakes)).
		WithRow(dashboard.NewRowBuilder("Handshakes")).
		WithPanel(graph("Whole handshake, by server", "Exact mean, of TLS.", "s", overBy(l7, shakes, as(mean(h), "mean"), to, serverTag))).
		WithPanel(graph("Longest handshake, by server", "Of the intervals in a point.", "s", overBy(l7, shakes, most(h.Max), to, serverTag))).
		WithPanel(bars(graph("Failed, by status", "By the name of the alert, per point of the graph; encrypted_alert: one that nobody else can read.", "short",
			overBy(l7, shakes, sum(sink.FieldErrors), "$tag_"+sink.TagStatus, sink.TagStatus)))).
		WithPanel(bars(graph("Failed, by server", "Per point of the graph.", "short", overBy(l7, shakes, sum(sink.FieldErrors), to, serverTag)))).
		WithPanel(stacked("Versions", "Per second; unknown: it failed before one was agreed on.", "reqps",
			overBy(l7, shakes, perSecond(sink.FieldRequests, "handshakes"), "$tag_"+sink.TagOperation, sink.TagOperation))).
		WithPanel(stacked("Application protocols", "ALPN, per second: the server's choice up to TLS 1.2, else what the client offers first.", "reqps",
			overBy(l7, shakes, perSecond(sink.FieldRequests, "handshakes"), "$tag_"+sink.TagALPN, sink.TagALPN))).
		WithPanel(slowestHandshakes(shakes)).
		WithPanel(failingRequests(shakes))
}

var isHandshake = either(equals(sink.TagL7, "tls"), equals(sink.TagL7, "quic"))

// expiring are the certificates seen in the time range, the first to expire first.
func expiring(where []string) cogPanel {
	tags := []string{sink.TagHost, serverTag, sink.TagContainer[sink.ServerEnd], sink.TagServerPort, sink.TagServerName}
	s := stmt{
		fields: []string{
			as("min("+ident(sink.FieldNotAfter)+") / 1000000", "expires"), as("min("+ident(sink.FieldCertificateLeft)+")", "left"),
			sum(sink.FieldRequests),
		},
		from: sink.MeasurementL7, where: append(slices.Clone(where), ident(sink.FieldNotAfter)+" > 0"), by: idents(tags...),
	}
	p := tableOf("Certificates that expire soon", "Of servers to whom a handshake was seen in which the certificate is in the open (up to TLS 1.2), the first to expire first.", mainDB,
		[]query{{text: s.String()}}, "expires", 200).
		Transformations([]transformation{firstly("expires"), limited(200), ordered(serverTag, sink.TagServerName, sink.TagServerPort, "expires", "left", sink.FieldRequests)})
	units(p, "dateTimeAsIso", "expires")
	units(p, "dtdurations", "left")
	p.OverrideByName("left", []dashboard.DynamicConfigValue{
		{Id: "thresholds", Value: map[string]any{"mode": "absolute", "steps": []map[string]any{
			{"color": "red", "value": nil}, {"color": "orange", "value": 7 * 86400}, {"color": "green", "value": 30 * 86400}}}},
		{Id: "custom.cellOptions", Value: map[string]any{"type": "color-text"}},
	})
	return linked(hidden(p, "Time", "time"), tags...)
}

// firstly puts the smallest first.
func firstly(by string) transformation {
	return transformation{Id: "sortBy", Options: map[string]any{"sort": []map[string]any{{"field": by}}}}
}

// slowestHandshakes are the edges whose handshakes take longest.
func slowestHandshakes(where []string) cogPanel {
	h := sink.HandshakeTime
	tags := []string{clientTag, serverTag, sink.TagServerName, sink.TagOperation}
	s := stmt{
		fields: []string{sum(h.Count), as(mean(h), "mean"), as(mean(sink.Response), "to the ServerHello"), as("max("+ident(h.P99)+")", "worst p99"), most(h.Max)},
		from:   sink.MeasurementL7, where: append(slices.Clone(where), ident(h.Count)+" > 0"), by: idents(tags...),
	}
	p := tabular("Slowest handshakes", "By edge, server name and version; what is beyond the ServerHello is the client's, the network's, or the cost of keys.", mainDB,
		query{text: s.String()}, "mean", 100)
	inOrder(p, tags...)
	units(p, "s", "mean", "to the ServerHello", "worst p99", h.Max)
	return linked(hidden(p, "Time", "time"), clientTag, serverTag)
}
