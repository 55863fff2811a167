package cases

import (
	"context"
	"io"
	"net"
	"os"
	"testing"

	"github.com/weir-probe/weir/test/netlab"
)

// Headers of a frame with a TCP segment with timestamps; a SYN has 8 octets more.
const (
	tcpHeaders = 14 + 20 + 32
	synMore    = 8
)

// A connection over a bridge is seen at five hooks and is one row, with the
// application's octets and the wire's, to the octet.
func TestCaseE1_OneRowForABridge(t *testing.T) {
	rows := watch(t)
	box := bridgedAt(t, netlab.Host(t), 11, 2)
	metered(t, rows, boxAddr(11, 1), pair{box[0], box[1]})
	port := drain(t, box[1], boxAddr(11, 1))
	sent, answered := sentBy(t, box[0]), sentBy(t, box[1])
	bulk(t, box[0], boxAddr(11, 1), port, 100000)
	r := rows.final(t, 1, serverPort(port))[0]
	want(t, r, map[string]any{"reporter": "both", "to_server_bytes": 100000, "to_client_bytes": 0})
	sent.wantWire(t, box[0], r, "to_server", 100000)
	answered.wantWire(t, box[1], r, "to_client", 0)
}

// Super-packets count as the segments the kernel says it sent.
func TestCaseE3_SegmentsOfSuperPackets(t *testing.T) {
	rows := watch(t)
	box := bridgedAt(t, netlab.Host(t), 12, 2)
	metered(t, rows, boxAddr(12, 1), pair{box[0], box[1]})
	port := drain(t, box[1], boxAddr(12, 1))
	before := sentBy(t, box[0])
	const size = 20 << 20
	bulk(t, box[0], boxAddr(12, 1), port, size)
	r := rows.final(t, 1, serverPort(port))[0]
	segments := sentBy(t, box[0]).segments - before.segments
	skbs := int64(box[0].Link(t, "eth0").Attrs().Statistics.TxPackets)
	t.Logf("%d segments in %d super-packets", segments, skbs)
	if segments < 4*skbs {
		t.Errorf("%d segments left in %d packets: no super-packets, this test shows nothing", segments, skbs)
	}
	want(t, r, map[string]any{"to_server_bytes": size})
	before.wantWire(t, box[0], r, "to_server", size)
}

// Packets on lo are counted once, and all of them.
func TestCaseE2_LoopbackLive(t *testing.T) {
	for _, packets := range []string{"tcx", "afpacket"} {
		t.Run(packets, func(t *testing.T) {
			ns := quiet(t)
			_, rows := ownIn(t, ns, "--packets", packets)
			port := echo(t, ns, "127.0.0.1")
			before := sentBy(t, ns)
			requests(t, ns, "127.0.0.1", port, 100, 3000)
			r := rows.final(t, 1, serverPort(port))[0]
			now := sentBy(t, ns)
			segments, again := now.segments-before.segments, now.again-before.again
			want(t, r, map[string]any{"to_server_bytes": 300000, "to_client_bytes": 300000})
			if got := r.num("to_server_packets") + r.num("to_client_packets"); got != segments {
				t.Errorf("%d packets, the kernel sent %d", got, segments)
			}
			if got, want := r.num("to_server_wire_bytes")+r.num("to_client_wire_bytes"), 600000+segments*tcpHeaders+2*synMore; got < want || got > want+again*3000 {
				t.Errorf("%d octets on the wire, want %d and what %d segments sent again had", got, want, again)
			}
		})
	}
}

// An MPTCP connection: its subflow is listed with the application's octets once.
// Nothing tells who accepts a subflow: the server is the listener's process.
func TestCaseE5_MPTCP(t *testing.T) {
	rows := watch(t)
	box := bridgedAt(t, netlab.Host(t), 14, 2)
	metered(t, rows, boxAddr(14, 1), pair{box[0], box[1]})
	var lc net.ListenConfig
	var d net.Dialer
	lc.SetMultipathTCP(true)
	d.SetMultipathTCP(true)
	var ln net.Listener
	box[1].Do(t, func() (err error) {
		ln, err = lc.Listen(context.Background(), "tcp", boxAddr(14, 1)+":0")
		return err
	})
	defer ln.Close()
	read := make(chan int64)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, c)
		c.Close()
		read <- n
	}()
	var c net.Conn
	box[0].Do(t, func() (err error) {
		c, err = d.Dial("tcp", ln.Addr().String())
		return err
	})
	if on, err := c.(*net.TCPConn).MultipathTCP(); err != nil || !on {
		t.Skipf("no MPTCP in this kernel: %v", err)
	}
	if _, err := c.Write(make([]byte, 100000)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := <-read; n != 100000 {
		t.Fatalf("%d octets arrived", n)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	want(t, rows.final(t, 1, serverPort(port))[0], map[string]any{
		"to_server_bytes": 100000, "client_method": "cookie", "server_method": "listener",
		"client_pid": os.Getpid(), "server_pid": os.Getpid(), "reporter": "both",
	})
}
