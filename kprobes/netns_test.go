package kprobes

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// inNetNS runs f in a new network namespace with lo up.
func inNetNS(t testing.TB, f func() error) {
	t.Helper()
	ch := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and the namespace with it
		ch <- func() error {
			if _, err := netns.New(); err != nil {
				return err
			}
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(lo); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-ch; err != nil {
		t.Fatal(err)
	}
}

// TestCaseC2_SameTupleInTwoNamespaces: identical 5-tuples in two network
// namespaces are two flows.
func TestCaseC2_SameTupleInTwoNamespaces(t *testing.T) { TestKernelNamespaces(t) }

func TestKernelNamespaces(t *testing.T) {
	f := start(t, Config{})
	const local, remote = 4001, 4002
	for _, n := range []int{1000, 2000} {
		inNetNS(t, func() error { return fixedPorts(local, remote, n) })
	}
	var clients, servers []SocketEvent
	f.until("four ends", f.drain, func() bool {
		clients, servers = nil, nil
		for _, e := range f.sockets {
			switch {
			case e.Kind != SocketClosed:
			case e.Key.SrcPort == local && e.Key.DstPort == remote:
				clients = append(clients, e)
			case e.Key.SrcPort == remote && e.Key.DstPort == local:
				servers = append(servers, e)
			}
		}
		return len(clients) >= 2 && len(servers) >= 2
	})
	if len(clients) != 2 || len(servers) != 2 {
		t.Fatalf("%d clients, %d servers", len(clients), len(servers))
	}
	if clients[0].Key.NetNS == clients[1].Key.NetNS || clients[0].Cookie == clients[1].Cookie {
		t.Errorf("not told apart: %+v", clients)
	}
	for i := range clients {
		c, s := clients[i], servers[0]
		if s.Key.NetNS != c.Key.NetNS {
			s = servers[1]
		}
		if s.Key != c.Key.Reverse() || c.Sent != uint64(1000*(i+1)) || s.Received != c.Sent || c.SndBase != s.RcvBase || c.RcvBase != s.SndBase {
			t.Errorf("client %+v, server %+v", c, s)
		}
	}
}

// fixedPorts sends n octets over a loopback connection between given ports,
// all on the calling thread.
func fixedPorts(local, remote, n int) error {
	ln, err := net.Listen("tcp4", fmt.Sprint("127.0.0.1:", remote))
	if err != nil {
		return err
	}
	defer ln.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: local}}
	// with the address given as numbers nothing is resolved on another thread
	c, err := d.Dial("tcp4", ln.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := c.Write(make([]byte, n)); err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, s)
	return err
}
