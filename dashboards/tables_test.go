package dashboards

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// checkTables: a table of sums has one row for each of what it is about, complete. An
// outer query would put the largest of something on a row of its own, beside its sums;
// and the columns that top() is given by name come by themselves.
func checkTables(t *testing.T, s *server) {
	for _, p := range mustPages(t) {
		for _, panel := range p.panels() {
			for _, q := range panel.Targets {
				tg := q.(target)
				if tg.ResultFormat != rows || strings.Contains(tg.Query, "ORDER BY") || *tg.Datasource.Uid == string(logDB) {
					continue
				}
				where := p.Name + ", " + *panel.Title
				got, err := s.ask(sampleValues.database(*tg.Datasource.Uid), sampleValues.apply(tg.Query, p))
				if err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				oneRowEach(t, where, got)
			}
		}
	}
}

func oneRowEach(t *testing.T, where string, got answer) {
	t.Helper()
	seen := map[string]bool{}
	for _, series := range got {
		for i, c := range series.Columns {
			if strings.HasSuffix(c, "_1") || slices.Contains(series.Columns[:i], c) {
				t.Errorf("%s: column %s comes twice", where, c)
			}
		}
		for _, row := range series.Values {
			about := fmt.Sprint(series.Tags)
			for i, v := range row {
				if text, ok := v.(string); ok && series.Columns[i] != "time" {
					about += " " + text
				}
			}
			if seen[about] {
				t.Errorf("%s: two rows about %s", where, about)
			}
			seen[about] = true
		}
	}
}
