package conversation

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/flows/l7"
)

// Captures returns the conversations of all captures in testdata by the name of
// the file.
func Captures(t testing.TB) map[string][]*Captured {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.pcap")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no captures in testdata: %v", err)
	}
	all := map[string][]*Captured{}
	for _, path := range paths {
		all[path] = Capture(t, path)
		if len(all[path]) == 0 {
			t.Fatalf("%s has no connection", path)
		}
	}
	return all
}

// Golden compares what spec tells of each capture in testdata with the golden file
// beside it, or writes it where update is set, and checks the properties of each
// connection.
func Golden(t *testing.T, spec l7.Spec, update *bool) {
	for path, connections := range Captures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			var b strings.Builder
			for i, c := range connections {
				fmt.Fprintf(&b, "# connection %d\n", i+1)
				for _, m := range Tell(spec, c.Chunks) {
					fmt.Fprintln(&b, m)
				}
			}
			golden := strings.TrimSuffix(path, ".pcap") + ".golden.txt"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("messages (-golden +now):\n%s", diff)
			}
			for i, c := range connections {
				t.Run(fmt.Sprint(i+1), func(t *testing.T) { Properties(t, spec, c.Chunks) })
			}
		})
	}
}

// MatchCaptures checks that spec recognises each connection of the captures in
// testdata by a Yes of one of its turns, and that no beginning of a turn is both
// what it is and No.
func MatchCaptures(t *testing.T, spec l7.Spec) {
	for path, connections := range Captures(t) {
		for i, c := range connections {
			yes := false
			for _, chunk := range c.Chunks {
				yes = yes || chunk.Turn && spec.Match(chunk.Dir, chunk.Data) == l7.Yes
			}
			if !yes && len(c.Chunks) > 0 {
				t.Errorf("%s, connection %d: no turn is recognised", path, i+1)
			}
		}
	}
}
