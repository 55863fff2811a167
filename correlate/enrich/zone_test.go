package enrich

import (
	"net/netip"
	"testing"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/kprobes"
)

// TestZones: what lives here is where the host is, whatever its address; what is elsewhere
// by the longest network. A group of hosts is in no zone.
func TestZones(t *testing.T) {
	net := netip.MustParsePrefix
	cfg := Config{
		Hostname: "box", Zone: "own", Fleet: []netip.Prefix{net("10.1.0.0/16")}, Host: hostOf{addr("10.1.2.9")},
		Zones: []Subnet{{net("10.1.0.0/16"), "a"}, {net("10.1.2.0/24"), "b"}, {net("2001:db8:2::/64"), "c"}, {net("224.0.0.0/3"), "d"}},
	}
	known := &kprobes.Owner{ProcessID: kprobes.ProcessID{PID: 7, Start: 1}}
	for _, x := range []struct {
		what, addr string
		owner      *kprobes.Owner
		own        string // the host's zone
		zone       string
	}{
		{"a network", "10.1.3.1", nil, "own", "a"},
		{"a longer one", "10.1.2.1", nil, "own", "b"},
		{"IPv6", "2001:db8:2::5", nil, "own", "c"},
		{"outside", "203.0.113.1", nil, "own", ""},
		{"an address of this host", "10.1.2.9", nil, "own", "own"},
		{"a socket here", "10.1.2.1", known, "own", "own"},
		{"a socket of a host whose zone is not known", "10.1.2.1", known, "", ""},
		{"multicast", "224.0.0.1", nil, "own", ""},
	} {
		cfg.Zone = x.own
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		e := correlate.Endpoint{Addr: addr(x.addr)}
		if c.Enrich(&e, x.owner, nil, 0); e.Zone != x.zone {
			t.Errorf("%s: %q, want %q: %+v", x.what, e.Zone, x.zone, e)
		}
		if n := testing.AllocsPerRun(100, func() { c.Enrich(&e, x.owner, nil, 0) }); n != 0 {
			t.Errorf("%s: %v allocations", x.what, n)
		}
	}
	cfg.Zones = []Subnet{{net("10.1.0.0/16"), ""}}
	if _, err := New(cfg); err == nil || cfg.Validate() == nil {
		t.Error("a zone without a name is accepted")
	}
}
