package correlate

import (
	"testing"

	"github.com/weir-probe/weir/flows"
)

// D16: the outside of a tunnel is this host's own datagrams at the tunnel's port;
// a process's are not, whatever their port.
func TestFillTunnel(t *testing.T) {
	j := New(Config{}, nil)
	j.SetTunnels([]Tunnel{{"vxlan", flows.UDP, 4789}, {"wireguard", flows.UDP, 51820}, {"gre", 47, 0}})
	host := func(port uint16) Endpoint { return Endpoint{Port: port, Local: true, Kind: KindHost, Name: "h"} }
	other := func(port uint16) Endpoint { return Endpoint{Port: port, Kind: KindExternal} }
	owned := host(40000)
	owned.Process = &Process{Name: "nc"}
	for name, c := range map[string]struct {
		r    Record
		want string
	}{
		"sent":             {Record{Proto: flows.UDP, Client: host(40000), Server: other(4789)}, "vxlan"},
		"received":         {Record{Proto: flows.UDP, Client: other(40000), Server: host(4789)}, "vxlan"},
		"called from here": {Record{Proto: flows.UDP, Client: host(51820), Server: other(40000)}, "wireguard"},
		"no ports":         {Record{Proto: 47, Client: host(0), Server: other(0)}, "gre"},
		"a process's":      {Record{Proto: flows.UDP, Client: owned, Server: other(4789)}, ""},
		"forwarded":        {Record{Proto: flows.UDP, Client: other(40000), Server: other(4789)}, ""},
		"another port":     {Record{Proto: flows.UDP, Client: host(40000), Server: other(53)}, ""},
		"TCP":              {Record{Proto: flows.TCP, Client: host(40000), Server: other(4789)}, ""},
	} {
		r := c.r
		j.fillTunnel(&r)
		got := ""
		for _, e := range []Endpoint{r.Client, r.Server} {
			if e.Kind == KindTunnel {
				got = e.Name
			}
		}
		if got != c.want || r.Tunnel() != (c.want != "") || r.Server.Listened != r.Tunnel() {
			t.Errorf("%s: tunnel %q, want %q: %+v", name, got, c.want, r)
		}
	}
}
