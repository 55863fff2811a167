package dashboards

import (
	"fmt"
	"maps"
	"testing"
)

// checkZones: what is sent from a zone to another is told by who sent it. Of the two
// sample edges one is a client's in a with a server in b, the other has twice as much and
// the zones the other way round.
func checkZones(t *testing.T, s *server) {
	got := map[string]any{}
	for _, q := range mustQueries(t, sampleValues) {
		if q.Dashboard != "capacity" || q.Panel != "From zone to zone" {
			continue
		}
		answer, err := s.ask(q.Database, q.Text)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range answer {
			for _, row := range x.Values {
				r := map[string]any{}
				for i, c := range x.Columns {
					r[c] = row[i]
				}
				for _, c := range x.Columns {
					if c != "time" && c != "from" && c != "to" {
						got[fmt.Sprintf("%v to %v: %s", r["from"], r["to"], c)] = r[c]
					}
				}
			}
		}
	}
	want := map[string]any{}
	for cell, v := range map[string]float64{"a to b: clients": 200, "b to a: clients": 400, "b to a: servers": 200, "a to b: servers": 400} {
		want[cell], want[cell+", wire"] = v*sampleIntervals, v*sampleIntervals
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
