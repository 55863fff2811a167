package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-probe/weir/test/probe"
)

// A journal belongs to one probe. One that was asked for must be had.
func TestJournalLocked(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	first := run(t, "--journal", dir, "--listen", "")
	second := probe.Spawn(t, command("--journal", dir, "--listen", ""))
	if st := second.Status(t); st != 1 {
		t.Errorf("exit status %d", st)
	}
	if log := second.Stderr.String(); !strings.Contains(log, dir) || !strings.Contains(log, "--journal") {
		t.Errorf("the message names neither the folder nor the remedy: %s", log)
	}
	first.Stop(t)
}

// The default one is done without, with a word. Both run in a mount namespace
// where /var/lib is empty.
func TestJournalLockedDefault(t *testing.T) {
	needsRoot(t)
	first := probe.Spawn(t, inMounts(t, "mount -t tmpfs weir /var/lib", "--listen", ""))
	first.WaitLog(t, "msg=ready")
	s := listen(t)
	args := append([]string{"-m", "-t", strconv.Itoa(first.PID()), weir, "run"}, common...)
	cmd := exec.Command("nsenter", append(args, "--listen", "", "--sink", "stdout")...)
	cmd.Env = probe.Environment()
	second := probe.Spawn(t, cmd)
	second.WaitLog(t, "msg=ready")
	if log := second.Stderr.String(); !strings.Contains(log, "no journal on disk") || !strings.Contains(log, "/var/lib/weir/journal") {
		t.Errorf("it does not say what it does without: %s", log)
	}
	ports := s.connect(t, 10)
	second.Stop(t)
	s.exactlyOnce(t, second.Stdout.String(), ports)
	first.Stop(t)
}

// inMounts is `weir run` in a mount namespace of its own, prepared by a script.
func inMounts(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("needs unshare (util-linux)")
	}
	return wrapped(script, append(append([]string{"run"}, common...), args...))
}

// wrapped runs weir with args after script, in a mount namespace.
func wrapped(script string, args []string) *exec.Cmd {
	cmd := exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-c", "set -e; " + script + `; exec "$0" "$@"`, weir}, args...)...)
	cmd.Env = probe.Environment()
	return cmd
}

// I9: killed in the middle; what is in the journal comes with the next run, and
// in order.
func TestCaseI9_KilledInTheMiddle(t *testing.T) {
	needsRoot(t)
	journal, out := t.TempDir(), filepath.Join(t.TempDir(), "rows")
	args := []string{"--journal", journal, "--listen", "", "--sink", "file:" + out}
	var told [][]int // that the file has them shows that they are in the journal
	var servers []*server
	lost := listen(t)
	for range 3 {
		p, s := run(t, args...), listen(t)
		ports := s.connect(t, 50)
		s.has(t, out, ports)
		told, servers = append(told, ports), append(servers, s)
		lost.connect(t, 50) // may end with the process
		p.Signal(t, syscall.SIGKILL)
		p.Status(t)
	}
	// A run whose rows only the journal has.
	s := listen(t)
	p := probe.Spawn(t, inMounts(t, full(out), args...))
	p.WaitLog(t, "msg=ready")
	ports := s.connect(t, 50)
	until(t, "the rows in the journal", func() bool { return s.contains(history(t, journal), ports) })
	p.Signal(t, syscall.SIGKILL)
	p.Status(t)
	told, servers = append(told, ports), append(servers, s)

	p = run(t, args...)
	s.has(t, out, ports)
	p.Stop(t)
	lines, before := read(out), -1
	for i, s := range servers {
		s.atLeastOnce(t, lines, told[i])
		if first := strings.Index(lines, "server_port="+strconv.Itoa(s.port)+"i"); first < before {
			t.Errorf("rows of run %d come before those of the run before", i)
		} else {
			before = first
		}
	}
	s.exactlyOnce(t, lines, ports)
}

func (s *server) atLeastOnce(t *testing.T, lines string, ports []int) {
	t.Helper()
	if !s.contains(lines, ports) {
		t.Errorf("not all %d connections to port %d have a row", len(ports), s.port)
	}
}

// full is a script that puts a full disk where the file is.
func full(file string) string {
	return "mount -t tmpfs -o size=4k full " + filepath.Dir(file) + "; head -c 4096 /dev/zero > " + file
}

// Damage costs the record it is in, is said, and the rest is delivered.
func TestJournalCorrupt(t *testing.T) {
	needsRoot(t)
	s, journal := listen(t), t.TempDir()
	out := filepath.Join(t.TempDir(), "rows")
	args := []string{"--journal", journal, "--listen", "", "--sink", "file:" + out}
	p := probe.Spawn(t, inMounts(t, full(out), args...))
	p.WaitLog(t, "msg=ready")
	var groups [][]int
	var servers []*server
	for range 4 { // each in a record of its own
		s := listen(t)
		ports := s.connect(t, 20)
		until(t, "the rows in the journal", func() bool { return s.contains(history(t, journal), ports) })
		groups, servers = append(groups, ports), append(servers, s)
	}
	p.Stop(t)
	segments, err := filepath.Glob(filepath.Join(journal, "*.weirj"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 16 {
			b[len(b)/2+i] ^= 0xff
		}
		if err := os.WriteFile(path, b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	p = run(t, args...)
	after := s.connect(t, 20)
	s.has(t, out, after)
	p.Stop(t)
	lines := read(out)
	s.exactlyOnce(t, lines, after)
	var kept int
	for i, s := range servers {
		if s.contains(lines, groups[i]) {
			kept++
		}
	}
	if kept < len(groups)-1 {
		t.Errorf("of %d groups of rows %d are left after damage to one place", len(groups), kept)
	}
	if log := p.Stderr.String(); !strings.Contains(log, "journal") || !strings.Contains(log, ".weirj") {
		t.Errorf("the log does not name the damaged file: %s", log)
	}
}

// The journal's disk is full: rows go on to the sink, and it is said.
func TestJournalDiskFull(t *testing.T) {
	needsRoot(t)
	dir := smallDisk(t, "8m")
	out := filepath.Join(t.TempDir(), "rows")
	s := listen(t)
	p := run(t, "--journal", filepath.Join(dir, "journal"), "--listen", "", "--sink", "file:"+out)
	ports := s.connect(t, 20)
	s.has(t, out, ports)
	if err := fill(filepath.Join(dir, "ballast")); err == nil {
		t.Fatal("the disk does not get full")
	}
	more := s.connect(t, 200)
	s.has(t, out, more)
	p.WaitLog(t, "no space left")
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	last := s.connect(t, 20)
	s.has(t, out, last)
	p.Stop(t)
	s.exactlyOnce(t, read(out), slices.Concat(ports, more, last))
}

func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return err
		}
	}
}
