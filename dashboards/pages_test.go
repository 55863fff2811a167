package dashboards

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// checkChoices: what is chosen in variables narrows the answers, and nothing else
// does. Values are as Grafana escapes them.
func checkChoices(t *testing.T, s *server) {
	none := -1.0
	for _, c := range []struct {
		dashboard, panel, column string
		variables                map[string]string
		want                     float64
	}{
		// a project is the whole of a name or what is before its first slash
		{"overview", "Throughput", "throughput", map[string]string{projectVariable: "shop"}, 200},
		{"overview", "Throughput", "throughput", map[string]string{projectVariable: "curl"}, 20},
		{"overview", "Throughput", "throughput", map[string]string{projectVariable: "sho"}, none},
		{"overview", "Throughput", "throughput", map[string]string{hostVariable: "(one|two)"}, 200},
		{"overview", "Throughput", "throughput", map[string]string{hostVariable: "two"}, none},
		{"topology", "Map", "mainstat", map[string]string{clientVariable: "curl"}, 2 * 100 * sampleIntervals},
		{"edge", "Throughput", "throughput", map[string]string{clientVariable: "curl"}, 20},
		{"edge", "Throughput", "throughput", map[string]string{clientVariable: `shop\/web`, serverVariable: `shop\/db`}, 40},
		{"edge", "Throughput", "throughput", map[string]string{clientVariable: `shop\/web`, portVariable: "443"}, 60},
		{"errors", "Failed attempts", "failed", map[string]string{serverVariable: `shop\/web`}, 100},
		{"container", "In, by peer", "in", map[string]string{containerVariable: "shop-web-1", hostVariable: "two"}, none},
		{"connections", "Ended connections by end reason", "connections", map[string]string{textVariable: `api\.exam`}, 1},
		{"connections", "Ended connections by end reason", "connections", map[string]string{textVariable: "no such text"}, none},
		{"connections", "Ended connections by end reason", "connections", map[string]string{causeVariable: "(normal|sample)"}, 3},
		{"connections", "Ended connections by end reason", "connections", map[string]string{causeVariable: "refused"}, none},
		{"connections", "Connections that live", "duration_seconds", map[string]string{reasonVariable: "end"}, none},
		{"dns", "Questions per second", "questions", map[string]string{serverVariable: `shop\/db`}, 20},
		{"capacity", "External", "external", map[string]string{hostVariable: "two"}, none},
		{"processes", "Processes", "cpu", map[string]string{processVariable: "ruby"}, 0.5 * sampleIntervals},
		{"processes", "Processes", "cpu", map[string]string{processVariable: "ruby", containerVariable: "shop-db-1"}, none},
		{"anomalies", "Warnings", "events", map[string]string{typeVariable: "port_scan"}, 1},
		{"anomalies", "Where most happens", "events", map[string]string{typeVariable: "throttled"}, sampleIntervals},
		// it began as often as it ended
		{"anomalies", "Where most happens", "events", map[string]string{typeVariable: "new_edge"}, sampleIntervals / 2},
		{"anomalies", "Where most happens", "events", map[string]string{typeVariable: "throttled", stateVariable: "active"}, none},
		{"anomalies", "Where most happens", "events", map[string]string{typeVariable: "new_edge", stateVariable: "active"}, sampleIntervals / 2},
		{"anomalies", "Events", "score", map[string]string{typeVariable: "new_edge", stateVariable: "resolved"}, 0.25},
		{"anomalies", "Events", "score", map[string]string{typeVariable: "port_scan", stateVariable: "resolved"}, none},
		{"anomalies", "Errors", "events", map[string]string{severityVariable: "info"}, none},
	} {
		t.Run(c.dashboard+" "+c.panel, func(t *testing.T) {
			v := sampleValues
			v.Variables = c.variables
			got, ok := s.value(t, c.dashboard, c.panel, c.column, v)
			if !ok {
				got = none
			}
			if got != c.want {
				t.Errorf("%s = %v, want %v, with %v", c.column, got, c.want, c.variables)
			}
		})
	}
}

// checkMap: the frames of the node graph are what Grafana asks for. An edge to a
// node that is missing is an error there.
func checkMap(t *testing.T, s *server) {
	frames := map[string][]map[string]any{}
	for _, q := range mustQueries(t, sampleValues) {
		if q.Dashboard != "topology" || q.Panel != "Map" {
			continue
		}
		got, err := s.ask(q.Database, q.Text)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range got {
			kind := "nodes"
			if slices.Contains(x.Columns, edgeSource) {
				kind = "edges"
			}
			for _, row := range x.Values {
				r := map[string]any{}
				for i, c := range x.Columns {
					r[c] = row[i]
				}
				frames[kind] = append(frames[kind], r)
			}
		}
	}
	nodes, times := map[any]map[string]any{}, map[any]bool{}
	for _, n := range frames["nodes"] {
		times[n["time"]] = true
		if n[nodeID] == nil || n[nodeID] != n[nodeTitle] {
			t.Errorf("node without id and title: %v", n)
		}
		if nodes[n[nodeID]] == nil {
			nodes[n[nodeID]] = map[string]any{}
		}
		for _, stat := range []string{mainStat, secondStat} {
			if v, ok := n[stat]; ok {
				if nodes[n[nodeID]][stat] != nil {
					t.Errorf("node %v has %s twice", n[nodeID], stat)
				}
				nodes[n[nodeID]][stat] = v
			}
		}
	}
	if len(times) != 1 {
		t.Errorf("nodes have %d times and would not merge", len(times))
	}
	if len(nodes) != 5 || len(frames["edges"]) != 4 {
		t.Errorf("%d nodes and %d edges, want 5 and 4: %v", len(nodes), len(frames["edges"]), frames)
	}
	// asked of by curl, and asking two others
	if n := nodes["shop/web"]; n[mainStat] != 2.*100*sampleIntervals || n[secondStat] != 2.*500*sampleIntervals {
		t.Errorf("shop/web: %v", n)
	}
	for _, e := range frames["edges"] {
		if nodes[e[edgeSource]] == nil || nodes[e[edgeTarget]] == nil {
			t.Errorf("edge without a node: %v", e)
		}
		if e[edgeTarget] == "api.example.com" && (e[mainStat] != 2.*300*sampleIntervals || e[secondStat] != 300.*sampleIntervals) {
			t.Errorf("edge: %v", e)
		}
	}
}

// TestProjectsNarrowServices: Grafana takes the group named value, else the first
// group, else the whole.
func TestProjectsNarrowServices(t *testing.T) {
	for _, c := range []struct{ chosen, name, want string }{
		{everything, "shop/web", "shop/web"},
		{everything, "curl", "curl"},
		{"shop", "shop/web", "shop/web"},
		{"shop", "shop", "shop"},
		{"(pay|shop)", "shop/web", "shop/web"}, // several
		{"shop", "shopping/web", ""},
		{"shop", "api.shop/web", ""},
	} {
		re := regexp.MustCompile(strings.ReplaceAll(strings.Trim(inChosenProject, "/"), "$"+projectVariable, c.chosen))
		var got string
		if m := re.FindStringSubmatch(c.name); m != nil {
			got = m[re.SubexpIndex("value")]
		}
		if got != c.want {
			t.Errorf("project %s: of %s comes %q, want %q", c.chosen, c.name, got, c.want)
		}
	}
}
