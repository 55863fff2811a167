package l7test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Golden compares messages with a file of one JSON object per line, or writes it
// where update is set.
func Golden(t *testing.T, path string, got []Message, update *bool) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, m := range got {
		if err := e.Encode(m); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

// Equal compares messages with those written in a test. Fields that are zero in
// want are not compared, but the number of messages, and the names, are.
func Equal(t *testing.T, want, got []Message) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d messages, want %d:\n%+v", len(got), len(want), got)
	}
	for i, w := range want {
		g := got[i]
		g.Protocol = zeroAs(w.Protocol, g.Protocol)
		g.RequestFirst = zeroAs(w.RequestFirst, g.RequestFirst)
		g.RequestLast = zeroAs(w.RequestLast, g.RequestLast)
		g.ResponseFirst = zeroAs(w.ResponseFirst, g.ResponseFirst)
		g.ResponseLast = zeroAs(w.ResponseLast, g.ResponseLast)
		g.RequestOctets = zeroAs(w.RequestOctets, g.RequestOctets)
		g.ResponseOctets = zeroAs(w.ResponseOctets, g.ResponseOctets)
		g.ALPN = zeroAs(w.ALPN, g.ALPN)
		g.NotAfter = zeroAs(w.NotAfter, g.NotAfter)
		g.Host = zeroAs(w.Host, g.Host)
		if d := cmp.Diff(w, g); d != "" {
			t.Errorf("message %d (-want +got):\n%s", i, d)
		}
	}
}

func zeroAs[T comparable](want, got T) T {
	var zero T
	if want == zero {
		return zero
	}
	return got
}
