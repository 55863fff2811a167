package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/kprobes"
)

// stat makes a line of proc_pid_stat(5).
func stat(pid int, comm string, start int) string {
	return fmt.Sprintf("%d (%s) S 7 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", pid, comm, start)
}

// A process may be gone, or be another one, between any two files of it.
func TestEntriesThatVanish(t *testing.T) {
	for _, c := range []struct {
		what    string
		files   map[string]string // exe is a link
		comm    string
		fails   bool
		reuse   bool
		cmdline string
	}{
		{what: "whole", files: map[string]string{"stat": stat(9, "a", 5), "exe": "/bin/a", "cmdline": "a\x00b\x00"}, comm: "a", cmdline: "a\x00b\x00"},
		{what: "gone", files: nil, fails: true},
		{what: "gone before its executable was read", files: map[string]string{"stat": stat(9, "a", 5)}, fails: true},
		{what: "gone before its command line was read", files: map[string]string{"stat": stat(9, "a", 5), "exe": "/bin/a"}, fails: true},
		{what: "a zombie has no executable", files: map[string]string{"stat": stat(9, "a", 5), "cmdline": ""}, comm: "a"},
		{what: "an empty stat", files: map[string]string{"stat": "", "exe": "/bin/a", "cmdline": "a"}, fails: true},
		{what: "a stat that ends early", files: map[string]string{"stat": "9 (a) S 7 1", "exe": "/bin/a", "cmdline": "a"}, fails: true},
		{what: "another process", files: map[string]string{"stat": stat(9, "a", 500), "exe": "/bin/a", "cmdline": "a"}, fails: true, reuse: true},
		{what: "a name like fields", files: map[string]string{"stat": stat(9, "x) S 1 (y", 5), "exe": "/x", "cmdline": "x"}, comm: "x) S 1 (y", cmdline: "x"},
		{what: "a name like a line", files: map[string]string{"stat": stat(9, "a\n8 (b) S 1", 5), "exe": "/x", "cmdline": "x"}, comm: "a\n8 (b) S 1", cmdline: "x"},
		{what: "a name of a bracket", files: map[string]string{"stat": stat(9, ")", 5), "exe": "/x", "cmdline": "x"}, comm: ")", cmdline: "x"},
	} {
		root := t.TempDir()
		dir := filepath.Join(root, "9")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range c.files {
			var err error
			if name == "exe" {
				err = os.Symlink(content, filepath.Join(dir, name))
			} else {
				err = os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		s, err := readProcess(root, kprobes.ProcessID{PID: 9, Start: 5 * tick})
		if (err != nil) != c.fails || errors.Is(err, errReused) != c.reuse {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if err == nil && (s.comm != c.comm || string(s.args.Raw) != c.cmdline || s.ppid != 7) {
			t.Errorf("%s: %+v", c.what, s)
		}
	}
}

// Whatever runs out while it is read: what is told is one process, whole, or
// nothing.
func TestReadingWhatExits(t *testing.T) {
	const rounds = 40
	ran := make(chan error, 1)
	go func() {
		// a shell and a hundred programs of a millisecond, each with its number
		for range rounds {
			if err := exec.Command("/bin/sh", "-c", `i=0; while [ $i -lt 50 ]; do /bin/true weir-test $i & i=$((i+1)); done; wait`).Run(); err != nil {
				ran <- err
				return
			}
		}
		ran <- nil
	}()
	read, gone := 0, 0
	for {
		select {
		case err := <-ran:
			if err != nil {
				t.Fatal(err)
			}
			if read == 0 || gone == 0 {
				t.Skipf("the race was not met: %d read, %d gone", read, gone)
			}
			return
		default:
		}
		pids, err := listPIDs("/proc")
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			s, err := readAny("/proc", pid)
			if err != nil {
				gone++
				continue
			}
			// the program's words belong to the program only
			if bytes.HasPrefix(s.args.Raw, []byte("/bin/true\x00weir-test")) && s.exe != "" {
				if read++; !strings.HasSuffix(s.exe, "/true") && !strings.HasSuffix(s.exe, "/coreutils") {
					t.Errorf("process %d: %q runs %q", pid, s.args.Raw, s.exe)
				}
			}
			if s.pid != pid || s.start == 0 {
				t.Errorf("process %d: %+v", pid, s)
			}
		}
	}
}
