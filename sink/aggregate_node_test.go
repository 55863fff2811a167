package sink

import (
	"fmt"
	"testing"

	"github.com/weir-probe/weir/correlate"
)

// elsewhereOn is an end on another host.
func elsewhereOn(node string) correlate.Endpoint {
	return correlate.Endpoint{Kind: correlate.KindRemote, Name: "remote", Node: node}
}

// An end on another host has it in a tag of each measurement of edges, whatever the
// granularity; what is not known is no tag.
func TestNodeTags(t *testing.T) {
	for _, g := range []Granularity{GranularityProcess, GranularityWorkload} {
		cfg := testConfig()
		cfg.Granularity = g
		a := NewAggregator(cfg)
		for _, node := range []string{"node2", "node3", ""} {
			r := record(web, listening(elsewhereOn(node), 80))
			asked(r, small(1e6), tally("GET /", "200", 1, 0, 1e6))
			r.Delta.SYNRetransmits = 1
			a.Add(r)
		}
		a.Add(record(elsewhereOn("node2"), db))
		ps := points(t, a.Flush(at(1)))
		for _, m := range []string{MeasurementFlow, MeasurementFlowError, MeasurementL7} {
			seen := map[string]int{}
			for _, p := range of(ps, m) {
				if n, ok := p.tags["server_node"]; p.tags["server"] == "remote" {
					seen[n]++
					if ok != (n != "") || p.tags["client_node"] != "" {
						t.Errorf("%s %s: %v", g, m, p.tags)
					}
				}
			}
			if got := fmt.Sprint(seen); got != "map[:1 node2:1 node3:1]" {
				t.Errorf("%s %s: rows by server_node %s", g, m, got)
			}
		}
		clients := 0
		for _, p := range of(ps, MeasurementFlow) {
			if p.tags["client_node"] == "node2" && p.tags["server"] == "shop/db" {
				clients++
			}
		}
		if clients != 1 {
			t.Errorf("%s: %d rows of the client on node2", g, clients)
		}
	}
}

// A server has the service that it was asked for as: another one, another row.
func TestServiceTag(t *testing.T) {
	a := NewAggregator(testConfig())
	rows := map[string]int{}
	for _, service := range []string{"db", "db-ro", "db", ""} {
		r := record(web, db)
		r.Server.Service = service
		a.Add(r)
	}
	for _, p := range of(points(t, a.Flush(at(1))), MeasurementFlow) {
		s, ok := p.tags["server_service"]
		if rows[s]++; ok != (s != "") || p.tags["server"] != "shop/db" {
			t.Errorf("%v", p.tags)
		}
	}
	if got := fmt.Sprint(rows); got != "map[:1 db:1 db-ro:1]" {
		t.Errorf("rows by service %s", got)
	}
}

// Under pressure nodes go before an end does, and the totals stay.
func TestNodesFold(t *testing.T) {
	cfg := testConfig()
	cfg.SeriesBudget = minSeriesBudget
	a := NewAggregator(cfg)
	const nodes = 5000
	var packets int64
	for interval := range 3 {
		for i := range nodes {
			a.Add(record(web, listening(elsewhereOn(fmt.Sprint("node", i)), 80)))
		}
		for _, p := range of(points(t, a.Flush(at(interval))), MeasurementFlow) {
			if interval == 2 {
				packets += p.int(FieldToServerPackets)
				if p.tags["server"] != "remote" {
					t.Errorf("an end was folded: %v", p.tags)
				}
			}
		}
	}
	if want := int64(nodes) * int64(record(web, db).Delta.ToServer.WirePackets); packets != want {
		t.Errorf("%d packets, want %d", packets, want)
	}
	if s := a.Stats(); s.Series > minSeriesBudget || s.FoldedContainer == 0 {
		t.Errorf("%+v", s)
	}
}
