package deploy

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weir-probe/weir/sink/influxdb/setup"
)

var update = flag.Bool("update", false, "write the generated TICKscripts to kapacitor/")

// TestTICKscripts: those in kapacitor/ are what `weir setup influxdb
// --kapacitor-dir` writes for the database weir, and there is no other.
func TestTICKscripts(t *testing.T) {
	scripts := setup.Scripts("weir", "autogen")
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		path := filepath.Join("kapacitor", name)
		if *update {
			if err := os.WriteFile(path, []byte(scripts[name]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v: run make kapacitor", err)
		}
		if string(got) != scripts[name] {
			t.Errorf("%s is not what the code generates: run make kapacitor", path)
		}
	}
	there, err := filepath.Glob("kapacitor/*.tick")
	if err != nil || len(there) != len(scripts) {
		t.Errorf("%d scripts, %d are generated: %v", len(there), len(scripts), err)
	}
}
