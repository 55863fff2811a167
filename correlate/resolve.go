package correlate

import (
	"cmp"
	"slices"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// resolved says what is known of a connection's wait for DNS.
type resolved uint8

const (
	resolveUnknown resolved = iota
	resolveKnown            // conn.resolve, which may be none
	resolveTold             // in a record
)

// began is when a connection was begun, unix ns: by its SYN, by its first datagram.
// A socket may be there before its process knows where to connect to.
func (c *conn) began() int64 {
	if e := c.ends[client]; e != nil && e.syn != 0 && !e.baseline {
		return e.syn
	}
	return c.start
}

// mayHaveWaited says whether it is known that a process here began the connection, and
// when.
func (c *conn) mayHaveWaited() bool {
	e := c.ends[client]
	return e != nil && !e.baseline && !e.overflow && (e.syn != 0 || e.noSYN || e.role == kprobes.RoleClient && c.key.Proto != flows.TCP)
}

// askWaits asks how long new connections had waited for DNS: in the order in which they
// began, for a wait is that of the first connection after it.
func (j *Joiner) askWaits() {
	if j.cfg.Waited == nil {
		return
	}
	for _, c := range j.conns {
		if c.resolved == resolveUnknown && c.mayHaveWaited() {
			j.begun = append(j.begun, c)
		}
	}
	slices.SortFunc(j.begun, func(a, b *conn) int { return cmp.Compare(a.began(), b.began()) })
	for _, c := range j.begun {
		j.askWait(c)
	}
	clear(j.begun)
	j.begun = j.begun[:0]
}

func (j *Joiner) askWait(c *conn) {
	if j.cfg.Waited == nil || c.resolved != resolveUnknown || !c.mayHaveWaited() {
		return
	}
	e := c.ends[client]
	c.resolve, c.resolved = j.cfg.Waited(e.key.Dst, e.key.NetNS, c.began()), resolveKnown
}
