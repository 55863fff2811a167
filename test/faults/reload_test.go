package faults

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// configure writes a configuration file of which the host tag and the sink change.
func configure(t *testing.T, path, host, out, more string) {
	t.Helper()
	text := "interval: 1s\npackets: 'off'\ndocker: /nonexistent\nlisten: ''\nhost: " + host + "\nsinks: ['file:" + out + "']\n" + more
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func configured(t *testing.T, path, journal string) *probe {
	t.Helper()
	p := spawn(t, command())
	_ = p
	return p
}

// reloading is a probe that is run from a configuration file.
type reloading struct {
	*probe
	dir, file, out string
}

func runConfigured(t *testing.T) *reloading {
	t.Helper()
	dir := t.TempDir()
	r := &reloading{dir: dir, file: filepath.Join(dir, "weir.yaml"), out: filepath.Join(dir, "rows")}
	configure(t, r.file, "before", r.out, "")
	cmd := command("--config", r.file, "--journal", filepath.Join(dir, "journal"))
	cmd.Args = []string{weir, "run", "--config", r.file, "--journal", filepath.Join(dir, "journal")}
	r.probe = spawn(t, cmd)
	r.waitLog("msg=ready")
	return r
}

// Connections made before, during and after a reload are all there, once.
func TestReloadLosesNothing(t *testing.T) {
	needsRoot(t)
	r, s := runConfigured(t), listen(t)
	long := s.dial(t)
	longPort := s.port
	_ = longPort
	ports := s.connect(t, 20)
	configure(t, r.file, "after", r.out, "")

	during, stop := context.WithCancel(t.Context())
	made := make(chan []int)
	go func() {
		var p []int
		for during.Err() == nil && len(p) < 20000 {
			p = append(p, s.connect(t, 1)...)
		}
		made <- p
	}()
	r.signal(syscall.SIGHUP)
	r.waitLog("configuration read again")
	r.waitLogs("msg=ready", 2)
	stop()
	ports = append(ports, <-made...)
	finish(t, long)
	ports = append(ports, s.connect(t, 20)...)
	r.stop()
	lines := read(r.out)
	s.exactlyOnce(t, lines, ports)
	if !strings.Contains(lines, ",host=before,") || !strings.Contains(lines, ",host=after,") {
		t.Error("the new configuration did not take effect")
	}
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
			r.signal(syscall.SIGHUP)
			r.waitLog("configuration not taken")
			ports := s.connect(t, 20)
			s.has(t, r.out, ports)
			r.stop()
			s.exactlyOnce(t, read(r.out), ports)
			if !strings.Contains(r.stderr.String(), c.says) {
				t.Errorf("the log does not say %q", c.says)
			}
		})
	}
}
