package kprobes

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is a connection over loopback inside this process.
func pair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return dial(t, ln)
}

func dial(t testing.TB, ln net.Listener) (client, server *net.TCPConn) {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	ch := make(chan result, 1)
	go func() {
		c, err := ln.Accept()
		ch <- result{c, err}
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := <-ch
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { c.Close(); r.c.Close() })
	return c.(*net.TCPConn), r.c.(*net.TCPConn)
}

// transfer sends n octets and waits until the other end has read them.
func transfer(t testing.TB, from io.Writer, to io.Reader, n int) {
	t.Helper()
	ch := make(chan error, 1)
	go func() {
		_, err := from.Write(make([]byte, n))
		ch <- err
	}()
	if _, err := io.CopyN(io.Discard, to, int64(n)); err != nil {
		t.Fatal(err)
	}
	if err := <-ch; err != nil {
		t.Fatal(err)
	}
}

func eof(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("read %d, %v: want end of file", n, err)
	}
}

// TestKernelBytes: payload is exact to the octet however a connection ends, and
// the sequence bases of both ends pair.
func TestKernelBytes(t *testing.T) {
	f := start(t, Config{})
	for _, c := range []struct {
		name       string
		up, down   int
		end        func(client, server *net.TCPConn)
		cErr, sErr unix.Errno
		unread     int // octets the server was sent and never read
	}{
		{name: "client closes first", up: 100_000, down: 50_000, end: func(c, s *net.TCPConn) { c.Close(); eof(t, s); s.Close() }},
		{name: "server closes first", up: 12_345, down: 1, end: func(c, s *net.TCPConn) { s.Close(); eof(t, c); c.Close() }},
		{name: "nothing sent", end: func(c, s *net.TCPConn) { s.Close(); eof(t, c); c.Close() }},
		{name: "one way", up: 1, end: func(c, s *net.TCPConn) { c.Close(); eof(t, s); s.Close() }},
		{name: "half close", up: 1000, down: 0, end: func(c, s *net.TCPConn) {
			c.CloseWrite()
			eof(t, s)
			transfer(t, s, c, 70_000)
			s.Close()
			eof(t, c)
			c.Close()
		}},
		{name: "both at once", up: 500, down: 700, end: func(c, s *net.TCPConn) {
			c.CloseWrite()
			s.CloseWrite()
			eof(t, c)
			eof(t, s)
			c.Close()
			s.Close()
		}},
		{name: "client resets", up: 3000, down: 4000, sErr: unix.ECONNRESET, end: func(c, s *net.TCPConn) {
			c.SetLinger(0)
			c.Close()
			if _, err := s.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Fatalf("server read: %v", err)
			}
			s.Close()
		}},
		{name: "server resets", up: 3000, down: 4000, cErr: unix.ECONNRESET, end: func(c, s *net.TCPConn) {
			s.SetLinger(0)
			s.Close()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Fatalf("client read: %v", err)
			}
			c.Close()
		}},
		{name: "closed with unread data", up: 3000, down: 4000, unread: 777, cErr: unix.ECONNRESET, end: func(c, s *net.TCPConn) {
			c.Write(make([]byte, 777))
			waitQueued(t, s, 777)
			s.Close()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Fatalf("client read: %v", err)
			}
			c.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.t = t
			client, server := pair(t)
			lp, rp := ports(client)
			if c.up > 0 {
				transfer(t, client, server, c.up)
			}
			if c.down > 0 {
				transfer(t, server, client, c.down)
			}
			c.end(client, server)
			up, down := uint64(c.up+c.unread), uint64(c.down)
			if c.name == "half close" {
				down = 70_000
			}
			ce, se := f.closed(lp, rp), f.closed(rp, lp)
			for _, x := range []struct {
				end            string
				e              *SocketEvent
				role           Role
				sent, received uint64
				errno          unix.Errno
			}{{"client", ce, RoleClient, up, down, c.cErr}, {"server", se, RoleServer, down, up, c.sErr}} {
				// of what was sent last the peer's RST may be the only acknowledgement
				if acked := x.e.Sent <= x.sent && x.e.Sent+uint64(c.unread) >= x.sent; !acked || x.e.Received != x.received {
					t.Errorf("%s in state %d: sent %d, received %d; want %d, %d", x.end, x.e.State, x.e.Sent, x.e.Received, x.sent, x.received)
				}
				if x.e.Role != x.role || unix.Errno(x.e.Errno) != x.errno || !x.e.HasBase || x.e.Baseline {
					t.Errorf("%s: role %d, errno %v, base %v, baseline %v", x.end, x.e.Role, unix.Errno(x.e.Errno), x.e.HasBase, x.e.Baseline)
				}
				if !x.e.Self || x.e.Owner.PID != uint32(hostPID(t, f)) {
					t.Errorf("%s: self %v, owner %d", x.end, x.e.Self, x.e.Owner.PID)
				}
				if x.e.Opened == 0 || x.e.SYN < x.e.Opened || x.e.Established < x.e.SYN || x.e.Time < x.e.Established {
					t.Errorf("%s: times %d %d %d %d are not in order", x.end, x.e.Opened, x.e.SYN, x.e.Established, x.e.Time)
				}
				if d := time.Since(time.Unix(0, x.e.Time)); d < -time.Second || d > 2*patience {
					t.Errorf("%s: closed %v ago", x.end, d)
				}
				if x.e.Key.Src != loopback4 || x.e.Key.Dst != loopback4 || x.e.Key.NetNS != netnsID(t) {
					t.Errorf("%s: key %v in %d", x.end, x.e.Key, x.e.Key.NetNS)
				}
			}
			if ce.SndBase != se.RcvBase || ce.RcvBase != se.SndBase {
				t.Errorf("bases do not pair: client %d/%d, server %d/%d", ce.SndBase, ce.RcvBase, se.SndBase, se.RcvBase)
			}
		})
	}
	if st := f.set.Stats(); st.LostClosed+st.NoStorage+st.DecodeErrors != 0 {
		t.Errorf("losses: %+v", st)
	}
}

// hostPID is this process in the initial pid namespace, as the probe learnt it.
func hostPID(t testing.TB, f *fixture) uint32 {
	t.Helper()
	if f.set.dec.self.PID == 0 {
		t.Fatal("the probe did not learn its own pid")
	}
	return f.set.dec.self.PID
}

func netnsID(t testing.TB) uint32 {
	t.Helper()
	var st unix.Stat_t
	// not /proc/self: a test may have left the main thread in a namespace of its own
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	return uint32(st.Ino)
}

// waitQueued waits until n octets wait to be read.
func waitQueued(t testing.TB, c *net.TCPConn, n int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		got := 0
		raw.Control(func(fd uintptr) { got, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		if err == nil && got >= n {
			return
		}
	}
	t.Fatalf("%d octets never arrived: %v", n, err)
}

// TestKernelFailures: a connect that fails says why.
func TestKernelFailures(t *testing.T) {
	f := start(t, Config{})
	t.Run("refused", func(t *testing.T) {
		f.t = t
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p := port(ln.Addr())
		ln.Close()
		if _, err := net.Dial("tcp4", fmt.Sprint("127.0.0.1:", p)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatalf("dial: %v", err)
		}
		e := f.closed(0, p)
		if e.State != TCPSynSent || unix.Errno(e.Errno) != unix.ECONNREFUSED || e.Established != 0 || e.SYN == 0 || e.HasBase || e.Sent != 0 {
			t.Errorf("%+v", *e)
		}
	})
	t.Run("aborted", func(t *testing.T) {
		f.t = t
		// a listener with a full queue: the SYN is dropped, the application gives up
		fd, p := fullListener(t)
		defer unix.Close(fd)
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(s, &unix.SockaddrInet4{Port: int(p), Addr: [4]byte{127, 0, 0, 1}}); err != unix.EINPROGRESS {
			t.Fatalf("connect: %v", err)
		}
		sa, err := unix.Getsockname(s)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(s)
		e := f.closed(uint16(sa.(*unix.SockaddrInet4).Port), p)
		if e.State != TCPSynSent || e.Errno != 0 || e.Established != 0 {
			t.Errorf("%+v", *e)
		}
	})
	t.Run("no port left", func(t *testing.T) {
		f.t = t
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(s)
		before, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		lp := int(port(ln.Addr()))
		// IP_LOCAL_PORT_RANGE (6.3): the one port of the range is the listener's
		if err := unix.SetsockoptInt(s, unix.IPPROTO_IP, 51, lp<<16|lp); err != nil {
			t.Skipf("IP_LOCAL_PORT_RANGE: %v (system range %s)", err, before)
		}
		err = unix.Connect(s, &unix.SockaddrInet4{Port: lp, Addr: [4]byte{127, 0, 0, 1}})
		if err != unix.EADDRNOTAVAIL {
			t.Skipf("could not stage it: connect says %v", err)
		}
		e := f.closed(0, uint16(lp))
		if e.State != TCPSynSent || unix.Errno(e.Errno) != unix.EADDRNOTAVAIL {
			t.Errorf("%+v", *e)
		}
	})
}

// fullListener returns a listener whose accept queue is full.
func fullListener(t testing.TB) (fd int, port uint16) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	p := sa.(*unix.SockaddrInet4).Port
	for range 3 {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(s) })
		if err := unix.Connect(s, &unix.SockaddrInet4{Port: p, Addr: [4]byte{127, 0, 0, 1}}); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
	}
	return fd, uint16(p)
}

// TestKernelListener: a listener is told of, known while it lives, and its end
// is no connection.
func TestKernelListener(t *testing.T) {
	f := start(t, Config{})
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := port(ln.Addr())
	listed := func() bool {
		for k := range f.set.Listeners {
			if k.SrcPort == p && k.NetNS == netnsID(t) {
				return true
			}
		}
		return false
	}
	f.until("listener", func() { f.drain(); f.snapshot() }, listed)
	ln.Close()
	f.until("end of listener", f.drain, func() bool { return !listed() })
	for _, e := range f.sockets {
		if e.Key.SrcPort == p && (e.Kind != SocketSnapshot || e.Role != RoleListener || e.Owner.PID != hostPID(t, f) || !e.Self) {
			t.Errorf("unexpected %+v", e)
		}
	}
}

// TestKernelSnapshot: an open connection is reported when it did something, and
// only then.
func TestKernelSnapshot(t *testing.T) {
	f := start(t, Config{})
	f.need("snapshot_files")
	client, server := pair(t)
	lp, rp := ports(client)
	transfer(t, client, server, 4321)
	var e *SocketEvent
	f.until("snapshot", f.snapshot, func() bool {
		e = f.socket(SocketSnapshot, lp, rp)
		return e != nil && e.Sent == 4321
	})
	if e.State != TCPEstablished || e.SRTT == 0 || e.MinRTT == 0 || !e.HasBase || e.SegsOut < 2 {
		t.Errorf("%+v", *e)
	}
	f.until("quiet", func() { f.sockets = nil; f.snapshot() }, func() bool {
		return f.socket(SocketSnapshot, lp, rp) == nil && f.socket(SocketSnapshot, rp, lp) == nil
	})
	transfer(t, server, client, 10)
	f.until("second snapshot", f.snapshot, func() bool {
		e = f.socket(SocketSnapshot, lp, rp)
		return e != nil && e.Received == 10
	})
}

// TestDrainAllocs: what Drain allocates does not grow with the records.
func TestDrainAllocs(t *testing.T) {
	f := start(t, Config{})
	const connections = 200
	for range connections {
		client, server := pair(t)
		client.Close()
		eof(t, server)
		server.Close()
	}
	var before, after runtime.MemStats
	h := &discard{}
	runtime.ReadMemStats(&before)
	n, err := f.set.Drain(h)
	runtime.ReadMemStats(&after)
	if err != nil || n < 2*connections {
		t.Fatalf("%d records, %v", n, err)
	}
	// other goroutines and the growth of the listener table have a few
	if m := after.Mallocs - before.Mallocs; m > uint64(n)/10 {
		t.Errorf("%d allocations for %d records", m, n)
	}
}
