package cases

import (
	"testing"

	"github.com/weir-probe/weir/test/netlab"
)

// ipvs makes the service the way kube-proxy's IPVS mode does, and a third
// container at the pods' bridge to call it from. conntrack is what
// net.ipv4.vs.conntrack is set to; with it the host's own calls, which get the
// service's address as their source, are masqueraded.
func ipvs(t *testing.T, l *natLab, conntrack string) *netlab.NS {
	t.Helper()
	c := netlab.New(t)
	netlab.Veth(t, netlab.End{NS: l.host, Name: "wnc"}, netlab.End{NS: c, Name: "eth0", CIDR: "10.204.0.4/24"})
	l.host.Run(t, "ip", "link", "set", "wnc", "master", "wnbr0")
	c.Route(t, "default", bridgeIP)
	l.out.Route(t, "10.204.0.0/16", hostIP)
	l.host.Run(t, "ip", "link", "add", "kube-ipvs0", "type", "dummy")
	l.host.Run(t, "ip", "addr", "add", serviceIP+"/32", "dev", "kube-ipvs0")
	l.host.Run(t, "sh", "-c", "echo "+conntrack+" > /proc/sys/net/ipv4/vs/conntrack")
	for _, proto := range []string{"-t", "-u"} {
		l.host.Run(t, "ipvsadm", "-A", proto, endpoint(serviceIP, 80), "-s", "rr")
		for _, pod := range []string{aIP, bIP} {
			l.host.Run(t, "ipvsadm", "-a", proto, endpoint(serviceIP, 80), "-r", endpoint(pod, 80), "-m")
		}
	}
	if conntrack == "1" {
		nat(t, l.host, "-A POSTROUTING -s "+serviceIP+"/32 -j MASQUERADE")
	}
	return c
}

// A ClusterIP by kube-proxy's IPVS mode, called from another host, from the host
// and from a container at the pods' bridge (whose answers br_netfilter brings
// before IPVS).
func TestCaseD5_ClusterIPByIPVSSystemd(t *testing.T) {
	needsSystemd(t)
	needs(t, "ipvsadm", "ipvsadm")
	l := newNATLab(t)
	c := ipvs(t, l, "1")
	_, rows := ownIn(t, l.host)
	s := callService(t, l, l.out, l.host, c)
	s.wantRows(t, rows, 18, func(row) bool { return true }, map[*netlab.NS]string{l.host: bridgeIP})
	for _, r := range rows.all(t, "flow_log", func(row) bool { return true }) {
		if s.calls[r.num("client_pid")].from == nil {
			t.Errorf("a row of its own for what is in another: %v", r)
		}
	}
}

// Without net.ipv4.vs.conntrack nobody knows the translation. TCP's sequence
// numbers tell it; a datagram has nothing that both ends know: each end is in a
// row of its own, with its own owner and not a wrong one.
func TestCaseD5_ClusterIPByIPVSWithoutConntrackSystemd(t *testing.T) {
	needsSystemd(t)
	needs(t, "ipvsadm", "ipvsadm")
	l := newNATLab(t)
	c := ipvs(t, l, "0")
	_, rows := ownIn(t, l.host)
	s := callService(t, l, l.out, l.host, c)
	s.wantRows(t, rows, 9, proto("tcp"), nil)
	for _, got := range rows.final(t, 6, both(proto("udp"), func(r row) bool { return s.calls[r.num("client_pid")].from != nil })) {
		want(t, got, map[string]any{"client_port": s.calls[got.num("client_pid")].port, "client_method": "cookie",
			"server_address": serviceIP, "server_port": 80, "server_pid": -1, "server_nat_address": ""})
		wantExchange(t, got)
	}
	ofPod := func(r row) bool { return r.str("server_address") == aIP || r.str("server_address") == bIP }
	for _, got := range rows.final(t, 9, both(proto("udp"), ofPod)) {
		want(t, got, map[string]any{"client_pid": -1, "server_nat_address": ""})
		if got.str("client_address") == serviceIP { // the host's own: no packets, see docs/cases.md
			want(t, got, map[string]any{"to_server_bytes": 30, "to_client_bytes": 70, "server_method": "cookie"})
			continue
		}
		s.wantPod(t, got)
	}
}
