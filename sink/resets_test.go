package sink

import (
	"testing"

	"github.com/weir-probe/weir/correlate"
)

func TestReasonsToResetHaveTheirField(t *testing.T) {
	for by, who := range TagName {
		for why, name := range FieldResetFor[by] {
			want := ""
			if word := correlate.ResetReason(why).String(); word != "" {
				want = "reset_by_" + who + "_" + word
			}
			if name != want {
				t.Errorf("by %s, reason %d: field %q, want %q", who, why, name, want)
			}
		}
	}
	if len(FieldResetFor[0]) != correlate.NumResetReasons {
		t.Errorf("%d fields of %d reasons", len(FieldResetFor[0]), correlate.NumResetReasons)
	}
}

func TestReasonsToReset(t *testing.T) {
	a, l := NewAggregator(testConfig()), NewFlowLog(testConfig())
	r := record(web, db)
	r.Delta.ResetByClient, r.Delta.ResetByServer = 3, 2
	r.Delta.Resets[ClientEnd][correlate.ResetUnread], r.Delta.Resets[ClientEnd][correlate.ResetLinger] = 1, 1
	r.Delta.Resets[ServerEnd][correlate.ResetLinger] = 2
	r.Total = r.Delta
	a.Add(r)
	a.Add(r)
	l.Add(r, at(1))
	for i, p := range []point{of(points(t, a.Flush(at(1))), MeasurementFlowError)[0], points(t, l.Flush(at(1)))[0]} {
		n := int64(2 - i) // two records in the edge, one in the log
		if p.int("reset_by_client_unread_data") != n || p.int("reset_by_client_linger") != n || p.int("reset_by_server_linger") != 2*n || p.fields["reset_by_server_unread_data"] != nil {
			t.Errorf("%s: %v", p.measurement, p.fields)
		}
	}
}
