package rules

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate/anomaly"
	"github.com/weir-probe/weir/sink"
)

// measurement is one of the schema.
func measurement(t *testing.T, name string) sink.Measurement {
	t.Helper()
	all := sink.Measurements()
	i := slices.IndexFunc(all, func(m sink.Measurement) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("the schema has no %s", name)
	}
	return all[i]
}

// TestTable: every rule is of fields and tags that the schema has, its names are its own,
// and its figure can be made.
func TestTable(t *testing.T) {
	s := Silent()
	seen := map[string]bool{s.UID: true, s.Name: true}
	for _, r := range All() {
		if seen[r.UID] || seen[r.Name] || !regexp.MustCompile(`^weir-[a-z-]{1,35}$`).MatchString(r.UID) {
			t.Errorf("%s: UID or name is not its own", r.Name)
		}
		seen[r.UID], seen[r.Name] = true, true
		m := measurement(t, r.From)
		tag := func(name string) {
			if !slices.ContainsFunc(m.Tags, func(x sink.Tag) bool { return x.Name == name }) {
				t.Errorf("%s: %s has no tag %s", r.Name, m.Name, name)
			}
		}
		for _, name := range r.By {
			tag(name)
		}
		for _, any := range r.Where {
			for _, is := range any {
				tag(is.Tag)
			}
		}
		for _, name := range slices.Concat(r.Top, r.Bottom, r.Details) {
			if f, ok := m.Field(name); !ok || f.Planned {
				t.Errorf("%s: %s has no field %s", r.Name, m.Name, name)
			}
		}
		if r.By[0] != sink.TagHost || r.Warn == 0 && r.Crit == 0 || r.Reach < Window || strings.Count(r.Says, "%s") != 1 || r.Meaning == "" || r.Advice == "" {
			t.Errorf("%s: %+v", r.Name, r)
		}
		if (r.Of != Sum || !r.Share()) && len(r.Top) != 1 || r.Share() != (r.AtLeast > 0) || len(r.Details) > 0 && r.Of != Latest {
			t.Errorf("%s: its figure: %+v", r.Name, r)
		}
	}
	m := measurement(t, s.Measurement)
	if f, ok := m.Field(s.Field); !ok || f.Name == "" {
		t.Errorf("no field %s", s.Field)
	}
}

// TestEveryAnomalyHasItsRule: what is told with a warning or worse, and nothing else.
func TestEveryAnomalyHasItsRule(t *testing.T) {
	for _, kind := range anomaly.Types() {
		e := sink.AnomalyEvent(&anomaly.Anomaly{Type: kind})
		n := 0
		for _, r := range All() {
			if r.From == sink.MeasurementEvent && r.Of == Latest && r.Where[0][0] == (Is{Tag: sink.TagSeverity, Value: string(e.Severity)}) {
				n++
			}
		}
		if want := map[bool]int{true: 0, false: 1}[e.Severity == sink.SeverityInfo]; n != want {
			t.Errorf("%s, %s: %d rules", kind, e.Severity, n)
		}
	}
}
