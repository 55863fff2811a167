package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestUnit lets systemd read the unit, with a command that exists here.
func TestUnit(t *testing.T) {
	b, err := os.ReadFile("systemd/weir.service")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(b)
	if m == nil {
		t.Fatal("capabilities are not bounded")
	}
	got := strings.Fields(strings.ReplaceAll(string(m[1]), "CAP_", ""))
	slices.Sort(got)
	if !slices.Equal(got, capabilities) {
		t.Errorf("CapabilityBoundingSet is %v, docker-compose.yml has %v", got, capabilities)
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skipf("needs systemd-analyze to verify the unit: %v", err)
	}
	unit := filepath.Join(t.TempDir(), "weir.service")
	b = regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAll(b, []byte("ExecStart=/bin/true"))
	if err := os.WriteFile(unit, b, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "weir.service") {
			t.Errorf("systemd says: %s", line)
		}
	}
	if err != nil && t.Failed() {
		t.Errorf("systemd-analyze verify: %v", err)
	}
}
