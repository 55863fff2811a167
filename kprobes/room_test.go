package kprobes

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/netlab"
)

// TestKernelNoRoom: of all that a listener drops, what it counts as without room is what
// the kernel says there was no room for.
func TestKernelNoRoom(t *testing.T) {
	f := start(t, Config{})
	f.need("kfree_skb_rx")
	const port = 4012
	var netns uint32
	var counted uint64
	var listener int
	inNetNS(t, func() (err error) {
		if netns, err = thisNetNS(); err != nil {
			return err
		}
		if listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(listener, &unix.SockaddrInet4{Port: port, Addr: here}); err != nil {
			return err
		}
		if err := unix.Listen(listener, 1); err != nil {
			return err
		}
		if err := strays(port); err != nil {
			return err
		}
		if n, err := counter("netstat", "TcpExt", "EmbryonicRsts"); err != nil || n == 0 {
			return fmt.Errorf("%d requests were reset, %v", n, err)
		}
		if err := crowd(port, 6); err != nil {
			return err
		}
		counted, err = counter("netstat", "TcpExt", "ListenDrops")
		return err
	})
	defer unix.Close(listener)
	if counted == 0 {
		t.Fatal("there was room for all")
	}
	drops := func() (n uint32) {
		f.snapshot()
		for i := range f.sockets {
			if e := &f.sockets[i]; e.Role == RoleListener && e.Key.NetNS == netns {
				n = e.Drops
			}
		}
		return n
	}
	f.until("drops of the listener", func() { drops() }, func() bool { return drops() > 0 })
	if n := drops(); uint64(n) != counted {
		t.Errorf("%d had no room, the kernel counts %d", n, counted)
	}
}

var here = [4]byte{127, 0, 0, 1}

// strays sends what no listener has a use for: twice each.
func strays(port uint16) error {
	for i := range uint16(2) {
		for k, flags := range []byte{netlab.SYNFlag, netlab.ACK, netlab.RST, netlab.SYNFlag | netlab.FIN, 0} {
			// The kernel knows nothing of the SYN and resets what it is answered.
			if err := netlab.Segment(here, 5000+10*uint16(k)+i, here, port, flags); err != nil {
				return err
			}
		}
	}
	return nil
}

// crowd begins n connections at once, and gives them up.
func crowd(port, n int) error {
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: here}); err != unix.EINPROGRESS && err != nil {
			return err
		}
	}
	return nil
}
