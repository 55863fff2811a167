package kprobes

import (
	"net"
	"testing"
)

// TestKernelRefused: a port unreachable that comes back for a connected socket's
// datagram is told with its peer.
func TestKernelRefused(t *testing.T) {
	f := start(t, Config{})
	f.need("inet_sk_error_report", "peer_egress", "sock_release")
	nobody := listenUDP(t, "udp4", "127.0.0.1:0")
	to := nobody.LocalAddr().String()
	nobody.Close()
	c, err := net.Dial("udp4", to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("anybody?")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 9)); err == nil {
		t.Fatal("an answer from nobody")
	}
	local, remote := ports(c)
	f.until("a refusal", f.readPeers, func() bool { p := f.peer(local, remote); return p != nil && p.Refused == 1 })
	c.Close()
	f.until("the end of a refused socket", f.readPeers, func() bool {
		p := f.peer(local, remote)
		return p.Released && p.Refused == 1
	})
	// Another socket is not refused by it.
	ok := listenUDP(t, "udp4", "127.0.0.1:0")
	d, err := net.Dial("udp4", ok.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	receive(t, ok, 1, nil)
	local, remote = ports(d)
	f.until("a peer", f.readPeers, func() bool { return f.peer(local, remote) != nil })
	if p := f.peer(local, remote); p.Refused != 0 {
		t.Errorf("%+v", p)
	}
}
