package machine

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// FreeAddress is an address on loopback for a server that takes a number only. It
// is t's until its end: tests of several packages start servers at once, and what
// the kernel calls free (port 0) may be another's, or a connection's, by the time
// the server listens. So it is below the ports that connections get, and locked.
func FreeAddress(t testing.TB) string {
	t.Helper()
	const first, ports = 20000, 10000
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("weir-test-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		port := first + rand.IntN(ports)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		lock, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(port)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			lock.Close()
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			lock.Close()
			continue
		}
		l.Close()
		t.Cleanup(func() { lock.Close() })
		return addr
	}
	t.Fatal("no port is free in 200 tries")
	return ""
}
