package correlate

import (
	"time"

	"github.com/weir-probe/weir/flows"
)

// Side is what one socket, or the packets, show of one end of a connection.
type Side struct {
	Addr   flows.Addr
	Port   uint16
	Cookie uint64 // 0 where it is not the socket's own view
}

// Describe tells of every connection that is not over, and of which want, shown
// all views of its ends, says true, what the log would be told at its end now.
// Packets that may still find their socket are left out. It changes nothing and
// ends when tell returns false. The Record is reused.
func (j *Joiner) Describe(now time.Time, want func([]Side) bool, tell func(*Record) bool) {
	var buf [6]Side
	for _, c := range j.conns {
		if c.done || !j.ready(c, now.UnixNano(), Running) || !want(c.sides(buf[:0])) {
			continue
		}
		r := &j.record
		*r = Record{}
		c.measure(&r.Total)
		r.Proto, r.Start, r.End = c.key.Proto, c.start, c.last
		r.HasPayload, r.HasWire, r.Final = true, len(c.slots) > 0, c.ended()
		r.Flags, r.Initiator = c.flags, c.initiator
		connected, answered, resolved, accept := c.connected, c.answered, c.resolved, c.accept
		j.fillEnds(c, r, now.UnixNano())
		j.fillTimes(c, r, now.UnixNano())
		c.connected, c.answered, c.accept = connected, answered, accept
		if resolved != resolveTold && c.resolved == resolveTold {
			c.resolved = resolveKnown // a wait is given out once: it is kept for the row
		}
		j.fillEvidence(c, r)
		if r.Final {
			r.EndReason, r.CloseCause = c.endReason(Running), c.closeCause()
		} else {
			r.Active = 1
		}
		if !r.Self && !tell(r) {
			return
		}
	}
}

// sides appends the ends as the connection and each of its sockets see them.
func (c *conn) sides(to []Side) []Side {
	to = append(to, Side{Addr: c.key.Src, Port: c.key.SrcPort}, Side{Addr: c.key.Dst, Port: c.key.DstPort})
	for _, e := range c.ends {
		if e != nil {
			to = append(to, Side{e.key.Src, e.key.SrcPort, e.cookie}, Side{Addr: e.key.Dst, Port: e.key.DstPort})
		}
	}
	return to
}
