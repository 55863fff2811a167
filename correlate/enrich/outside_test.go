package enrich

import (
	"net/netip"
	"testing"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// answers and files stand for what DNS and files tell.
type answers struct{ full bool }

func (a answers) Name(x flows.Addr, netns uint32, began int64) string {
	if netns == 5 && began >= 100 && x == addr("198.51.100.1") {
		return "api.example.com"
	}
	return ""
}
func (a answers) Show(string, int64) bool { return !a.full }

type files struct{}

func (files) Name(a flows.Addr) (string, bool) {
	return "aws/s3", a == addr("198.51.100.1") || a == addr("198.51.100.2")
}

func (files) Geo(a flows.Addr) correlate.Geo {
	if a == addr("192.0.2.1") {
		return correlate.Geo{ASN: 64500, Org: "Example", Country: "NL"}
	}
	return correlate.Geo{Country: "DE"}
}

// DNS, else a subnet, else a range, else the autonomous system names an end elsewhere.
func TestOutside(t *testing.T) {
	for _, x := range []struct {
		what, addr string
		netns      uint32
		began      int64
		full       bool
		name, dns  string
	}{
		{"DNS", "198.51.100.1", 5, 100, false, "api.example.com", "api.example.com"},
		{"before the answer", "198.51.100.1", 5, 99, false, "aws/s3", ""},
		{"another namespace", "198.51.100.1", 6, 100, false, "aws/s3", ""},
		{"too many names", "198.51.100.1", 5, 100, true, "aws/s3", "api.example.com"},
		{"subnet", "198.51.100.2", 5, 100, false, "office", ""},
		{"autonomous system", "192.0.2.1", 5, 100, false, "AS64500 Example", ""},
		{"nothing", "203.0.113.1", 5, 100, false, External, ""},
	} {
		c, err := New(Config{
			Hostname: "box", Names: answers{x.full}, Ranges: files{},
			Subnets: []Subnet{{netip.MustParsePrefix("198.51.100.2/32"), "office"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		e := correlate.Endpoint{Addr: addr(x.addr), SeenNS: x.netns}
		if c.Enrich(&e, nil, nil, x.began); e.Name != x.name || e.DNSName != x.dns || e.Kind != correlate.KindExternal || e.Geo.Country == "" {
			t.Errorf("%s: %+v", x.what, e)
		}
		if n := testing.AllocsPerRun(100, func() { c.Enrich(&e, nil, nil, x.began) }); n != 0 {
			t.Errorf("%s: %v allocations", x.what, n)
		}
	}
}

// TestNodes: what lies on another host is told with it, by the longest prefix, whether a
// probe runs there or not; what lives here never is.
func TestNodes(t *testing.T) {
	net := netip.MustParsePrefix
	c, err := New(Config{
		Hostname: "box", Fleet: []netip.Prefix{net("10.1.0.0/16")}, Host: hostOf{addr("10.1.2.9")},
		Nodes: []Subnet{{net("10.1.2.0/24"), "node2"}, {net("10.1.2.7/32"), "node7"}, {net("2001:db8:2::/64"), "node2"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		addr, node string
		kind       correlate.Kind
	}{
		{"10.1.2.1", "node2", correlate.KindRemote},
		{"10.1.2.7", "node7", correlate.KindRemote},
		{"10.1.3.1", "", correlate.KindRemote},
		{"2001:db8:2::5", "node2", correlate.KindExternal},
		{"203.0.113.1", "", correlate.KindExternal},
		{"10.1.2.9", "", correlate.KindHost},
		{"224.0.0.1", "", correlate.KindMulticast},
	} {
		e := correlate.Endpoint{Addr: addr(x.addr)}
		if c.Enrich(&e, nil, nil, 0); e.Node != x.node || e.Kind != x.kind {
			t.Errorf("%s: %+v", x.addr, e)
		}
	}
	if _, err := New(Config{Hostname: "box", Nodes: []Subnet{{net("10.1.2.0/24"), ""}}}); err == nil {
		t.Error("a node without a name is accepted")
	}
}

// hostOf is a Host with one address.
type hostOf struct{ addr flows.Addr }

func (h hostOf) IsLocal(a flows.Addr) bool { return a == h.addr }

// TestFleet: what lies on another host with a probe is remote, whatever it is called.
func TestFleet(t *testing.T) {
	c, err := New(Config{
		Hostname: "box", Fleet: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/64")},
		Subnets: []Subnet{{netip.MustParsePrefix("198.51.100.2/32"), "db host"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		addr, name string
		kind       correlate.Kind
	}{
		{"198.51.100.1", Remote, correlate.KindRemote},
		{"198.51.100.2", "db host", correlate.KindRemote},
		{"2001:db8::5", Remote, correlate.KindRemote},
		{"203.0.113.1", External, correlate.KindExternal},
	} {
		e := correlate.Endpoint{Addr: addr(x.addr)}
		if c.Enrich(&e, nil, nil, 0); e.Name != x.name || e.Kind != x.kind || e.Local {
			t.Errorf("%s: %+v", x.addr, e)
		}
		if n := testing.AllocsPerRun(100, func() { c.Enrich(&e, nil, nil, 0) }); n != 0 {
			t.Errorf("%s: %v allocations", x.addr, n)
		}
	}
}
