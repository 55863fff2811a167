package cases

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
)

// Traffic of the test's own process: it owns the sockets at both ends, in
// whatever namespaces they are.

// drain opens a TCP listener in a namespace that reads each connection to its end.
func drain(t *testing.T, ns *netlab.NS, addr string) (port int) {
	t.Helper()
	return ns.Serve(t, addr+":0", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

// echo answers each octet with itself.
func echo(t *testing.T, ns *netlab.NS, addr string) (port int) {
	t.Helper()
	return ns.Serve(t, addr+":0", func(c net.Conn) { _, _ = io.Copy(c, c) })
}

// dial connects from a namespace.
func dial(t *testing.T, ns *netlab.NS, network, addr string, port int) net.Conn {
	t.Helper()
	var c net.Conn
	ns.Do(t, func() (err error) {
		c, err = net.Dial(network, net.JoinHostPort(addr, fmt.Sprint(port)))
		return err
	})
	return c
}

// bulk sends n octets over one connection and waits until they were read.
func bulk(t *testing.T, ns *netlab.NS, addr string, port, n int) {
	t.Helper()
	c := dial(t, ns, "tcp", addr, port).(*net.TCPConn)
	defer c.Close()
	buf := make([]byte, 64<<10)
	for n > 0 {
		m, err := c.Write(buf[:min(n, len(buf))])
		if err != nil {
			t.Fatal(err)
		}
		n -= m
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
}

// requests sends n requests of size octets to an echo server, one after the other.
func requests(t *testing.T, ns *netlab.NS, addr string, port, n, size int) {
	t.Helper()
	c := dial(t, ns, "tcp", addr, port)
	defer c.Close()
	buf := make([]byte, size)
	for range n {
		if _, err := c.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
	}
}

// datagrams opens a UDP socket and sends n datagrams to somebody who reads them.
func datagrams(t *testing.T, ns *netlab.NS, addr string, port, n, size int) {
	t.Helper()
	c := dial(t, ns, "udp", addr, port)
	defer c.Close()
	buf := make([]byte, size)
	for range n {
		if _, err := c.Write(buf); err != nil {
			t.Fatal(err)
		}
	}
}

// swallow opens a UDP socket in a namespace and reads what comes.
func swallow(t *testing.T, ns *netlab.NS, addr string) (port int) {
	t.Helper()
	var c net.PacketConn
	ns.Do(t, func() (err error) {
		c, err = net.ListenPacket("udp", addr+":0")
		return err
	})
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			if _, _, err := c.ReadFrom(buf); err != nil {
				return
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// manyFlows sends one datagram from each of n ports, with a socket for each.
func manyFlows(t *testing.T, ns *netlab.NS, addr string, port, n, size int) {
	t.Helper()
	buf := make([]byte, size)
	to := &net.UDPAddr{IP: net.ParseIP(addr), Port: port}
	ns.Do(t, func() error {
		for i := range n {
			c, err := net.ListenUDP("udp", &net.UDPAddr{Port: 1025 + i})
			if err != nil {
				return err
			}
			_, err = c.WriteTo(buf, to)
			c.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// sent is what a namespace's kernel counts of TCP segments it sent, and of those
// the ones sent again: on a busy machine even a bridge has some.
type sent struct{ segments, again int64 }

func sentBy(t *testing.T, ns *netlab.NS) sent {
	t.Helper()
	again := snmp(t, ns, "Tcp", "RetransSegs")
	return sent{snmp(t, ns, "Tcp", "OutSegs") + again, again} // OutSegs leaves them out
}

// wantWire checks packets and octets of one direction of a connection, which are
// all that ns has sent since before.
func (before sent) wantWire(t *testing.T, ns *netlab.NS, r row, direction string, payload int64) {
	t.Helper()
	now := sentBy(t, ns)
	segments, again := now.segments-before.segments, now.again-before.again
	want(t, r, map[string]any{direction + "_packets": int(segments)})
	least := payload + segments*tcpHeaders + synMore
	if n := r.num(direction + "_wire_bytes"); n < least || n > least+again*1448 {
		t.Errorf("%s: %d octets on the wire, want %d and what %d segments sent again had", direction, n, least, again)
	}
}

// snmp reads a counter like Tcp OutSegs of a namespace's kernel.
func snmp(t *testing.T, ns *netlab.NS, protocol, counter string) (n int64) {
	t.Helper()
	var text []byte
	ns.Do(t, func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	})
	var names []string
	for line := range strings.Lines(string(text)) {
		rest, ours := strings.CutPrefix(line, protocol+": ")
		switch {
		case !ours:
		case names == nil:
			names = strings.Fields(rest)
		default:
			if i := slices.Index(names, counter); i >= 0 {
				if _, err := fmt.Sscan(strings.Fields(rest)[i], &n); err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
	}
	t.Fatalf("the kernel counts no %s %s:\n%s", protocol, counter, text)
	return 0
}
