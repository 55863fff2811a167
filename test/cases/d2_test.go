package cases

import (
	"fmt"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// A proxy in user space is the server of one flow and the client of another: two
// rows, linked by its process.
func TestCaseD3_Proxy(t *testing.T) {
	l := newNATLab(t)
	_, rows := ownIn(t, l.host)
	web := spawn(t, l.a, "serve", "0.0.0.0:80", "700")
	web.number()
	proxy := spawn(t, l.host, "proxy", "127.0.0.1:8080", endpoint(aIP, 80))
	proxy.number()
	curl := spawn(t, l.host, "call", "127.0.0.1:8080", "1000")
	curl.number()
	curl.ended()
	got := rows.final(t, 1, client(curl))[0]
	want(t, got, map[string]any{"server_pid": proxy.Process.Pid, "server_port": 8080, "reporter": "both", "client_nat_address": "", "server_nat_address": "",
		"to_server_bytes": 1000, "to_client_bytes": 700})
	once(t, got, 1000, 700, 54)
	got = rows.final(t, 1, client(proxy))[0]
	want(t, got, map[string]any{"server_pid": web.Process.Pid, "server_address": aIP, "server_port": 80, "reporter": "both", "client_nat_address": "", "server_nat_address": "",
		"to_server_bytes": 1000, "to_client_bytes": 700})
	once(t, got, 1000, 700, 54)
}

// A pod calls a service whose pod is at the same node, and the rule marks it for
// the masquerade.
func TestCaseD6_SameNodeService(t *testing.T) {
	l := newNATLab(t)
	for _, p := range []string{"tcp", "udp"} {
		nat(t, l.host, "-A PREROUTING -d "+serviceIP+"/32 -p "+p+" --dport 8080 -j DNAT --to-destination 10.204.0.3:80")
	}
	l.host.Run(t, "iptables", "-w", "-t", "mangle", "-A", "PREROUTING", "-d", serviceIP+"/32", "-j", "MARK", "--set-xmark", "0x4000/0x4000")
	nat(t, l.host, "-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE")
	bothTranslated(t, l, endpoint(serviceIP, 8080), serviceIP, 8080)
}

// A service translated in the container's own namespace, and then masqueraded in
// the host's: the row has what the client called and what the server sees.
func TestCaseD7_ContainerNamespace(t *testing.T) {
	l := newNATLab(t)
	l.masquerade(t)
	for _, p := range []string{"tcp", "udp"} {
		nat(t, l.a, "-A OUTPUT -d "+serviceIP+"/32 -p "+p+" --dport 80 -j DNAT --to-destination "+endpoint(outsideIP, 443))
	}
	l.remote(t, 700)
	for name, args := range map[string][]string{"packets": nil, "sockets only": {"--packets", "off"}} {
		t.Run(name, func(t *testing.T) {
			_, rows := ownIn(t, l.host, args...)
			tcp := spawn(t, l.a, "call", endpoint(serviceIP, 80), "1000")
			tcp.number()
			tcp.ended()
			udp := spawn(t, l.a, "udpcall", endpoint(serviceIP, 80), "30")
			udp.number()
			udp.ended()
			for _, p := range []*process{tcp, udp} {
				got := rows.final(t, 1, client(p))[0]
				want(t, got, map[string]any{
					"client_address": aIP, "client_nat_address": hostIP, "client_netns": int(l.a.Inode), "client_method": "cookie",
					"server_address": outsideIP, "server_port": 443, "server_nat_address": serviceIP, "server_nat_port": 80, "reporter": "client", "to_client_bytes": 700,
				})
				if p == tcp && args == nil {
					once(t, got, 1000, 700, 54)
				}
			}
			nothingElse(t, rows, "none", outsideIP)
		})
	}
}

// REDIRECT to a process of the same namespace, in a container (a mesh's sidecar)
// and in the host's.
func TestCaseD7_Redirect(t *testing.T) {
	l := newNATLab(t)
	for _, p := range []string{"tcp", "udp"} {
		nat(t, l.b, "-A PREROUTING -p "+p+" --dport 80 -j REDIRECT --to-ports 15006")
		nat(t, l.b, "-A OUTPUT -d "+serviceIP+"/32 -p "+p+" --dport 80 -j REDIRECT --to-ports 15001")
		nat(t, l.host, "-A PREROUTING -i wnbr0 -d "+serviceIP+"/32 -p "+p+" --dport 80 -j REDIRECT --to-ports 15003")
	}
	_, rows := ownIn(t, l.host)
	servers := map[string]*process{}
	for _, s := range []struct {
		ns   *netlab.NS
		ip   string // the one it must answer from
		port int
	}{{l.b, bIP, 15006}, {l.b, "127.0.0.1", 15001}, {l.host, bridgeIP, 15003}} {
		for proto, role := range map[string]string{"tcp": "serve", "udp": "udpserve"} {
			p := spawn(t, s.ns, role, endpoint(s.ip, s.port), "70")
			p.number()
			servers[fmt.Sprint(proto, s.port)] = p
		}
	}
	type call struct {
		from       *process
		address    string
		nat        string
		to         int
		serverRole string
	}
	var calls []call
	for proto, role := range map[string]string{"tcp": "call", "udp": "udpcall"} {
		for _, c := range []call{
			{spawn(t, l.a, role, endpoint(bIP, 80), "30"), bIP, bIP, 15006, proto},
			{spawn(t, l.b, role, endpoint(serviceIP, 80), "30"), "127.0.0.1", serviceIP, 15001, proto},
			{spawn(t, l.a, role, endpoint(serviceIP, 80), "30"), bridgeIP, serviceIP, 15003, proto},
		} {
			c.from.number()
			c.from.ended()
			calls = append(calls, c)
		}
	}
	for _, s := range servers {
		s.stop()
	}
	for _, c := range calls {
		want(t, rows.final(t, 1, client(c.from))[0], map[string]any{
			"server_address": c.address, "server_port": c.to, "server_nat_address": c.nat, "server_nat_port": 80,
			"server_pid": servers[fmt.Sprint(c.serverRole, c.to)].Process.Pid, "server_method": "cookie", "client_method": "cookie",
			"reporter": "both", "to_server_bytes": 30, "to_client_bytes": 70,
		})
	}
}

// conntrack forgets the connection while it goes on.
func TestCaseD9_EntryDeleted(t *testing.T) {
	l := newNATLab(t)
	l.masquerade(t)
	l.remote(t, 700)
	_, rows := ownIn(t, l.host)
	tcp := spawn(t, l.a, "hold", endpoint(outsideIP, 443), "1000")
	tcpPort := tcp.number()
	udp := spawn(t, l.a, "udpcall", endpoint(outsideIP, 53), "30", "more")
	udpPort := udp.number()
	rows.settle(t)
	l.host.Run(t, "conntrack", "-D", "-s", aIP)
	rows.settle(t)
	for _, p := range []*process{tcp, udp} {
		p.say("again")
		p.number()
		p.stdin.Close()
		p.ended()
	}
	for _, c := range []struct {
		p           *process
		port, bytes int
	}{{tcp, tcpPort, 2000}, {udp, udpPort, 60}} {
		got := rows.final(t, 1, client(c.p))[0]
		want(t, got, map[string]any{"client_address": aIP, "client_port": c.port, "client_nat_address": hostIP, "client_nat_port": c.port,
			"to_server_bytes": c.bytes, "reporter": "client", "client_method": "cookie"})
	}
	nothingElse(t, rows, "none", hostIP)
}

// Without the packet path the host's translations come from conntrack's events,
// after the connection or not: the row has them.
func TestCaseB3_NATAfterTheClose(t *testing.T) {
	l := newNATLab(t)
	l.masquerade(t)
	l.remote(t, 700)
	p, rows := ownIn(t, l.host, "--packets", "off")
	if got := probe.LogValue(p.Log(), "nat"); got != "sockets, conntrack" {
		t.Errorf("translations come from %q", got)
	}
	for range 20 {
		c := spawn(t, l.a, "call", endpoint(outsideIP, 443), "1000")
		c.number()
		c.ended()
	}
	for _, got := range rows.final(t, 20, func(r row) bool { return r.str("server_address") == outsideIP }) {
		want(t, got, map[string]any{"client_address": aIP, "client_nat_address": hostIP, "client_nat_port": int(got.num("client_port")), "reporter": "client"})
	}
	told := int64(0)
	for _, r := range rows.all(t, "weir_self", func(r row) bool { return r.tag("stage") == "conntrack" }) {
		want(t, r, map[string]any{"lost": 0})
		told += max(0, r.num("nats"))
	}
	if told < 20 {
		t.Errorf("conntrack told of %d translations", told)
	}
}

// What a load balancer says in PROXY protocol of its own client does not make
// another flow of its connection.
func TestCaseD17_ProxyProtocol(t *testing.T) {
	l := newNATLab(t)
	nat(t, l.host, "-A PREROUTING -d 10.204.1.1 -p tcp --dport 8080 -j DNAT --to-destination 10.204.0.2:80")
	_, rows := ownIn(t, l.host)
	web := spawn(t, l.a, "serve", "0.0.0.0:80", "700")
	web.number()
	lb := spawn(t, l.out, "proxy", endpoint(outsideIP, 9090), endpoint(hostIP, 8080), "proxy-protocol")
	lb.number()
	curl := spawn(t, l.host, "call", endpoint(outsideIP, 9090), "1000")
	port := curl.number()
	curl.ended()
	want(t, rows.final(t, 1, client(curl))[0], map[string]any{"server_pid": lb.Process.Pid, "to_server_bytes": 1000, "to_client_bytes": 700})
	header := len(fmt.Sprintf("PROXY TCP4 %s %s %d %d\r\n", hostIP, outsideIP, port, 9090))
	want(t, rows.final(t, 1, client(lb))[0], map[string]any{
		"client_address": outsideIP, "server_pid": web.Process.Pid, "server_address": aIP, "server_nat_address": hostIP, "server_nat_port": 8080,
		"to_server_bytes": 1000 + header, "to_client_bytes": 700, "reporter": "both",
	})
	if n := len(rows.all(t, "flow_log", func(r row) bool { return r.str("server_address") == aIP && r.str("client_address") != outsideIP })); n != 0 {
		t.Errorf("%d rows for the client that the load balancer tells of", n)
	}
}
