package cases

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// Connections that are older than the probe: the numbers of both ends tell who
// opened them, also where the ports say the opposite.
func TestCaseG1_StartedInTheMiddle(t *testing.T) {
	host, box := netlab.Host(t), netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "wtG1", CIDR: "10.203.11.1/24"}, netlab.End{NS: box, Name: "eth0", CIDR: "10.203.11.2/24"})
	type conn struct{ cport, sport int }
	conns := []conn{{45611, 5611}, {5612, 45612}}
	var clients, servers []*process
	for _, c := range conns {
		s, _ := answer(t, host, "tcp", fmt.Sprint("10.203.11.1:", c.sport), 900)
		a := ask(t, box, "tcp", fmt.Sprint("10.203.11.2:", c.cport), fmt.Sprint("10.203.11.1:", c.sport), 900)
		a.do("open")
		a.do("send 5000")
		clients, servers = append(clients, a), append(servers, s)
	}
	_, rows := own(t)
	for _, a := range clients {
		a.do("send 700")
		a.do("close")
	}
	for i, c := range conns {
		r := rows.final(t, 1, both(clientPort(c.cport), serverPort(c.sport)))[0]
		want(t, r, map[string]any{
			"client_pid": clients[i].Process.Pid, "server_pid": servers[i].Process.Pid, "initiator_method": "sequence",
			"to_server_bytes": 700, "to_client_bytes": 900, "opened": 0, "reporter": "both",
		})
	}
}

// inject sends TCP segments between addresses that nobody has out of a device, so
// that only packets show them.
func inject(t *testing.T, ns *netlab.NS, device string, segments ...gopacket.SerializeBuffer) {
	t.Helper()
	index := ns.Link(t, device).Attrs().Index
	ns.Do(t, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, s := range segments {
			if err := unix.Sendto(fd, s.Bytes(), 0, &unix.SockaddrLinklayer{Ifindex: index, Halen: 6}); err != nil {
				return err
			}
		}
		return nil
	})
}

// rawSegment is a data rawSegment without SYN.
func rawSegment(t *testing.T, from, to string, sport, dport int, flags func(*layers.TCP)) gopacket.SerializeBuffer {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 9, Protocol: layers.IPProtocolTCP, SrcIP: net.ParseIP(from), DstIP: net.ParseIP(to)}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: 1, Ack: 1, Window: 100}
	flags(tcp)
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4},
		ip, tcp, gopacket.Payload(make([]byte, 50)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Connections of others that are seen from their middle: by the ports where they
// tell, and where they do not, the same way round whoever speaks first, in every
// interval and after a restart. None of them counts as opened (G3: an ACK is no
// answer to a SYN).
func TestCaseG2_SeenFromTheMiddle(t *testing.T) {
	host, box := netlab.Host(t), netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "wtG2", CIDR: "10.203.12.1/24"}, netlab.End{NS: box, Name: "eth0", CIDR: "10.203.12.2/24"})
	const low, high = "10.203.12.77", "10.203.12.88"
	ack := func(s *layers.TCP) { s.ACK, s.PSH = true, true }
	rst := func(s *layers.TCP) { s.RST, s.ACK = true, true }
	for restart := range 2 {
		_, rows := own(t, "--interface", "wtG2")
		for _, from := range []string{low, high, low} { // each in an interval of its own
			to := map[string]string{low: high, high: low}[from]
			if restart == 1 {
				from, to = to, from
			}
			port := map[string]int{low: 50621, high: 40621}
			service := map[string]int{low: 5432, high: 41621}
			inject(t, box, "eth0", rawSegment(t, from, to, port[from], port[to], ack), rawSegment(t, to, from, port[to], port[from], ack),
				rawSegment(t, from, to, service[from], service[to], ack), rawSegment(t, to, from, service[to], service[from], ack))
			rows.settle(t)
		}
		inject(t, box, "eth0", rawSegment(t, low, high, 50621, 40621, rst), rawSegment(t, low, high, 5432, 41621, rst))
		r := rows.final(t, 1, clientPort(50621))[0]
		want(t, r, map[string]any{
			"client_address": low, "server_address": high, "server_port": 40621, "initiator_method": "unknown",
			"opened": 0, "attempts": 0, "failed": 0, "reporter": "none", "to_server_packets": 4, "to_client_packets": 3,
		})
		r = rows.final(t, 1, clientPort(41621))[0]
		want(t, r, map[string]any{
			"client_address": high, "server_address": low, "server_port": 5432, "initiator_method": "port",
			"opened": 0, "attempts": 0, "failed": 0, "to_server_packets": 3, "to_client_packets": 4,
		})
	}
}

// Two sockets call each other at the same time: their first SYNs are held until
// both have called.
func TestCaseG4_BothCall(t *testing.T) {
	rows := watch(t)
	spaces := []*netlab.NS{netlab.New(t), netlab.New(t)}
	pair := pair{spaces[0], spaces[1]}
	host := netlab.Host(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "wtG4a"}, netlab.End{NS: pair.client, Name: "eth0", CIDR: "10.203.14.1/24"})
	netlab.Veth(t, netlab.End{NS: host, Name: "wtG4b"}, netlab.End{NS: pair.server, Name: "eth0", CIDR: "10.203.14.2/24"})
	netlab.Bridge(t, netlab.End{NS: host, Name: "wtG4"}, "wtG4a", "wtG4b")
	var callers []*process
	for i, ns := range spaces {
		ns.Run(t, "nft", "add table ip g4; add chain ip g4 in { type filter hook input priority 0; }; add rule ip g4 in tcp flags syn counter drop")
		callers = append(callers, ask(t, ns, "tcp", fmt.Sprintf("10.203.14.%d:%d", i+1, 20641+i), fmt.Sprintf("10.203.14.%d:%d", 2-i, 20642-i), 0))
	}
	for _, c := range callers {
		c.say("open")
	}
	for _, ns := range spaces {
		probe.Until(t, patience, "a SYN of the other side is held", func() error {
			if out := ns.Run(t, "nft", "list chain ip g4 in"); strings.Contains(out, "packets 0 ") {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
	}
	for _, ns := range spaces {
		ns.Run(t, "nft", "flush chain ip g4 in")
	}
	for _, c := range callers {
		c.number()
	}
	callers[0].do("send 1111")
	callers[1].do("send 222")
	callers[0].do("close")
	callers[1].do("close")
	r := rows.final(t, 1, func(r row) bool {
		return both(clientPort(20641), serverPort(20642))(r) || both(clientPort(20642), serverPort(20641))(r)
	})[0]
	c, s, sent, back := 0, 1, 1111, 222
	if r.num("client_port") == 20642 {
		c, s, sent, back = 1, 0, 222, 1111
	}
	want(t, r, map[string]any{
		"client_pid": callers[c].Process.Pid, "server_pid": callers[s].Process.Pid, "to_server_bytes": sent, "to_client_bytes": back,
		"client_netns": int(spaces[c].Inode), "server_netns": int(spaces[s].Inode), "reporter": "both", "opened": 1, "failed": 0, "initiator_method": "syn",
	})
}

// FTP's data connection is opened by the server, from port 20 to an ephemeral
// port that the client listens on: the client of that connection is the server.
func TestCaseG5_ServerOpensDataConnection(t *testing.T) {
	rows := watch(t)
	host, box := netlab.Host(t), netlab.New(t)
	netlab.Veth(t, netlab.End{NS: host, Name: "wtG5", CIDR: "10.203.15.1/24"}, netlab.End{NS: box, Name: "eth0", CIDR: "10.203.15.2/24"})
	metered(t, rows, "10.203.15.1", pair{box, host})
	listens, port := answer(t, host, "tcp", "10.203.15.1:0", 10)
	sends := ask(t, box, "tcp", "10.203.15.2:20", fmt.Sprint("10.203.15.1:", port), 10)
	sends.do("loop 1 4000")
	r := rows.final(t, 1, both(clientPort(20), serverPort(port)))[0]
	want(t, r, map[string]any{
		"client_pid": sends.Process.Pid, "server_pid": listens.Process.Pid, "initiator_method": "syn", "to_server_bytes": 4000, "to_client_bytes": 10,
	})
	wantWire(t, r, "tcp")
}
