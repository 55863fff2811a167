package correlate

import (
	"slices"

	"github.com/weir-probe/weir/kprobes"
)

// Evidence says how an end's owner became known. It is of the socket, without
// which it is zero; times are unix ns, 0 unknown.
type Evidence struct {
	// Owner is the kind of event that named the owner, Hook the hook behind
	// OwnerIO, OwnedAt its time. Switches counts how often the process that reads
	// and writes changed before it.
	Owner    kprobes.OwnerHow
	Hook     kprobes.IOHook
	OwnedAt  int64
	Switches uint32
	// Creator is the event that named who opened the socket; of an accepted one
	// it is the listener, and CreatedAt when that was learnt to listen.
	Creator   kprobes.OwnerHow
	CreatedAt int64
	// Accepted is when Acceptor (a pid) accepted the connection, where that was seen.
	Accepted int64
	Acceptor uint32
	// Baseline marks a socket from before the probe.
	Baseline bool
	// Group is the path of the owner's control group, empty when not known or the
	// root; Legacy says that it is of cgroup v1.
	Group  string
	Legacy bool
}

// ProcessSource says where the names of a process come from.
type ProcessSource uint8

const (
	SourceEvents ProcessSource = iota // its fork and exec, or the list of processes at the probe's start
	SourceProc                        // no event told of it: /proc
	SourceSocket                      // only what its socket says of it: pid, user and comm
)

var sourceNames = [...]string{"events", "proc", "socket"}

// String returns the field value.
func (s ProcessSource) String() string { return sourceNames[s] }

// JoinedBy says how the two ends of a connection on this host were found to be one.
type JoinedBy uint8

const (
	JoinNone     JoinedBy = iota // they were not: only one is known
	JoinTuple                    // each has the other's address and port
	JoinNAT                      // after a translation that conntrack told of
	JoinSequence                 // both know the same initial sequence numbers
)

var joinNames = [...]string{"none", "tuple", "nat", "sequence"}

// String returns the field value.
func (b JoinedBy) String() string { return joinNames[b] }

// NATSource says how a translation is known.
type NATSource uint8

const (
	NATNone      NATSource = iota
	NATConntrack           // the conntrack entry of the packets
	NATSockets             // both ends' sockets are here, and they call each other differently
)

var natSourceNames = [...]string{"none", "conntrack", "sockets"}

// String returns the field value.
func (s NATSource) String() string { return natSourceNames[s] }

// RivalCause says why another connection with the same tuple is not this one.
type RivalCause uint8

const (
	RivalEarlier   RivalCause = iota // closed before this one began
	RivalLater                       // began after this one
	RivalNetNS                       // lives in another network namespace
	RivalCookie                      // another socket: packets carry the cookie of one of them
	RivalAmbiguous                   // nothing tells them apart: packets were given to neither
	NumRivalCauses
)

// Rivals counts them by cause, up to 255 each.
type Rivals [NumRivalCauses]uint8

// maxRivals bounds how many connections of a tuple are looked at.
const maxRivals = 64

// rivals counts the connections that share a tuple with c now, and keeps the
// largest counts: some are forgotten before c is told.
func (j *Joiner) rivals(c *conn) {
	var n Rivals
	looked := 0
	for i, k := range c.refs {
		for r := j.tuples[k]; r != nil && looked < maxRivals; r = r.next {
			if r.c == c || slices.ContainsFunc(c.refs[:i], r.c.hasRef) {
				continue
			}
			looked++
			n[c.lost(r.c)]++
		}
	}
	for i := range n {
		c.rivals[i] = max(c.rivals[i], n[i])
	}
}

// lost says why o, with a tuple of c, is not c.
func (c *conn) lost(o *conn) RivalCause {
	switch {
	case o.over() != never && o.over() < c.start:
		return RivalEarlier
	case o.start > c.last:
		return RivalLater
	case c.ambiguous || o.ambiguous:
		return RivalAmbiguous
	}
	for s, e := range c.ends {
		if p := o.ends[s]; e != nil && p != nil && e.key.NetNS != p.key.NetNS {
			return RivalNetNS
		}
	}
	return RivalCookie
}

// over is when c ended, never while it lives.
func (c *conn) over() int64 {
	switch {
	case c.closed():
		return c.closedAt()
	case !c.hasEnd() && c.flowEnded:
		return c.last
	}
	return never
}

// fillEvidence says how r was put together.
func (j *Joiner) fillEvidence(c *conn, r *Record) {
	if r.Final {
		j.rivals(c)
	}
	r.JoinedBy, r.PacketsBy, r.Rivals = c.joined, c.method, c.rivals
	switch {
	case len(c.nats) > 0:
		r.NATSource = NATConntrack
	case !r.Client.NATAddr.IsZero() || !r.Server.NATAddr.IsZero():
		r.NATSource = NATSockets
	}
}

// evidence returns what the socket itself says; the rest is the enricher's.
func (e *end) evidence() Evidence {
	l := &e.learnt
	return Evidence{
		Owner: e.owner.How, Hook: l.hook, OwnedAt: l.owned, Switches: l.switches,
		Creator: e.opener.How, CreatedAt: l.created, Accepted: l.accepted, Acceptor: l.acceptor,
		Baseline: e.baseline,
	}
}

// learnt is what an end keeps of how its owners became known: not part of their
// holders, which thousands of sockets share.
type learnt struct {
	owned, created, accepted int64
	switches, acceptor       uint32
	hook                     kprobes.IOHook
}
