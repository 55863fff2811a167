package arch

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestDependenciesAreExplained: every direct requirement of go.mod has a row in
// docs/dependencies.md with a reason and a licence, and no row is left of one
// that is gone.
func TestDependenciesAreExplained(t *testing.T) {
	base := root(t)
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = base
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("read go.mod: %v", err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Tool []struct{ Path string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatalf("decode go.mod: %v", err)
	}
	doc, err := os.ReadFile(filepath.Join(base, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	// | `module` | licence | reason |
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| *([^| ][^|]*) \\| *([^| ][^|]*) \\|$").FindAllSubmatch(doc, -1) {
		rows[string(m[1])] = false
	}
	for _, r := range mod.Require {
		if r.Indirect && !isTool(r.Path, mod.Tool) {
			continue
		}
		if _, ok := rows[r.Path]; !ok {
			t.Errorf("%s is required directly, but docs/dependencies.md has no row with its licence and reason", r.Path)
		}
		rows[r.Path] = true
	}
	for path, required := range rows {
		if !required {
			t.Errorf("docs/dependencies.md explains %s, which go.mod does not require directly", path)
		}
	}
}

// isTool says whether a tool line of go.mod is served by the module.
func isTool(path string, tools []struct{ Path string }) bool {
	for _, tool := range tools {
		if tool.Path == path || bytes.HasPrefix([]byte(tool.Path), []byte(path+"/")) {
			return true
		}
	}
	return false
}
