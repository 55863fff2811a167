package arch

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	docName    = regexp.MustCompile(`^(docs/[^/]+|[A-Z]+)\.md$`)
	docLink    = regexp.MustCompile(`\]\(([^)#: ]+)(?:#[^)]*)?\)`)
	docFence   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	docCode    = regexp.MustCompile("`[^`\n]+`")
	docPath    = regexp.MustCompile(`(?:^|[\s"'=(])(?:\./)?([a-zA-Z0-9_.*-]+(?:/[a-zA-Z0-9_.*-]+)+)`)
	docCommand = regexp.MustCompile(`(?m)^\s*(?:sudo )?(?:(?:\./)?weir |--).*`)
	docFlag    = regexp.MustCompile(`(?:^|[\s\[(])--([a-z][a-z0-9-]+)`)
	docTarget  = regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`)
	docSnake   = regexp.MustCompile(`\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b`)
	makeRule   = regexp.MustCompile(`(?m)^([a-z0-9 -]+):`)
)

// foreign is what documents name that is nobody's here: the kernel's functions and
// settings, other programs' flags.
var foreign = map[string]string{
	"bpf_msg_apply_bytes": "a helper of the kernel's", "bpf_stats_enabled": "a sysctl", "ns_last_pid": "a sysctl",
	"tcp_v4_err": "the kernel's", "tcp_v6_err": "the kernel's", "tcp_rcv_established": "the kernel's", "nf_nat_manip_pkt": "the kernel's",
	"help": "cobra's", "resources-path": "Chronograf's", "dashboards/weir.yaml": "in Grafana's provisioning folder",
}

// TestDocsNameWhatIs: files, make targets, flags, tests and names with an underscore
// (configuration, fields, metrics) that a document names are there.
func TestDocsNameWhatIs(t *testing.T) {
	dir := root(t)
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("no git checkout: %v", err)
	}
	tests := testsOf(t, dir)
	files, docs := map[string]bool{}, map[string]string{}
	var sources strings.Builder // and names of files, and the generated schema
	for _, name := range strings.Fields(string(out)) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if os.IsNotExist(err) {
			continue // gone, and not committed yet
		} else if err != nil {
			t.Fatal(err)
		}
		for d := name; d != "."; d = path.Dir(d) {
			files[d] = true
		}
		sources.WriteString(name + "\n")
		if docName.MatchString(name) && name != "docs/schema.md" {
			docs[name] = string(b)
		} else if !strings.HasSuffix(name, ".o") && !strings.Contains(name, "testdata/") && name != "test/arch/docs_test.go" {
			sources.Write(b)
		}
	}
	var targets []string
	makefile, err := os.ReadFile(filepath.Join(dir, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range makeRule.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, strings.Fields(m[1])...)
	}
	isFile := func(pattern string) bool {
		first, _, _ := strings.Cut(pattern, "/")
		if !files[first] {
			return true // of another tree
		}
		for f := range files {
			if ok, _ := path.Match(pattern, f); ok {
				return true
			}
		}
		return false
	}
	all := sources.String()
	if len(docs) < 10 || len(targets) < 20 || len(all) < 1<<20 {
		t.Fatalf("%d documents, %d targets, %d octets of sources: this test would prove nothing", len(docs), len(targets), len(all))
	}
	for name, text := range docs {
		check := func(kind string, re *regexp.Regexp, in string, ok func(string) bool) {
			for _, m := range re.FindAllStringSubmatch(in, -1) {
				if what := m[len(m)-1]; foreign[what] == "" && !ok(what) {
					t.Errorf("%s: there is no %s %s", name, kind, what)
				}
			}
		}
		isFlag := func(s string) bool { return strings.Contains(all, `"`+s+`"`) }
		isTarget := func(s string) bool { return slices.Contains(targets, s) }
		check("file", docLink, text, func(s string) bool { return files[path.Join(path.Dir(name), s)] })
		for _, block := range docFence.FindAllString(text, -1) {
			check("target", docTarget, block, isTarget)
			for _, line := range docCommand.FindAllString(block, -1) {
				check("flag", docFlag, line, isFlag)
			}
		}
		for _, c := range docCode.FindAllString(docFence.ReplaceAllString(text, ""), -1) {
			c = strings.Trim(c, "`")
			check("file", docPath, c, func(s string) bool { return isFile(strings.TrimSuffix(s, "/...")) })
			check("target", docTarget, c, isTarget)
			check("test", testName, "`"+c+"`", func(s string) bool { return tests[s] })
			check("name", docSnake, c, func(s string) bool { return strings.Contains(all, s) })
			if docCommand.MatchString(c) {
				check("flag", docFlag, c, isFlag)
			}
		}
	}
}
