package faults

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/test/probe"
)

// Somebody removes the journal's folder while it is written to: it is made again, said,
// and rows go on to the sink.
func TestJournalFolderRemoved(t *testing.T) {
	needsRoot(t)
	dir, out := filepath.Join(t.TempDir(), "journal"), filepath.Join(t.TempDir(), "rows")
	s := listen(t)
	p := run(t, "--journal", dir, "--listen", "", "--sink", "file:"+out)
	ports := s.connect(t, 20)
	s.has(t, out, ports)
	until(t, "the folder is gone, however often it is written to in between", func() bool { return os.RemoveAll(dir) == nil })
	more := s.connect(t, 20)
	s.has(t, out, more)
	p.WaitLog(t, "the folder was removed")
	last := s.connect(t, 20)
	until(t, "the rows in the new journal", func() bool { return s.contains(history(t, dir), last) })
	p.Stop(t)
	s.exactlyOnce(t, read(out), slices.Concat(ports, more, last))
}

// A journal that was asked for and cannot be written to is an error that says so; in the
// place of the default one rows wait in memory.
func TestJournalReadOnly(t *testing.T) {
	needsRoot(t)
	disk := smallDisk(t, "1m")
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	p := probe.Spawn(t, command("--journal", filepath.Join(disk, "journal"), "--listen", ""))
	if st := p.Status(t); st != 1 {
		t.Errorf("exit status %d", st)
	}
	if log := p.Log(); !strings.Contains(log, "read-only file system") || !strings.Contains(log, "--journal DIR") {
		t.Errorf("the message does not say what is wrong and what to do: %s", log)
	}

	p = probe.Spawn(t, inMounts(t, "mount -t tmpfs weir /var/lib; mkdir -p /var/lib/weir; mount -o remount,ro /var/lib", "--listen", "", "--sink", "stdout"))
	p.WaitReady(t)
	if log := p.Log(); !strings.Contains(log, "no journal on disk") {
		t.Errorf("it does not say what it does without: %s", log)
	}
	s := listen(t)
	ports := s.connect(t, 10)
	p.Stop(t)
	s.exactlyOnce(t, p.Stdout.String(), ports)
}
