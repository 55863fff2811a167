package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/flows/conntrack"
)

// Connections that found no room in the host's table are a row of drop, and an event.
func TestConntrackFull(t *testing.T) {
	r := newRig(t)
	stat := filepath.Join(t.TempDir(), "nf_conntrack")
	full := conntrack.NewFull(stat)
	tell := func(minute int, dropped uint64) (rows, events string) {
		t.Helper()
		if err := os.WriteFile(stat, fmt.Appendf(nil, "entries drop early_drop\n00000018 %08x 00000000\n", dropped), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(60*minute), 0)
		tr := trouble{who: r.who, join: r.join, out: r.out, news: new(dropping), end: at}
		tr.tableFull(full)
		for _, b := range r.out.drops.Flush(at) {
			rows += string(b.Lines)
		}
		return rows, r.eventsOf()
	}
	if rows, events := tell(100, 7); rows+events != "" {
		t.Errorf("what was before the probe is told: %s%s", rows, events)
	}
	rows, events := tell(101, 7+12)
	if !strings.Contains(rows, "class=conntrack") || !strings.Contains(rows, "reason=conntrack_full") || !strings.Contains(rows, "dropped_packets=12i") {
		t.Errorf("rows %q", rows)
	}
	if !strings.Contains(events, "type=drop") || !strings.Contains(events, "conntrack_full") {
		t.Errorf("events %q", events)
	}
	if rows, events = tell(102, 7+12); rows+events != "" {
		t.Errorf("told twice: %s%s", rows, events)
	}
}
