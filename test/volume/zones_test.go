package volume

import (
	"fmt"
	"testing"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/test/influxd"
)

// zoned plays three intervals of a client in zone a with 300 nodes, a third of them in
// each of three zones, and with as many peers that come once.
func zoned(t *testing.T, srv *influxd.Server, name string, known bool, peers int) (*answers, *feed) {
	cfg := sink.DefaultConfig()
	cfg.Host, cfg.SeriesBudget = "h1", 2000
	f := newFeed(t, cfg, database(t, srv, name))
	zone := func(i int) string {
		if !known {
			return ""
		}
		return string(rune('a' + i%3))
	}
	web := container("shop", "web", "shop-web-1", "crawler")
	web.Zone = zone(0)
	for interval := range 3 {
		for i := range 300 {
			e := external("remote")
			e.Node, e.Zone = fmt.Sprint("node", i), zone(i)
			f.add(connection(&web, at(e, 443, true)))
		}
		for i := range peers {
			e := external(fmt.Sprintf("host%d.example", interval*peers+i))
			e.Zone = zone(i)
			f.add(connection(&web, at(e, 443, true)))
		}
		f.flush()
	}
	f.deliver()
	return &answers{t, srv, name}, f
}

// TestZones: by the database's own count zones of nodes add no series; and in a flood that
// is folded into `other`, what goes between zones stays right, under the budget.
func TestZones(t *testing.T) {
	for _, v := range []string{influxd.V1, influxd.V2} {
		t.Run(v, func(t *testing.T) {
			srv := influxd.Start(t, v)
			zoned(t, srv, "without", false, 0)
			a, _ := zoned(t, srv, "calm", true, 0)
			if got, want := srv.Series(t, "calm", sink.MeasurementFlow), srv.Series(t, "without", sink.MeasurementFlow); got != want || want != 300 {
				t.Errorf("%d series with zones, %d without", got, want)
			}
			between := func() uint64 {
				return a.sum(sink.MeasurementFlow, "crosses = 'zone'", sink.FieldToServerBytes, sink.FieldToClientBytes)
			}
			a.equal("octets between zones", between, 3*200*2100)
			a.equal("of them to b", func() uint64 {
				return a.sum(sink.MeasurementFlow, "client_zone = 'a' AND server_zone = 'b'", sink.FieldToServerBytes, sink.FieldToClientBytes)
			}, 3*100*2100)
			const flood = 15000
			var f *feed
			a, f = zoned(t, srv, "flood", true, flood)
			totals(a, &f.truth)
			a.equal("octets between zones in a flood", between, 3*(200+flood*2/3)*2100)
			if n := srv.Series(t, "flood", sink.MeasurementFlow); n > 2000 || a.self(sink.SelfFoldedOneEnd) == 0 {
				t.Errorf("%d series, %d folded", n, a.self(sink.SelfFoldedOneEnd))
			}
		})
	}
}
