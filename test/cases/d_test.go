package cases

import (
	"fmt"
	"strings"
	"testing"
)

// A container talks to a host on the Internet behind the masquerade: one row with
// the container's process, the address before and the one after; the packets on
// the uplink are the same ones.
func TestCaseD1_Masquerade(t *testing.T) {
	l := newNATLab(t)
	l.masquerade(t)
	l.remote(t, 700)
	_, rows := ownIn(t, l.host)
	tcp := spawn(t, l.a, "call", endpoint(outsideIP, 443), "1000")
	tcpPort := tcp.number()
	tcp.ended()
	udp := spawn(t, l.a, "udpcall", endpoint(outsideIP, 53), "30")
	udpPort := udp.number()
	udp.ended()
	l.a.Run(t, "ping", "-c", "1", "-s", "56", outsideIP)

	outside := func(r row) bool { return r.str("server_address") == outsideIP }
	for _, got := range rows.final(t, 3, outside) {
		want(t, got, map[string]any{
			"client_address": aIP, "client_nat_address": hostIP, "client_netns": int(l.a.Inode), "client_method": "cookie",
			"server_nat_address": "", "reporter": "client",
		})
		switch got.tag("proto") {
		case "tcp":
			want(t, got, map[string]any{"client_pid": tcp.Process.Pid, "client_port": tcpPort, "server_port": 443,
				"to_server_bytes": 1000, "to_client_bytes": 700, "close_cause": "normal"})
			once(t, got, 1000, 700, 54)
		case "udp":
			want(t, got, map[string]any{"client_pid": udp.Process.Pid, "client_port": udpPort, "server_port": 53,
				"to_server_bytes": 30, "to_client_bytes": 700, "to_server_wire_bytes": 72, "to_client_wire_bytes": 742, "to_server_packets": 1})
		case "icmp":
			want(t, got, map[string]any{"to_server_bytes": 56, "to_client_bytes": 56, "to_server_wire_bytes": 98, "to_client_wire_bytes": 98})
		}
	}
	nothingElse(t, rows, "none", hostIP)
}

// once checks that a TCP connection's packets were counted at one side of the
// translation only: the payload and at least frame octets per packet, not twice.
func once(t *testing.T, r row, toServer, toClient, frame int64) {
	t.Helper()
	for dir, payload := range map[string]int64{"to_server": toServer, "to_client": toClient} {
		packets, octets := r.num(dir+"_packets"), r.num(dir+"_wire_bytes")
		if over := octets - payload; packets < 2 || over < packets*frame || over > packets*(frame+20) {
			t.Errorf("%s: %d octets of wire in %d packets for a payload of %d: %v", dir, octets, packets, payload, r)
		}
	}
}

// nothingElse wants no row of a reporter that has an address at either end.
func nothingElse(t *testing.T, rows *rows, reporter, address string) {
	t.Helper()
	for _, r := range rows.all(t, "flow_log", func(r row) bool {
		return r.tag("reporter") == reporter && (r.str("client_address") == address || r.str("server_address") == address)
	}) {
		t.Errorf("a row of its own for what is in another: %v", r)
	}
}

// A published port, called from a remote host and from the host itself.
func TestCaseD2_PublishedPort(t *testing.T) {
	l := newNATLab(t)
	nat(t, l.host, "-A PREROUTING -d 10.204.1.1 -p tcp --dport 8080 -j DNAT --to-destination 10.204.0.2:80")
	nat(t, l.host, "-A PREROUTING -d 10.204.1.1 -p udp --dport 8053 -j DNAT --to-destination 10.204.0.2:53")
	nat(t, l.host, "-A OUTPUT -d 10.204.1.1 -p tcp --dport 8080 -j DNAT --to-destination 10.204.0.2:80")
	nat(t, l.host, "-A OUTPUT -d 10.204.1.1 -p udp --dport 8053 -j DNAT --to-destination 10.204.0.2:53")
	l.mute(t)
	_, rows := ownIn(t, l.host)
	web := spawn(t, l.a, "serve", "0.0.0.0:80", "700")
	web.number()
	dns := spawn(t, l.a, "udpserve", "0.0.0.0:53", "70")
	dns.number()
	l.remoteCall(t, "tcp", 40001, endpoint(hostIP, 8080), 1000)
	l.remoteCall(t, "udp", 40002, endpoint(hostIP, 8053), 30)
	curl := spawn(t, l.host, "call", endpoint(hostIP, 8080), "1000")
	curl.number()
	curl.ended()
	dig := spawn(t, l.host, "udpcall", endpoint(hostIP, 8053), "30")
	dig.number()
	dig.ended()
	dns.stop() // its flows are over with it

	servers := map[string]*process{"tcp": web, "udp": dns}
	orig := map[string]int{"tcp": 8080, "udp": 8053}
	inner := map[string]int{"tcp": 80, "udp": 53}
	bytes := map[string][2]int{"tcp": {1000, 700}, "udp": {30, 70}}
	for _, got := range rows.final(t, 4, func(r row) bool { return r.str("server_address") == aIP }) {
		p := got.tag("proto")
		want(t, got, map[string]any{
			"server_pid": servers[p].Process.Pid, "server_netns": int(l.a.Inode), "server_port": inner[p], "server_method": "cookie",
			"server_nat_address": hostIP, "server_nat_port": orig[p],
			"to_server_bytes": bytes[p][0], "to_client_bytes": bytes[p][1],
		})
		if p == "tcp" {
			once(t, got, 1000, 700, 54)
		} else {
			want(t, got, map[string]any{"to_server_wire_bytes": 72, "to_client_wire_bytes": 112})
		}
		if got.str("client_address") == outsideIP {
			want(t, got, map[string]any{"reporter": "server", "client_nat_address": "", "client_kind": ""})
			continue
		}
		from := map[string]*process{"tcp": curl, "udp": dig}[p]
		want(t, got, map[string]any{"reporter": "both", "client_pid": from.Process.Pid, "client_netns": int(l.host.Inode), "client_address": hostIP})
	}
	nothingElse(t, rows, "none", outsideIP)
}

// Container → the host's address → a container at the same bridge: source and
// destination are translated at once.
func TestCaseD4_Hairpin(t *testing.T) {
	l := newNATLab(t)
	for _, p := range []string{"tcp", "udp"} {
		nat(t, l.host, "-A PREROUTING -d 10.204.1.1 -p "+p+" --dport 8080 -j DNAT --to-destination 10.204.0.3:80")
		nat(t, l.host, "-A POSTROUTING -s 10.204.0.0/24 -d 10.204.0.3 -p "+p+" --dport 80 -j MASQUERADE")
	}
	bothTranslated(t, l, endpoint(hostIP, 8080), hostIP, 8080)
}

// bothTranslated calls b's port 80 by TCP and UDP from a under another address,
// behind a translation that gives a the bridge's address.
func bothTranslated(t *testing.T, l *natLab, called, calledIP string, calledPort int) {
	t.Helper()
	_, rows := ownIn(t, l.host)
	web := spawn(t, l.b, "serve", "0.0.0.0:80", "700")
	web.number()
	dns := spawn(t, l.b, "udpserve", "0.0.0.0:80", "70")
	dns.number()
	curl := spawn(t, l.a, "call", called, "1000")
	curlPort := curl.number()
	curl.ended()
	dig := spawn(t, l.a, "udpcall", called, "30")
	digPort := dig.number()
	dig.ended()
	dns.stop()
	for _, got := range rows.final(t, 2, func(r row) bool { return r.str("server_address") == bIP }) {
		want(t, got, map[string]any{
			"client_address": aIP, "client_nat_address": bridgeIP, "client_netns": int(l.a.Inode), "client_method": "cookie",
			"server_port": 80, "server_nat_address": calledIP, "server_nat_port": calledPort, "server_netns": int(l.b.Inode), "server_method": "cookie",
			"reporter": "both",
		})
		if got.tag("proto") == "tcp" {
			want(t, got, map[string]any{"client_pid": curl.Process.Pid, "client_port": curlPort, "server_pid": web.Process.Pid, "to_server_bytes": 1000, "to_client_bytes": 700})
			once(t, got, 1000, 700, 54)
		} else {
			want(t, got, map[string]any{"client_pid": dig.Process.Pid, "client_port": digPort, "server_pid": dns.Process.Pid, "to_server_bytes": 30, "to_client_bytes": 70,
				"to_server_wire_bytes": 72, "to_client_wire_bytes": 112})
		}
	}
	for _, ip := range []string{calledIP, bridgeIP} {
		if n := len(rows.all(t, "flow_log", func(r row) bool { return r.str("server_address") == ip || r.str("client_address") == ip })); n != 0 {
			t.Errorf("%d rows of their own for %s", n, ip)
		}
	}
}

// A ClusterIP the way kube-proxy's iptables mode makes it: a chain per service,
// one per endpoint, chosen at random.
func TestCaseD5_ClusterIPByIptables(t *testing.T) {
	l := newNATLab(t)
	for _, chain := range []string{"KUBE-SERVICES", "KUBE-SVC-X", "KUBE-SEP-A", "KUBE-SEP-B", "KUBE-MARK-MASQ", "KUBE-POSTROUTING"} {
		nat(t, l.host, "-N "+chain)
	}
	for _, p := range []string{"tcp", "udp"} {
		nat(t, l.host, "-A KUBE-SERVICES -d "+serviceIP+"/32 -p "+p+" --dport 80 -j KUBE-SVC-X")
		nat(t, l.host, "-A KUBE-SEP-A -p "+p+" -j DNAT --to-destination 10.204.0.2:80")
		nat(t, l.host, "-A KUBE-SEP-B -p "+p+" -j DNAT --to-destination 10.204.0.3:80")
	}
	nat(t, l.host, "-A KUBE-SVC-X -m statistic --mode random --probability 0.5 -j KUBE-SEP-A")
	nat(t, l.host, "-A KUBE-SVC-X -j KUBE-SEP-B")
	nat(t, l.host, "-A PREROUTING -j KUBE-SERVICES")
	nat(t, l.host, "-A OUTPUT -j KUBE-SERVICES")
	clusterIP(t, l)
}

// The same by kube-proxy's nftables mode.
func TestCaseD5_ClusterIPByNftables(t *testing.T) {
	l := newNATLab(t)
	rules := strings.ReplaceAll(`table ip kube-proxy {
	chain endpoint-a { meta l4proto { tcp, udp } dnat to 10.204.0.2:80; }
	chain endpoint-b { meta l4proto { tcp, udp } dnat to 10.204.0.3:80; }
	chain service-x { numgen random mod 2 vmap { 0 : goto endpoint-a, 1 : goto endpoint-b }; }
	map service-ips { type ipv4_addr . inet_proto . inet_service : verdict;
		elements = { SERVICE . tcp . 80 : goto service-x, SERVICE . udp . 80 : goto service-x }; }
	chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
	chain nat-prerouting { type nat hook prerouting priority -100; jump services; }
	chain nat-output { type nat hook output priority -100; jump services; }
}`, "SERVICE", serviceIP)
	l.host.Run(t, "sh", "-c", fmt.Sprintf("nft -f - <<'EOF'\n%s\nEOF", rules))
	clusterIP(t, l)
}
