package cases

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
)

// drop makes the namespace of b's server or client lose packets, by an expression of nft.
func (b *pairBed) drop(t *testing.T, from string, rule string) {
	t.Helper()
	ns := b.far
	if from == "near" {
		ns = b.near
	}
	for _, cmd := range []string{"add table ip f", "add chain ip f in { type filter hook input priority 0; }", "add rule ip f in " + rule + " drop"} {
		ns.Run(t, "nft", cmd)
	}
}

// The peer vanishes: the connection was a success and ends by a timeout of its own.
func TestCaseF10_PeerVanished(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 4)
	s, port := b.server(t, "accept read 20 say there wait linger close")
	c := b.client(t, port, "connect $ patience 700 write 20 wait write 30 drain close")
	c.hears("ok")
	s.hears("there")
	b.drop(t, "near", fmt.Sprint("tcp sport ", port))
	c.say("on")
	c.hears("ETIMEDOUT")
	c.ended()
	s.say("on")
	s.ended()
	r := rows.final(t, 1, b.mine)[0]
	want(t, r, fields{
		"client_pid": c.Process.Pid, "server_pid": s.Process.Pid, "attempts": 1, "opened": 1, "closed": 1, "failed": 0,
		"close_cause": "timeout", "timeout_established": 1,
	})
	if r.num("reset_by_server") > 0 || r.num("reset_by_client") > 0 || r.num("retransmits_to_server") < 1 {
		t.Error(r)
	}
}

// Two SYNs are lost: a success, whose latency has the wait in it.
func TestCaseF16_SYNsLost(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 5)
	s, port := b.server(t, "accept drain close")
	b.drop(t, "far", fmt.Sprintf("tcp dport %d tcp flags syn / syn,ack limit rate 1/day burst 2 packets", port))
	c := b.client(t, port, "connect $ write 500 close")
	c.hears("ok")
	s.hears("ok")
	c.ended()
	s.ended()
	r := rows.final(t, 1, b.mine)[0]
	want(t, r, fields{
		"client_pid": c.Process.Pid, "attempts": 1, "opened": 1, "closed": 1, "failed": 0, "close_cause": "normal",
		"syn_retransmits": 2, "retransmits_to_server": 2, "to_server_bytes": 500, "connect_count": 1,
	})
	if d, _ := r.fields["connect_sum_seconds"].(float64); d < 2 {
		t.Errorf("connected after %v s in %v", d, r)
	}
}

// TCP Fast Open with data in the SYN: octets and outcome are those of any
// connection, of the first one that only asks for the cookie and of the second.
func TestCaseF17_FastOpen(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 6)
	b.near.Sysctl(t, "net/ipv4/tcp_fastopen", "1")
	b.far.Sysctl(t, "net/ipv4/tcp_fastopen", "2")
	s, port := b.server(t, "fastopen accept drain write 90 close accept drain write 90 close")
	var pids []int
	for range 2 {
		c := b.client(t, port, "send-with-syn 70 $")
		s.hears("ok")
		c.ended()
		pids = append(pids, c.Process.Pid)
	}
	s.ended()
	if n := b.counter(t, "TCPFastOpenPassive"); n != 1 {
		t.Fatalf("%d connections had data in their SYN", n)
	}
	for i, r := range rows.final(t, 2, b.mine) {
		want(t, r, fields{
			"client_pid": pids[i], "server_pid": s.Process.Pid, "attempts": 1, "opened": 1, "closed": 1, "failed": 0,
			"close_cause": "normal", "to_server_bytes": 70, "to_client_bytes": 90, "connect_count": 1,
		})
	}
}

// counter reads a counter of the server's network (netstat's TcpExt).
func (b *pairBed) counter(t *testing.T, name string) int {
	t.Helper()
	return counterOf(t, b.far, name)
}

func counterOf(t *testing.T, ns *netlab.NS, name string) (n int) {
	t.Helper()
	ns.Do(t, func() error {
		all, err := os.ReadFile("/proc/thread-self/net/netstat")
		if err != nil {
			return err
		}
		lines := strings.Split(string(all), "\n")
		names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
		for i := range names {
			if names[i] == name {
				_, err = fmt.Sscan(values[i], &n)
				return err
			}
		}
		return fmt.Errorf("no counter %s", name)
	})
	return n
}

// A listener's end is no connection's, with clients or without.
func TestCaseF13_ListenerEnds(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 7)
	idle, unused := b.server(t, "unlisten")
	idle.ended()
	s, port := b.server(t, "accept unlisten drain close")
	c := b.client(t, port, "connect $ write 5 close")
	c.hears("ok")
	s.hears("ok")
	c.ended()
	s.ended()
	want(t, rows.final(t, 1, b.mine)[0], fields{"client_pid": c.Process.Pid, "opened": 1, "to_server_bytes": 5})
	got := rows.all(t, "flow_log", func(r row) bool {
		far := int64(b.far.Inode)
		return r.num("start") >= b.made && (r.num("client_netns") == far || r.num("server_netns") == far && !b.mine(r))
	})
	if len(got) != 0 {
		t.Errorf("rows of listeners at %d and %d: %v", unused, port, got)
	}
}

// connect() of a datagram socket to learn the source address is no flow, as
// getaddrinfo does to port 0 and to mapped addresses.
func TestCaseF19_ConnectToLearnTheSource(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 8)
	b.near.Run(t, "ip", "-6", "address", "add", "fd00:210:8::1/64", "dev", "wf0", "nodad")
	to := []byte{10, 210, 8, 2}
	mapped := [16]byte{10: 0xff, 0xff, 10, 210, 8, 2}
	v6 := [16]byte{0: 0xfd, 2: 2, 3: 0x10, 5: 8, 15: 2}
	b.near.Do(t, func() error {
		for _, look := range []struct {
			family int
			to     unix.Sockaddr
		}{
			{unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte(to)}},
			{unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte(to), Port: 53}},
			{unix.AF_INET6, &unix.SockaddrInet6{Addr: mapped}},
			{unix.AF_INET6, &unix.SockaddrInet6{Addr: mapped, Port: 53}},
			{unix.AF_INET6, &unix.SockaddrInet6{Addr: v6, Port: 443}},
		} {
			if err := lookUp(look.family, look.to); err != nil {
				return err
			}
		}
		return nil
	})
	s, port := b.server(t, "accept drain close") // what comes after it is there
	c := b.client(t, port, "connect $ close")
	c.hears("ok")
	s.hears("ok")
	c.ended()
	s.ended()
	rows.final(t, 1, b.mine)
	got := rows.all(t, "flow_log", func(r row) bool {
		return r.tag("proto") == "udp" && (b.mine(r) || r.str("client_address") == b.here || r.str("client_address") == "fd00:210:8::1")
	})
	if len(got) != 0 {
		t.Errorf("flows of sockets that sent nothing: %v", got)
	}
}

// lookUp asks by connect() which source address leads to another one.
func lookUp(family int, to unix.Sockaddr) error {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	_, err = unix.Getsockname(fd)
	return err
}
