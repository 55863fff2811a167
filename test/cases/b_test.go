package cases

import (
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"testing"
)

// pinned makes a command run on CPU 0 only.
func pinned(cmd *exec.Cmd) *exec.Cmd {
	cmd.Args = append([]string{"taskset", "-c", "0", cmd.Path}, cmd.Args[1:]...)
	cmd.Path, _ = exec.LookPath("taskset")
	return cmd
}

// The peer resets while another process has the CPU: the reset is the owner's.
func TestCaseB1_ResetWhileAnotherRuns(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 101)
	busy := exec.Command("/bin/sh", "-c", "while :; do :; done")
	launch(t, nil, pinned(busy))
	server := launch(t, l.host, pinned(lifeCommand(t, "resets", l.here, 0)))
	port := server.number()
	client := launch(t, l.box, pinned(lifeCommand(t, "waits", l.here, port, 10)))
	from := client.number()
	client.line()
	server.line()
	server.say("now")
	server.ended()
	for _, got := range rows.final(t, 1, serverPort(port)) {
		want(t, got, fields{
			"client_port": from, "client_pid": client.Process.Pid, "server_pid": server.Process.Pid,
			"close_cause": "reset_by_server", "reset_by_server": 1, "to_server_bytes": 10,
		})
	}
	client.say("end")
	client.ended()
}

// Nobody answers, and a timer gives up: the process that waits for it is charged.
func TestCaseB2_ConnectTimer(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 102)
	l.box.Sysctl(t, "net/ipv4/tcp_syn_retries", "1")
	l.box.Sysctl(t, "net/ipv4/tcp_syn_linear_timeouts", "0")
	l.box.Run(t, "ip", "neigh", "replace", "10.201.102.9", "lladdr", "02:00:00:00:00:09", "dev", "eth0", "nud", "permanent")
	const port = 4102
	cmd := lifeCommand(t, "hit", "10.201.102.9", port, 1)
	c := launch(t, l.box, cmd)
	if err := c.Wait(); err == nil {
		t.Fatal("somebody answered")
	}
	for _, got := range rows.final(t, 1, both(serverPort(port), func(r row) bool { return r.str("server_address") == "10.201.102.9" })) {
		want(t, got, fields{
			"client_pid": c.Process.Pid, "client_process": "life", "close_cause": "connect_timeout", "failed": 1, "failed_timeout": 1,
			"attempts": 1, "opened": 0, "syn_retransmits": 1, "reporter": "client",
		})
		if d, _ := got.fields["duration_seconds"].(float64); d < 1 {
			t.Errorf("gave up after %v s", d)
		}
	}
}

// Packets are told before the socket they belong to: no row without an owner is
// written in between.
func TestCaseB4_NoRowWithoutOwnerFirst(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 104)
	server := live(t, l.host, "slow", l.here, 0, 100)
	port := server.number()
	c := live(t, l.box, "waits", l.here, port, 5000)
	from := c.number()
	server.line()
	rows.settle(t) // open over several intervals
	server.say("answer")
	c.say("end")
	c.ended()
	server.ended()
	for _, got := range rows.final(t, 1, serverPort(port)) {
		want(t, got, fields{"client_port": from, "client_pid": c.Process.Pid, "server_pid": server.Process.Pid, "to_server_bytes": 5000})
	}
	rows.unattributed(t, port)
	for _, x := range rows.all(t, "flow_log", serverPort(port)) {
		want(t, x, fields{"client_pid": c.Process.Pid, "server_pid": server.Process.Pid})
	}
}

// Accepted on one CPU, closed on another, by a client on a third side of things.
func TestCaseB5_TwoCPUs(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 105)
	server := launch(t, l.host, pinned(lifeCommand(t, "forks", l.here, 0, 30, 300)))
	port := server.number()
	truth := map[int]int{}
	for i := range 30 {
		c := spawn(t, l.box, "call", l.here+":"+strconv.Itoa(port), strconv.Itoa(i+1))
		truth[c.number()] = i + 1
		c.ended()
	}
	server.ended()
	for _, got := range rows.final(t, 30, serverPort(port)) {
		want(t, got, fields{
			"to_server_bytes": truth[int(got.num("client_port"))], "to_client_bytes": 300, "close_cause": "normal", "opened": 1, "closed": 1,
			"server_creator_pid": server.Process.Pid,
		})
	}
}

// accept() was blocked before the probe started: what it then accepts is seen,
// and so is what a read() that was blocked then gets.
func TestCaseB6_BlockedSinceBefore(t *testing.T) {
	l := newLAN(t, 106)
	server := live(t, l.host, "crowd", l.here, 0, 2)
	port := server.number()
	if s := server.line(); s != "ready" {
		t.Fatal(s)
	}
	old, err := net.Dial("tcp", fmt.Sprint(l.here, ":", port)) // one thread is in read() already
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	_, rows := own(t)
	c := spawn(t, l.box, "call", fmt.Sprint(l.here, ":", port), "61")
	from := c.number()
	c.ended()
	if _, err := old.Write(make([]byte, 62)); err != nil {
		t.Fatal(err)
	}
	old.Close()
	server.ended()
	for _, got := range rows.final(t, 2, serverPort(port)) {
		want(t, got, fields{"server_pid": server.Process.Pid, "server_process": "life", "server_method": "cookie"})
		if int(got.num("client_port")) == from {
			want(t, got, fields{"client_pid": c.Process.Pid, "to_server_bytes": 61, "opened": 1})
		} else {
			want(t, got, fields{"to_server_bytes": 62, "opened": 0})
		}
	}
}

// crowdSize is how many threads block; the row says 10 000, for which this
// machine has not the memory to spare.
const crowdSize = 2000

// Very many threads blocked in accept() and in read(): nothing depends on their
// returns.
func TestCaseB7_CrowdOfThreads(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 107)
	server := live(t, l.host, "crowd", l.here, 0, crowdSize)
	port := server.number()
	if s := server.line(); s != "ready" {
		t.Fatal(s)
	}
	callers := spawn(t, l.box, "call-many", fmt.Sprint(l.here, ":", port), strconv.Itoa(crowdSize))
	callers.ended()
	server.ended()
	seen := map[int64]bool{}
	for _, got := range rows.final(t, crowdSize, serverPort(port)) {
		from, octets := got.num("client_port"), got.num("to_server_bytes")
		if seen[octets] || octets < 1 || octets > crowdSize {
			t.Fatalf("%d octets from port %d: %v", octets, from, got)
		}
		seen[octets] = true
		want(t, got, fields{"server_pid": server.Process.Pid, "client_pid": callers.Process.Pid, "server_method": "cookie", "close_cause": "normal"})
		if t.Failed() {
			return
		}
	}
}
