package requests

import (
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/kprobes"
)

// ends are the streams of one kind at the two ends of a connection, nil where
// there is none.
type ends struct{ client, server *stream }

// teller is the end whose messages count: the server's, unless only the client's is
// understood. Each request is told by one end.
func (e ends) teller() *stream {
	if e.server != nil && (e.server.known || e.client == nil || !e.client.known) {
		return e.server
	}
	return e.client
}

// Take sets r.Requests to what was told of the connection since the last record of
// it, nil where nothing is known of it; valid until the next call of any method.
// After a final record it is forgotten.
func (t *Tracker) Take(r *correlate.Record) {
	t.release()
	r.Requests = nil
	if len(t.streams) == 0 || r.Proto != flows.TCP && r.Proto != flows.UDP {
		return
	}
	wire, plain := t.find(r)
	all := [...]*stream{wire.client, wire.server, plain.client, plain.server}
	for _, s := range all {
		if s == nil {
			continue
		}
		s.claimed = t.ticks
		if r.Final {
			t.end(s, max(r.End, s.last))
		}
		t.taken = append(t.taken, s)
	}
	if t.over = r.Final; len(t.taken) == 0 || r.Self {
		return
	}
	t.out = correlate.Requests{Messages: t.out.Messages[:0], Response: &nothing.response, Request: &nothing.request, Sent: &nothing.sent}
	if s := timer(r, wire, plain); s != nil {
		f := s.answer()
		t.out.Response, t.out.Request, t.out.Sent = &f.response, &f.request, &f.sent
		t.out.Overlapped, t.out.Streaming, t.out.Estimated = f.overlapped, f.streaming, f.estimated
		s.life.Responses += f.responses
		s.life.ResponseSum += f.responseSum
	}
	for _, s := range t.taken {
		t.out.Life.Responses += s.life.Responses
		t.out.Life.ResponseSum += s.life.ResponseSum
	}
	t.tell(wire.teller())
	t.tell(plain.teller())
	if !r.Final && wire.server != nil && wire.client != nil && r.Proto == flows.TCP {
		t.spareClient(wire)
	}
	r.Requests = &t.out
}

// timer is the stream that tells the times of a record: messages before turns, the
// plain ones of a TLS library before those on the wire, the server's end before the
// client's. Never two of them: each request is timed once.
func timer(r *correlate.Record, wire, plain ends) *stream {
	for _, e := range [...]ends{plain, wire} {
		if s := e.teller(); s != nil && s.messages {
			return s
		}
	}
	if wire.server != nil {
		return wire.server
	}
	return wire.client
}

var nothing flip

// tell adds what one end of a stream told.
func (t *Tracker) tell(s *stream) {
	if s == nil {
		return
	}
	t.out.Messages = append(t.out.Messages, s.tallies...)
	if s.rest.Requests > 0 {
		t.out.Messages = append(t.out.Messages, &s.rest)
	}
	t.out.Errors += s.errors
	l := &t.out.Life
	l.Requests += s.life.Requests
	l.Errors += s.life.Errors
	if s.life.Protocol != l7.Unknown {
		l.Protocol = s.life.Protocol
	}
	if s.life.Handshake != nil {
		l.Handshake = s.life.Handshake
	}
}

// spareClient lets the kernel be silent about the client's socket of a connection
// whose server lives here, too, and tells all.
func (t *Tracker) spareClient(e ends) {
	if (e.server.known || e.server.conv.Opaque() || !t.parses) && e.client.asked != WantNothing && e.teller() == e.server {
		e.client.asked = WantNothing
		t.end(e.client, e.client.last)
		t.ask(e.client.id.cookie, WantNothing)
	}
}

// find looks for the streams of a record's ends, and tells them their roles.
func (t *Tracker) find(r *correlate.Record) (wire, plain ends) {
	c, s := &r.Client, &r.Server
	if c.Cookie == 0 && s.Cookie == 0 {
		wire.client = t.packetStream(r)
		return wire, plain
	}
	if c.Cookie != 0 && c.Cookie != s.Cookie {
		wire.client, plain.client = t.endStreams(r, c, s, kprobes.RoleClient)
	}
	if s.Cookie != 0 {
		wire.server, plain.server = t.endStreams(r, s, c, kprobes.RoleServer)
	}
	return wire, plain
}

func (t *Tracker) endStreams(r *correlate.Record, own, peer *correlate.Endpoint, role kprobes.Role) (wire, plain *stream) {
	id := streamKey{cookie: own.Cookie}
	if r.Proto != flows.TCP {
		id.peer = flows.Key{Dst: peer.Addr, DstPort: peer.Port, Proto: r.Proto}
		if !peer.NATAddr.IsZero() {
			id.peer.Dst, id.peer.DstPort = peer.NATAddr, peer.NATPort
		}
	}
	if wire = t.streams[id]; wire != nil {
		wire.learn(role)
	}
	if r.Proto == flows.TCP {
		id.plain = true
		if plain = t.streams[id]; plain != nil {
			plain.learn(role)
		}
	}
	return wire, plain
}

// release takes back what the last Take told.
func (t *Tracker) release() {
	for i, s := range t.taken {
		t.clear(s)
		if t.over {
			t.remove(s)
		}
		t.taken[i] = nil
	}
	t.taken = t.taken[:0]
}

// Tick ends an interval, after all records have taken theirs: conversations that
// are silent end, and what no record asked for is dropped and counted.
func (t *Tracker) Tick(now time.Time) {
	t.release()
	t.ticks++
	ns := now.UnixNano()
	shortest := int64(min(t.cfg.Idle, t.cfg.DatagramIdle, t.cfg.Unclaimed))
	for s := t.all.oldest; s != nil && ns-s.last > shortest; {
		newer := s.links[everyStream].newer
		idle := int64(t.cfg.DatagramIdle)
		if s.proto == flows.TCP {
			idle = int64(t.cfg.Idle)
		}
		if s.open && s.conv.Wants() && ns-s.last > idle {
			t.stats.Idle++
			t.end(s, s.last+idle)
			s.idled = true
		}
		if ns-s.last > int64(t.cfg.Unclaimed) && t.ticks-s.claimed >= 2 {
			t.remove(s)
		}
		s = newer
	}
	if len(t.names) >= maxNames {
		clear(t.names) // those in use are made once more
	}
}
