package cases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/machine"
	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// unboundConf has every name that the client asks for. 198.51.100.0/24 is elsewhere, and
// nowhere for closed.shop.test, whose host is there and the port is not, and for
// lost.shop.test, to which there is no route.
const unboundConf = `server:
 interface: 127.0.0.1@5353
 access-control: 0.0.0.0/0 allow
 do-daemonize: no
 username: ""
 chroot: ""
 pidfile: ""
 use-syslog: no
 local-zone: "." static
 local-data: "api.shop.test. 60 IN A 198.51.100.7"
 local-data: "cdn.shop.test. 60 IN A 198.51.100.7"
 local-data: "both.shop.test. 60 IN A 198.51.100.8"
 local-data: "both.shop.test. 60 IN A 198.51.100.9"
 local-data: "quic.shop.test. 60 IN A 198.51.100.10"
 local-data: "closed.shop.test. 60 IN A %s"
 local-data: "lost.shop.test. 60 IN A 198.51.100.200"
`

// namesBed is a client with a slow resolver (Unbound) and an outside that answers at any
// address and port, without a socket here.
func namesBed(t *testing.T, n, delay int) (b *pairBed, resolver string) {
	t.Helper()
	unbound := machine.Find("unbound", "/usr/sbin/unbound")
	if unbound == "" {
		machine.Missing(t, "services", "unbound is not installed")
	}
	b = newPair(t, n)
	out := netlab.New(t)
	out.Sysctl(t, "net/ipv4/ip_forward", "0") // as the host may have it
	via := fmt.Sprintf("10.211.%d.2", n)
	netlab.Veth(t, netlab.End{NS: b.near, Name: "wo0", CIDR: fmt.Sprintf("10.211.%d.1/24", n)}, netlab.End{NS: out, Name: "wo1", CIDR: via + "/24"})
	b.near.Route(t, "198.51.100.0/24", via)
	b.near.Run(t, "ip", "route", "add", "unreachable", "198.51.100.200")
	spawn(t, out, "remote", "wo1", "10").hears("up")
	conf := filepath.Join(t.TempDir(), "unbound.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, unboundConf, b.there), 0o644); err != nil {
		t.Fatal(err)
	}
	launch(t, b.far, exec.Command(unbound, "-c", conf))
	resolver = b.there + ":53"
	spawn(t, b.far, "slowly", resolver, "127.0.0.1:5353", strconv.Itoa(delay)).hears("up")
	return b, resolver
}

// lookedUp is one look-up as the client lived it, and what it connected to after it.
type lookedUp struct {
	name  string
	proto string
	took  float64 // seconds
	ports []int   // of the client; 0 of an attempt that failed
}

func (p *process) lookedUp(step string) (l lookedUp) {
	p.t.Helper()
	var to string
	l.name, to, _ = strings.Cut(step, ":")
	_, l.proto, _ = strings.Cut(to[:strings.IndexByte(to, '*')], "/")
	for i, f := range strings.Fields(p.line()) {
		n, err := strconv.Atoi(f)
		if err != nil {
			p.t.Fatal(err)
		}
		if i == 0 {
			l.took = float64(n) / 1e9
		} else {
			l.ports = append(l.ports, n)
		}
	}
	return l
}

// A client that looks up a name before each request, several times in an interval: each
// connection has the name that it had asked for, and of each look-up one connection the
// time that the answer took, failed attempts and datagrams included.
func TestL7_NamesAndWaits(t *testing.T) {
	_, rows := own(t)
	const delay = 40 // ms
	b, resolver := namesBed(t, 79, delay)
	steps := []string{
		"api.shop.test:4443/tcp*1", "api.shop.test:4443/tcp*2", "api.shop.test:4443/tcp*1", "cdn.shop.test:4443/tcp*1", "api.shop.test:4443/tcp*1",
		"both.shop.test:4443/tcp*3", "quic.shop.test:4443/udp*1", "quic.shop.test:4443/udp*2", "closed.shop.test:4443/tcp*1", "lost.shop.test:4443/tcp*1",
		"api.shop.test:4443/tcp*1",
	}
	client := spawn(t, b.near, "lookup", append([]string{resolver}, steps...)...)
	var said []lookedUp
	connections := 0
	for _, s := range steps {
		l := client.lookedUp(s)
		said = append(said, l)
		connections += len(l.ports)
		if failed := l.ports[0] == 0; failed != (l.name == "closed.shop.test" || l.name == "lost.shop.test") {
			t.Fatalf("%s: client ports %v", s, l.ports)
		}
	}
	client.ended()

	mine := both(b.mine, serverPort(4443))
	ended := rows.final(t, connections, mine)
	for _, l := range said {
		for i, port := range l.ports {
			var found []row
			for _, x := range ended {
				if port != 0 && x.num("client_port") == int64(port) && x.tag("proto") == l.proto || port == 0 && x.str("server_dns_name") == l.name {
					found = append(found, x)
				}
			}
			if len(found) != 1 {
				t.Errorf("%s, port %d: %d rows of flow_log: %v", l.name, port, len(found), found)
				continue
			}
			want(t, found[0], map[string]any{"server": l.name, "server_dns_name": l.name, "resolve_count": 1 - 2*min(i, 1)})
			if waited, _ := found[0].fields["resolve_sum_seconds"].(float64); i == 0 && (waited < delay/1e3 || waited > l.took) {
				t.Errorf("%s: waited %v s, the resolver took %v s and the client waited %v s", l.name, waited, delay/1e3, l.took)
			}
		}
	}
	edges := func(x row) bool { return x.tag("server_port") == "4443" && x.time >= b.made }
	var opened, failed, lookups int64
	var waited, least float64
	for _, x := range rows.all(t, "flow", edges) {
		if !strings.HasSuffix(x.tag("server"), ".shop.test") || x.tag("server_kind") != "external" {
			t.Errorf("not an end elsewhere with a name: %v", x)
		}
		opened, failed = opened+x.num("opened"), failed+x.num("failed")
	}
	if opened != int64(connections)-2 || failed != 2 {
		t.Errorf("%d opened and %d failed in flow, want %d and 2", opened, failed, connections-2)
	}
	for _, x := range rows.all(t, "flow_latency", edges) {
		if n := x.num("resolve_count"); n > 0 {
			lookups += n
			sum, _ := x.fields["resolve_sum_seconds"].(float64)
			waited += sum
			if m, _ := x.fields["resolve_min_seconds"].(float64); least == 0 || m < least {
				least = m
			}
		}
	}
	if n := int64(len(steps)); lookups != n || waited < float64(n)*delay/1e3 || least < delay/1e3 {
		t.Errorf("%d waits of %v s in all, the shortest %v s; the client looked up %d times, the resolver took %v s", lookups, waited, least, n, delay/1e3)
	}
	probe.Until(t, patience, "the table of names", func() error {
		for _, x := range rows.all(t, "weir_self", func(x row) bool { return x.tag("stage") == "names" }) {
			if x.num("evicted") > 0 {
				t.Errorf("lost for want of room: %v", x)
			}
			if x.num("addresses") >= 6 {
				return nil
			}
		}
		return fmt.Errorf("not told yet")
	})
}
