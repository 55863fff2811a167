package cases

import (
	"maps"
	"strings"
	"testing"
)

// Connections that were established, by how they ended. Both ends are seen.
func TestCaseF_Ends(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 3)
	type end struct {
		row, server, client string
		hears               string // what the end that drains says of the other's end
		cause               string
		more                fields
	}
	got := map[string]row{}
	ports, servers, clients := map[int64]string{}, map[string]*process{}, map[string]*process{}
	ends := []end{
		{"F1", "accept read 20 write 10 drain close", "connect $ write 20 read 10 close", "ok",
			"normal", fields{"to_server_bytes": 20, "to_client_bytes": 10}},
		{"F7", "accept read 21 write 10 read 1 linger close", "connect $ write 21 read 10 write 1 drain close", "ECONNRESET",
			"reset_by_server", fields{"reset_by_server": 1, "reset_by_server_linger": 1, "reset_reason": "linger", "to_server_bytes": 22, "to_client_bytes": 10}},
		{"F8 client", "accept read 20 write 2000 drain close", "connect $ write 20 peek 2000 close", "ECONNRESET",
			"reset_by_client", fields{"reset_by_client": 1, "reset_by_client_unread_data": 1, "reset_reason": "unread_data", "to_server_bytes": 20, "to_client_bytes": 2000}},
		{"F8 server", "accept peek 20 close", "connect $ write 20 drain close", "ECONNRESET",
			"reset_by_server", fields{"reset_by_server": 1, "reset_by_server_unread_data": 1, "reset_reason": "unread_data", "to_server_bytes": 20, "to_client_bytes": 0}},
		{"F9", "accept read 20 write 10 drain close", "connect $ write 20 read 10 linger close", "ECONNRESET",
			"reset_by_client", fields{"reset_by_client": 1, "reset_by_client_linger": 1, "reset_reason": "linger", "to_server_bytes": 20, "to_client_bytes": 10}},
		{"F11 client first", "accept drain close", "connect $ close", "ok", "normal", fields{}},
		{"F11 server first", "accept close", "connect $ drain close", "ok", "normal", fields{}},
		{"F11 client's half first", "accept drain write 3000 close", "connect $ write 7 shut read 3000 close", "ok",
			"normal", fields{"to_server_bytes": 7, "to_client_bytes": 3000}},
		{"F11 server's half first", "accept shut read 4000 close", "connect $ drain write 4000 close", "ok",
			"normal", fields{"to_server_bytes": 4000, "to_client_bytes": 0}},
		{"F12", "accept close", "connect $ drain close", "ok", "normal", fields{"to_server_bytes": 0, "to_client_bytes": 0}},
	}
	for _, e := range ends {
		s, port := b.server(t, e.server)
		ports[int64(port)], servers[e.row], clients[e.row] = e.row, s, b.client(t, port, e.client)
		clients[e.row].hears("ok")
	}
	for _, e := range ends {
		hearing := servers[e.row]
		if strings.Contains(e.client, "drain") {
			hearing = clients[e.row]
		}
		hearing.hears(e.hears)
		servers[e.row].ended()
		clients[e.row].ended()
	}
	for _, r := range rows.final(t, len(ends), b.mine) {
		got[ports[r.num("server_port")]] = r
	}
	for _, e := range ends {
		t.Run(e.row, func(t *testing.T) {
			all := fields{
				"client_pid": clients[e.row].Process.Pid, "server_pid": servers[e.row].Process.Pid, "reporter": "both",
				"attempts": 1, "opened": 1, "closed": 1, "failed": 0, "close_cause": e.cause, "connect_count": 1,
			}
			for k, v := range e.more {
				all[k] = v
			}
			want(t, got[e.row], all)
			if _, has := e.more["reset_reason"]; !has && got[e.row].str("reset_reason") != "" {
				t.Errorf("a reason to reset in %v", got[e.row])
			}
			wrong := []string{"reset_by_client", "reset_by_server", "timeout_established", "aborted", "syn_retransmits"}
			for _, name := range append(wrong, resetReasons...) {
				if _, has := e.more[name]; !has && got[e.row].num(name) > 0 {
					t.Errorf("%s in %v", name, got[e.row])
				}
			}
		})
	}
	checkResets(t, rows, b)
}

var resetReasons = []string{"reset_by_client_unread_data", "reset_by_client_linger", "reset_by_server_unread_data", "reset_by_server_linger"}

// checkResets adds up why connections were reset, of the pair of TestCaseF_Ends: the
// rows of an edge tell all of them, however many flow_log has room for.
func checkResets(t *testing.T, rows *rows, b *pairBed) {
	t.Helper()
	got := map[string]int64{}
	for _, x := range rows.all(t, "flow_error", func(x row) bool {
		return x.time >= b.made && x.tag("reporter") == "both" && x.tag("client_process") == "cases.test"
	}) {
		for _, name := range append([]string{"reset_by_client", "reset_by_server"}, resetReasons...) {
			got[name] += max(x.num(name), 0)
		}
	}
	// F7 and F8 by the server, F8 and F9 by the client.
	wanted := map[string]int64{
		"reset_by_client": 2, "reset_by_client_unread_data": 1, "reset_by_client_linger": 1,
		"reset_by_server": 2, "reset_by_server_unread_data": 1, "reset_by_server_linger": 1,
	}
	if !maps.Equal(got, wanted) {
		t.Errorf("flow_error has %v, want %v", got, wanted)
	}
}
