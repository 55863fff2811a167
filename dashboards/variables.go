package dashboards

import (
	"fmt"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/weir-probe/weir/sink"
)

// Grafana keeps a value that it is given in a URL for as long as its first look at
// what a variable offers; at the next it takes the first of those in place of one
// that is not among them, and the page is about something else. So a variable
// offers the same on every page, whatever measurements that page reads, less only
// what other variables of the page have narrowed.

// everywhere are the measurements that have names of ends.
var everywhere = []string{sink.MeasurementFlow, sink.MeasurementContainer, sink.MeasurementProcess, sink.MeasurementEvent}

// edges are those that have a client and a server.
var edges = []string{sink.MeasurementFlow, sink.MeasurementEvent}

// choice is a variable with several values, all by default. `.*` also matches
// rows that do not have the tag.
func choice(name, label, values string) *dashboard.QueryVariableBuilder {
	return lookup(name, label, values).Multi(true).IncludeAll(true).AllValue(everything).Current(allOfThem)
}

// everything is what "All" stands for.
const everything = ".*"

var allOfThem = dashboard.VariableOption{
	Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
	Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
}

// oneOf is a choice between values that are known.
func oneOf(name, label string, values []string) *dashboard.CustomVariableBuilder {
	list := strings.Join(values, ",")
	return dashboard.NewCustomVariableBuilder(name).Label(label).
		Values(dashboard.StringOrMap{String: &list}).
		Multi(true).IncludeAll(true).AllValue(everything).Current(allOfThem)
}

// typed is a variable that is typed in; it stands in conditions of contains.
func typed(name, label, description string) *dashboard.TextBoxVariableBuilder {
	return dashboard.NewTextBoxVariableBuilder(name).Label(label).Description(description)
}

// lookup is a variable with one value out of what a query answers.
func lookup(name, label, values string) *dashboard.QueryVariableBuilder {
	return lookupIn(mainDB, name, label, values)
}

func lookupIn(db database, name, label, values string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).
		Datasource(db.ref()).
		Query(dashboard.StringOrMap{String: &values}).Definition(values).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortNaturalAsc)
}

// hosts are those with a probe.
func hosts() *dashboard.QueryVariableBuilder {
	return choice(hostVariable, "Host", tagValuesIn(append(slices.Clone(everywhere), sink.MeasurementSelf), sink.TagHost))
}

func protocols() *dashboard.QueryVariableBuilder {
	return choice(protoVariable, "Protocol", tagValues(sink.MeasurementFlow, sink.TagProto))
}

// projects are the first parts of the names that containers, pods and services
// have: Compose projects and namespaces.
func projects() *dashboard.QueryVariableBuilder {
	return choice(projectVariable, "Project or namespace", tagValues(sink.MeasurementContainer, sink.TagEnd)).Regex(`/^([^\/]+)\/.+$/`)
}

// inChosenProject narrows what a variable offers to the project chosen. Grafana
// makes a group of several; without a name for the whole it would take that.
const inChosenProject = `/^(?<value>$` + projectVariable + `(?:\/.*)?)$/`

// services are the display names of all ends there are, of the project chosen.
func services(of func(name, label, values string) *dashboard.QueryVariableBuilder) *dashboard.QueryVariableBuilder {
	return of(serviceVariable, "Service", tagValuesIn(everywhere, clientTag, serverTag, sink.TagEnd)).Regex(inChosenProject)
}

// containersOf are the names of containers and the display names of what they
// belong to, of the hosts, projects and services chosen. Only rows of one end say
// which container belongs to which service; all others have no name to be matched,
// and are there while everything is chosen.
func containersOf(conditions ...string) string {
	return among(tagValuesIn(everywhere,
		sink.TagContainer[sink.ClientEnd], sink.TagContainer[sink.ServerEnd], sink.TagEndContainer,
		clientTag, serverTag, sink.TagEnd), conditions...)
}

// processesOf are executables.
func processesOf(conditions ...string) string {
	return among(tagValuesIn([]string{sink.MeasurementProcess, sink.MeasurementFlow},
		sink.TagEndProcess, sink.TagProcess[sink.ClientEnd], sink.TagProcess[sink.ServerEnd]), conditions...)
}

// clients and servers are those of edges that the conditions choose.
func clients(where ...string) *dashboard.QueryVariableBuilder {
	return choice(clientVariable, "Client", among(tagValuesIn(edges, clientTag), where...))
}

func servers(where ...string) *dashboard.QueryVariableBuilder {
	return choice(serverVariable, "Server", among(tagValuesIn(edges, serverTag), where...))
}

func tagValues(measurement string, tags ...string) string {
	return tagValuesIn([]string{measurement}, tags...)
}

// tagValuesIn asks for the values of tags in several measurements, of which some
// may not be there.
func tagValuesIn(measurements []string, tags ...string) string {
	if len(tags) == 1 {
		return fmt.Sprintf("SHOW TAG VALUES FROM %s WITH KEY = %s", names(measurements...), ident(tags[0]))
	}
	return fmt.Sprintf("SHOW TAG VALUES FROM %s WITH KEY IN (%s)", names(measurements...), names(tags...))
}

// among narrows the values of a tag by conditions on others.
func among(values string, where ...string) string {
	if len(where) == 0 {
		return values
	}
	return values + " WHERE " + strings.Join(where, " AND ")
}
