package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/conntrack"
	"github.com/weir-probe/weir/kprobes"
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

// Where only Weir's own network namespace is told (a sidecar), so are its troubles.
func TestTroubleOfItsOwn(t *testing.T) {
	who, err := enrich.New(enrich.Config{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	c := collector{own: 7}
	own := trouble{join: correlate.New(correlate.DefaultConfig(), who), foreign: c.foreign}
	own.Drop(&kprobes.DropEvent{NetNS: 8, Packets: 1}) // would need somebody to tell it to
	half := kprobes.HalfOpenEvent{Listener: 1, Key: flows.Key{Proto: flows.TCP, SrcPort: 80}}
	told := func() (n uint32) {
		own.join.Tick(time.Unix(100, 0), correlate.Running, func(r *correlate.Record) { n += r.Delta.HandshakesIncomplete })
		return n
	}
	half.Key.NetNS = 8
	if own.HalfOpen(&half); told() != 0 {
		t.Error("a handshake of another namespace is told")
	}
	half.Key.NetNS = 7
	if own.HalfOpen(&half); told() != 1 {
		t.Error("a handshake of its own is not told")
	}
}
