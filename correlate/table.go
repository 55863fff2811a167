package correlate

import (
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// newConn takes a connection from the free list.
func (j *Joiner) newConn(now int64) *conn {
	var c *conn
	if n := len(j.freeC); n > 0 {
		c = j.freeC[n-1]
		j.freeC = j.freeC[:n-1]
	} else {
		c = &conn{}
	}
	c.index, c.born = len(j.conns), now
	j.conns = append(j.conns, c)
	return c
}

func (j *Joiner) newEnd() *end {
	if n := len(j.freeE); n > 0 {
		e := j.freeE[n-1]
		j.freeE = j.freeE[:n-1]
		return e
	}
	return &end{}
}

// maxFree bounds the free lists: after a burst the memory goes back.
const maxFree = 1 << 15

// remove forgets a connection and everything that points to it.
func (j *Joiner) remove(c *conn) {
	j.dropRefs(c)
	for s, e := range c.ends {
		if e == nil {
			continue
		}
		if r, ok := j.sockets[e.cookie]; ok && r.c == c && r.s == side(s) {
			delete(j.sockets, e.cookie)
		}
		if p := j.peers[peerOf(e.cookie, e.key)]; p != nil && p.c == c {
			p.c = nil
		}
		j.movePairs(e, c, nil)
		*e = end{}
		if len(j.freeE) < maxFree {
			j.freeE = append(j.freeE, e)
		}
	}
	last := len(j.conns) - 1
	j.conns[c.index] = j.conns[last]
	j.conns[c.index].index = c.index
	j.conns[last] = nil
	j.conns = j.conns[:last]
	clear(c.nats)
	*c = conn{slots: c.slots[:0], refs: c.refs[:0], nats: c.nats[:0]}
	if len(j.freeC) < maxFree {
		j.freeC = append(j.freeC, c)
	}
}

// Idents of what did not fit into the table: totals stay right, owners are lost.

func (j *Joiner) spillOf(p flows.Proto) *conn {
	j.stats.Overflow++
	c := j.spill[p]
	if c == nil {
		c = &conn{key: flows.Key{Proto: p}, slots: make([]slot, 1), spilled: true}
		c.slots[0].key = bare(c.key)
		other := &identity{kind: KindOther, name: "other"}
		c.ids, c.asked = [2]*identity{other, other}, [2]asked{askedOnce, askedOnce}
		j.spill[p] = c
	}
	return c
}

func (j *Joiner) spillFlow(rec *flows.Record) {
	c := j.spillOf(rec.Key.Proto)
	for d := range rec.Dir {
		c.slots[0].total[d].Add(rec.Dir[d])
	}
	c.touch(rec.End)
}

// spillSocket counts only a closed socket: a live one will be told when it closes.
func (j *Joiner) spillSocket(ev *kprobes.SocketEvent) {
	if ev.Kind != kprobes.SocketClosed {
		return
	}
	c := j.spillOf(ev.Key.Proto)
	c.slots[0].total[flows.Forward].Payload += ev.Sent
	c.slots[0].total[flows.Reverse].Payload += ev.Received
	c.touch(ev.Time)
}

func (j *Joiner) spillPeer(ev *kprobes.PeerEvent) {
	if !ev.Released {
		return
	}
	c := j.spillOf(ev.Key.Proto)
	c.slots[0].total[flows.Forward].Payload += ev.Sent
	c.slots[0].total[flows.Reverse].Payload += ev.Received
	c.touch(ev.Last)
}
