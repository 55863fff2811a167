package main

import (
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/enrich"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

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
