package cases

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What this host refuses before there is a SYN is an attempt that failed here.
func TestCaseF6_BeforeTheSYN(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 11)
	b.near.Run(t, "ip", "route", "add", "prohibit", "10.210.112.0/24")
	b.near.Run(t, "ip", "route", "add", "unreachable", "10.210.113.0/24")
	b.near.Run(t, "ip", "-6", "route", "add", "prohibit", "fd00:210:112::/48")
	attempts := []attempt{
		{"F6 no route", "connect", "10.219.1.1:4461", "ENETUNREACH", "failed_local", "local"},
		{"F6 prohibited", "connect", "10.210.112.1:4462", "EACCES", "failed_local", "local"},
		{"F6 unreachable", "connect", "10.210.113.1:4463", "EHOSTUNREACH", "failed_local", "local"},
		{"F6 prohibited, v6", "connect", "[fd00:210:112::1]:4464", "EACCES", "failed_local", "local"},
	}
	pids := try(t, b.near, attempts)
	got := map[int64]row{}
	for _, r := range rows.final(t, len(attempts), b.mine) {
		got[r.num("server_port")] = r
	}
	for _, a := range attempts {
		t.Run(a.row, func(t *testing.T) {
			want(t, got[a.port()], fields{
				"client_pid": pids[a.port()], "client_process": "cases.test", "client_method": "cookie", "close_cause": "local", "failed_local": 1,
				"failed": 1, "attempts": 1, "opened": 0, "closed": 0, "server_address": netip.MustParseAddrPort(a.addr).Addr().String(),
			})
		})
	}
}

// A socket whose first attempt failed here and whose second one succeeds: two rows.
func TestCaseF6_ThenConnected(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 12)
	b.near.Run(t, "ip", "route", "add", "prohibit", "10.210.114.0/24")
	s, port := b.server(t, "accept drain close")
	b.near.Do(t, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{10, 210, 114, 1}, Port: 4465}); err != unix.EACCES {
			return fmt.Errorf("connect to a prohibited network: %v", err)
		}
		return unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{10, 210, 12, 2}, Port: port})
	})
	s.hears("ok")
	s.ended()
	got := rows.final(t, 2, b.mine)
	if got[0].num("server_port") != 4465 { // both began when the socket was made
		got[0], got[1] = got[1], got[0]
	}
	want(t, got[0], fields{"client_pid": os.Getpid(), "server_port": 4465, "failed_local": 1, "attempts": 1, "opened": 0})
	want(t, got[1], fields{"client_pid": os.Getpid(), "server_port": port, "failed": 0, "attempts": 1, "opened": 1, "closed": 1, "close_cause": "normal"})
}

// A connected datagram socket to a port where nobody is: refused, on who sent.
func TestCaseF18_PortUnreachable(t *testing.T) {
	rows := watch(t)
	b := newPair(t, 14)
	// The neighbours know each other: on a busy machine that takes a second now and then,
	// and a flow that has waited so long for its refusal was opened.
	b.near.Run(t, "ping", "-q", "-c", "1", "-W", "5", b.there)
	b.near.Do(t, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{10, 210, 14, 2}, Port: 4466}); err != nil {
			return err
		}
		if _, err := unix.Write(fd, []byte("anybody?")); err != nil {
			return err
		}
		if _, err := unix.Read(fd, make([]byte, 9)); err != unix.ECONNREFUSED {
			return fmt.Errorf("read: %v", err)
		}
		return nil
	})
	asked := func(x row) bool { return b.mine(x) && x.tag("proto") == "udp" } // the ping is another flow
	r := rows.final(t, 1, asked)[0]
	want(t, r, fields{
		"client_pid": os.Getpid(), "server_port": 4466, "close_cause": "refused", "failed_refused": 1, "failed": 1, "attempts": 1, "opened": 0,
		"closed": 0, "to_server_bytes": 8, "to_client_bytes": 0,
	})
}
