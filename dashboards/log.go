package dashboards

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

// logFilter is what the variables choose of flow_log. Every row has both
// addresses, so that an empty text finds all.
var logFilter = []string{
	matches(sink.TagHost, hostVariable), matches(sink.TagProto, protoVariable),
	matches(clientTag, clientVariable), matches(serverTag, serverVariable),
	narrow(containerVariable), logContainer, narrow(processVariable), logProcess,
	matches(sink.TagEndReason, reasonVariable), either(withText()...),
}

// Rows of the container, or of what it belongs to, and of the process, at either
// end. These are fields: a row that lacks one matches nothing, so that there is
// always a tag or a field beside them that every row has, for when all are chosen.
var (
	logContainer = either(
		matches(sink.LogContainer[sink.ClientEnd], containerVariable), matches(sink.LogContainer[sink.ServerEnd], containerVariable),
		matches(clientTag, containerVariable), matches(serverTag, containerVariable))
	logProcess = unlessAll(either(
		matches(sink.LogProcess[sink.ClientEnd], processVariable), matches(sink.LogProcess[sink.ServerEnd], processVariable),
		matches(sink.LogAddress[sink.ClientEnd], processVariable)), processVariable)
)

// withText has no text to look for folded away by the server (so it is written in a way
// that no text can end), before it reads twenty strings of every row.
func withText() []string {
	list := []string{"'${" + textVariable + ":percentencode}' = ''"}
	for _, pair := range [][2]string{sink.LogAddress, sink.TagName, sink.LogProcess, sink.LogCmdline, sink.LogUser, sink.LogContainer, sink.LogContainerID, sink.LogPod, sink.LogImage, sink.LogDNSName} {
		list = append(list, contains(pair[sink.ClientEnd], textVariable), contains(pair[sink.ServerEnd], textVariable))
	}
	return list
}

// lives is a heartbeat.
var lives = equals(sink.TagEndReason, "active")

// unlessAll folds a condition on fields away while everything is chosen: a server reads
// and compares these fields of every row, and `.*` says no less. Grafana encodes the star.
func unlessAll(condition, variable string) string {
	value := "'${" + variable + ":percentencode}'"
	return either(value+" = '.%2A'", value+" = '"+everything+"'", condition)
}

// A container and a process are fields of flow_log: a server finds their rows by reading
// those of all edges, with every field that is asked for. So variables that nobody sees
// have the names of the client and of the server in rows that know what is chosen as a
// tag, and the log is asked for the rows of these names (which are tags).
func namesOf(variable string, end int) string {
	return variable + [2]string{"_as_client", "_as_server"}[end]
}

// noTag is no tag of any row, and so empty in each.
const noTag = "no_such_tag"

// narrowed gives a page the names of what a variable chooses; none while that is all, since
// there may be any number. One that nobody has is always among them: once a variable has
// offered nothing, some versions of Grafana take the first option for all.
func narrowed(d *dashboard.DashboardBuilder, variables ...string) *dashboard.DashboardBuilder {
	for _, v := range variables {
		for end, tag := range sink.TagName {
			is := []string{matches(sink.TagEndProcess, v), matches(sink.TagProcess[end], v)}
			if v == containerVariable {
				is = []string{matches(sink.TagEndContainer, v), matches(sink.TagContainer[end], v), matches(sink.TagEnd, v), matches(tag, v)}
			}
			chosen := []string{unmatched("$" + v), onHost, either(is...)}
			names := among(tagValuesIn(ofEnds, tag, sink.TagEnd, sink.TagStage), either(strings.Join(chosen, " AND "), equals(sink.TagStage, string(sink.StageSink))))
			d.WithVariable(lookup(namesOf(v, end), "Names of it", names).
				Multi(true).IncludeAll(true).Current(allOfThem).Hide(dashboard.VariableHideHideVariable))
		}
	}
	return d
}

// unmatched holds for every row while the expression is of something, and for none while
// it is everything.
func unmatched(expression string) string { return ident(noTag) + " !~ /^" + expression + "$/" }

// ofEnds are the measurements that have containers and processes as tags (and none as
// fields: SHOW TAG VALUES takes no alternatives of these), and the one that is always there.
var ofEnds = []string{sink.MeasurementFlow, sink.MeasurementContainer, sink.MeasurementProcess, sink.MeasurementSelf}

// narrow is the condition on the log by these names. A container's variable may have the
// name itself, and while all is chosen that holds for every row. The rows of the budget's
// "other" may belong to anybody.
func narrow(variable string) string {
	var list []string
	for end, tag := range sink.TagName {
		list = append(list, ident(tag)+" =~ /^($"+variable+"|$"+namesOf(variable, end)+"|"+sink.Other+")$/")
	}
	return either(list...)
}

// hiddenVariable says that a variable is the page's own business: no URL has it.
func hiddenVariable(v dashboard.VariableModel) bool {
	return v.Hide != nil && *v.Hide == dashboard.VariableHideHideVariable
}

// keepToPage has Grafana not hand on what nobody chose.
func keepToPage(d *dashboard.Dashboard) {
	for i := range d.Templating.List {
		if v := &d.Templating.List[i]; hiddenVariable(*v) {
			v.SkipUrlSync = cog.ToPtr(true)
		}
	}
}
