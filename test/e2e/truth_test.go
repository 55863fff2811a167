package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/influxd"
)

// truth is a line that test/workload wrote.
type truth struct {
	Role, Proto, Local, Remote, Err string
	PID, Sent, Received             int
	Start                           int64
}

func readTruth(t testing.TB, path string) []truth {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []truth
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		var x truth
		if err := json.Unmarshal(sc.Bytes(), &x); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if x.Err != "" {
			t.Fatalf("the workload itself failed: %+v", x)
		}
		all = append(all, x)
	}
	return all
}

// row is one row of flow_log.
type row map[string]any

func (r row) str(k string) string { s, _ := r[k].(string); return s }
func (r row) num(k string) int64 {
	n, ok := r[k].(json.Number)
	if !ok {
		return -1
	}
	i, _ := strconv.ParseInt(n.String(), 10, 64)
	return i
}

// logRows reads flow_log, keyed by the client's own address and port.
func logRows(t testing.TB, db *influxd.Server) map[string][]row {
	t.Helper()
	rows := map[string][]row{}
	for _, r := range db.QueryInfluxQL(t, influxd.LogBucket, `SELECT * FROM flow_log`) {
		x := row(r.Values)
		key := fmt.Sprintf("%s:%d", x.str("client_address"), x.num("client_port"))
		rows[key] = append(rows[key], x)
	}
	return rows
}

// expect says who must stand in the rows of a set of true connections.
type expect struct {
	name             string
	clientContainer  string // "" = a process of the host
	serverContainer  string
	client, server   string // display names
	serverPID        int
	serverPort       int64
	natted           bool // the client called another address than the server's own
	clientsHavePIDNS bool // the truth's client PID is not the host's
}

// check compares every true connection with its row and returns how many were right.
func (e *expect) check(t *testing.T, rows map[string][]row, truths []truth) {
	t.Helper()
	right, missing, wrong := 0, 0, 0
	for _, x := range truths {
		if x.Role != "client" {
			continue
		}
		r, ok := e.find(rows, x)
		switch {
		case !ok:
			if missing++; missing <= 3 {
				t.Errorf("%s: no row for %+v", e.name, x)
			}
		default:
			if why := e.compare(r, x); why != "" {
				if wrong++; wrong <= 3 {
					t.Errorf("%s: %s\n truth %+v\n row   %v", e.name, why, x, r)
				}
				continue
			}
			right++
		}
	}
	if right == 0 || missing+wrong > 0 {
		t.Errorf("%s: %d right, %d missing, %d wrong", e.name, right, missing, wrong)
	}
	t.Logf("%-34s %5d connections: %d right, %d missing, %d wrong", e.name, right+missing+wrong, right, missing, wrong)
}

// find takes the final row of the connection that began nearest to the truth.
func (e *expect) find(rows map[string][]row, x truth) (row, bool) {
	a, err := netip.ParseAddrPort(x.Local)
	if err != nil {
		return nil, false
	}
	key := netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
	var best row
	near := int64(2e9)
	for _, r := range rows[key] {
		if r.str("proto") != x.Proto || r.str("end_reason") == "active" {
			continue
		}
		d := r.num("start") - x.Start
		if d = max(d, -d); d < near {
			best, near = r, d
		}
	}
	return best, best != nil
}

func (e *expect) compare(r row, x truth) string {
	remote, _ := netip.ParseAddrPort(x.Remote)
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"reporter", r.str("reporter"), "both"},
		{"client", r.str("client"), e.client},
		{"server", r.str("server"), e.server},
		{"client container", r.str("client_container"), e.clientContainer},
		{"server container", r.str("server_container"), e.serverContainer},
		{"client process", r.str("client_process"), "workload"},
		{"server process", r.str("server_process"), "workload"},
		{"server pid", r.num("server_pid"), int64(e.serverPID)},
		{"server port", r.num("server_port"), e.serverPort},
		{"bytes to server", r.num("to_server_bytes"), int64(x.Sent)},
		{"bytes to client", r.num("to_client_bytes"), int64(x.Received)},
	} {
		if c.got != c.want {
			return fmt.Sprintf("%s is %v, want %v", c.what, c.got, c.want)
		}
	}
	if !e.clientsHavePIDNS && r.num("client_pid") != int64(x.PID) {
		return fmt.Sprintf("client pid is %d, want %d", r.num("client_pid"), x.PID)
	}
	if !strings.Contains(r.str("client_cmdline"), "workload client") {
		return fmt.Sprintf("client command line is %q", r.str("client_cmdline"))
	}
	if e.natted && (r.str("server_nat_address") != remote.Addr().Unmap().String() || r.num("server_nat_port") != int64(remote.Port())) {
		return fmt.Sprintf("the address before NAT is %s:%d, want %s", r.str("server_nat_address"), r.num("server_nat_port"), remote)
	}
	return ""
}

// counters reads octets and packets of eth0 in a process's network namespace.
func counters(t testing.TB, pid int) (rx, tx int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		name, rest, ok := strings.Cut(line, ":")
		if f := strings.Fields(rest); ok && strings.TrimSpace(name) == "eth0" && len(f) > 8 {
			rx, _ = strconv.ParseInt(f[0], 10, 64)
			tx, _ = strconv.ParseInt(f[8], 10, 64)
			return rx, tx
		}
	}
	t.Fatalf("no eth0 in the namespace of %d:\n%s", pid, b)
	return 0, 0
}
