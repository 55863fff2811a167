package enrich

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich/address"
	"github.com/weir-probe/weir/correlate/enrich/container"
	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
	"github.com/weir-probe/weir/correlate/enrich/process"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

var (
	idWeb = strings.Repeat("a", 64)
	idRaw = strings.Repeat("b", 64)
)

// engine stands for what a container engine told.
type engine struct {
	byID map[string]*correlate.Container
	byIP map[flows.Addr]*correlate.Container
}

func (e engine) Lookup(id string) *correlate.Container                { return e.byID[id] }
func (e engine) Pod(string) *correlate.Container                      { return nil }
func (e engine) Makes(cgroup.Runtime) bool                            { return true }
func (e engine) ByAddress(a flows.Addr, t int64) *correlate.Container { return e.byIP[a] }

func addr(s string) flows.Addr { return flows.AddrFrom(netip.MustParseAddr(s)) }

func owner(pid uint32, comm string, v2 uint64) *kprobes.Owner {
	o := &kprobes.Owner{ProcessID: kprobes.ProcessID{PID: pid, Start: uint64(pid)}, CgroupV2: v2, How: kprobes.OwnerIO}
	copy(o.Comm[:], comm)
	return o
}

// chain builds the real thing; only the engine is canned.
func chain(t testing.TB) *Chain {
	t.Helper()
	groups := cgroup.New(cgroup.Config{})
	for id, p := range map[uint64]string{
		1: "/", 2: "/docker/" + idWeb, 3: "/docker/" + idRaw, 4: "/system.slice/nginx.service",
		5: "/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service", 6: "/user.slice/user-1000.slice/session-3.scope",
	} {
		groups.Cgroup(&kprobes.CgroupEvent{Kind: kprobes.CgroupCreated, ID: id, Unified: true, Path: []byte(p)})
	}
	web := &correlate.Container{ID: idWeb, Name: "shop_web_1", Project: "shop", Service: "web"}
	eng := engine{map[string]*correlate.Container{idWeb: web}, map[flows.Addr]*correlate.Container{addr("172.17.0.2"): web}}
	resolver := container.New(groups, container.Fixed{eng})
	procs := process.New(process.Config{Unit: resolver.Unit})
	for pid, name := range map[uint32]string{10: "nginx", 11: "curl", 12: "init"} {
		procs.Process(&kprobes.ProcessEvent{
			Kind: kprobes.ProcessExec, ProcessID: kprobes.ProcessID{PID: pid, Start: uint64(pid)}, Time: 1,
			Comm: owner(pid, name, 0).Comm, Filename: []byte("/bin/" + name), Exe: []byte(name), Cmdline: []byte(name + "\x00"),
		})
	}
	c, err := New(Config{
		Processes: procs, Containers: resolver, Addresses: []Addresses{eng}, Host: address.New(address.Config{}), Hostname: "box",
		Subnets: []Subnet{
			{netip.MustParsePrefix("10.0.0.0/8"), "office"}, {netip.MustParsePrefix("10.1.0.0/16"), "lab"},
			{netip.MustParsePrefix("2001:db8::/33"), "six"}, {netip.MustParsePrefix("10.1.2.3/32"), "printer"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEnrich(t *testing.T) {
	c := chain(t)
	inferred := correlate.Match{Method: correlate.MethodAddress, Confidence: correlate.AttributionInferred}
	exact := correlate.Match{Method: correlate.MethodCookie, Confidence: correlate.AttributionExact}
	for _, x := range []struct {
		what           string
		e              correlate.Endpoint
		owner, creator *kprobes.Owner
		kind           correlate.Kind
		name           string
		process        string
		created        string
		local, pending bool
		match          correlate.Match
	}{
		{"compose service", correlate.Endpoint{Match: exact}, owner(11, "curl", 2), nil, correlate.KindContainer, "shop/web", "curl", "", true, false, exact},
		{"container without a name yet", correlate.Endpoint{}, owner(11, "curl", 3), nil, correlate.KindContainer, "container", "curl", "", true, true, correlate.Match{}},
		{"systemd service", correlate.Endpoint{}, owner(10, "nginx", 4), owner(10, "nginx", 4), correlate.KindProcess, "nginx", "nginx", "", true, false, correlate.Match{}},
		{"service runs a tool", correlate.Endpoint{}, owner(11, "curl", 4), nil, correlate.KindProcess, "nginx", "curl", "", true, false, correlate.Match{}},
		{"a user's unit is no service", correlate.Endpoint{}, owner(11, "curl", 5), nil, correlate.KindProcess, "curl", "curl", "", true, false, correlate.Match{}},
		{"session", correlate.Endpoint{}, owner(11, "curl", 6), nil, correlate.KindProcess, "curl", "curl", "", true, false, correlate.Match{}},
		{"handed over", correlate.Endpoint{}, owner(11, "curl", 1), owner(12, "init", 1), correlate.KindProcess, "curl", "curl", "init", true, false, correlate.Match{}},
		{"container by address", correlate.Endpoint{Addr: addr("172.17.0.2")}, nil, nil, correlate.KindContainer, "shop/web", "", "", true, false, inferred},
		{"container behind NAT", correlate.Endpoint{Addr: addr("192.0.2.9"), NATAddr: addr("172.17.0.2")}, nil, nil, correlate.KindContainer, "shop/web", "", "", true, false, inferred},
		{"loopback", correlate.Endpoint{Addr: addr("127.0.0.1")}, nil, nil, correlate.KindHost, "box", "", "", true, false, correlate.Match{Method: correlate.MethodAddress}},
		{"socket here, owner unknown", correlate.Endpoint{Addr: addr("203.0.113.1"), Local: true}, &kprobes.Owner{}, nil, correlate.KindHost, "box", "", "", true, false, correlate.Match{Method: correlate.MethodAddress}},
		{"multicast", correlate.Endpoint{Addr: addr("224.0.0.251")}, nil, nil, correlate.KindMulticast, "multicast", "", "", false, false, correlate.Match{}},
		{"multicast 6", correlate.Endpoint{Addr: addr("ff02::fb")}, nil, nil, correlate.KindMulticast, "multicast", "", "", false, false, correlate.Match{}},
		{"subnet", correlate.Endpoint{Addr: addr("10.2.3.4")}, nil, nil, correlate.KindExternal, "office", "", "", false, false, correlate.Match{}},
		{"longer subnet", correlate.Endpoint{Addr: addr("10.1.3.4")}, nil, nil, correlate.KindExternal, "lab", "", "", false, false, correlate.Match{}},
		{"longest subnet", correlate.Endpoint{Addr: addr("10.1.2.3")}, nil, nil, correlate.KindExternal, "printer", "", "", false, false, correlate.Match{}},
		{"odd length in", correlate.Endpoint{Addr: addr("2001:db8:7fff::1")}, nil, nil, correlate.KindExternal, "six", "", "", false, false, correlate.Match{}},
		{"odd length out", correlate.Endpoint{Addr: addr("2001:db8:8000::1")}, nil, nil, correlate.KindExternal, "external", "", "", false, false, correlate.Match{}},
		{"elsewhere", correlate.Endpoint{Addr: addr("203.0.113.1")}, nil, nil, correlate.KindExternal, "external", "", "", false, false, correlate.Match{}},
	} {
		e := x.e
		pending := c.Enrich(&e, x.owner, x.creator, 2)
		got := []any{e.Kind, e.Name, nameOf(e.Process), nameOf(e.Creator), e.Local, pending, e.Match}
		want := []any{x.kind, x.name, x.process, x.created, x.local, x.pending, x.match}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n%s", x.what, diff)
		}
	}
}

func nameOf(p *correlate.Process) string {
	if p == nil {
		return ""
	}
	return p.Name
}

func TestEnrichDoesNotAllocate(t *testing.T) {
	c := chain(t)
	o, cr := owner(11, "curl", 2), owner(12, "init", 1)
	host, out := addr("172.17.0.2"), addr("10.1.3.4")
	var e correlate.Endpoint
	run := func() {
		e = correlate.Endpoint{}
		c.Enrich(&e, o, cr, 2)
		e = correlate.Endpoint{Addr: host}
		c.Enrich(&e, nil, nil, 2)
		e = correlate.Endpoint{Addr: out}
		c.Enrich(&e, nil, nil, 2)
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConfig(t *testing.T) {
	if (Config{Subnets: []Subnet{{Name: "x"}}}).Validate() == nil {
		t.Error("subnet without a prefix accepted")
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no hostname, no complaint")
	}
}

func BenchmarkEnrich(b *testing.B) {
	c := chain(b)
	o := owner(11, "curl", 2)
	var e correlate.Endpoint
	b.ReportAllocs()
	for b.Loop() {
		e = correlate.Endpoint{}
		c.Enrich(&e, o, nil, 2)
	}
}

// A4: a process that connects and then executes another program is the program
// that connected; what it runs by now is said beside it. A listener's program is
// only the creator of what the next one accepts.
func TestEnrichImages(t *testing.T) {
	c := chain(t)
	c.cfg.Processes.(*process.Table).Process(&kprobes.ProcessEvent{
		Kind: kprobes.ProcessExec, ProcessID: owner(11, "", 0).ProcessID, Time: 1, Exec: 2,
		Comm: owner(11, "cat", 0).Comm, Filename: []byte("/bin/cat"), Exe: []byte("cat"), Cmdline: []byte("cat\x00"),
	})
	user, opener := owner(11, "cat", 1), owner(11, "curl", 1)
	user.Exec = 2
	for _, x := range []struct {
		how                       kprobes.OwnerHow
		process, created, current string
	}{
		{kprobes.OwnerConnect, "curl", "", "cat"},
		{kprobes.OwnerListener, "cat", "curl", ""},
		{kprobes.OwnerCreate, "cat", "curl", ""},
	} {
		opener.How = x.how
		e := correlate.Endpoint{}
		c.Enrich(&e, user, opener, 2)
		if diff := cmp.Diff([]string{x.process, x.created, x.current}, []string{nameOf(e.Process), nameOf(e.Creator), nameOf(e.Current)}); diff != "" {
			t.Errorf("opened by %d\n%s", x.how, diff)
		}
	}
}
