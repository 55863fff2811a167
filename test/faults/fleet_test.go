package faults

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/dashboards"
	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// fleetHost is a network namespace in the part of a host.
type fleetHost struct {
	*netlab.NS
	ip   string
	out  string // rows of its probe
	weir *probe.Process
}

// fleetConfig is the same on all hosts: a and b have a probe and are in two zones.
const fleetConfig = `
sockets: own
fleet: [10.77.0.1/32, 10.77.0.2/32]
nodes: {10.77.0.1/32: a, 10.77.0.2/32: b}
zones: {a: east, b: west}
`

// fleetOf puts hosts on one wire: 10.77.0.1 and so on.
func fleetOf(t *testing.T, n int) (hosts []*fleetHost) {
	t.Helper()
	wire := netlab.New(t)
	var ports []string
	for i := range n {
		h := &fleetHost{NS: netlab.New(t), ip: fmt.Sprintf("10.77.0.%d", i+1)}
		ports = append(ports, fmt.Sprint("p", i))
		netlab.Veth(t, netlab.End{NS: wire, Name: ports[i]}, netlab.End{NS: h.NS, Name: "eth0", CIDR: h.ip + "/24"})
		hosts = append(hosts, h)
	}
	netlab.Bridge(t, netlab.End{NS: wire, Name: "wire"}, ports...)
	return hosts
}

// probed starts a weir that sees the sockets and devices of this host only.
func (h *fleetHost) probed(t *testing.T, name string) {
	t.Helper()
	h.out = filepath.Join(t.TempDir(), "rows")
	cfg := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(cfg, []byte(fleetConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command("--config", cfg, "--host", name, "--packets", "auto", "--interface", "eth0", "--journal", "", "--listen", "", "--sink", "file:"+h.out)
	h.weir = probe.SpawnBy(t, func(c *exec.Cmd) error { return <-h.Start(c.Start) }, cmd)
	h.weir.WaitReady(t)
}

// serve accepts connections at port 8080: each says 100 octets and is told 2000.
func (h *fleetHost) serve(t *testing.T) {
	t.Helper()
	h.Serve(t, h.ip+":8080", func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 100))
		_, _ = c.Write(make([]byte, 2000))
	})
}

// calls makes n connections from one host to another's server, each to its end.
func (h *fleetHost) calls(t *testing.T, to *fleetHost, n int) {
	t.Helper()
	for range n {
		h.Do(t, func() error {
			c, err := net.Dial("tcp", to.ip+":8080")
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write(make([]byte, 100)); err != nil {
				return err
			}
			got, err := io.Copy(io.Discard, c)
			if err == nil && got != 2000 {
				err = fmt.Errorf("got %d octets", got)
			}
			return err
		})
	}
}

// TestTwoHosts is the tag reporter: two hosts with a probe each, and one without. What
// they tell of the same connections adds up to what happened, by the condition that the
// dashboards have; without it the connections between the two are there twice.
func TestTwoHosts(t *testing.T) {
	needsRoot(t)
	hosts := fleetOf(t, 3)
	a, b, outsider := hosts[0], hosts[1], hosts[2]
	for _, h := range hosts {
		h.serve(t)
	}
	a.probed(t, "a")
	b.probed(t, "b")
	a.calls(t, b, 60)
	b.calls(t, a, 25)
	outsider.calls(t, b, 11)
	a.calls(t, outsider, 7)
	a.calls(t, a, 5) // both ends here
	a.weir.Stop(t)
	b.weir.Stop(t)
	db := influxd.Start(t, influxd.V1)
	for _, h := range []*fleetHost{a, b} {
		resp, err := http.Post(db.URL+"/write?db="+influxd.Bucket, "text/plain", strings.NewReader(read(h.out)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Fatal(resp.Status)
		}
	}
	total := func(field, where string) int64 {
		t.Helper()
		q := fmt.Sprintf(`SELECT sum(%s) AS n FROM flow WHERE server_port = '8080'`, field)
		if where != "" {
			q += " AND " + where
		}
		rows := db.QueryInfluxQL(t, influxd.Bucket, q)
		if len(rows) == 0 {
			return 0
		}
		v, _ := rows[0].Values["n"].(json.Number)
		n, _ := v.Int64()
		return n
	}
	once := dashboards.OncePerConnection()
	const all, between = 60 + 25 + 11 + 7 + 5, 60 + 25
	for _, c := range []struct {
		what, field, where string
		want               int64
	}{
		{"connections", "opened", once, all},
		{"octets to servers", "to_server_bytes", once, 100 * all},
		{"octets to clients", "to_client_bytes", once, 2000 * all},
		{"connections without the condition", "opened", "", all + between},
		{"of the other host, told by the client's", "opened", "reporter = 'client' AND server_kind = 'remote'", between},
		{"of the other host, told by the server's", "opened", "reporter = 'server' AND client_kind = 'remote'", between},
		{"from outside", "opened", "reporter = 'server' AND client_kind = 'external'", 11},
		{"to outside", "opened", "reporter = 'client' AND server_kind = 'external'", 7},
		{"on one host", "opened", "reporter = 'both'", 5},
		{"between zones", "opened", once + " AND crosses = 'zone'", between},
		{"from east to west", "opened", once + " AND client_zone = 'east' AND server_zone = 'west'", 60},
		{"from west to east", "opened", once + " AND client_zone = 'west' AND server_zone = 'east'", 25},
		{"from west to east, told by the other host", "opened", "reporter = 'server' AND client_node = 'b' AND client_zone = 'west' AND server_zone = 'east'", 25},
		{"within a zone", "opened", once + " AND crosses = 'none' AND client_zone = 'east' AND server_zone = 'east'", 5},
		{"with an end in no zone that is known", "opened", once + " AND crosses = ''", 11 + 7},
	} {
		if got := total(c.field, c.where); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	if wire := total("to_client_wire_bytes", once); wire < 2000*all {
		t.Errorf("%d octets on the wire to clients, less than their payload", wire)
	}
	checkZonePanels(t, db)
}

// checkZonePanels: the page of costs says what went between the two hosts, by direction.
func checkZonePanels(t *testing.T, db *influxd.Server) {
	t.Helper()
	queries, err := dashboards.Queries()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	sent := map[string]int64{} // payload
	for _, q := range queries {
		if q.Dashboard != "capacity" || !strings.Contains(q.Text, "crosses") {
			continue
		}
		for _, row := range db.QueryInfluxQL(t, q.Database, q.Text) {
			found[q.Panel]++
			if q.Panel == "From zone to zone" {
				for _, by := range []string{"clients", "servers"} {
					n, _ := row.Values[by].(json.Number)
					octets, _ := n.Int64()
					sent[fmt.Sprint(row.Values["from"], " to ", row.Values["to"])] += octets
				}
			}
		}
	}
	for _, panel := range []string{"Between zones and within", "Between zones, by client's and server's", "From zone to zone", "Edges between zones"} {
		if found[panel] == 0 {
			t.Errorf("%s finds nothing", panel)
		}
	}
	if want := map[string]int64{"east to west": 60*100 + 25*2000, "west to east": 25*100 + 60*2000}; !maps.Equal(sent, want) {
		t.Errorf("payload between zones %v, want %v", sent, want)
	}
}
