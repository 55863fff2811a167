package volume

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/test/document"
	"github.com/weir-probe/weir/test/influxd"
)

var sizing = flag.String("sizing", "", "measure the worlds of this `FILE`, docs/sizing.md, and write the table there")

// fleet is an ordinary world.
type fleet struct {
	hosts, containers int // containers per host
	intervals         int // that are measured
}

// Servers that a container talks to, and how many of them in an interval.
const (
	internalPeers = 8 // of the same host or another
	externalPeers = 3
	activeShare   = 0.5
	perActive     = 2 // connections that end in an interval, of an edge that is active
	routes        = 4
)

// play is an interval of one host: each container is one of a service's two, and talks
// to eight others, half of them by HTTP, and to three names elsewhere.
func (w fleet) play(f *feed, host int, r *rand.Rand) {
	for c := range w.containers {
		client := member(host, c)
		f.used(&client)
		for p := range internalPeers + externalPeers {
			if r.Float64() > activeShare {
				continue
			}
			server := at(external(fmt.Sprintf("api%d.example.com", (c/2*3+p)%40)), 443, true)
			if p < internalPeers {
				server = at(member(host, (c/2*7+p*3+1)%w.containers), uint16(8080+p%2), true)
			}
			for range 1 + r.IntN(2*perActive-1) {
				rec := natural(connection(&client, server), r)
				if p < internalPeers/2 {
					rec = asked(rec, l7.HTTP, fmt.Sprintf("GET /v1/thing%d/{id}", r.IntN(routes)), "200")
				}
				f.add(rec)
			}
		}
	}
}

func member(host, c int) correlate.Endpoint {
	service := fmt.Sprintf("service%d", c/2)
	e := container(fmt.Sprintf("project%d", host), service, fmt.Sprintf("project%d-%s-%d", host, service, 1+c%2), "server")
	e.Addr = address(172, 18, byte(c>>8), byte(c))
	e.Port = 32768 + uint16(c)*7%28000
	return e
}

// natural gives a connection figures that are not all the same.
func natural(r *correlate.Record, rnd *rand.Rand) *correlate.Record {
	size := func(n float64) uint64 { return uint64(n * (0.2 + rnd.ExpFloat64())) }
	d := &r.Delta
	d.ToServer.Payload, d.ToClient.Payload = size(900), size(9000)
	d.ToServer.WirePackets, d.ToClient.WirePackets = 4+size(3), 4+size(7)
	d.ToServer.WireOctets = d.ToServer.Payload + 66*d.ToServer.WirePackets
	d.ToClient.WireOctets = d.ToClient.Payload + 66*d.ToClient.WirePackets
	d.ToClient.Retransmits = uint64(rnd.IntN(50) / 49)
	rtt := size(200e3)
	d.RTT = correlate.RTT{Sum: 2 * rtt, Count: 2, Min: rtt, Max: rtt + 1000, Jitter: rtt / 3}
	r.Total = *d
	r.Connect, r.MinRTT = int64(rtt), int64(rtt)
	r.ConnectTotal = int64(rtt)
	r.Client.Port = uint16(32768 + rnd.IntN(28000))
	return r
}

// size is what a fleet takes.
type size struct {
	rows, logRows  float64 // per second
	lines          float64 // octets of line protocol per second
	series         int
	disk, logDisk  disk // compacted
	memory         int64
	delivered      uint64
	deliverSeconds float64
}

// disk is what a database takes: something per series and shard, and something per time.
type disk struct {
	fixed     float64 // octets
	perSecond float64 // octets
}

// day is octets for one.
func (d disk) day() float64 { return d.fixed + 86400*d.perSecond }

// diskOf is told how much there was after some seconds, twice.
func diskOf(bytes1, seconds1, bytes2, seconds2 float64) disk {
	slope := (bytes2 - bytes1) / (seconds2 - seconds1)
	return disk{max(bytes1-slope*seconds1, 0), slope}
}

// measure writes some intervals of a fleet into a server of its own and lets it settle.
func measure(t *testing.T, w fleet, version string) (s size) {
	srv := influxd.StartToMeasure(t, version)
	db := database(t, srv, "fleet")
	rnd := rand.New(rand.NewPCG(3, 4))
	var feeds []*feed
	for h := range w.hosts {
		cfg := sink.DefaultConfig()
		cfg.Host = fmt.Sprintf("host%d", h)
		f := newFeed(t, cfg, db)
		f.now = time.Now().Add(-5 * time.Hour).Truncate(interval)
		feeds = append(feeds, f)
	}
	early := w.intervals / 3
	var first [2]float64
	for i := range w.intervals {
		if i == early {
			srv.Settle(t, "fleet", "fleet_log")
			first = [...]float64{float64(srv.Disk(t, "fleet")), float64(srv.Disk(t, "fleet_log"))}
		}
		for h, f := range feeds {
			w.play(f, h, rnd)
			f.flush()
		}
		began := time.Now()
		for _, f := range feeds {
			f.deliver()
		}
		s.deliverSeconds += time.Since(began).Seconds()
	}
	s.memory = srv.Memory(t)
	srv.Settle(t, "fleet", "fleet_log")
	seconds := float64(w.intervals) * interval.Seconds()
	for _, f := range feeds {
		s.rows += float64(f.rows) / seconds
		s.lines += float64(f.bytes) / seconds
		s.logRows += float64(f.log.Stats().Rows) / seconds
		s.delivered += f.rows
	}
	s.series = srv.Series(t, "fleet", "") + srv.Series(t, "fleet_log", "")
	at := float64(early) * interval.Seconds()
	s.disk = diskOf(first[0], at, float64(srv.Disk(t, "fleet")), seconds)
	s.logDisk = diskOf(first[1], at, float64(srv.Disk(t, "fleet_log")), seconds)
	return s
}

// TestSizing measures how much room ordinary worlds take, with -sizing; without it one
// small world, so that it can be measured at all.
func TestSizing(t *testing.T) {
	worlds := []fleet{{1, 10, 6}}
	if *sizing != "" {
		worlds = []fleet{{1, 10, 240}, {1, 100, 60}, {10, 10, 60}, {1, 300, 30}, {10, 30, 30}}
	}
	var table strings.Builder
	table.WriteString("| hosts × containers each | rows/s (of `flow_log`) | line protocol | series | InfluxDB | disk per day (of `flow_log`) | per row | and per series and shard | memory of the server |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, w := range worlds {
		for _, v := range []string{influxd.V1, influxd.V2} {
			t.Run(fmt.Sprintf("%dx%d/%s", w.hosts, w.containers, v), func(t *testing.T) {
				s := measure(t, w, v)
				if s.series == 0 || s.disk.perSecond <= 0 || s.logDisk.perSecond <= 0 {
					t.Errorf("nothing measured: %+v", s)
				}
				const mega = 1e6
				fmt.Fprintf(&table, "| %d × %d | %.0f (%.0f) | %.0f kB/s | %d | %s | %.0f MB (%.0f) | %.0f B | %.0f B | %d MB |\n",
					w.hosts, w.containers, s.rows, s.logRows, s.lines/1e3, s.series, v, (s.disk.day()+s.logDisk.day())/mega, s.logDisk.day()/mega,
					(s.disk.perSecond+s.logDisk.perSecond)/s.rows, (s.disk.fixed+s.logDisk.fixed)/float64(s.series), s.memory/mega)
				t.Logf("%+v: %d rows in %.1f s, %.0f rows/s", w, s.delivered, s.deliverSeconds, float64(s.delivered)/s.deliverSeconds)
			})
		}
	}
	if *sizing != "" && !t.Failed() {
		document.Replace(t, *sizing, "measured", table.String())
	}
}
