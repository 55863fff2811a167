package selftest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// connection is what really happened: both ends of one connection, or the only
// one that there was.
type connection struct {
	id        uint64
	situation string
	ends      [2]*Truth // by Role; nil: that end never was
	row       *Row
}

func (c *connection) client() *Truth { return c.ends[Client] }

// broken says that an end does not know what it sent or received.
func (c *connection) broken() bool {
	return slices.ContainsFunc(c.ends[:], func(t *Truth) bool { return t != nil && t.Err != "" })
}

// octets is the payload that went to an end, as its application counts it: what
// the other one sent, unless only the reader knows.
func (c *connection) octets(to Role) int64 {
	if t := c.ends[1-to]; t != nil {
		return t.Sent
	}
	if t := c.ends[to]; t != nil {
		return t.Received
	}
	return 0
}

// connections pairs the ends by the number that the client sent.
func connections(truths []Truth) (all []*connection, broken []string) {
	byID := map[uint64]*connection{}
	for i := range truths {
		t := &truths[i]
		if t.Err != "" {
			broken = append(broken, fmt.Sprintf("%s %s %s → %s: %s", t.Situation, t.Role, t.Local, t.Remote, t.Err))
		}
		if t.ID == 0 || t.Err != "" && !t.Local.IsValid() {
			continue // nobody connected, or a connection whose client never said who it is
		}
		c := byID[t.ID]
		if c == nil {
			c = &connection{id: t.ID}
			byID[t.ID] = c
			all = append(all, c)
		}
		c.ends[t.Role] = t
		if t.Role == Client {
			c.situation = t.Situation
		}
	}
	all = slices.DeleteFunc(all, func(c *connection) bool { return c.ends[Client] == nil })
	for _, c := range all {
		if t := c.client(); c.ends[Server] == nil && !t.Refused && t.Err == "" {
			broken = append(broken, fmt.Sprintf("no server knows of %s", c))
		}
	}
	return all, broken
}

// match gives each connection its row and returns the rows of the bed that
// nothing real stands behind. It asks for tuple, namespace and time alone; whom
// a row names does not matter here.
func match(all []*connection, rows []Row, inBed func(*Row) bool) (extra []*Row) {
	at := map[netip.AddrPort][]*Row{} // by the client's own address
	free := map[*Row]bool{}
	for i := range rows {
		r := &rows[i]
		if r.Final && (r.Proto == "tcp" || r.Proto == "udp") && inBed(r) {
			at[r.Ends[Client].Addr] = append(at[r.Ends[Client].Addr], r)
			free[r] = true
		}
	}
	type pair struct {
		c    *connection
		r    *Row
		cost int64
	}
	var pairs []pair
	for _, c := range all {
		for _, r := range at[c.client().Local] {
			if cost, ok := distance(c, r); ok {
				pairs = append(pairs, pair{c, r, cost})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.cost, b.cost) })
	for _, p := range pairs {
		if p.c.row == nil && free[p.r] {
			p.c.row = p.r
			delete(free, p.r)
		}
	}
	for i := range rows {
		if free[&rows[i]] {
			extra = append(extra, &rows[i])
		}
	}
	return extra
}

// otherNamespace is how much worse a row of another namespace is than one of
// another time, in ns.
const otherNamespace = int64(1e12)

// distance is how far a row is from being that of a connection; ok is false when
// the tuple is another one.
func distance(c *connection, r *Row) (d int64, ok bool) {
	t := c.client()
	if r.Proto != t.Proto {
		return 0, false
	}
	server := r.Ends[Server].Addr
	if s := c.ends[Server]; server != t.Remote && (s == nil || server != serverSide(s, t)) {
		return 0, false
	}
	for role, e := range c.ends {
		if ns := r.Ends[role].NetNS; e != nil && ns != e.NetNS {
			d += otherNamespace
		}
	}
	return d + abs(r.Start-t.Start), true
}

// serverSide is the server's own address; a datagram socket that listens on all
// of them has the one its client called, unless that was translated.
func serverSide(s, client *Truth) netip.AddrPort {
	if s.Local.Addr().IsUnspecified() {
		return client.Remote
	}
	return s.Local
}

func abs(n int64) int64 { return max(n, -n) }

// verdict on one end: exact, nobody named, or why it is wrong.
type verdict struct {
	exact bool
	wrong string
}

// startSlack is how far the probe's start of a process may be from /proc's: the
// tick it is cut to, and what the clock was set by in between.
const startSlack = 2 * tick

// judge compares an end of a row with the truth.
func judge(t *Truth, e *RowEnd) verdict {
	if e.PID == 0 {
		return verdict{}
	}
	creator := t.Creator.PID
	if creator == t.User.PID {
		creator = 0
	}
	switch {
	case e.PID != t.User.PID:
		return verdict{wrong: fmt.Sprintf("%s is process %d, not %d", t.Role, t.User.PID, e.PID)}
	case abs(e.Start-t.User.Start) > startSlack:
		return verdict{wrong: fmt.Sprintf("%s process %d started %d ns away from what the row says", t.Role, e.PID, e.Start-t.User.Start)}
	case e.Creator != creator:
		return verdict{wrong: fmt.Sprintf("%s was opened by process %d, not %d", t.Role, creator, e.Creator)}
	case e.NetNS != t.NetNS:
		return verdict{wrong: fmt.Sprintf("%s is in network namespace %d, not %d", t.Role, t.NetNS, e.NetNS)}
	case e.Container != t.Container:
		return verdict{wrong: fmt.Sprintf("%s is in container %.12q, not %.12q", t.Role, t.Container, e.Container)}
	}
	return verdict{exact: true}
}

// judgeNAT compares both views of the tuple: what the client called and what the
// server is, and the same for the client.
func judgeNAT(c *connection) string {
	t, s := c.ends[Client], c.ends[Server]
	if s == nil {
		return ""
	}
	for _, x := range []struct {
		what       string
		own, other netip.AddrPort
		e          *RowEnd
	}{
		{"server", serverSide(s, t), t.Remote, &c.row.Ends[Server]},
		{"client", t.Local, s.Remote, &c.row.Ends[Client]},
	} {
		want := netip.AddrPort{}
		if x.own != x.other {
			want = x.other
		}
		if x.e.Addr != x.own || x.e.NAT != want {
			return fmt.Sprintf("%s is %s and seen as %s, the row says %s and %s", x.what, x.own, want, x.e.Addr, x.e.NAT)
		}
	}
	return ""
}
