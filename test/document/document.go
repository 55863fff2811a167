// Package document puts what a test has measured into the documents that say so.
package document

import (
	"os"
	"strings"
	"testing"
)

// Replace puts text between the marks <!-- name --> and <!-- end --> of a file.
func Replace(t testing.TB, file, name, text string) {
	t.Helper()
	from, to := "<!-- "+name+" -->\n", "<!-- end -->\n"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	if err := os.WriteFile(file, []byte(before+from+text+to+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
