package correlate

import (
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

// turn moves a socket whose role was a guess to the side it now says it is on.
func (j *Joiner) turn(r sockRef, ev *kprobes.SocketEvent) sockRef {
	s, how := j.sideOf(ev)
	e := r.c.ends[r.s]
	if s != r.s {
		if r.c.ends[s] != nil {
			return r
		}
		r.c.ends[r.s], r.c.ends[s] = nil, e
		r.s = s
		j.sockets[e.cookie] = r
	}
	r.c.setKey(s, e.key, how)
	return r
}

// sideWith says which side of c has k as its own view.
func (c *conn) sideWith(k flows.Key) side {
	if k.Src == c.key.Dst && k.SrcPort == c.key.DstPort {
		return server
	}
	return client
}

// sideOf says which end a socket is, and how that is known. A socket from before
// the probe has no known role where its sequence numbers do not tell: it is the
// server if somebody listens on its port, else by the port.
func (j *Joiner) sideOf(ev *kprobes.SocketEvent) (side, InitiatorMethod) {
	e := end{role: ev.Role, baseline: ev.Baseline, key: ev.Key}
	switch ev.Role {
	case kprobes.RoleClient:
		return client, e.told()
	case kprobes.RoleServer:
		return server, e.told()
	}
	switch k := ev.Key; {
	case j.Listens(k.NetNS, k.SrcPort, k.Proto):
		return server, InitiatorListener
	case j.Listens(k.NetNS, k.DstPort, k.Proto):
		return client, InitiatorListener
	}
	k, how := presume(ev.Key)
	if k != ev.Key {
		return server, how
	}
	return client, how
}

// told is how an end's own role is known.
func (e *end) told() InitiatorMethod {
	switch {
	case e.role == kprobes.RoleUnknown:
		return InitiatorUnknown
	case e.key.Proto != flows.TCP:
		return InitiatorDatagram
	case e.baseline:
		return InitiatorSequence
	}
	return InitiatorSYN
}

// presume turns a key of which nothing but itself is known so that Src is the
// client: by the ports, else in an order that is the same at both ends, in every
// interval and after a restart.
func presume(k flows.Key) (flows.Key, InitiatorMethod) {
	how := InitiatorPort
	turn := false
	switch flows.ServerPort(k.SrcPort, k.DstPort) {
	case 0:
		_, d := k.Canonical()
		turn, how = d == flows.Reverse, InitiatorUnknown
	case k.SrcPort:
		turn = true
	}
	if turn {
		k = k.Reverse()
	}
	return k, how
}

// setKey takes the client's own view as the connection's key as soon as there is
// one. What is known better than by how is left alone.
func (c *conn) setKey(s side, local flows.Key, how InitiatorMethod) {
	if s == server {
		local = local.Reverse()
		if c.ends[client] != nil {
			c.initiator = max(c.initiator, how)
			return
		}
	}
	if c.initiator > how {
		return
	}
	if bare(local) == bare(c.key) && local.Src == c.key.Dst && local.SrcPort == c.key.DstPort && !c.toSelf() {
		r := &c.reported // the guess was the wrong way round
		r.ToServer, r.ToClient = r.ToClient, r.ToServer
	}
	c.key, c.initiator = local, how
}

// orientFlow turns a canonical key so that Src is the client, and says how that
// is known.
func orientFlow(rec *flows.Record) (flows.Key, InitiatorMethod) {
	k := rec.Key
	how := InitiatorSYN
	switch {
	case rec.Guessed:
		how = InitiatorPort
	case k.Proto != flows.TCP:
		how = InitiatorDatagram
	}
	switch rec.Initiator {
	case flows.InitiatorDst:
		return k.Reverse(), how
	case flows.InitiatorSrc:
		return k, how
	}
	return presume(k)
}
