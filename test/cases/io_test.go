package cases

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// sendfile, splice and MSG_ZEROCOPY: every octet is counted, and it is the
// sender's. (Kernel TLS: this kernel has no tls module.)
func TestCaseE4_WaysToSend(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 204)
	server := spawn(t, l.host, "serve", l.here+":0", "9")
	port := server.number()
	callers := map[int]*process{}
	for _, how := range []string{"sendfile", "splice", "zerocopy"} {
		c := live(t, l.box, "sends", l.here, port, 300001, how)
		callers[c.number()] = c
		c.ended()
	}
	for _, got := range rows.final(t, len(callers), serverPort(port)) {
		want(t, got, fields{
			"client_pid": callers[int(got.num("client_port"))].Process.Pid, "server_pid": server.Process.Pid,
			"to_server_bytes": 300001, "to_client_bytes": 9, "client_method": "cookie", "close_cause": "normal",
		})
	}
}

// sendmmsg, recvmmsg, UDP GSO and GRO: owners of both ends, octets of every datagram.
func TestCaseE4_ManyDatagramsAtOnce(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 205)
	for _, how := range []string{"mmsg", "segments"} {
		t.Run(how, func(t *testing.T) {
			const count, size = 100, 1000
			server := live(t, l.host, "datagrams", "receive", l.here, 0, count*size)
			port := server.number()
			c := live(t, l.box, "datagrams", how, l.here, port, count, size)
			from := c.number()
			c.ended()
			if s := server.line(); s != "all" {
				t.Fatal(s)
			}
			server.ended()
			for _, got := range rows.final(t, 1, serverPort(port)) {
				want(t, got, fields{
					"client_port": from, "client_pid": c.Process.Pid, "server_pid": server.Process.Pid, "proto": "udp",
					"to_server_bytes": count * size, "to_client_bytes": 0, "reporter": "both",
				})
			}
		})
	}
}

// The parent makes the datagram socket, its child uses it: both are kept.
func TestCaseA6_DatagramSocketOfTheParent(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 206)
	server := live(t, l.host, "says-pid", "udp", l.here, 0)
	port := server.number()
	parent := live(t, l.box, "udp-creator", l.here, port, 3, 70)
	from, child := parent.number(), parent.number()
	parent.ended()
	for _, got := range rows.final(t, 1, serverPort(port)) {
		want(t, got, fields{
			"client_port": from, "client_pid": child, "client_creator_pid": parent.Process.Pid, "client_creator_process": "life",
			"server_pid": server.Process.Pid, "to_server_bytes": 210,
		})
	}
}

// Hundreds of processes a second that live for less than a millisecond: none is
// missed and each has its name, image and command line, though /proc never showed it.
func TestCaseA1_HundredsGoneInAMillisecond(t *testing.T) {
	rows := watch(t)
	l := newLAN(t, 207)
	server := spawn(t, l.host, "serve", l.here+":0", "0")
	port := server.number()
	_, procs := cgroup(t, "c")
	path := named(t, "wl-gone")
	const n = 500
	m := liveIn(t, l.box, procs, "mass", l.here, port, n, path)
	pids := map[int64]int{} // by octets sent
	for i := range n {
		pids[int64(i+1)] = m.number()
	}
	m.ended()
	for _, got := range rows.final(t, n, serverPort(port)) {
		octets := got.num("to_server_bytes")
		want(t, got, fields{
			"client_pid": pids[octets], "client_ppid": m.Process.Pid, "client_process": "wl-gone", "client_user": "root",
			"client_container_id": strings.Repeat("c", 64), "client_method": "cookie",
			"client_cmdline": fmt.Sprint(path, " hit ", l.here, " ", strconv.Itoa(port), " ", octets), "opened": 1,
		})
		delete(pids, octets)
		if t.Failed() {
			return
		}
	}
	if len(pids) != 0 {
		t.Errorf("%d processes have no row", len(pids))
	}
}
