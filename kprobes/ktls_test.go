package kprobes

import (
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ktlsRecord is more than a kernel TLS socket with the smallest buffer leaves in TCP's queue.
const ktlsRecord = 16000

// ktls has the kernel do TLS on a connection, with a key that is no secret; it skips t
// where the kernel cannot.
func ktls(t *testing.T, client, server *net.TCPConn) {
	t.Helper()
	const solTLS, tx, rx = 282, 1, 2
	// struct tls12_crypto_info_aes_gcm_128: TLS 1.2, the cipher, then what keys it
	keys := string(append([]byte{0x03, 0x03, 51, 0}, make([]byte, 8+16+4+8)...))
	for _, c := range []*net.TCPConn{client, server} {
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if cerr := raw.Control(func(fd uintptr) {
			if err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_ULP, "tls"); err != nil {
				return
			}
			for _, direction := range []int{tx, rx} {
				if err = unix.SetsockoptString(int(fd), solTLS, direction, keys); err != nil {
					return
				}
			}
		}); cerr != nil {
			t.Fatal(cerr)
		}
		if err != nil {
			t.Skipf("not stageable here: no TLS in this kernel: %v", err)
		}
	}
}

// TestKernelTLSReader: where a record does not fit into TCP's queue kernel TLS takes out of
// it what arrives, whoever runs at that moment; the owner is who reads.
func TestKernelTLSReader(t *testing.T) {
	f := start(t, Config{})
	f.need("sock_recv_length")
	samePIDs(t, f)
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) // the kernel's least
		})
		return errors.Join(err, set)
	}}
	ln, err := small.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, server := dial(t, ln)
	ktls(t, client, server)
	local, remote := ports(server)
	run := func(c *net.TCPConn, role string, records int) *started {
		file, err := c.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		cmd := child(t, role, strconv.Itoa(records*ktlsRecord))
		cmd.ExtraFiles = []*os.File{file}
		return startChild(t, cmd)
	}

	run(client, "write-some", 1)
	var e *SocketEvent
	f.until("snapshot with the record", f.snapshot, func() bool {
		e = f.socket(SocketSnapshot, local, remote)
		return e != nil && e.Received > ktlsRecord
	})
	if e.Owner.PID != uint32(os.Getpid()) || e.OwnerHook == IORead {
		t.Errorf("nobody has read, yet the owner is %+v by hook %d", e.Owner, e.OwnerHook)
	}
	first := run(server, "read-some", 1)
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	f.snapshot()
	if e := f.socket(SocketSnapshot, local, remote); e.Owner.PID != first.pid() || e.OwnerHook != IOReceived {
		t.Errorf("%d has read, yet the owner is %+v by hook %d", first.pid(), e.Owner, e.OwnerHook)
	}

	// Of many some arrive while the reader is in a call: a worker takes those.
	second := run(server, "read-some", 64)
	run(client, "write-some", 64)
	if err := second.Wait(); err != nil {
		t.Fatal(err)
	}
	client.Close()
	server.Close()
	if e := f.closed(local, remote); e.Owner.PID != second.pid() || e.Switches != 1 {
		t.Errorf("%d has read, yet the owner is %+v after %d others", second.pid(), e.Owner, e.Switches)
	}
}
