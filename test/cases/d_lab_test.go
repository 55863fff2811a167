package cases

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/netlab"
)

// natChildren are the children of section D.
var natChildren = map[string]func(args []string) error{
	"udpserve":    childUDPServe,
	"udpcall":     childUDPCall,
	"proxy":       childProxy,
	"remote":      childRemote,
	"remotecall":  childRemoteCall,
	"hold":        childHold,
	"nonetfilter": childNoNetfilter,
}

// childUDPServe answers each datagram at args[0] with args[1] octets.
func childUDPServe(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	c, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	fmt.Println(c.LocalAddr().(*net.UDPAddr).Port)
	buf := make([]byte, 65536)
	for {
		_, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(make([]byte, n), from); err != nil {
			return err
		}
	}
}

// childUDPCall sends args[1] octets to args[0] from a socket that is not
// connected, waits for the answer, prints its port and exits. A line on standard
// input makes it go on with another request first, the empty one ends it.
func childUDPCall(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	to, err := net.ResolveUDPAddr("udp", args[0])
	if err != nil {
		return err
	}
	c, err := net.ListenUDP("udp", nil)
	if err != nil {
		return err
	}
	buf := make([]byte, 65536)
	for {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := c.WriteTo(make([]byte, n), to); err != nil {
			return err
		}
		if _, _, err := c.ReadFrom(buf); err != nil {
			return err
		}
		fmt.Println(c.LocalAddr().(*net.UDPAddr).Port)
		if len(args) < 3 {
			return nil
		}
		var word string
		if _, err := fmt.Scanln(&word); err != nil {
			return nil
		}
	}
}

// childProxy accepts one connection after the other at args[0], prints its port,
// and forwards each to args[1], with a line before it when args[2] is given (PROXY
// protocol).
func childProxy(args []string) error {
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr().(*net.TCPAddr).Port)
	for {
		in, err := ln.Accept()
		if err != nil {
			return err
		}
		out, err := net.Dial("tcp", args[1])
		if err != nil {
			return err
		}
		if len(args) > 2 {
			from, to := in.RemoteAddr().(*net.TCPAddr), in.LocalAddr().(*net.TCPAddr)
			fmt.Fprintf(out, "PROXY TCP4 %s %s %d %d\r\n", from.IP, to.IP, from.Port, to.Port)
		}
		go func() {
			_, _ = io.Copy(out, in)
			_ = out.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(in, out)
		in.Close()
		out.Close()
	}
}

// childHold connects to args[0] by TCP, prints its port, sends args[1] octets now
// and again at each line of standard input, and ends with it.
func childHold(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	for {
		if _, err := c.Write(make([]byte, n)); err != nil {
			return err
		}
		fmt.Println(c.LocalAddr().(*net.TCPAddr).Port)
		var word string
		if _, err := fmt.Scanln(&word); err != nil {
			break
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// natLab is a container host of its own: two containers at a bridge, an uplink to
// the outside, which has no route back to the containers.
type natLab struct{ host, a, b, out *netlab.NS }

const (
	bridgeIP  = "10.204.0.1"
	aIP       = "10.204.0.2"
	bIP       = "10.204.0.3"
	hostIP    = "10.204.1.1"
	outsideIP = "10.204.1.2"
	serviceIP = "10.204.96.10" // nobody's: a ClusterIP
)

func newNATLab(t *testing.T) *natLab {
	l := &natLab{host: netlab.New(t), a: netlab.New(t), b: netlab.New(t), out: netlab.New(t)}
	netlab.Veth(t, netlab.End{NS: l.host, Name: "wna"}, netlab.End{NS: l.a, Name: "eth0", CIDR: aIP + "/24"})
	netlab.Veth(t, netlab.End{NS: l.host, Name: "wnb"}, netlab.End{NS: l.b, Name: "eth0", CIDR: bIP + "/24"})
	netlab.Bridge(t, netlab.End{NS: l.host, Name: "wnbr0", CIDR: bridgeIP + "/24"}, "wna", "wnb")
	netlab.Veth(t, netlab.End{NS: l.host, Name: "wnup0", CIDR: hostIP + "/24"}, netlab.End{NS: l.out, Name: "eth0", CIDR: outsideIP + "/24"})
	l.a.Route(t, "default", bridgeIP)
	l.b.Route(t, "default", bridgeIP)
	l.host.Route(t, "default", outsideIP)
	l.host.Sysctl(t, "net/ipv4/ip_forward", "1")
	return l
}

// nat adds a rule to the nat table of a namespace.
func nat(t *testing.T, ns *netlab.NS, rule string) {
	t.Helper()
	ns.Run(t, "iptables", append([]string{"-w", "-t", "nat"}, strings.Fields(rule)...)...)
}

// masquerade is what Docker does for a bridge.
func (l *natLab) masquerade(t *testing.T) {
	t.Helper()
	nat(t, l.host, "-A POSTROUTING -s 10.204.0.0/24 ! -o wnbr0 -j MASQUERADE")
}

// remote makes the outside a host without sockets of this kernel, which answers
// with so many octets.
func (l *natLab) remote(t *testing.T, answer int) {
	t.Helper()
	l.mute(t)
	if up := spawn(t, l.out, "remote", "eth0", strconv.Itoa(answer)).line(); up != "up" {
		t.Fatal(up)
	}
}

// remoteCall makes a request of so many octets from the outside, and waits for
// the answer.
func (l *natLab) remoteCall(t *testing.T, proto string, port int, to string, n int) {
	t.Helper()
	mac := l.host.Link(t, "wnup0").Attrs().HardwareAddr
	spawn(t, l.out, "remotecall", "eth0", proto, endpoint(outsideIP, port), to, strconv.Itoa(n), mac.String()).ended()
}

// mute keeps the outside's kernel from answering packets it has no socket for.
func (l *natLab) mute(t *testing.T) {
	t.Helper()
	l.out.Run(t, "iptables", "-w", "-A", "INPUT", "-p", "tcp", "-j", "DROP")
	l.out.Run(t, "iptables", "-w", "-A", "INPUT", "-p", "udp", "-j", "DROP")
}

func endpoint(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

// client matches rows of a client's process.
func client(p *process) func(row) bool {
	return func(r row) bool { return r.num("client_pid") == int64(p.Process.Pid) }
}
