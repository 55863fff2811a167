package dashboards

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/sink"
)

// checkNarrowed: the names of what is chosen leave out no row of the log, whatever is
// chosen on the pages that have them.
func checkNarrowed(t *testing.T, s *server) {
	r := &reader{s, map[string]Page{}, map[string][]string{}}
	some := func(p Page, name string) []string {
		if p.variable(name) == nil {
			return []string{"All"}
		}
		return append(slices.Clone(r.offers(t, p, name, url.Values{hostVariable: {"one"}})), "All")
	}
	compared := map[string]int{}
	for _, p := range mustPages(t) {
		if p.variable(namesOf(containerVariable, 0)) == nil {
			continue
		}
		for _, container := range some(p, containerVariable) {
			for _, process := range some(p, processVariable) {
				v := r.named(t, p, url.Values{containerVariable: {container}, processVariable: {process}})
				for _, q := range mustQueries(t, v) {
					all := strings.NewReplacer(narrow(containerVariable)+" AND ", "", narrow(processVariable)+" AND ", "").Replace(q.Raw)
					if q.Dashboard != p.Name || q.Database != string(logDB) || all == q.Raw {
						continue
					}
					got, err := s.ask(q.Database, q.Text)
					if err != nil {
						t.Fatal(err)
					}
					want, err := s.ask(q.Database, v.apply(all, p))
					if err != nil {
						t.Fatal(err)
					}
					if compared[p.Name] += len(want); !reflect.DeepEqual(got, want) {
						t.Errorf("%s, %s of container %s, process %s: %d series instead of %d: %s", p.Name, q.Panel, container, process, len(got), len(want), q.Text)
					}
				}
			}
		}
	}
	if len(compared) != 3 || compared["container"] == 0 || compared["processes"] == 0 || compared["connections"] == 0 {
		t.Errorf("series compared: %v", compared)
	}
}

// named are the values of a page on which something is chosen, with its names.
func (r *reader) named(t *testing.T, p Page, chosen url.Values) Values {
	t.Helper()
	v := sampleValues
	v.Variables = map[string]string{}
	for name, values := range chosen {
		if v.Variables[name] = expression(values); p.variable(name) == nil {
			continue
		}
		for end := range 2 {
			v.Variables[namesOf(name, end)] = expression(r.offers(t, p, namesOf(name, end), chosen))
		}
	}
	return v
}

// nobody is the name that is always among those of what is chosen.
const nobody = string(sink.StageSink)

// checkNames: they are those of what is chosen, not of its peers.
func checkNames(t *testing.T, s *server) {
	r := &reader{s, map[string]Page{}, map[string][]string{}}
	pages := mustPages(t)
	log := pages[slices.IndexFunc(pages, func(p Page) bool { return p.Name == "connections" })]
	for _, c := range []struct {
		variable, chosen string
		want             [2][]string
	}{
		{containerVariable, "shop-web-1", [2][]string{{"shop/web"}, {"shop/web"}}},
		{containerVariable, "shop-db-2", [2][]string{{"shop/db"}, {"shop/db"}}},
		{containerVariable, "shop-db-1", [2][]string{{"shop/db"}, {"shop/db"}}},
		{containerVariable, "shop/db", [2][]string{{"shop/db"}, {"shop/db"}}},
		{containerVariable, "nowhere", [2][]string{}},
		{containerVariable, "All", [2][]string{}},
		{processVariable, "curl", [2][]string{{"curl"}, {}}},
		{processVariable, "nginx", [2][]string{{"shop/web"}, {"shop/web"}}},
	} {
		for end, want := range c.want {
			if got := r.offers(t, log, namesOf(c.variable, end), url.Values{c.variable: {c.chosen}}); !slices.Equal(got, slices.Sorted(slices.Values(append(want, nobody)))) {
				t.Errorf("%s %s has as %s %q, want %q", c.variable, c.chosen, namesOf(c.variable, end), got, want)
			}
		}
	}
}
