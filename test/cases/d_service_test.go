package cases

import (
	"testing"

	"github.com/weir-probe/weir/test/netlab"
)

// service is what the two pods of a service and its clients did, by TCP and UDP.
type service struct {
	pods  map[string]*process   // by protocol and address
	calls map[int64]serviceCall // by the client's pid
}

type serviceCall struct {
	proto string
	from  *netlab.NS
	port  int
}

// callService calls the service three times by TCP and three by UDP from each
// namespace: each call reaches one of two pods.
func callService(t *testing.T, l *natLab, from ...*netlab.NS) *service {
	t.Helper()
	s := &service{calls: map[int64]serviceCall{}, pods: map[string]*process{
		"tcp " + aIP: spawn(t, l.a, "serve", "0.0.0.0:80", "700"), "tcp " + bIP: spawn(t, l.b, "serve", "0.0.0.0:80", "700"),
		"udp " + aIP: spawn(t, l.a, "udpserve", "0.0.0.0:80", "70"), "udp " + bIP: spawn(t, l.b, "udpserve", "0.0.0.0:80", "70")}}
	for _, p := range s.pods {
		p.number()
	}
	for range 3 {
		for _, ns := range from {
			tcp, udp := spawn(t, ns, "call", endpoint(serviceIP, 80), "1000"), spawn(t, ns, "udpcall", endpoint(serviceIP, 80), "30")
			s.calls[int64(tcp.Process.Pid)] = serviceCall{"tcp", ns, tcp.number()}
			s.calls[int64(udp.Process.Pid)] = serviceCall{"udp", ns, udp.number()}
			tcp.ended()
			udp.ended()
		}
	}
	for _, p := range s.pods {
		p.stop()
	}
	return s
}

// clusterIP calls the service from the outside, which routes it to the host, and
// from the host.
func clusterIP(t *testing.T, l *natLab) {
	t.Helper()
	l.out.Route(t, "10.204.0.0/16", hostIP)
	_, rows := ownIn(t, l.host)
	s := callService(t, l, l.out, l.host)
	s.wantRows(t, rows, 12, func(row) bool { return true }, nil)
	if n := len(rows.all(t, "flow_log", func(r row) bool { return r.str("server_address") == serviceIP })); n != 0 {
		t.Errorf("%d rows whose server is the service itself", n)
	}
}

// wantRows wants n rows of clients, all with a pod as server and what the client
// called; nat has the address that a client is seen under.
func (s *service) wantRows(t *testing.T, rows *rows, n int, match func(row) bool, nat map[*netlab.NS]string) {
	t.Helper()
	for _, got := range rows.final(t, n, func(r row) bool { return s.calls[r.num("client_pid")].from != nil && match(r) }) {
		want(t, got, map[string]any{
			"client_method": "cookie", "client_nat_address": nat[s.calls[got.num("client_pid")].from], "reporter": "both",
			"server_nat_address": serviceIP, "server_nat_port": 80,
		})
		s.wantPod(t, got)
	}
}

// wantPod wants a pod as the server of a row, and all octets once.
func (s *service) wantPod(t *testing.T, got row) {
	t.Helper()
	pod := s.pods[got.tag("proto")+" "+got.str("server_address")]
	if pod == nil {
		t.Fatalf("the server is no pod: %v", got)
	}
	want(t, got, map[string]any{"server_pid": pod.Process.Pid, "server_port": 80, "server_method": "cookie"})
	wantExchange(t, got)
}

// wantExchange wants what a call of a service exchanges.
func wantExchange(t *testing.T, got row) {
	t.Helper()
	if got.tag("proto") == "tcp" {
		want(t, got, map[string]any{"to_server_bytes": 1000, "to_client_bytes": 700})
		once(t, got, 1000, 700, 54)
		return
	}
	want(t, got, map[string]any{"to_server_bytes": 30, "to_client_bytes": 70, "to_server_wire_bytes": 72, "to_client_wire_bytes": 112})
}
