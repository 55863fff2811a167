package faults

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-probe/weir/sink/decode"
	"github.com/weir-probe/weir/test/probe"
)

func TestReadyLine(t *testing.T) {
	needsRoot(t)
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			p := probe.Spawn(t, command("--journal", "", "--listen", "", "--log-format", format))
			want := map[string]string{"text": "level=INFO msg=ready ", "json": `"msg":"ready"`}[format]
			p.WaitLog(t, want)
			p.Stop(t)
			log := p.Stderr.String()
			if strings.Count(log, want) != 1 || p.Stdout.String() != "" {
				t.Errorf("ready %d times, standard output %q", strings.Count(log, want), p.Stdout)
			}
			for line := range strings.Lines(log) {
				if format == "json" && !json.Valid([]byte(line)) {
					t.Errorf("not JSON: %s", line)
				}
			}
		})
	}
}

// The rows of what happened right before the signal are written.
func TestTerminateDrains(t *testing.T) {
	needsRoot(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			s, out := listen(t), filepath.Join(t.TempDir(), "rows")
			p := run(t, "--journal", t.TempDir(), "--listen", "", "--sink", "file:"+out)
			open := s.dial(t)
			defer open.Close()
			ports := s.connect(t, 200)
			p.Signal(t, sig)
			if st := p.Status(t); st != 0 {
				t.Fatalf("exit status %d", st)
			}
			lines := read(out)
			s.exactlyOnce(t, lines, ports)
			var forced int
			for line := range strings.Lines(lines) {
				if strings.HasPrefix(line, "flow_log,") && strings.Contains(line, ",end_reason=forced,") && field(line, "server_port") == s.port {
					forced++
				}
			}
			if forced != 1 {
				t.Errorf("the connection that is still open has %d rows with end_reason=forced", forced)
			}
			if !strings.HasSuffix(lines, "\n") {
				t.Error("the last line is not complete")
			}
		})
	}
}

func TestDuration(t *testing.T) {
	needsRoot(t)
	s, out := listen(t), filepath.Join(t.TempDir(), "rows")
	p := run(t, "--journal", "", "--listen", "", "--sink", "file:"+out, "--duration", "4s")
	ports := s.connect(t, 10)
	if st := p.Status(t); st != 0 {
		t.Fatalf("exit status %d", st)
	}
	s.exactlyOnce(t, read(out), ports)
}

// stdout is line protocol and nothing else; the log is on standard error.
func TestStdoutSink(t *testing.T) {
	needsRoot(t)
	s := listen(t)
	p := run(t, "--journal", "", "--listen", "", "--sink", "stdout")
	ports := s.connect(t, 20)
	p.Stop(t)
	s.exactlyOnce(t, p.Stdout.String(), ports)
	for line := range strings.Lines(p.Stdout.String()) {
		if _, err := decode.Parse([]byte(strings.TrimSuffix(line, "\n"))); err != nil {
			t.Errorf("not a row: %s: %v", line, err)
		}
	}
}
