package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weir-probe/weir"

// pkg is what this test needs of `go list -json`.
type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	Name         string
	Deps         []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Module       *struct{ Dir string }
	Error        *struct{ Err string }
}

// rel is the package's path inside the module, "" for its root.
func (p *pkg) rel() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// packages lists every package of the module with its transitive imports.
func packages(t *testing.T) []*pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json", module+"/...")
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v\n%s", err, &stderr)
	}
	var all []*pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(pkg)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		// A directory with nothing but tests or only tagged files is no package.
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
	if len(all) < 5 {
		t.Fatalf("go list found %d packages: this test would prove nothing", len(all))
	}
	return all
}

func root(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// rule forbids packages under from (a path of this module, "…" for it and what
// is below it) to import, directly or not, anything under forbidden.
type rule struct {
	from      string
	except    []string // packages under from that may
	forbidden []string // paths of this module without its prefix, or whole import paths
	why       string
}

var rules = []rule{
	{from: "bpf/...", forbidden: []string{"flows", "kprobes", "correlate", "sink", "cmd"},
		why: "bpf is the packet's end of the data path: it knows nothing of who reads it"},
	{from: "flows/...", except: []string{"flows/capture/tcx"}, forbidden: []string{"bpf", "github.com/cilium/ebpf"},
		why: "generated types stop at the two packages that load them"},
	{from: "flows/...", forbidden: []string{"kprobes", "correlate", "sink", "cmd"},
		why: "imports point toward the packet"},
	{from: "flows", forbidden: []string{"log", "log/slog", "net/http", "flows/capture", "flows/packet"},
		why: "the vocabulary has no logger and no I/O, and does not know who fills it"},
	{from: "flows/packet/...", forbidden: []string{"log", "log/slog", "net/http", "os"},
		why: "decoding is pure: octets in, fields out"},
	{from: "kprobes/...", forbidden: []string{"correlate", "sink", "cmd", "flows/capture"},
		why: "imports point toward the packet; packets and sockets meet in correlate"},
	{from: "correlate/...", forbidden: []string{"sink", "cmd", "flows/capture"},
		why: "the join sees decoded events and records, not how they were captured"},
	{from: "sink/...", forbidden: []string{"cmd", "flows/capture"},
		why: "a sink sees records"},
	{from: "dashboards/...", forbidden: []string{"cmd", "flows/capture"},
		why: "a dashboard knows the schema and nothing of how rows come about"},
}

// homes maps a library to the only packages that may import it directly.
// Who imports a client library decides whose problem its quirks are.
var homes = []struct {
	library string
	home    []string
	why     string
}{
	{"bpf", []string{"bpf", "kprobes/...", "flows/capture/tcx/...", "cmd/weir"}, "no generated type leaves the package that loads it (cmd prints the objects' hashes)"},
	{"github.com/cilium/ebpf", []string{"bpf", "kprobes/...", "flows/capture/tcx/..."}, "one border between Go and the kernel"},
	{"github.com/gopacket/gopacket", []string{"flows/capture/..."}, "the hot path decodes by hand; capture and pcap files only"},
	{"github.com/vishvananda/netlink", []string{"flows/capture/...", "flows/conntrack/...", "kprobes/...", "correlate/...", "cmd/..."}, "netlink belongs to who watches the host"},
	{"github.com/influxdata/influxdb-client-go/v2", []string{"sink/influxdb/..."}, "its ways of losing data are handled in one place"},
	{"github.com/influxdata/line-protocol/v2", []string{"sink/..."}, "line protocol is a sink's matter"},
	{"github.com/twmb/franz-go", []string{"sink/kafka/...", "test/services/..."}, "the probe reads Kafka by itself and writes it in one place; the other client is a test's"},
	{"github.com/klauspost/compress", []string{"sink/journal/...", "sink/influxdb/...", "cmd/..."}, "the journal and request bodies are compressed, rows are not"},
	{"github.com/goccy/go-yaml", []string{"cmd/..."}, "configuration is read in one place; packages have Config structs"},
	{"github.com/spf13/cobra", []string{"cmd/..."}, "the command line is cmd's"},
	{"github.com/lmittmann/tint", []string{"cmd/..."}, "packages take a *slog.Logger"},
	{"golang.org/x/arch", []string{"kprobes/tls"}, "instructions are decoded where probes are placed"},
	{"golang.org/x/term", []string{"cmd/..."}, "only the command line has a terminal"},
	{"github.com/grafana/grafana-foundation-sdk/go", []string{"dashboards/..."}, "generation only, never part of the program"},
	{"k8s.io/cri-api", []string{"correlate/enrich/container/cri/...", "test/..."}, "the runtime's protocol has one client"},
	{"google.golang.org/grpc", []string{"correlate/enrich/container/cri/...", "test/..."}, "gRPC is spoken with container runtimes only"},
	{"go.mongodb.org/mongo-driver/v2", []string{"flows/l7/mongodb", "test/..."}, "BSON is MongoDB's alone, and of the driver only its reader is used"},
	{"k8s.io/client-go", []string{"correlate/enrich/kube/..."}, "520 packages have one door"},
}

// under says whether the module path p is at pattern, or below it for "…/...".
func under(p, pattern string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == base || strings.HasPrefix(p, base+"/")
	}
	return p == pattern
}

func underAny(p string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return under(p, pattern) })
}

// inside says whether the import path is dir or below it; dir is relative to the
// module when the module has such a top folder.
func inside(importPath, dir string) bool {
	for _, full := range []string{dir, module + "/" + dir} {
		if importPath == full || strings.HasPrefix(importPath, full+"/") {
			return true
		}
	}
	return false
}

func TestImportDirection(t *testing.T) {
	for _, p := range packages(t) {
		for _, r := range rules {
			if !under(p.rel(), r.from) || underAny(p.rel(), r.except) {
				continue
			}
			for _, forbidden := range r.forbidden {
				for _, dep := range reach(p, forbidden) {
					if dep != p.ImportPath && inside(dep, forbidden) {
						t.Errorf("%s imports %s: %s", p.rel(), dep, r.why)
					}
				}
			}
		}
	}
}

// reach is where a forbidden import counts: one of ours or of another module
// anywhere below, one of the standard library (which imports itself freely: fmt
// needs os) only when the package names it.
func reach(p *pkg, forbidden string) []string {
	if strings.Contains(forbidden, ".") || isOurs(forbidden) {
		return p.Deps
	}
	return p.Imports
}

func isOurs(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return slices.Contains([]string{"bpf", "flows", "kprobes", "correlate", "sink", "cmd", "dashboards", "test"}, first)
}

func TestSiblingsDoNotImportEachOther(t *testing.T) {
	for _, family := range []string{"correlate/enrich", "sink"} {
		for _, p := range packages(t) {
			mine, ok := childOf(p.ImportPath, family)
			if !ok {
				continue
			}
			for _, imp := range p.Imports {
				theirs, ok := childOf(imp, family)
				if ok && theirs != mine {
					t.Errorf("%s imports %s: members of %s do not know each other", p.rel(), imp, family)
				}
			}
		}
	}
}

// childOf returns which member of the family the import path belongs to; the
// encoder and the conformance suite are the family's own tools.
func childOf(importPath, family string) (string, bool) {
	rest, ok := strings.CutPrefix(importPath, module+"/"+family+"/")
	if !ok {
		return "", false
	}
	name, _, _ := strings.Cut(rest, "/")
	return name, name != "lineproto" && !strings.HasSuffix(name, "test")
}

func TestLibrariesStayAtHome(t *testing.T) {
	for _, p := range packages(t) {
		if strings.HasPrefix(p.rel(), "test/") {
			continue // a second opinion may use anything
		}
		for _, imp := range p.Imports {
			for _, h := range homes {
				if inside(imp, h.library) && !underAny(p.rel(), h.home) {
					t.Errorf("%s imports %s, which belongs to %s: %s", p.rel(), imp, strings.Join(h.home, ", "), h.why)
				}
			}
		}
	}
}

func TestNobodyImportsCmdOrTests(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if inside(imp, "cmd") && !under(p.rel(), "cmd/...") {
				t.Errorf("%s imports %s: nobody imports cmd", p.rel(), imp)
			}
			if inside(imp, "test") && !under(p.rel(), "test/...") {
				t.Errorf("%s imports %s outside a test", p.rel(), imp)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	grabBags := regexp.MustCompile(`^(utils?|helpers?|common|misc|types|shared|lib|base)$`)
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.rel())
		}
		if grabBags.MatchString(p.Name) {
			t.Errorf("%s: a package called %s says nothing about what is in it", p.rel(), p.Name)
		}
	}
}

// How long a file may be: code that one wants to read at once, tests that are
// lists of cases. longFiles may be longer, with the reason; generated files are
// not read by anybody.
const (
	maxLines     = 400
	maxTestLines = 600
)

var longFiles = map[string]string{}

func TestFilesAreShort(t *testing.T) {
	generated := regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	base := root(t)
	var files []string
	for _, p := range packages(t) {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			files = append(files, filepath.Join(p.Dir, name))
		}
	}
	for _, pattern := range []string{"bpf/*.c", "bpf/include/*.h"} {
		some, err := filepath.Glob(filepath.Join(base, pattern))
		if err != nil || len(some) == 0 {
			t.Fatalf("%s: %v, %v", pattern, some, err)
		}
		files = append(files, some...)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(base, path)
		if err != nil {
			t.Fatal(err)
		}
		limit := maxLines
		if strings.HasSuffix(path, "_test.go") {
			limit = maxTestLines
		}
		if n := bytes.Count(b, []byte("\n")); n > limit && longFiles[rel] == "" && !generated.Match(b) {
			t.Errorf("%s has %d lines, more than %d: split it where it has two subjects", rel, n, limit)
		}
	}
}
