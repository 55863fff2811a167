package sink

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate"
)

var update = flag.Bool("update", false, "rewrite docs/schema.md")

func TestSchemaIsSound(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*(_le_[0-9.]+)?$`)
	types := map[string]Type{}
	for _, m := range Measurements() {
		seen := map[string]bool{"time": true} // reserved by every version
		for _, tag := range m.Tags {
			if seen[tag.Name] || !name.MatchString(tag.Name) || tag.Meaning == "" {
				t.Errorf("%s: tag %+v is repeated, badly named or undescribed", m.Name, tag)
			}
			seen[tag.Name] = true
		}
		for _, f := range m.Fields {
			// flow_log keeps some tags of flow as fields; within one measurement no
			// name may be both.
			if seen[f.Name] || !name.MatchString(f.Name) || f.Meaning == "" || f.Type == 0 || f.Semantics == "" {
				t.Errorf("%s: field %+v is repeated, badly named or undescribed", m.Name, f)
			}
			seen[f.Name] = true
			if old, ok := types[f.Name]; ok && old != f.Type && !strings.HasPrefix(m.Name, "weir_") {
				t.Errorf("%s: field %s is %s here and %s elsewhere", m.Name, f.Name, f.Type, old)
			}
			types[f.Name] = f.Type
			checkUnit(t, m.Name, f)
		}
	}
}

// checkUnit holds names to the rule that the unit stands in the name.
func checkUnit(t *testing.T, m string, f Field) {
	t.Helper()
	for suffix, unit := range map[string]Unit{"_bytes": Bytes, "_seconds": Seconds, "_packets": Packets} {
		if strings.HasSuffix(f.Name, suffix) != (f.Unit == unit) && f.Name != suffix[1:] {
			t.Errorf("%s: unit %q of field %s does not stand in its name", m, f.Unit, f.Name)
		}
	}
	if f.Unit == Seconds && f.Type != Float {
		t.Errorf("%s: seconds are floats, %s is %s", m, f.Name, f.Type)
	}
}

func TestFlowStaysAtSixteenFields(t *testing.T) {
	if n := len(flowFields()); n != 16 {
		t.Errorf("flow has %d fields; every one is paid for by every series", n)
	}
}

func TestFailCausesHaveTheirField(t *testing.T) {
	for i, name := range FieldFailedBy {
		if want := "failed_" + correlate.FailCause(i).String(); name != want {
			t.Errorf("cause %d: field %s, want %s", i, name, want)
		}
	}
	var m correlate.Measures
	if len(m.Failed) != len(FieldFailedBy) {
		t.Errorf("%d causes, %d fields", len(m.Failed), len(FieldFailedBy))
	}
}

// TestEveryNameIsDescribed reads the names of schema.go and looks for them in
// the table.
func TestEveryNameIsDescribed(t *testing.T) {
	src, err := os.ReadFile("schema.go")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, m := range Measurements() {
		described[m.Name] = true
		for _, tag := range m.Tags {
			described[tag.Name] = true
		}
		for _, f := range m.Fields {
			described[f.Name] = true
		}
	}
	names := regexp.MustCompile(`(?m)^\t(Measurement|Tag|Field|Log|Info|Self)\w+ *(SelfInt|SelfFloat)? *= "(\w+)"`).FindAllStringSubmatch(string(src), -1)
	if len(names) < 100 {
		t.Fatalf("only %d names found", len(names))
	}
	for _, n := range names {
		if !described[n[3]] {
			t.Errorf("%s is a constant and in no measurement", n[3])
		}
	}
}

// TestLossesAreMarked: what is called a loss or a limit is in the table of those.
func TestLossesAreMarked(t *testing.T) {
	called := regexp.MustCompile(`^lost|_lost$|refused|rejected|dropped|folded|suppressed|overflow|truncated|evicted|errors$|_failures$`)
	not := map[string]string{
		"message_errors": "of the messages, not of the probe",
	}
	for _, f := range selfFields() {
		if named := called.MatchString(f.Name) && not[f.Name] == ""; named && !f.Loss {
			t.Errorf("%s counts a loss and is not marked as one", f.Name)
		}
		if f.Loss && f.Semantics != Delta {
			t.Errorf("%s is a loss, but %s", f.Name, f.Semantics)
		}
	}
	if n := len(Losses()); n < 80 {
		t.Errorf("%d losses", n)
	}
}

func TestNames(t *testing.T) {
	n, err := Names("flow")
	if err != nil || !n["server_port"] || !n["rtt_avg_seconds"] || n["nonsense"] {
		t.Errorf("names %v, %v", n, err)
	}
	if _, err := Names("nonsense"); err == nil {
		t.Error("an unknown measurement must be an error")
	}
}

func TestSchemaDocument(t *testing.T) {
	path := filepath.Join("..", "docs", "schema.md")
	want := schemaDocument()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what schema.go says: go test ./sink -run TestSchemaDocument -update", path)
	}
}

func schemaDocument() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# What Weir writes to InfluxDB

Generated from sink/schema.go by `+"`go test ./sink -run TestSchemaDocument -update`"+`. Schema version %d.

Tags are bounded identities; everything else is a field. Counters are deltas per
interval (int64), gauges are values at the interval's end, times are in seconds
(float64) where the name says so. A row's time is the end of its interval on a
grid common to all hosts, in nanoseconds. An empty tag is left out. A "loss" counts what
is missing from the rows, or coarser in them than it was: 0 is well.
`, SchemaVersion)
	for _, m := range Measurements() {
		fmt.Fprintf(&b, "\n## %s\n\n%s Stream: %s. An absent field means: %s.\n\n| kind | name | type | unit | aggregate as | meaning |\n|---|---|---|---|---|---|\n", m.Name, m.Meaning, m.Stream, m.Absent)
		for _, t := range m.Tags {
			fmt.Fprintf(&b, "| tag | `%s` | string | | | %s |\n", t.Name, t.Meaning)
		}
		for _, f := range m.Fields {
			note, semantics := "", string(f.Semantics)
			if f.Loss {
				semantics += ", loss"
			}
			if f.OptIn != "" {
				note = " (with `" + f.OptIn + ": true`)"
			}
			if f.Planned {
				note = " (not written yet)"
			}
			fmt.Fprintf(&b, "| field | `%s` | %s | %s | %s | %s%s |\n", f.Name, f.Type, f.Unit, semantics, f.Meaning, note)
		}
	}
	return b.String()
}
