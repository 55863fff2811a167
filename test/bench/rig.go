package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// rig is two "containers": namespaces a (10.77.0.1) and b (10.77.0.2), joined by
// a bridge of the host, where Weir meters.
type rig struct {
	host, a, b int // namespace files
}

const (
	addrA, addrB = "10.77.0.1", "10.77.0.2"
	macB         = "02:77:00:00:00:02"
)

var ipA, ipB = [4]byte{10, 77, 0, 1}, [4]byte{10, 77, 0, 2}

func newRig() (*rig, error) {
	r := &rig{host: -1, a: -1, b: -1}
	r.sweep()
	steps := []string{
		"link add wb-br type bridge", "link set wb-br up",
		"netns add wb-a", "netns add wb-b",
		"link add wb-va type veth peer name eth0 netns wb-a", "link add wb-vb type veth peer name eth0 address " + macB + " netns wb-b",
		"link set wb-va master wb-br up", "link set wb-vb master wb-br up",
		"-n wb-a link set lo up", "-n wb-b link set lo up",
		"-n wb-a addr add " + addrA + "/16 dev eth0", "-n wb-b addr add " + addrB + "/16 dev eth0",
		"-n wb-a link set eth0 up", "-n wb-b link set eth0 up",
		"netns exec wb-a sysctl -qw net.ipv4.ip_local_port_range=1024\t65000",
	}
	for _, s := range steps {
		if out, err := exec.Command("ip", args(s)...).CombinedOutput(); err != nil {
			r.sweep()
			return nil, fmt.Errorf("make the network: ip %s: %w: %s", s, err, out)
		}
	}
	for _, f := range []struct {
		fd   *int
		path string
	}{{&r.host, "/proc/self/ns/net"}, {&r.a, "/run/netns/wb-a"}, {&r.b, "/run/netns/wb-b"}} {
		fd, err := unix.Open(f.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			r.close()
			return nil, &os.PathError{Op: "open namespace", Path: f.path, Err: err}
		}
		*f.fd = fd
	}
	return r, nil
}

// args splits at spaces; a tab stands for a space inside an argument.
func args(s string) []string {
	f := strings.Split(s, " ")
	for i := range f {
		f[i] = strings.ReplaceAll(f[i], "\t", " ")
	}
	return f
}

// sweep removes what this or a killed run left.
func (r *rig) sweep() {
	for _, s := range []string{"link del wb-va", "link del wb-vb", "netns del wb-a", "netns del wb-b", "link del wb-br"} {
		_ = exec.Command("ip", args(s)...).Run() // most often there is nothing
	}
}

func (r *rig) close() {
	for _, fd := range []int{r.host, r.a, r.b} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	r.sweep()
}

// in runs f with the thread in a namespace; sockets it opens stay there. The
// caller holds the thread.
func (r *rig) in(ns int, f func() error) error {
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the namespace: %w", err)
	}
	err := f()
	if back := unix.Setns(r.host, unix.CLONE_NEWNET); back != nil {
		panic(back) // a thread in the wrong namespace is of no use
	}
	return err
}

// listen opens a TCP listener in b.
func (r *rig) listen(port int) (fd int, err error) {
	err = r.in(r.b, func() error {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port}); err != nil {
			return err
		}
		return unix.Listen(fd, 1024)
	})
	if err != nil {
		return -1, fmt.Errorf("listen on %s:%d: %w", addrB, port, err)
	}
	return fd, nil
}

// conn is a connection whose both ends this thread holds.
type conn struct{ c, s int }

// connect opens a connection to a listener of b; the thread must be in a. The
// handshake is over when connect returns, so that accept does not wait.
func connect(listener, port int) (p conn, err error) {
	if p.c, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return p, err
	}
	if err := unix.Connect(p.c, &unix.SockaddrInet4{Addr: ipB, Port: port}); err != nil {
		unix.Close(p.c)
		return p, fmt.Errorf("connect to %s:%d: %w", addrB, port, err)
	}
	if p.s, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC); err != nil {
		unix.Close(p.c)
		return p, fmt.Errorf("accept: %w", err)
	}
	return p, nil
}

func (p conn) close() {
	unix.Close(p.c)
	unix.Close(p.s)
}
