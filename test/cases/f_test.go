package cases

import (
	"net/netip"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
)

// Attempts that fail, each with its cause, charged to the process that tried.
func TestCaseF_Attempts(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 1)
	b.near.Sysctl(t, "net/ipv4/tcp_syn_retries", "1")
	// F3: a neighbour that never answers. F4: none, and routers that say no.
	b.near.Run(t, "ip", "neigh", "add", "10.210.1.77", "lladdr", "02:00:00:00:00:77", "dev", "wf0")
	b.near.Sysctl(t, "net/ipv4/neigh/wf0/mcast_solicit", "1")
	b.near.Sysctl(t, "net/ipv4/neigh/wf0/retrans_time_ms", "100")
	b.far.Sysctl(t, "net/ipv4/ip_forward", "1")
	b.far.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	b.near.Route(t, "10.210.96.0/19", b.there)
	b.far.Run(t, "ip", "route", "add", "unreachable", "10.210.101.0/24")
	b.far.Run(t, "ip", "route", "add", "prohibit", "10.210.102.0/24")
	b.near.Address(t, "wf0", "fd00:210:1::1/64")
	b.far.Address(t, "wf1", "fd00:210:1::2/64")
	b.near.Route(t, "fd00:210:100::/40", "fd00:210:1::2")
	b.far.Run(t, "ip", "route", "add", "unreachable", "fd00:210:101::/48")
	b.far.Run(t, "ip", "route", "add", "prohibit", "fd00:210:102::/48")
	// Told at once, not one a second.
	b.far.Sysctl(t, "net/ipv4/icmp_ratelimit", "0")
	b.far.Sysctl(t, "net/ipv6/icmp/ratelimit", "0")
	b.near.Run(t, "iptables", "-A", "OUTPUT", "-d", "10.210.104.0/24", "-j", "REJECT", "--reject-with", "icmp-admin-prohibited")
	// On a virtual wire a router's word comes while connect() still holds the
	// socket, where the kernel only notes it (sk_err_soft): these block, and the
	// answer to their second SYN ends them (TestCaseF6_AnswerWhileConnecting).
	attempts := []attempt{
		{"F2", "connect", b.there + ":4402", "ECONNREFUSED", "failed_refused", "refused"},
		{"F2 v6", "connect", "[fd00:210:1::2]:4412", "ECONNREFUSED", "failed_refused", "refused"},
		{"F3", "connect", "10.210.1.77:4403", "ETIMEDOUT", "failed_timeout", "connect_timeout"},
		{"F4 no neighbour", "connect", "10.210.1.99:4404", "EHOSTUNREACH", "failed_unreachable", "unreachable"},
		{"F4 router without a route", "connect-blocking", "10.210.101.1:4414", "EHOSTUNREACH", "failed_unreachable", "unreachable"},
		{"F4 router prohibits", "connect-blocking", "10.210.102.1:4424", "EHOSTUNREACH", "failed_unreachable", "unreachable"},
		{"F4 router without a route, v6", "connect-blocking", "[fd00:210:101::1]:4434", "ENETUNREACH", "failed_unreachable", "unreachable"},
		{"F4 router prohibits, v6", "connect-blocking", "[fd00:210:102::1]:4444", "EACCES", "failed_unreachable", "unreachable"},
		{"F5", "connect-and-close", "10.210.1.77:4405", "EINPROGRESS", "aborted", "aborted"},
		{"F6 no port left", "connect-no-port", b.there + ":4406", "EADDRNOTAVAIL", "failed_local", "local"},
		{"F6 rejected by a filter here", "connect-blocking", "10.210.104.1:4416", "EHOSTUNREACH", "failed_unreachable", "unreachable"},
	}
	pids := try(t, b.near, attempts)
	got := map[int64]row{}
	for _, r := range rows.final(t, len(attempts), b.mine) {
		got[r.num("server_port")] = r
	}
	for _, a := range attempts {
		t.Run(a.row, func(t *testing.T) {
			r, failed := got[a.port()], 1
			if a.field == "aborted" {
				failed = 0
			}
			want(t, r, fields{
				"client_pid": pids[a.port()], "client_method": "cookie", "close_cause": a.cause, a.field: 1, "failed": failed,
				"attempts": 1, "opened": 0, "closed": 0, "to_server_bytes": 0, "to_client_bytes": 0,
			})
			// The time it took to give up: of a timeout, that of two SYNs.
			if d, _ := r.fields["duration_seconds"].(float64); a.row == "F3" && d < 2 {
				t.Errorf("given up after %v s", d)
			}
		})
	}
}

// attempt is a connect() and what must become of it; its port is its own.
type attempt struct{ row, step, addr, says, field, cause string }

func (a attempt) port() int64 { return int64(netip.MustParseAddrPort(a.addr).Port()) }

// try makes all attempts at the same time and returns who made them, by port.
func try(t *testing.T, ns *netlab.NS, attempts []attempt) map[int64]int {
	t.Helper()
	var all []*process
	pids := map[int64]int{}
	for _, a := range attempts {
		p := spawn(t, ns, "steps", a.step, a.addr)
		all, pids[a.port()] = append(all, p), p.Process.Pid
	}
	for i, p := range all {
		if got := p.line(); got != attempts[i].says {
			t.Errorf("%s: connect says %s, want %s", attempts[i].row, got, attempts[i].says)
		}
		p.ended()
	}
	return pids
}

// An ICMP error that comes while connect() still holds the socket is noted in
// sk_err_soft only, and SO_ERROR takes it away: when a program has asked for it, as
// Go does, and closes, the kernel closes a socket in SYN_SENT without an error,
// which is F5 (docs/cases.md). It is one attempt in either case, and no success.
func TestCaseF6_AnswerWhileConnecting(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 2)
	b.near.Run(t, "iptables", "-A", "OUTPUT", "-d", "10.210.105.0/24", "-j", "REJECT", "--reject-with", "icmp-admin-prohibited")
	b.near.Route(t, "10.210.105.0/24", b.there)
	pids := try(t, b.near, []attempt{{"F6", "connect", "10.210.105.1:4407", "EHOSTUNREACH", "", ""}})
	r := rows.final(t, 1, b.mine)[0]
	want(t, r, fields{"client_pid": pids[4407], "attempts": 1, "opened": 0, "closed": 0})
	// Softirqs of a busy machine may come later: then the error is known.
	switch r.str("close_cause") {
	case "aborted":
		want(t, r, fields{"aborted": 1, "failed": 0})
	case "unreachable":
		want(t, r, fields{"failed_unreachable": 1, "failed": 1})
	default:
		t.Errorf("close_cause %q", r.str("close_cause"))
	}
}
