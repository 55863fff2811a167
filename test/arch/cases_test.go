package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// caseRows is how many rows each section of the shared list of cases has.
var caseRows = []struct {
	section string
	rows    int
}{{"A", 17}, {"B", 8}, {"C", 10}, {"D", 17}, {"E", 19}, {"F", 20}, {"G", 11}, {"H", 15}, {"I", 14}, {"J", 11}, {"K", 6}}

var (
	caseRow  = regexp.MustCompile(`(?m)^\| ([A-K][0-9]+) \| (.+) \| (.+) \|$`)
	testName = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]*)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]*)\(`)
	caseTest = regexp.MustCompile(`^TestCase([A-K][0-9]+)_`)
)

// Every case has its row in docs/cases.md, with tests that exist, a promise or a
// reason; and every test named after a case is cited there.
func TestCasesAreListed(t *testing.T) {
	dir := root(t)
	doc, err := os.ReadFile(filepath.Join(dir, "docs", "cases.md"))
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]string{}
	for _, m := range caseRow.FindAllStringSubmatch(string(doc), -1) {
		if _, twice := status[m[1]]; twice {
			t.Errorf("case %s is listed twice", m[1])
		}
		status[m[1]] = m[3]
	}
	for _, s := range caseRows {
		for i := 1; i <= s.rows; i++ {
			if id := fmt.Sprintf("%s%d", s.section, i); status[id] == "" {
				t.Errorf("case %s is not listed", id)
			}
		}
	}
	exist := testsOf(t, dir)
	cited := map[string]bool{}
	for id, st := range status {
		tests := testName.FindAllStringSubmatch(st, -1)
		if len(tests) == 0 && !strings.HasPrefix(st, "later issue") && !strings.HasPrefix(st, "not stageable here: ") {
			t.Errorf("case %s has neither test, promise nor reason: %s", id, st)
		}
		for _, m := range tests {
			cited[m[1]] = true
			if !exist[m[1]] {
				t.Errorf("case %s: there is no %s", id, m[1])
			}
		}
	}
	for name := range exist {
		if m := caseTest.FindStringSubmatch(name); m != nil && !cited[name] {
			t.Errorf("%s is not cited at case %s in docs/cases.md", name, m[1])
		}
	}
}

// testsOf returns the names of all test functions of the module.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != dir {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range testFunc.FindAllSubmatch(b, -1) {
			names[string(m[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
