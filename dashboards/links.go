package dashboards

import (
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/weir-probe/weir/sink"
)

// The way down is physical (host, container, process) or logical (Compose project
// or namespace, service or workload, container), and from an edge to its single
// connections. Every link keeps the time range.

// place is a page, and the variable of it that says of what.
type place struct{ title, uid, variable string }

var (
	toHost      = place{"Capacity of host", capacityUID, hostVariable}
	toProject   = place{"Topology of", topologyUID, projectVariable}
	toService   = place{"Service page of", serviceUID, serviceVariable}
	toContainer = place{"Container page of", containerUID, containerVariable}
	toProcesses = place{"Processes of", processesUID, containerVariable}
	toProcess   = place{"Process", processesUID, processVariable}
	toType      = place{"Events of type", anomaliesUID, typeVariable}
)

// placesOf is where the values of a tag (or of a column of its name) have a page.
func placesOf(tag string) []place {
	switch tag {
	case clientTag, serverTag, sink.TagEnd:
		return []place{toService, toContainer}
	case sink.TagContainer[sink.ClientEnd], sink.TagContainer[sink.ServerEnd], sink.TagEndContainer:
		return []place{toContainer, toProcesses}
	case sink.TagProcess[sink.ClientEnd], sink.TagProcess[sink.ServerEnd], sink.TagEndProcess:
		return []place{toProcess}
	case sink.TagNamespace[sink.ClientEnd], sink.TagNamespace[sink.ServerEnd], sink.TagEndNamespace:
		return []place{toProject}
	case sink.TagHost:
		return []place{toHost}
	case sink.TagEventType:
		return []place{toType}
	}
	return nil
}

// dataLink is what Grafana offers at a point or a cell.
type dataLink struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// pageURL leads to a page with some of its variables, each `var-NAME=value` or
// `${NAME:queryparam}`.
func pageURL(uid string, variables ...string) string {
	return "/d/" + uid + "?" + strings.Join(append(variables, "${__url_time_range}"), "&")
}

func give(variable, value string) string { return "var-" + variable + "=" + value }

// edgeLink leads to the page of one edge; the two ends are given in Grafana's
// terms.
func edgeLink(client, server string) dataLink {
	return dataLink{"This edge", pageURL(edgeUID, give(clientVariable, client), give(serverVariable, server))}
}

func fieldOf(column string) string { return "${__data.fields." + column + ":percentencode}" }
func tagOf(tag string) string      { return "${__field.labels." + tag + ":percentencode}" }

// linked makes the cells of columns lead to the pages of what they name.
func linked[P interface {
	OverrideByName(string, []dashboard.DynamicConfigValue) P
}](p P, columns ...string) P {
	edge := slices.Contains(columns, clientTag) && slices.Contains(columns, serverTag)
	for _, c := range columns {
		var links []dataLink
		if edge && (c == clientTag || c == serverTag) {
			links = append(links, edgeLink(fieldOf(clientTag), fieldOf(serverTag)))
		}
		for _, to := range placesOf(c) {
			links = append(links, dataLink{to.title + " ${__value.text}", pageURL(to.uid, give(to.variable, "${__value.raw:percentencode}"))})
		}
		if links != nil {
			p.OverrideByName(c, []dashboard.DynamicConfigValue{{Id: "links", Value: links}})
		}
	}
	return p
}

// ofWhom makes the names in a table of events lead to their pages. An event has two
// ends, or one: the page of an edge would make do with any other for the one that is
// not there, so that nothing leads to it.
func ofWhom(p *table.PanelBuilder) *table.PanelBuilder {
	for _, column := range []string{
		clientTag, sink.LogContainer[sink.ClientEnd], sink.LogProcess[sink.ClientEnd],
		serverTag, sink.LogContainer[sink.ServerEnd], sink.LogProcess[sink.ServerEnd],
		sink.TagEventType, sink.TagHost,
	} {
		linked(p, column)
	}
	return p
}

// follow makes the lines of a graph lead to the pages of what they stand for.
func follow(p *timeseries.PanelBuilder, targets []target, queries []query) {
	for i, q := range queries {
		var links []dataLink
		if slices.Contains(q.tags, clientTag) && slices.Contains(q.tags, serverTag) && !q.oneEnd {
			links = append(links, edgeLink(tagOf(clientTag), tagOf(serverTag)))
		}
		for _, tag := range q.tags {
			for _, to := range placesOf(tag) {
				links = append(links, dataLink{to.title + " ${__field.labels." + tag + "}", pageURL(to.uid, give(to.variable, tagOf(tag)))})
			}
		}
		if links != nil {
			p.OverrideByQuery(targets[i].RefID, []dashboard.DynamicConfigValue{{Id: "links", Value: links}})
		}
	}
}

// onward is a page's next level: what all its panels lead to.
type onward struct {
	title, uid string
	variables  []string
}

// toServices is the next level of what is about many: those of the project chosen.
var toServices = onward{"Services", serviceUID, same(projectVariable)}

// same hands variables on that both pages have.
func same(variables ...string) (list []string) {
	for _, v := range variables {
		list = append(list, "${"+v+":queryparam}")
	}
	return list
}

// lead gives every panel the links in its head.
func lead(panels []dashboard.PanelOrRowPanel, next []onward) {
	for _, x := range panels {
		if x.RowPanel != nil {
			for i := range x.RowPanel.Panels {
				x.RowPanel.Panels[i].Links = heads(next)
			}
		}
		if x.Panel != nil {
			x.Panel.Links = heads(next)
		}
	}
}

func heads(next []onward) (list []dashboard.DashboardLink) {
	for _, n := range next {
		to := pageURL(n.uid, n.variables...)
		list = append(list, dashboard.DashboardLink{Title: n.title, Type: dashboard.DashboardLinkTypeLink, Url: &to, Tags: []string{}})
	}
	return list
}
