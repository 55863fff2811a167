package cases

import (
	endian "encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
	"github.com/weir-probe/weir/test/probe"
)

// fields is what must stand in a row: see want.
type fields = map[string]any

// What leaves after the process has been killed is still its own: unsent data,
// FINs sent again, the answers of TIME_WAIT.
func TestCaseA2_PacketsAfterExit(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 2)
	server := live(t, l.host, "slow", l.here, 0, 0)
	port := server.number()
	client := live(t, l.box, "waits", l.here, port, 150000)
	from := client.number()
	if s := client.line(); s != "sent" || server.line() != "accepted" {
		t.Fatal(s)
	}
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait()
	// The last acknowledgement does not arrive: the server sends its FIN again and
	// again to a socket in TIME_WAIT.
	l.box.Run(t, "iptables", "-A", "OUTPUT", "-p", "tcp", "--dport", strconv.Itoa(port), "--tcp-flags", "ALL", "ACK", "-m", "length", "--length", "40:60", "-j", "DROP")
	server.say("go on")
	server.ended()
	probe.Until(t, patience, "FINs sent again", func() error {
		var packets int
		counted := l.box.Run(t, "iptables", "-nvxL", "OUTPUT")
		rule := counted[strings.LastIndexByte(strings.TrimSpace(counted), '\n')+1:]
		if _, err := fmt.Sscan(rule, &packets); err != nil || packets < 4 {
			return fmt.Errorf("%d packets, %v: %s", packets, err, counted)
		}
		return nil
	})
	l.box.Run(t, "iptables", "-F", "OUTPUT")
	for _, got := range rows.final(t, 1, serverPort(port)) {
		want(t, got, fields{
			"client_pid": client.Process.Pid, "client_process": "life", "client_netns": int(l.box.Inode),
			"server_pid": server.Process.Pid, "to_server_bytes": 150000, "close_cause": "normal",
		})
	}
	// Seconds after the connection has been told and forgotten, something that was
	// under way arrives, and TIME_WAIT answers.
	ended := rows.final(t, 1, both(serverPort(port), clientPort(from)))[0]
	rows.reach(t, ended.time+8e9)
	strayACK(t, l.host, netip.MustParseAddrPort(fmt.Sprint(l.here, ":", port)), netip.MustParseAddrPort(fmt.Sprint(l.there, ":", from)))
	probe.Until(t, patience, "the answer of TIME_WAIT", func() error {
		late := rows.all(t, "flow", func(x row) bool {
			return x.tag("server_port") == strconv.Itoa(port) && x.time > ended.time+7e9 && x.num("to_server_packets") > 0
		})
		if len(late) != 1 {
			return fmt.Errorf("%d rows", len(late))
		}
		// the stray, the answer, and the reset with which the server's host answers that
		want(t, late[0], fields{"client_process": "life", "server_process": "life", "attribution": "exact", "to_server_packets": 1, "to_client_packets": 2, "attempts": 0})
		return nil
	})
	rows.unattributed(t, port)
	rows.final(t, 1, serverPort(port))
}

// strayACK sends a segment without data as if it came from a socket.
func strayACK(t *testing.T, ns *netlab.NS, from, to netip.AddrPort) {
	t.Helper()
	p := make([]byte, 40)
	p[0], p[3], p[8], p[9] = 0x45, 40, 64, unix.IPPROTO_TCP
	copy(p[12:], from.Addr().AsSlice())
	copy(p[16:], to.Addr().AsSlice())
	endian.BigEndian.PutUint16(p[20:], from.Port())
	endian.BigEndian.PutUint16(p[22:], to.Port())
	p[32], p[33] = 5<<4, 0x10 // no options, ACK
	sum := uint32(unix.IPPROTO_TCP + 20)
	for i := 12; i < 40; i += 2 { // addresses and segment; the kernel sums up the IP header
		sum += uint32(endian.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	endian.BigEndian.PutUint16(p[36:], ^uint16(sum))
	ns.Do(t, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Addr: to.Addr().As4()})
	})
}

// The same pid, another process: clone3 chooses it.
func TestCaseA3_PIDReused(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 3)
	server := spawn(t, l.host, "serve", l.here+":0", "5")
	port := server.number()
	parent := live(t, l.box, "reuse", l.here, port, 5)
	pid := parent.number()
	parent.ended()
	starts, last := map[int64]int64{}, int64(0)
	for _, got := range rows.final(t, 5, serverPort(port)) {
		want(t, got, fields{"client_pid": pid, "client_ppid": parent.Process.Pid, "server_pid": server.Process.Pid, "to_client_bytes": 5})
		start, sent := got.num("client_start"), got.num("to_server_bytes")
		if starts[start] != 0 || sent <= last {
			t.Errorf("%d octets of a process started at %d, %d of the one before: %v", sent, start, last, got)
		}
		starts[start], last = sent, sent
	}
}

// A process that connects and then executes another program is the one that
// connected, and the row says what it became.
func TestCaseA4_ExecAfterConnect(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 4)
	server := spawn(t, l.host, "serve", l.here+":0", "7")
	port := server.number()
	next := named(t, "wl-next")
	c := live(t, l.box, "exec-after", l.here, port, next, 4321)
	from := c.number()
	c.ended()
	// sh -c 'exec …': executed before it connects
	sh := lifeCommand(t)
	sh.Path, sh.Args = "/bin/sh", []string{"sh", "-c", "exec " + life(t) + " thread " + l.here + " " + strconv.Itoa(port) + " 99"}
	shell := launch(t, l.box, sh)
	shellPort := shell.number()
	shell.ended()
	for _, got := range rows.final(t, 2, serverPort(port)) {
		if got.num("client_port") == int64(shellPort) {
			want(t, got, fields{"client_pid": shell.Process.Pid, "client_process": "life", "client_current_process": "", "to_server_bytes": 99})
			if line := got.str("client_cmdline"); !strings.Contains(line, "life thread") || strings.Contains(line, "sh -c") {
				t.Errorf("command line %q", line)
			}
			continue
		}
		want(t, got, fields{
			"client_port": from, "client_pid": c.Process.Pid, "client_process": "life", "client_current_process": "wl-next",
			"client_creator_process": "", "to_server_bytes": 4321, "to_client_bytes": 7,
		})
		if line := got.str("client_cmdline"); !strings.Contains(line, "exec-after") {
			t.Errorf("command line at connect: %q", line)
		}
		if line := got.str("client_current_cmdline"); !strings.Contains(line, "wl-next use-fd") {
			t.Errorf("command line now: %q", line)
		}
	}
}

// A thread connects: the process is the thread group, whatever the thread's name.
func TestCaseA5_ThreadConnects(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 5)
	server := spawn(t, l.host, "serve", l.here+":0", "7")
	port := server.number()
	c := live(t, l.box, "thread", l.here, port, 1234)
	c.number()
	c.ended()
	for _, got := range rows.final(t, 1, serverPort(port)) {
		want(t, got, fields{"client_pid": c.Process.Pid, "client_process": "life", "to_server_bytes": 1234, "client_method": "cookie"})
	}
}

// fork after accept: who listens is the creator, the child that serves the user.
func TestCaseA6_ForkAfterAcceptInRows(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 6)
	server := live(t, l.host, "forks", l.here, 0, 3, 500)
	port := server.number()
	for range 3 {
		c := spawn(t, l.box, "call", l.here+":"+strconv.Itoa(port), "10")
		c.number()
		c.ended()
	}
	children := map[int64]bool{int64(server.number()): true, int64(server.number()): true, int64(server.number()): true}
	server.ended()
	for _, got := range rows.final(t, 3, serverPort(port)) {
		want(t, got, fields{
			"server_creator_pid": server.Process.Pid, "server_creator_process": "life", "server_ppid": server.Process.Pid, "to_client_bytes": 500,
		})
		if pid := got.num("server_pid"); !children[pid] || got.num("server_creator_start") <= 0 || got.num("server_creator_start") >= got.num("server_start") {
			t.Errorf("%v", got)
		}
		delete(children, got.num("server_pid"))
	}
}

// asked connects, sends nothing and returns the pid with which a server answered.
func asked(t *testing.T, l *lan, network, address string) (from, pid int) {
	t.Helper()
	c := spawn(t, l.box, "ask", network, address)
	from, pid = c.number(), c.number()
	c.ended()
	return from, pid
}

// prefork: each connection belongs to the worker that accepted it, whether or not
// it asked who calls.
func TestCaseA7_PreforkWorkersInRows(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 7)
	server := live(t, l.host, "prefork", l.here, 0, 4)
	port := server.number()
	workers, seen := map[int]int{}, map[int]bool{}
	const n = 40
	for range n {
		from, pid := asked(t, l, "tcp", l.here+":"+strconv.Itoa(port))
		workers[from], seen[pid] = pid, true
	}
	if len(seen) < 2 {
		t.Logf("only %d workers had work", len(seen))
	}
	for _, got := range rows.final(t, n, serverPort(port)) {
		want(t, got, fields{
			"server_pid": workers[int(got.num("client_port"))], "server_creator_pid": server.Process.Pid, "to_client_bytes": 10, "server_method": "cookie",
		})
	}
}

// The descriptor goes to another process, and who accepted is gone before a
// single octet is read.
func TestCaseA8_SenderGone(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 8)
	server := live(t, l.host, "passes", l.here, 0, 800)
	port, receiver := server.number(), server.number()
	c := spawn(t, l.box, "call", l.here+":"+strconv.Itoa(port), "80")
	c.number()
	c.ended()
	server.ended()
	for _, got := range rows.final(t, 1, serverPort(port)) {
		want(t, got, fields{
			"server_pid": receiver, "server_creator_pid": server.Process.Pid, "to_server_bytes": 80, "to_client_bytes": 800,
			"server_process": "life", "server_method": "cookie", "close_cause": "normal",
		})
	}
}

// A proxy reads the beginning and gives the connection to a worker: the worker is
// the user, and the row says that it changed hands.
func TestCaseA8_HandedOver(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 9)
	server := live(t, l.host, "hands-off", l.here, 0, 30, 800)
	port, worker := server.number(), server.number()
	c := spawn(t, l.box, "call", l.here+":"+strconv.Itoa(port), "80")
	c.number()
	c.ended()
	server.ended()
	for _, got := range rows.final(t, 1, serverPort(port)) {
		want(t, got, fields{
			"server_pid": worker, "server_creator_pid": server.Process.Pid, "server_switches": 1, "client_switches": -1,
			"to_server_bytes": 80, "to_client_bytes": 800,
		})
	}
}
