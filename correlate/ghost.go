package correlate

import "github.com/weir-probe/weir/flows"

// ghost is what stays of a connection that has been forgotten: TIME_WAIT answers
// for a minute, and what then comes on its tuple is still its owners'.
type ghost struct {
	key flows.Key // Src is the client
	ids [2]*identity
	at  int64 // when it was forgotten
}

// ghostLife is TIME_WAIT (TCP_TIMEWAIT_LEN), maxGhosts how many are kept at least.
const (
	ghostLife = 60e9
	maxGhosts = 1 << 14
)

// ghosts are kept in two generations; the old one goes when the young one is full
// or has lived for as long as a ghost does.
type ghosts struct {
	young, old map[flows.Key]ghost
	since      int64
}

// remember leaves a ghost of a TCP connection under all its tuples. It returns how
// many had to go for it before their time: what comes for them has no owner.
func (g *ghosts) remember(c *conn, now int64) (evicted uint64) {
	if c.key.Proto != flows.TCP || !c.hasEnd() || !c.done {
		return 0
	}
	if g.young == nil {
		g.young, g.old, g.since = map[flows.Key]ghost{}, map[flows.Key]ghost{}, now
	}
	if len(g.young) >= maxGhosts || now-g.since > ghostLife {
		g.young, g.old, g.since = g.old, g.young, now
		for _, x := range g.young {
			if now-x.at <= ghostLife {
				evicted++
			}
		}
		clear(g.young)
	}
	for _, k := range c.refs {
		g.young[k] = ghost{key: c.key, ids: c.ids, at: now}
	}
	return evicted
}

func (g *ghosts) find(k flows.Key, now int64) (ghost, bool) {
	x, ok := g.young[k]
	if !ok {
		x, ok = g.old[k]
	}
	return x, ok && now-x.at <= ghostLife
}

// haunt returns a connection for packets that come after their own has been
// forgotten, nil when they begin one or nothing is known of it (A2). It has been
// told for good: what it counts is in flow, and no connection more in flow_log.
func (j *Joiner) haunt(rec *flows.Record) *conn {
	if rec.Key.Proto != flows.TCP || begins(rec) || len(j.conns) >= j.cfg.MaxConnections {
		return nil
	}
	k := indexKey(rec.Key)
	g, ok := j.ghosts.find(k, rec.Start)
	if !ok {
		return nil
	}
	c := j.newConn(rec.Start)
	c.key, c.ids, c.asked = g.key, g.ids, [2]asked{askedOnce, askedOnce}
	c.initiator, c.ghost, c.done, c.doneAt = InitiatorSYN, true, true, rec.End
	j.addRef(c, k)
	j.stats.Late++
	return c
}

// begins says whether a flow shows the beginning of a connection.
func begins(rec *flows.Record) bool {
	return (rec.Dir[flows.Forward].Flags|rec.Dir[flows.Reverse].Flags)&flows.SYNOnly != 0
}
