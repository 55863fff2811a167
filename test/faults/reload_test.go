package faults

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/probe"
)

// configure writes a configuration file of which the host tag and the sink change.
func configure(t *testing.T, path, host, out, more string) {
	t.Helper()
	text := "interval: 1s\npackets: 'off'\ndocker: /nonexistent\nlisten: ''\nhost: " + host + "\nsinks: ['file:" + out + "']\n" + more
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reloading is a probe that is run from a configuration file.
type reloading struct {
	*probe.Process
	dir, file, out string
}

func runConfigured(t *testing.T) *reloading {
	t.Helper()
	dir := t.TempDir()
	r := &reloading{dir: dir, file: filepath.Join(dir, "weir.yaml"), out: filepath.Join(dir, "rows")}
	configure(t, r.file, "before", r.out, "")
	cmd := command()
	cmd.Args = []string{weir, "run", "--config", r.file, "--journal", filepath.Join(dir, "journal")}
	r.Process = probe.Spawn(t, cmd)
	r.WaitLog(t, "msg=ready")
	return r
}

// Connections made before and after a reload, and those that live across it,
// are all there, once.
func TestReload(t *testing.T) {
	needsRoot(t)
	r, s := runConfigured(t), listen(t)
	long := s.dial(t)
	ports := append(s.connect(t, 20), long.LocalAddr().(*net.TCPAddr).Port)
	configure(t, r.file, "after", r.out, "")
	r.Signal(t, syscall.SIGHUP)
	r.WaitLogs(t, "msg=ready", 2)
	finish(t, long)
	ports = append(ports, s.connect(t, 20)...)
	r.Stop(t)
	lines := read(r.out)
	s.exactlyOnce(t, lines, ports)
	if !strings.Contains(lines, ",host=before,") || !strings.Contains(lines, ",host=after,") {
		t.Error("the new configuration did not take effect")
	}
	if !strings.Contains(r.Stderr.String(), "configuration read again") {
		t.Error("the log does not tell of the reload")
	}
}

// A reload tells the zone that the configuration has by then.
func TestReloadZone(t *testing.T) {
	needsRoot(t)
	r, s := runConfigured(t), listen(t)
	ports := s.connect(t, 20)
	configure(t, r.file, "before", r.out, "zone: here\n")
	r.Signal(t, syscall.SIGHUP)
	r.WaitLogs(t, "msg=ready", 2)
	ports = append(ports, s.connect(t, 20)...)
	r.Stop(t)
	lines := read(r.out)
	s.exactlyOnce(t, lines, ports)
	zoned := map[bool]int{}
	for line := range strings.Lines(lines) {
		if strings.HasPrefix(line, "flow,") && strings.Contains(line, fmt.Sprintf(",server_port=%d", s.port)) {
			zoned[strings.Contains(line, ",client_zone=here,") && strings.Contains(line, ",crosses=none,") && strings.Contains(line, ",server_zone=here")]++
		}
	}
	if zoned[false] == 0 || zoned[true] == 0 {
		t.Errorf("rows with the zone %d, without %d", zoned[true], zoned[false])
	}
}

// A probe that is told to end in the middle of a reload tells what is open, once,
// wherever the reload has got to.
func TestEndDuringReload(t *testing.T) {
	needsRoot(t)
	for wait := time.Duration(0); wait <= 128*time.Millisecond; wait = max(2*wait, 8*time.Millisecond) {
		t.Run(wait.String(), func(t *testing.T) {
			r, s := runConfigured(t), listen(t)
			open := s.dial(t)
			defer open.Close()
			ports := s.connect(t, 5)
			r.Signal(t, syscall.SIGHUP)
			time.Sleep(wait) // the moment under test
			r.Stop(t)
			lines := read(r.out)
			s.exactlyOnce(t, lines, ports)
			told, port := 0, open.LocalAddr().(*net.TCPAddr).Port
			for line := range strings.Lines(lines) {
				if strings.HasPrefix(line, "flow_log,") && strings.Contains(line, ",end_reason=forced,") && field(line, "client_port") == port {
					told++
				}
			}
			if told != 1 {
				t.Errorf("the open connection is told %d times", told)
			}
		})
	}
}

// Connections that begin and end during a reload are there, too.
func TestReloadWithoutGap(t *testing.T) {
	needsRoot(t)
	r, s := runConfigured(t), listen(t)
	configure(t, r.file, "after", r.out, "")
	r.Signal(t, syscall.SIGHUP)
	var ports []int
	for strings.Count(r.Stderr.String(), "msg=ready") < 2 && len(ports) < 5000 {
		ports = append(ports, s.connect(t, 1)...)
	}
	r.WaitLogs(t, "msg=ready", 2)
	r.Stop(t)
	s.exactlyOnce(t, read(r.out), ports)
}

// A configuration that can't be used leaves the old one at work.
func TestReloadBroken(t *testing.T) {
	needsRoot(t)
	for _, c := range []struct {
		name, text, says string
	}{
		{"unknown key", "interval: 1s\nintervall: 2s\n", "intervall"},
		{"bad value", "interval: 1ms\n", "at least 1s"},
		{"sink in no folder", "interval: 1s\npackets: 'off'\nlisten: ''\nsinks: ['file:/nonexistent/rows']\n", "/nonexistent/rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, s := runConfigured(t), listen(t)
			if err := os.WriteFile(r.file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			r.Signal(t, syscall.SIGHUP)
			r.WaitLog(t, "configuration not taken")
			ports := s.connect(t, 20)
			s.has(t, r.out, ports)
			r.Stop(t)
			s.exactlyOnce(t, read(r.out), ports)
			if !strings.Contains(r.Stderr.String(), c.says) {
				t.Errorf("the log does not say %q", c.says)
			}
		})
	}
}
