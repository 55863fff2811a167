package main

import (
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows/conntrack"
	"github.com/weir-probe/weir/kprobes"
	"github.com/weir-probe/weir/sink"
)

// trouble tells of packets that the kernel dropped in the interval, and of handshakes
// that came to nothing. It does so at the end of the interval, when it is known whose
// sockets are whose. It belongs to the collector's goroutine.
type trouble struct {
	who  *identities
	join *correlate.Joiner
	out  *output
	used *resources
	news *dropping
	end  time.Time // of the interval
	// foreign are network namespaces of which nothing is told.
	foreign func(netns uint32) bool
}

var _ kprobes.TroubleHandler = (*trouble)(nil)

// Drop names whose packets they were.
func (t *trouble) Drop(e *kprobes.DropEvent) {
	if t.foreign(e.NetNS) {
		return
	}
	var end correlate.Endpoint
	unit, _ := t.who.resolver.Unit(e.CgroupV2, e.CgroupV1)
	t.who.chain.Loser(&end, e.CgroupV2, e.CgroupV1, unit, e.NetNS)
	t.out.drops.Add(&end, e.Class.String(), e.Reason, e.Packets, e.Octets)
	t.news.take(t.end, nameOf(&end), e.Class.String(), e.Reason, e.Packets, e.Octets, t.out.events)
	if t.used != nil {
		t.out.containers.AddDropped(&end, e.Packets)
	}
}

// HalfOpen is the joiner's business.
func (t *trouble) HalfOpen(e *kprobes.HalfOpenEvent) {
	if !t.foreign(e.Key.NetNS) {
		t.join.HalfOpen(e)
	}
}

// tellTrouble reads what went wrong in the interval.
func (c *collector) tellTrouble(end time.Time) {
	t := trouble{who: c.who, join: c.join, out: c.out, used: c.used, news: c.happen.drops, end: end, foreign: c.foreign}
	c.report("read drops", c.sockets.Trouble(&t))
	t.tableFull(c.full)
}

// tableFull tells of packets whose connections found no room in the host's table.
func (t *trouble) tableFull(full *conntrack.Full) {
	n := full.New()
	if n == 0 {
		return
	}
	var host correlate.Endpoint
	t.who.chain.Loser(&host, 0, 0, "", knownHostNetNS())
	t.out.drops.Add(&host, sink.ClassConntrack, sink.ReasonConntrackFull, n, 0)
	t.news.take(t.end, nameOf(&host), sink.ClassConntrack, sink.ReasonConntrackFull, n, 0, t.out.events)
}

// hostConntrack is where the host's namespace tells of its table; without the
// module there is no such file.
const hostConntrack = "/proc/1/net/stat/nf_conntrack"

func newFull() *conntrack.Full { return conntrack.NewFull(hostConntrack) }
