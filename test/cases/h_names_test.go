package cases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever names his program may write what he likes into it; the row says it
// without breaking, and the owner is right.
func TestHostileProgramNames(t *testing.T) {
	r := watch(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	port := spawn(t, nil, "serve", "127.206.30.1:0", "10").number()
	names := map[string]string{ // file → what the row says
		"weir\nflow_log,host=h client=\"x\"": "weir?flow_log,host=h client=\"x\"",
		"a,b=c d\\":                          "a,b=c d\\",
		"x) S 1 (y":                          "x) S 1 (y",
		"\x1b[31mred":                        "?[31mred",
		"half\xff\xfe":                       "half??",
		strings.Repeat("long", 60):           strings.Repeat("long", 15) + "l…",
		"\u202egnp.sh":                       "?gnp.sh",
	}
	dir := t.TempDir()
	callers := map[int]string{}
	pids := map[int]int{}
	for name := range names {
		path := filepath.Join(dir, name)
		if err := os.Link(exe, path); err != nil {
			b, err := os.ReadFile(exe)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(path, fmt.Sprint("127.206.30.1:", port), "100")
		cmd.Env = append(os.Environ(), childRole+"=call")
		p := launch(t, nil, cmd)
		from := p.number()
		callers[from], pids[from] = name, p.Process.Pid
		p.ended()
	}
	for _, got := range r.final(t, len(names), serverPort(port)) {
		from := int(got.num("client_port"))
		name, ok := callers[from]
		if !ok {
			t.Fatalf("nobody called from there: %v", got)
		}
		want(t, got, map[string]any{"client_process": names[name], "client_pid": pids[from], "to_server_bytes": 100})
	}
}
