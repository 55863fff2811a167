package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/influxd"
	"github.com/weir-probe/weir/test/machine"
)

// smallDisk mounts a file system of so many octets ("64m") for the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("weir", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// J4: the server's disk gets full while rows come, and has room again later. It is said
// what is wrong, and in the end each row is there once.
func TestCaseJ4_ServersDiskFull(t *testing.T) {
	needsRoot(t)
	for _, v := range []string{influxd.V1, influxd.V2} {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			disk := smallDisk(t, "64m")
			db := influxd.StartIn(t, v, disk)
			s := listenAt(t, machine.FreeAddress(t))
			p := into(t, db, "--journal", t.TempDir(), "--flow-log-rate", "1000000")
			ports := s.connect(t, 50)
			s.delivered(t, db, ports)

			ballast := filepath.Join(disk, "ballast")
			if err := fill(ballast); err == nil {
				t.Fatal("the disk does not get full")
			}
			st, err := os.Stat(ballast)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(ballast, st.Size()-16<<10); err != nil { // so that a write gets half of its way
				t.Fatal(err)
			}
			until(t, "the server to say that its disk is full", func() bool {
				ports = append(ports, s.connect(t, 50)...)
				return strings.Contains(p.Log(), "the server's disk is full")
			})
			ports = append(ports, s.connect(t, 50)...)
			if log := p.Log(); !strings.Contains(log, "make room on the disk of the server") {
				t.Errorf("the log does not say what to do: %s", log)
			}

			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			db.Restart(t) // or it would say so for ever
			ports = append(ports, s.connect(t, 50)...)
			s.settled(t, db, ports)
			p.Stop(t)
			s.sums(t, db, len(ports))
			db.NothingLost(t)
			if n := number(t, db, influxd.Bucket, `SELECT sum(server_full) AS n FROM weir_self WHERE stage = 'delivery'`); n == 0 {
				t.Error("weir_self does not say that the server was full")
			}
		})
	}
}
