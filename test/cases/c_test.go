package cases

import (
	"fmt"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// ask starts an asker; do makes it do a line and returns its port.
func ask(t *testing.T, ns *netlab.NS, network, local, remote string, reply int) *process {
	t.Helper()
	return spawn(t, ns, "asker", network, local, remote, fmt.Sprint(reply))
}

func (p *process) do(format string, args ...any) (port int) {
	p.t.Helper()
	p.say(fmt.Sprintf(format, args...))
	return p.number()
}

// answer starts an answerer and returns it and its port.
func answer(t *testing.T, ns *netlab.NS, network, address string, reply int) (p *process, port int) {
	t.Helper()
	p = spawn(t, ns, "answer", network, address, fmt.Sprint(reply))
	return p, p.number()
}

// wantWire wants wire octets that are the payload and the headers of the packets
// counted: of nobody else's, too, there would be more.
func wantWire(t *testing.T, r row, proto string) {
	t.Helper()
	least, most, packets := int64(54), int64(94), int64(12)
	if proto == "udp" {
		least, most, packets = 42, 42, 1
	}
	for _, dir := range []string{"to_server", "to_client"} {
		n, octets, payload := r.num(dir+"_packets"), r.num(dir+"_wire_bytes"), r.num(dir+"_bytes")
		if n < 1 || n > packets || octets < payload+n*least || octets > payload+n*most {
			t.Errorf("%s: %d octets on the wire in %d packets with %d of payload: %v", dir, octets, n, payload, r)
		}
	}
}

// A source port that is used fifty times within an interval is fifty flows, each
// with its own octets.
func TestCaseC1_FiftyFlowsOfOnePort(t *testing.T) {
	rows := watch(t)
	host, box := netlab.Host(t), netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "wtC1", CIDR: "10.203.1.1/24"}, netlab.End{NS: box, Name: "eth0", CIDR: "10.203.1.2/24"})
	metered(t, rows, "10.203.1.1", pair{box, host})
	const times = 50
	type run struct {
		where, network string
		from           *netlab.NS
		local, remote  string
	}
	runs := []run{
		{"veth", "tcp", box, "10.203.1.2:20301", "10.203.1.1"}, {"veth", "udp", box, "10.203.1.2:20302", "10.203.1.1"},
		{"lo", "tcp", nil, "127.203.1.2:20303", "127.203.1.1"}, {"lo", "udp", nil, "127.203.1.2:20304", "127.203.1.1"},
	}
	ports := make([]int, len(runs))
	pids := make([][2]int, len(runs))
	for i, r := range runs {
		var srv *process
		srv, ports[i] = answer(t, nil, r.network, r.remote+":0", 700)
		cli := ask(t, r.from, r.network, r.local, fmt.Sprintf("%s:%d", r.remote, ports[i]), 700)
		cli.do("loop %d 100", times)
		pids[i] = [2]int{cli.Process.Pid, srv.Process.Pid}
	}
	for i, r := range runs {
		t.Run(r.where+" "+r.network, func(t *testing.T) {
			sizes := map[int64]bool{}
			for _, got := range rows.final(t, times, both(serverPort(ports[i]), clientPort(20301+i))) {
				sizes[got.num("to_server_bytes")] = true
				want(t, got, map[string]any{"client_pid": pids[i][0], "server_pid": pids[i][1], "reporter": "both", "to_client_bytes": 700, "proto": r.network, "opened": 1})
				wantWire(t, got, r.network)
			}
			for n := range int64(times) {
				if !sizes[100+n] {
					t.Errorf("no flow of %d octets", 100+n)
				}
			}
		})
	}
}

// pair is two namespaces with the same addresses as another pair's.
type pair struct{ client, server *netlab.NS }

// pairOnBridge makes a pair on a bridge of the host that has no address.
func pairOnBridge(t *testing.T, name, subnet string) pair {
	host, p := netlab.Host(t), pair{netlab.New(t), netlab.New(t)}
	netlab.Veth(t, netlab.End{NS: host, Name: name + "c"}, netlab.End{NS: p.client, Name: "eth0", CIDR: subnet + ".2/24"})
	netlab.Veth(t, netlab.End{NS: host, Name: name + "s"}, netlab.End{NS: p.server, Name: "eth0", CIDR: subnet + ".3/24"})
	netlab.Bridge(t, netlab.End{NS: host, Name: name}, name+"c", name+"s")
	return p
}

// metered waits until the probe knows the devices of all pairs and which bridge
// each is at (E14 is another case): until connections with one tuple show their
// packets in every pair. The server has the address, the client any.
func metered(t *testing.T, rows *rows, server string, pairs ...pair) {
	t.Helper()
	var askers []*process
	for _, p := range pairs {
		answer(t, p.server, "tcp", server+":20310", 1)
		askers = append(askers, ask(t, p.client, "tcp", "0.0.0.0:20311", server+":20310", 1))
	}
	probe.Until(t, patience, "the packets of every device are metered", func() error {
		for _, line := range []string{"open", "send 4", "close"} {
			for _, a := range askers {
				a.do("%s", line)
			}
		}
		seen := map[int64]bool{}
		for _, r := range rows.all(t, "flow_log", both(serverPort(20310), func(r row) bool { return r.str("server_address") == server })) {
			if r.num("to_server_wire_bytes") > 0 {
				seen[r.num("client_netns")] = true
			}
		}
		if len(seen) < len(pairs) {
			return fmt.Errorf("of %d only", len(seen))
		}
		return nil
	})
}

// Two pairs of namespaces with the same addresses use the same 5-tuple at once:
// on bridges of the host, which are metered, or by a wire that the host does not
// see. Each has its own rows, owners, payload and wire octets.
func TestCaseC2_SamePortsAndAddresses(t *testing.T) {
	rows := watch(t)
	for i, tc := range []struct {
		name    string
		metered bool
		make    func(t *testing.T, n int) pair
	}{
		{"bridges", true, func(t *testing.T, n int) pair { return pairOnBridge(t, fmt.Sprint("wtC2", n), "10.203.2") }},
		{"wires", false, func(t *testing.T, _ int) pair {
			p := pair{netlab.New(t), netlab.New(t)}
			netlab.Veth(t, netlab.End{NS: p.client, Name: "eth0", CIDR: "10.203.3.2/24"}, netlab.End{NS: p.server, Name: "eth0", CIDR: "10.203.3.3/24"})
			return p
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pairs := []pair{tc.make(t, 0), tc.make(t, 1)}
			if tc.metered {
				metered(t, rows, "10.203.2.3", pairs...)
			}
			for p, proto := range []string{"tcp", "udp"} {
				sport, cport, net := 20320+10*i+p, 20325+10*i+p, 2+i
				remote, local := fmt.Sprintf("10.203.%d.3:%d", net, sport), fmt.Sprintf("10.203.%d.2:%d", net, cport)
				var clients, servers []*process
				for n, p := range pairs {
					s, _ := answer(t, p.server, proto, remote, 3000*(n+1)/5)
					c := ask(t, p.client, proto, local, remote, 3000*(n+1)/5)
					clients, servers = append(clients, c), append(servers, s)
				}
				for _, line := range []string{"open", "send 500", "close"} {
					for n, c := range clients {
						if line == "send 500" {
							c.do("send %d", 500*(n+1))
						} else {
							c.do("%s", line)
						}
					}
				}
				byClient := map[int64]row{}
				match := both(clientPort(cport), serverPort(sport), func(r row) bool { return r.tag("reporter") != "server" })
				for _, r := range rows.final(t, 2, match) {
					byClient[r.num("client_netns")] = r
				}
				for n, p := range pairs {
					r := byClient[int64(p.client.Inode)]
					want(t, r, map[string]any{
						"client_pid": clients[n].Process.Pid, "client_netns": int(p.client.Inode),
						"to_server_bytes": 500 * (n + 1), "to_client_bytes": 3000 * (n + 1) / 5, "proto": proto,
					})
					if proto == "tcp" || tc.metered {
						want(t, r, map[string]any{"server_pid": servers[n].Process.Pid, "server_netns": int(p.server.Inode), "reporter": "both"})
					} else if pid := r.num("server_pid"); pid != -1 && pid != int64(servers[n].Process.Pid) {
						t.Errorf("the wrong server: %v", r)
					}
					if tc.metered {
						wantWire(t, r, proto)
					} else if r.num("to_server_wire_bytes") != -1 {
						t.Errorf("wire octets of packets that nobody could see: %v", r)
					}
				}
			}
		})
	}
}

// Loopback connections with the same ports in two namespaces and on the host, at
// the same time, are three.
func TestCaseC3_SameLoopbackPorts(t *testing.T) {
	rows := watch(t)
	const sport, cport = 20340, 20341
	spaces := []*netlab.NS{netlab.Host(t), netlab.New(t), netlab.New(t)}
	for p, proto := range []string{"tcp", "udp"} {
		var clients, servers []*process
		for range spaces {
			n := len(clients)
			s, _ := answer(t, spaces[n], proto, fmt.Sprint("127.0.0.1:", sport+10*p), 100*(n+1))
			c := ask(t, spaces[n], proto, fmt.Sprint("127.0.0.1:", cport+10*p), fmt.Sprint("127.0.0.1:", sport+10*p), 100*(n+1))
			clients, servers = append(clients, c), append(servers, s)
		}
		for _, c := range clients {
			c.do("open")
		}
		for n, c := range clients {
			c.do("send %d", 1000*(n+1))
		}
		for _, c := range clients {
			c.do("close")
		}
		got := map[int64]row{}
		for _, r := range rows.final(t, len(spaces), both(serverPort(sport+10*p), clientPort(cport+10*p))) {
			got[r.num("client_netns")] = r
		}
		for n, ns := range spaces {
			r := got[int64(ns.Inode)]
			want(t, r, map[string]any{
				"client_pid": clients[n].Process.Pid, "server_pid": servers[n].Process.Pid, "server_netns": int(ns.Inode),
				"to_server_bytes": 1000 * (n + 1), "to_client_bytes": 100 * (n + 1), "reporter": "both",
			})
			if n == 0 {
				wantWire(t, r, proto)
			} else if r.num("to_server_wire_bytes") != -1 {
				t.Errorf("the host's wire octets in another namespace: %v", r)
			}
		}
	}
}

// A socket that is connected to itself is one flow: what it sent, once.
func TestCaseC7_SelfConnection(t *testing.T) {
	rows := watch(t)
	c := ask(t, nil, "tcp", "127.203.7.1:20370", "127.203.7.1:20370", 0)
	c.do("open")
	c.do("send 12345")
	c.do("close")
	r := rows.final(t, 1, both(serverPort(20370), clientPort(20370)))[0]
	want(t, r, map[string]any{
		"client_address": "127.203.7.1", "server_address": "127.203.7.1", "client_pid": c.Process.Pid, "server_pid": c.Process.Pid,
		"to_server_bytes": 12345, "to_client_bytes": 0, "reporter": "both", "opened": 1, "failed": 0,
	})
	if n := r.num("to_server_wire_bytes"); n < 12345 || n > 12345+20*94 || r.num("to_client_wire_bytes") != 0 {
		t.Errorf("on the wire: %v", r)
	}
}

// An IPv6 socket that talks to an IPv4 peer has IPv4 addresses, and one row.
func TestCaseC8_MappedAddresses(t *testing.T) {
	rows := watch(t)
	host, box := netlab.Host(t), netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "wtC8", CIDR: "10.203.8.1/24"}, netlab.End{NS: box, Name: "eth0", CIDR: "10.203.8.2/24"})
	metered(t, rows, "10.203.8.1", pair{box, host})
	for _, tc := range []struct{ proto, listen, server, client, remote string }{
		{"tcp", "tcp6", "[::]", "tcp4", "10.203.8.1"},
		{"tcp", "tcp4", "10.203.8.1", "tcp6", "[::ffff:10.203.8.1]"},
		{"tcp", "tcp6", "[::]", "tcp6", "[::ffff:10.203.8.1]"},
		{"udp", "udp6", "[::]", "udp4", "10.203.8.1"},
		{"udp", "udp4", "10.203.8.1", "udp6", "[::ffff:10.203.8.1]"},
		{"udp", "udp6", "[::]", "udp6", "[::ffff:10.203.8.1]"},
	} {
		t.Run(tc.client+" to "+tc.listen, func(t *testing.T) {
			srv := spawn(t, host, "mapped", tc.listen, tc.server+":0")
			port := srv.number()
			cli := spawn(t, box, "mapped", tc.client, fmt.Sprintf("%s:%d", tc.remote, port), "300")
			from := cli.number()
			cli.ended()
			r := rows.final(t, 1, both(serverPort(port), clientPort(from)))[0]
			want(t, r, map[string]any{
				"client_address": "10.203.8.2", "server_address": "10.203.8.1", "to_server_bytes": 300, "to_client_bytes": 300, "proto": tc.proto,
				"client_pid": cli.Process.Pid, "server_pid": srv.Process.Pid, "reporter": "both",
			})
			wantWire(t, r, tc.proto)
		})
	}
}
