package sink

import (
	"fmt"
	"maps"
	"testing"

	"github.com/weir-probe/weir/correlate"
)

// in puts an end into a zone.
func in(zone string, e correlate.Endpoint) correlate.Endpoint {
	e.Zone = zone
	return e
}

// Every measurement of edges has the zones of both ends and whether they are two, at any
// granularity; what is not known is no tag.
func TestZoneTags(t *testing.T) {
	for _, g := range []Granularity{GranularityProcess, GranularityWorkload} {
		cfg := testConfig()
		cfg.Granularity = g
		a := NewAggregator(cfg)
		for _, zones := range [][2]string{{"a", "a"}, {"a", "b"}, {"b", "a"}, {"a", ""}, {"", "a"}, {"", ""}} {
			r := record(in(zones[0], web), in(zones[1], listening(elsewhereOn(""), 80)))
			asked(r, small(1e6), tally("GET /", "200", 1, 0, 1e6))
			r.Delta.SYNRetransmits = 1
			a.Add(r)
		}
		ps := points(t, a.Flush(at(1)))
		for _, m := range []string{MeasurementFlow, MeasurementFlowLatency, MeasurementFlowError, MeasurementL7} {
			got := map[string]int{}
			for _, p := range of(ps, m) {
				row := ""
				for _, tag := range []string{"client_zone", "server_zone", "crosses"} {
					v, ok := p.tags[tag]
					if ok != (v != "") {
						t.Errorf("%s: an empty tag %s", m, tag)
					}
					row += v + "/"
				}
				got[row]++
			}
			want := map[string]int{"a/a/none/": 1, "a/b/zone/": 1, "b/a/zone/": 1, "a///": 1, "/a//": 1, "///": 1}
			if !maps.Equal(got, want) {
				t.Errorf("%s %s: rows %v, want %v", g, m, got, want)
			}
		}
	}
}

// zonesOfNodes are the rows of edges with 40 nodes, each in one of three zones.
func zonesOfNodes(t *testing.T, known bool) AggregatorStats {
	a := NewAggregator(testConfig())
	for i := range 400 {
		own, their := "", ""
		if known {
			own, their = "zone-0", fmt.Sprint("zone-", i%40%3)
		}
		server := listening(elsewhereOn(fmt.Sprint("node", i%40)), uint16(80+i/200))
		a.Add(asked(record(in(own, web), in(their, server)), small(1e6), tally("GET /", "200", 1, 0, 1e6)))
		a.Add(record(in(own, web), in(own, db)))
	}
	points(t, a.Flush(at(1)))
	return a.Stats()
}

// A node is in one zone, and so is this host: where nodes are known, zones add no series.
func TestZonesOfNodesAddNoSeries(t *testing.T) {
	without, with := zonesOfNodes(t, false), zonesOfNodes(t, true)
	if with.Series != without.Series || with.L7Series != without.L7Series || with.Series != 81 || with.L7Series != 80 {
		t.Errorf("%d series and %d of l7, without zones %d and %d", with.Series, with.L7Series, without.Series, without.L7Series)
	}
}

// Under pressure nodes go first, zones with the end that they are of; what goes between
// zones stays right.
func TestZonesFold(t *testing.T) {
	const edges = 6000
	for _, x := range []struct {
		name   string
		server func(i int) correlate.Endpoint
		folded func(AggregatorStats) uint64
		zoned  bool // every row has both zones
	}{
		{"nodes", func(i int) correlate.Endpoint { return elsewhereOn(fmt.Sprint("node", i)) }, func(s AggregatorStats) uint64 { return s.FoldedContainer }, true},
		{"ends", func(i int) correlate.Endpoint { return external(letters(i) + ".example") }, func(s AggregatorStats) uint64 { return s.FoldedOneEnd }, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.SeriesBudget = minSeriesBudget
			a := NewAggregator(cfg)
			for interval := range 3 {
				for i := range edges {
					a.Add(record(in("z0", web), in(fmt.Sprint("z", i%3), listening(x.server(interval*edges+i), 80))))
				}
				by := map[string]int64{}
				for _, p := range of(points(t, a.Flush(at(interval))), MeasurementFlow) {
					by[p.tags["crosses"]] += p.int(FieldToServerBytes)
					folded := p.tags["server"] == Other
					if folded == x.zoned && x.zoned || folded == (p.tags["server_zone"] != "") || p.tags["client_zone"] != "z0" {
						t.Errorf("%v", p.tags)
					}
				}
				if want := map[string]int64{"none": 100 * edges / 3, "zone": 100 * edges * 2 / 3}; !maps.Equal(by, want) {
					t.Errorf("interval %d: octets %v, want %v", interval, by, want)
				}
			}
			if s := a.Stats(); s.Series > minSeriesBudget || x.folded(s) == 0 {
				t.Errorf("%+v", s)
			}
			checkSize(t, a)
		})
	}
}

// Where everything is folded, whether it crosses zones is the last to go.
func TestZonesAtTheLastLevel(t *testing.T) {
	r := record(in("a", web), in("b", db))
	n := namesOf(r, 80)
	for l := levelContainer; l <= levelOther; l++ {
		n.coarsen(l, r)
	}
	if n.crosses != crossesZone || n.end[ServerEnd].zone != "" {
		t.Errorf("both ends other: %+v", n)
	}
	if n.coarsen(levelLast, r); n.crosses != crossingUnknown {
		t.Errorf("at last: %+v", n)
	}
}

// A zone costs no allocation per record.
func TestZonesAllocateNothing(t *testing.T) {
	a := NewAggregator(testConfig())
	r := asked(record(in("a", web), in("b", listening(elsewhereOn("node2"), 80))), small(1e6), tally("GET /", "200", 1, 0, 1e6))
	n := 0
	round := func() {
		for range 10 {
			a.Add(r)
		}
		a.Flush(at(n))
		n++
	}
	round()
	round()
	if got := testing.AllocsPerRun(50, round); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
