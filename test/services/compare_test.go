package services

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/sink/decode"
)

// kind is what is compared: requests of one operation with one status.
type kind struct{ l7, operation, status string }

// tally is what one side says of a kind.
type tally struct {
	requests, errors int64
	sum, least       float64 // seconds, of those that were timed
	timed            int64
}

func ofClient(log []asked) map[kind]*tally {
	out := map[kind]*tally{}
	for _, a := range log {
		t := at(out, kind{a.L7, a.Operation, a.Status})
		t.requests++
		if a.Failed {
			t.errors++
		}
		if !a.Piped {
			took := float64(a.NS) / 1e9
			if t.timed == 0 || took < t.least {
				t.least = took
			}
			t.sum, t.timed = t.sum+took, t.timed+1
		}
	}
	return out
}

// ofWeir adds up rows; wire, if there is one, says which kinds are one on the wire.
func ofWeir(rows []*decode.Row, wire func(kind) kind) map[kind]*tally {
	out := map[kind]*tally{}
	for _, r := range rows {
		k := kind{r.Tags["l7"], r.Tags["operation"], r.Tags["status"]}
		if wire != nil {
			k = wire(k)
		}
		t := at(out, k)
		num := func(name string) int64 { n, _ := r.Fields[name].(int64); return n }
		t.requests += num("requests")
		t.errors += num("errors")
		sum, _ := r.Fields["response_sum_seconds"].(float64)
		if n := num("response_count"); n > 0 {
			t.sum, t.timed = t.sum+sum, t.timed+n
		}
	}
	return out
}

func at(m map[kind]*tally, k kind) *tally {
	if m[k] == nil {
		m[k] = &tally{}
	}
	return m[k]
}

// compare checks that weir's requests are the client's: every count exact, and the
// latency of what is slow on purpose not above the client's, nor 5 % and 200 µs below the
// client's least: on a busy machine a client looks at its clock late. ignore says which of
// weir's operations the client's library does by itself.
func compare(t *testing.T, client, weir map[kind]*tally, ignore func(kind) bool) {
	t.Helper()
	var table strings.Builder
	fmt.Fprintf(&table, "%-11s %-46s %-26s %9s %9s %8s %8s %12s %12s\n", "l7", "operation", "status", "requests", "weir", "errors", "weir", "mean", "weir")
	for _, k := range kinds(client, weir) {
		c, w := client[k], weir[k]
		if c == nil && ignore != nil && ignore(k) {
			continue
		}
		if c == nil {
			t.Errorf("weir wrote %d requests %v that nobody made", w.requests, k)
			c = &tally{}
		}
		if w == nil {
			t.Errorf("weir wrote none of %d requests %v", c.requests, k)
			w = &tally{}
		}
		fmt.Fprintf(&table, "%-11s %-46s %-26s %9d %9d %8d %8d %10.3f ms %10.3f ms\n",
			k.l7, k.operation, k.status, c.requests, w.requests, c.errors, w.errors, 1e3*c.mean(), 1e3*w.mean())
		if c.requests != w.requests || c.errors != w.errors {
			t.Errorf("%v: %d requests and %d errors, weir wrote %d and %d", k, c.requests, c.errors, w.requests, w.errors)
		}
		if want := c.mean(); want > 0.05 {
			if w.timed != c.timed {
				t.Errorf("%v: weir timed %d of %d requests", k, w.timed, c.timed)
			}
			if got := w.mean(); got > want+200e-6 || got < c.least*0.95-200e-6 {
				t.Errorf("%v took the client %.6f s, at least %.6f s, weir wrote %.6f s", k, want, c.least, got)
			}
		}
	}
	t.Logf("\n%s", table.String())
}

func kinds(a, b map[kind]*tally) (out []kind) {
	for _, m := range []map[kind]*tally{a, b} {
		for k := range m {
			if !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	slices.SortFunc(out, func(x, y kind) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
	return out
}

func (t *tally) mean() float64 {
	if t.timed == 0 {
		return 0
	}
	return t.sum / float64(t.timed)
}
