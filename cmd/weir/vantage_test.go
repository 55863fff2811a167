package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestExamineNetworkNamespace(t *testing.T) {
	for _, c := range []struct {
		what     string
		settings []string
		want     verdict
	}{
		{"the host", []string{"somaxconn", "dev_weight"}, good},
		{"another one", []string{"somaxconn"}, limited},
		{"hidden", nil, plain},
	} {
		proc := t.TempDir()
		core := filepath.Join(proc, "sys/net/core")
		if err := os.MkdirAll(core, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, s := range c.settings {
			if err := os.WriteFile(filepath.Join(core, s), []byte("64\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := examineNetworkNamespace(proc); got.State != c.want || got.State == limited && got.Remedy == "" {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
}
