package tcx

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// transfer is what one end of a connection read, and how much of what it sent
// it had to send again (a busy machine drops from the backlog).
type transfer struct{ read, again int64 }

// within says whether payload is want, plus at most what was sent again: a
// repeated segment is on the wire too, unless it was lost before we saw it.
func within(payload uint64, want, again int64) bool {
	return int64(payload) >= want && int64(payload) <= want+again
}

// again waits until the peer has everything and returns what was sent twice.
func again(c net.Conn) (int64, error) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
			return 0, errors.Join(cerr, err)
		}
		if info.Unacked == 0 && info.Notsent_bytes == 0 {
			return int64(info.Bytes_retrans), nil
		}
	}
	return 0, errors.New("the peer does not acknowledge")
}

// serve accepts one connection and reads it to its end, answering with reply octets.
func serve(t testing.TB, n *ns, addr string, reply int) (net.Listener, <-chan transfer) {
	t.Helper()
	var l net.Listener
	n.do(t, func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	t.Cleanup(func() { l.Close() })
	got := make(chan transfer, 1)
	go func() {
		defer close(got)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		n, _ := io.Copy(io.Discard, c)
		c.Write(make([]byte, reply))
		twice, err := again(c)
		if err != nil {
			t.Error(err)
		}
		got <- transfer{n, twice}
	}()
	return l, got
}

// send opens a connection, sends, and reads the answer to its end.
func send(t testing.TB, n *ns, addr string, octets int) (got transfer) {
	t.Helper()
	n.do(t, func() error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(make([]byte, octets)); err != nil {
			return err
		}
		if got.again, err = again(c); err != nil {
			return err
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		got.read, err = io.Copy(io.Discard, c)
		return err
	})
	return got
}

// datagrams sends n datagrams and waits until the last has arrived.
func datagrams(t testing.TB, from, at *ns, addr string, n, size int) {
	t.Helper()
	var pc net.PacketConn
	at.do(t, func() (err error) {
		pc, err = net.ListenPacket("udp", addr)
		return err
	})
	defer pc.Close()
	from.do(t, func() error {
		c, err := net.Dial("udp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		buf := make([]byte, size)
		for range n {
			if _, err := c.Write(buf); err != nil {
				return err
			}
			if err := pc.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				return err
			}
			if _, _, err := pc.ReadFrom(buf); err != nil {
				return err
			}
		}
		return nil
	})
}
