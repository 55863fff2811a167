package influxd

import (
	"encoding/json"
	"testing"
)

// NothingLost wants no loss in any stage of any interval that a probe has told of, but for
// runs of a program that the kernel left out because it was in the middle of that program
// on that processor: whoever else is busy on this machine can do that.
func (s *Server) NothingLost(t testing.TB) {
	t.Helper()
	told := s.QueryInfluxQL(t, Bucket, `SELECT sum(lost) AS n, sum(program_misses) AS misses FROM weir_self GROUP BY stage`)
	stages := 0
	for _, r := range told {
		n, ok := r.Values["n"].(json.Number)
		if !ok {
			continue // it counts no loss
		}
		stages++
		switch misses, _ := r.Values["misses"].(json.Number); {
		case n == "0":
		case n == misses:
			t.Logf("%s runs of a program left out", n)
		default:
			t.Errorf("%s lost in stage %s, of which %q are runs of a program left out", n, r.Tags["stage"], misses)
		}
	}
	if stages < 3 {
		t.Errorf("%d stages tell of losses", stages)
	}
}
