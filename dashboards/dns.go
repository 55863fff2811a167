package dashboards

import (
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

// dns is the page of names: who asks what of which resolver, what it is told, and
// which names keep connections waiting.
func dns() *dashboard.DashboardBuilder {
	l7, r := sink.MeasurementL7, sink.Response
	chosen := []string{matches(sink.TagHost, hostVariable), matches(clientTag, clientVariable), matches(serverTag, serverVariable), oncePerConnection, withoutTunnels}
	asks := append([]string{equals(sink.TagL7, "dns")}, chosen...)
	nxdomain := append([]string{equals(sink.TagStatus, "NXDOMAIN")}, asks...)
	each := "$tag_" + clientTag
	return page(dnsUID, "Weir / DNS", "Questions and answers, by who asks and who answers, and the names that connections wait for.").
		WithVariable(hosts()).
		WithVariable(clients(onHost).Label("Who asks")).
		WithVariable(servers(onHost).Label("Resolver (or name)")).
		WithRow(dashboard.NewRowBuilder("At a glance")).
		WithPanel(figure("Questions per second", "Of all who ask.", "reqps", l7, asks, perSecond(sink.FieldRequests, "questions"))).
		WithPanel(alarming(number("NXDOMAIN", "Answers that there is no such name, in the time range.", "short", "sum",
			over(l7, nxdomain, as("sum("+ident(sink.FieldRequests)+")", "nxdomain"))))).
		WithPanel(alarming(number("Errors", "SERVFAIL, REFUSED and the like, in the time range.", "short", "sum", over(l7, asks, sum(sink.FieldErrors))))).
		WithPanel(alarming(number("Unanswered", "Questions whose answer never came, in the time range.", "short", "sum", over(l7, asks, sum(sink.FieldUnanswered))))).
		WithPanel(figure("Answer time", "Exact mean.", "s", l7, asks, as(mean(r), "mean"))).
		WithPanel(figure("Wait for a name", "Exact mean of how long a connection waited for the name of its server.", "s", sink.MeasurementFlowLatency, chosen, as(mean(sink.Resolve), "wait"))).
		WithRow(dashboard.NewRowBuilder("Questions and answers")).
		WithPanel(stacked("Questions by type", "Per second.", "reqps",
			overBy(l7, asks, perSecond(sink.FieldRequests, "questions"), "$tag_"+sink.TagOperation, sink.TagOperation))).
		WithPanel(stacked("Answers", "By the response code; none: no answer was seen.", "reqps",
			overBy(l7, asks, perSecond(sink.FieldRequests, "answers"), "$tag_"+sink.TagStatus, sink.TagStatus))).
		WithPanel(stacked("Questions by who asks", "Per second.", "reqps",
			overBy(l7, asks, perSecond(sink.FieldRequests, "questions"), each, clientTag))).
		WithPanel(stacked("Questions by resolver", "Per second.", "reqps",
			overBy(l7, asks, perSecond(sink.FieldRequests, "questions"), "$tag_"+serverTag, serverTag))).
		WithPanel(bars(graph("NXDOMAIN by who asks", "Names that do not exist, per point of the graph: search domains, typing errors, or a program that makes names up.", "short",
			overBy(l7, nxdomain, sum(sink.FieldRequests), each, clientTag)))).
		WithPanel(bars(graph("Unanswered by who asks", "Per point of the graph.", "short",
			overBy(l7, asks, sum(sink.FieldUnanswered), each, clientTag)))).
		WithRow(dashboard.NewRowBuilder("How long")).
		WithPanel(graph("Answer time by resolver", "Exact mean.", "s", overBy(l7, asks, as(mean(r), "mean"), "$tag_"+serverTag, serverTag))).
		WithPanel(graph("Answer time", "Exact mean; of the worst asker and interval the 99th percentile and the slowest.", "s",
			over(l7, asks, as(mean(r), "mean"), as("max("+ident(r.P99)+")", "worst p99"), as("max("+ident(r.Max)+")", "slowest")))).
		WithPanel(slowNames(chosen)).
		WithPanel(askers(asks))
}

// slowNames are the servers whose names kept connections waiting: l7 has no names
// of questions, there is no end of them.
func slowNames(where []string) cogPanel {
	w := sink.Resolve
	tags := []string{serverTag, clientTag, sink.TagContainer[sink.ClientEnd], sink.TagProcess[sink.ClientEnd]}
	figures := []string{"waits", "mean", "worst p99", "longest"}
	s := stmt{
		fields: []string{as("sum("+ident(w.Count)+")", figures[0]), as(mean(w), figures[1]), as("max("+ident(w.P99)+")", figures[2]), as("max("+ident(w.Max)+")", figures[3])},
		from:   sink.MeasurementFlowLatency, where: append(slices.Clone(where), ident(w.Count)+" > 0"), by: idents(tags...),
	}
	p := tabular("Slow names", "How long connections waited for the DNS answer that named their server: each answer once, for the connection that used it.", mainDB,
		query{text: s.String()}, "mean", 100)
	inOrder(p, append([]string{serverTag, clientTag}, figures...)...)
	units(p, "s", figures[1:]...)
	return linked(hidden(p, "Time", "time"), tags...)
}

// askers is a table of who asks whom.
func askers(where []string) cogPanel {
	r := sink.Response
	tags := []string{clientTag, sink.TagContainer[sink.ClientEnd], sink.TagProcess[sink.ClientEnd], serverTag, sink.TagOperation, sink.TagStatus}
	s := stmt{
		fields: slices.Concat([]string{sum(sink.FieldRequests), sum(sink.FieldErrors), sum(sink.FieldUnanswered)},
			[]string{as(mean(r), "mean"), as("max("+ident(r.P99)+")", "worst p99"), most(r.Max)}),
		from: sink.MeasurementL7, where: where, by: idents(tags...),
	}
	p := tabular("Who asks", "By type of question and answer, the most first.", mainDB, query{text: s.String()}, sink.FieldRequests, 200)
	inOrder(p, clientTag, serverTag, sink.TagOperation, sink.TagStatus, sink.FieldRequests, sink.FieldErrors, sink.FieldUnanswered)
	units(p, "s", "mean", "worst p99", r.Max)
	return linked(hidden(p, "Time", "time"), tags...)
}
