package requests

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/http1"
	"github.com/weir-probe/weir/flows/l7/protocols"
	"github.com/weir-probe/weir/kprobes"
)

const ms = int64(time.Millisecond)

// socket plays one socket's payload events as the kernel tells them.
type socket struct {
	t           *Tracker
	ev          kprobes.PayloadEvent
	seq         [2]uint32 // out, in
	out         bool
	first, last int64
	octets      uint64
}

func tcp(t *Tracker, cookie uint64, role kprobes.Role) *socket {
	return &socket{t: t, ev: kprobes.PayloadEvent{Cookie: cookie, Role: role, Key: flows.Key{Proto: flows.TCP}}}
}

func (s *socket) say(out bool, at int64, data string) {
	i := 0
	if !out {
		i = 1
	}
	e := &s.ev
	e.Out, e.Time, e.Seq, e.Len, e.Data = out, at, s.seq[i], uint32(len(data)), []byte(data)
	e.Turn = s.octets == 0 || s.out != out
	e.PrevFirst, e.PrevLast, e.PrevOctets, e.PrevNextSeq = 0, 0, 0, 0
	if e.Turn {
		if s.octets > 0 {
			e.PrevFirst, e.PrevLast, e.PrevOctets, e.PrevNextSeq = s.first, s.last, s.octets, s.seq[1-i]
		}
		s.out, s.first, s.octets = out, at, 0
	}
	s.last = at
	s.octets += uint64(len(data))
	s.seq[i] += uint32(len(data))
	s.t.Payload(e)
}

// wants remembers what the kernel was asked for.
type wants map[uint64]Want

func (w wants) SetPayload(cookie uint64, x Want) { w[cookie] = x }

func recordOf(client, server uint64) *correlate.Record {
	r := &correlate.Record{Proto: flows.TCP}
	r.Client.Cookie, r.Server.Cookie = client, server
	return r
}

func TestBothEndsAreToldOnce(t *testing.T) {
	w := wants{}
	k := New(Config{}, toySpecs(), w)
	c, s := tcp(k, 1, kprobes.RoleClient), tcp(k, 2, kprobes.RoleServer)
	at := ms
	for i := range 10 {
		c.say(true, at, "?get\n")
		s.say(false, at+1000, "?get\n")
		answer := "!OK\n"
		if i == 7 {
			answer = "!E1\n"
		}
		s.say(true, at+5*ms, answer)
		c.say(false, at+5*ms+1000, answer)
		at += 100 * ms // think time
	}
	r := recordOf(1, 2)
	k.Take(r)
	q := r.Requests
	if len(q.Messages) != 2 || q.Messages[0].Requests != 9 || q.Messages[1].Requests != 1 || q.Messages[1].Status != "E1" || q.Errors != 1 {
		t.Fatalf("told %+v", q)
	}
	var h dist.Histogram
	q.Response.AddTo(&h)
	if h.Count != 10 || h.Min != uint64(5*ms-1000) || h.Max != h.Min {
		t.Errorf("response times %+v", h)
	}
	if q.Life.Responses != 10 || q.Life.Requests != 10 || q.Life.Errors != 1 || q.Life.ResponseSum != 10*uint64(5*ms-1000) || q.Life.Protocol.String() != "redis" {
		t.Errorf("life %+v", q.Life)
	}
	if w[1] != WantNothing || len(w) != 1 {
		t.Errorf("asked for %v: the client's end tells nothing new", w)
	}
	k.Take(r)
	if q := r.Requests; len(q.Messages) != 0 || q.Response.Count() != 0 || q.Life.Requests != 10 {
		t.Errorf("told again %+v", q)
	}
	// What comes after a record is the next one's.
	s.say(false, at, "?get\n")
	s.say(true, at+ms, "!OK\n")
	k.Take(r)
	if q := r.Requests; len(q.Messages) != 1 || q.Messages[0].Requests != 1 || q.Response.Count() != 1 {
		t.Errorf("next interval %+v", q)
	}
}

func TestTurnsAloneAreToldOnce(t *testing.T) {
	w := wants{}
	k := New(Config{}, nil, w)
	c, s := tcp(k, 1, kprobes.RoleClient), tcp(k, 2, kprobes.RoleServer)
	for i := int64(1); i <= 3; i++ { // the kernel copies nothing
		c.say(true, i*10*ms, "q")
		s.say(false, i*10*ms+1, "q")
		s.say(true, i*10*ms+ms, "a")
		c.say(false, i*10*ms+ms+1, "a")
	}
	r := recordOf(1, 2)
	k.Take(r)
	if q := r.Requests; q.Response.Count() != 3 || q.Life.ResponseSum != 3*uint64(ms-1) || w[1] != WantNothing || w[2] == WantNothing {
		t.Errorf("told %+v, asked for %v", q, w)
	}
}

func TestEndOfConnection(t *testing.T) {
	k := New(Config{}, toySpecs(), nil)
	s := tcp(k, 2, kprobes.RoleServer)
	s.say(false, ms, "?slow\n")
	r := recordOf(0, 2)
	r.Final = true
	k.Take(r)
	if q := r.Requests; len(q.Messages) != 1 || q.Messages[0].Unanswered != 1 || q.Messages[0].Requests != 1 {
		t.Errorf("told %+v", q)
	}
	if k.Tick(time.Unix(0, ms)); k.Stats().Open != 0 || k.Stats().Dropped != 0 {
		t.Errorf("stats %+v", k.Stats())
	}
}

func TestRoleGate(t *testing.T) {
	for _, c := range []struct {
		name string
		role kprobes.Role
		r    *correlate.Record
		want uint64
	}{
		{"server", kprobes.RoleServer, recordOf(0, 5), 2},
		{"client", kprobes.RoleClient, recordOf(5, 0), 1},
		{"unknown, then server", kprobes.RoleUnknown, recordOf(0, 5), 2},
		{"unknown, then client", kprobes.RoleUnknown, recordOf(5, 0), 1},
	} {
		k := New(Config{}, nil, nil)
		s := tcp(k, 5, c.role)
		s.say(true, 1*ms, "greeting") // who speaks first answers nothing
		s.say(false, 2*ms, "a")
		s.say(false, 4*ms, "b")
		s.say(true, 5*ms, "A")
		s.say(true, 9*ms, "A")
		s.say(false, 50*ms, "c")
		s.say(true, 52*ms, "C")
		k.Take(c.r)
		var h, req, sent dist.Histogram
		q := c.r.Requests
		q.Response.AddTo(&h)
		q.Request.AddTo(&req)
		q.Sent.AddTo(&sent)
		switch {
		case c.want == 2 && (h.Count != 2 || h.Min != uint64(ms) || h.Max != uint64(2*ms) || req.Max != uint64(2*ms) || sent.Count != 1 || sent.Max != uint64(4*ms)):
			t.Errorf("%s: responses %+v, requests %+v, sent %+v", c.name, h, req, sent)
		case c.want == 1 && (h.Count != 2 || h.Max != uint64(41*ms)):
			t.Errorf("%s: responses %+v", c.name, h)
		}
	}
}

func TestOpaqueIsNarrowed(t *testing.T) {
	w := wants{}
	k := New(Config{}, toySpecs(), w)
	s := tcp(k, 9, kprobes.RoleServer)
	for i := range int64(30) {
		s.say(i%2 == 1, (i+1)*ms, "blob")
	}
	if w[9] != WantTurns || k.Stats().Narrowed != 1 || k.Stats().Stats.Opaque != 1 {
		t.Errorf("asked for %v, stats %+v", w, k.Stats())
	}
	r := recordOf(0, 9)
	if k.Take(r); r.Requests.Response.Count() != 15 || len(r.Requests.Messages) != 0 {
		t.Errorf("told %+v", r.Requests)
	}
}

func TestHandshakesAreNoAnswers(t *testing.T) {
	w := wants{}
	hello := toySpec(l7.TLS, false)
	hello.Match = func(d l7.Dir, b []byte) l7.Verdict {
		if d == l7.ToServer && b[0] == 22 {
			return l7.Yes
		}
		return l7.No
	}
	k := New(Config{}, []l7.Spec{hello}, w)
	s := tcp(k, 3, kprobes.RoleServer)
	s.say(false, 1*ms, "\x16hello")
	s.say(true, 3*ms, "\x16server hello")
	s.say(false, 4*ms, "\x17GET")
	s.say(true, 24*ms, "\x17OK")
	r := recordOf(0, 3)
	k.Take(r)
	var h dist.Histogram
	r.Requests.Response.AddTo(&h)
	if h.Count != 1 || h.Max != uint64(20*ms) || len(r.Requests.Messages) != 1 || w[3] != WantTurns {
		t.Errorf("told %+v, %d messages, asked for %v", h, len(r.Requests.Messages), w)
	}
}

func TestPlainBesideEncrypted(t *testing.T) {
	k := New(Config{}, toySpecs(), nil)
	wire, plain := tcp(k, 3, kprobes.RoleServer), tcp(k, 3, kprobes.RoleServer)
	plain.ev.Plain = true
	for i := int64(1); i <= 3; i++ {
		wire.say(false, i*10*ms, "\x17xx")
		plain.say(false, i*10*ms+1, "?get\n")
		plain.say(true, i*10*ms+ms, "!OK\n")
		wire.say(true, i*10*ms+2*ms, "\x17yy")
	}
	r := recordOf(0, 3)
	k.Take(r)
	if q := r.Requests; len(q.Messages) != 1 || q.Messages[0].Requests != 3 || q.Response.Count() != 3 {
		t.Errorf("told %+v", q)
	}
}

func datagram(k *Tracker, cookie uint64, out bool, peer byte, at int64, data string) {
	k.Payload(&kprobes.PayloadEvent{
		Cookie: cookie, Role: kprobes.RoleServer, Out: out, Turn: true, Time: at, Len: uint32(len(data)), Data: []byte(data),
		Key: flows.Key{Proto: flows.UDP, Src: flows.Addr{15: 1}, SrcPort: 53, Dst: flows.Addr{15: peer}, DstPort: 4000, NetNS: 7},
	})
}

func TestDatagrams(t *testing.T) {
	k := New(Config{}, toySpecs(), nil)
	for peer := range byte(3) {
		datagram(k, 4, false, peer+10, int64(peer+1)*ms, "?A\n")
		datagram(k, 4, true, peer+10, int64(peer+1)*ms+3*ms, "!OK\n")
	}
	datagram(k, 4, false, 10, 20*ms, "?B\n")
	k.Tick(time.Unix(0, 20*ms).Add(20 * time.Second)) // B is not answered in time
	r := recordOf(0, 4)
	r.Proto = flows.UDP
	r.Server.Addr, r.Server.Port, r.Client.Addr, r.Client.Port = flows.Addr{15: 1}, 53, flows.Addr{15: 10}, 4000
	k.Take(r)
	q := r.Requests
	var h dist.Histogram
	q.Response.AddTo(&h)
	if len(q.Messages) != 2 || q.Messages[0].Requests != 1 || q.Messages[1].Unanswered != 1 || h.Count != 1 || h.Max != uint64(3*ms) || q.Life.Protocol.String() != "dns" {
		t.Errorf("told %+v, %+v", q, h)
	}
}

// A service whose address is translated on the way out answers under its own.
func TestTranslatedPeer(t *testing.T) {
	k := New(Config{}, toySpecs(), nil)
	say := func(out bool, local, remote uint16, at int64, data string) {
		k.Payload(&kprobes.PayloadEvent{
			Cookie: 8, Out: out, Turn: true, Time: at, Len: uint32(len(data)), Data: []byte(data),
			Key: flows.Key{Proto: flows.UDP, Src: flows.Addr{15: 1}, SrcPort: local, Dst: flows.Addr{15: 11}, DstPort: remote},
		})
	}
	for i := int64(1); i <= 3; i++ {
		say(true, 4000, 39143, i*10*ms, "?A\n")
		say(false, 4000, 53, i*10*ms+2*ms, "!OK\n")
	}
	r := recordOf(8, 0)
	r.Proto = flows.UDP
	r.Client.Addr, r.Client.Port, r.Server.Addr, r.Server.Port = flows.Addr{15: 1}, 4000, flows.Addr{15: 11}, 53
	r.Final = true
	k.Take(r)
	if q := r.Requests; q == nil || len(q.Messages) != 1 || q.Messages[0].Requests != 3 || q.Messages[0].Unanswered != 0 || q.Response.Count() != 3 {
		t.Errorf("told %+v", q)
	}
	if k.Tick(time.Unix(0, ms)); len(k.streams) != 0 || len(k.waiting) != 0 || k.all.n != 0 {
		t.Errorf("%d streams are left, %d wait", len(k.streams), len(k.waiting))
	}
	// Of two that wait neither is taken for a third.
	say(true, 4000, 1, ms, "?A\n")
	say(true, 4000, 2, ms, "?B\n")
	say(false, 4000, 3, 2*ms, "!OK\n")
	if len(k.streams) != 3 || k.all.n != 3 {
		t.Errorf("%d names of %d streams", len(k.streams), k.all.n)
	}
}

// A hundred thousand conversations with names out of thin air: memory has a bound,
// and every request is in a record or counted as dropped.
func TestHostileWorld(t *testing.T) {
	cfg := Config{MaxConversations: 5000, MaxTallies: 3000, MaxHistograms: 50, MaxWaiting: 1 << 20}
	k := New(cfg, toySpecs(), wants{})
	rng := rand.New(rand.NewPCG(3, 4))
	var told uint64
	at := ms
	claim := func(r *correlate.Record) {
		if k.Take(r); r.Requests != nil {
			for _, m := range r.Requests.Messages {
				told += uint64(m.Requests)
			}
		}
	}
	for i := range uint64(100_000) {
		s := tcp(k, i, kprobes.Role(rng.IntN(3)))
		for range 1 + rng.IntN(4) {
			op := fmt.Sprintf("?%d\n", rng.IntN(1e9))
			if rng.IntN(20) == 0 {
				op = "\x00\xff" + op
			}
			s.say(s.ev.Role != kprobes.RoleServer, at, op)
			if rng.IntN(5) > 0 {
				s.say(s.ev.Role == kprobes.RoleServer, at+ms, "!"+op[1:])
			}
			at += ms / 100
		}
		if rng.IntN(3) == 0 {
			r := recordOf(i, 0)
			r.Final = rng.IntN(2) == 0
			claim(r)
		}
		if i%10_000 == 0 {
			k.Tick(time.Unix(0, at))
		}
	}
	st := k.Stats()
	if st.Open > cfg.MaxConversations || k.made > cfg.MaxTallies || len(k.names) > maxNames || st.Evicted == 0 || st.Folded == 0 {
		t.Errorf("%d conversations, %d tallies, %d names; stats %+v", st.Open, k.made, len(k.names), st)
	}
	k.Tick(time.Unix(0, at).Add(time.Hour))
	k.Tick(time.Unix(0, at).Add(2 * time.Hour))
	k.Tick(time.Unix(0, at).Add(3 * time.Hour))
	if st = k.Stats(); st.Open != 0 || k.all.n != 0 || k.followed.n != 0 || len(k.tallies) != k.made {
		t.Errorf("%d conversations left, %d of %d tallies came back", st.Open, len(k.tallies), k.made)
	}
	if told == 0 || told > st.Requests || told+st.Dropped < st.Requests {
		t.Errorf("%d requests: %d told, %d dropped", st.Requests, told, st.Dropped)
	}
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	if mem.HeapAlloc > 64<<20 {
		t.Errorf("%d MiB are held", mem.HeapAlloc>>20)
	}
}

func TestManyOperationsOfOneConversation(t *testing.T) {
	k := New(Config{}, toySpecs(), nil)
	s := tcp(k, 1, kprobes.RoleServer)
	for i := range int64(1000) {
		s.say(false, i*ms, fmt.Sprintf("?op%d\n", i))
		s.say(true, i*ms+1, fmt.Sprintf("!%d\n", i%300))
	}
	r := recordOf(0, 1)
	k.Take(r)
	var n uint32
	for _, m := range r.Requests.Messages {
		n += m.Requests
	}
	if n != 1000 || len(r.Requests.Messages) > maxStatuses+9 || k.Stats().Folded != 1000-maxOperations {
		t.Errorf("%d requests in %d tallies, %d folded", n, len(r.Requests.Messages), k.Stats().Folded)
	}
}

func TestClosedConversationsGiveWay(t *testing.T) {
	k := New(Config{MaxFollowed: 10}, toySpecs(), nil)
	for i := range uint64(100) {
		s := tcp(k, i, kprobes.RoleServer)
		s.say(false, ms, "?get\n")
		k.Settle()
		k.Closed(i)
		k.Settle()
		s.say(true, 2*ms, "!OK\n") // was in the ring behind the end
		k.Settle()
	}
	if st := k.Stats(); k.followed.n != 0 || st.Refused != 0 || st.Requests != 100 || st.Unanswered != 0 {
		t.Fatalf("%d are followed, stats %+v", k.followed.n, st)
	}
	for i := range uint64(30) {
		tcp(k, 1000+i, kprobes.RoleServer).say(false, ms+int64(i)*200*ms, "?get\n")
	}
	// Those silent for a second have made room.
	if st := k.Stats(); k.followed.n != 10 || st.Idle != 20 || st.Refused != 0 || st.Unanswered != 20 {
		t.Errorf("%d are followed, stats %+v", k.followed.n, st)
	}
	for i := range uint64(5) {
		tcp(k, 2000+i, kprobes.RoleServer).say(false, 6*1000*ms, "?get\n")
	}
	if st := k.Stats(); k.followed.n != 10 {
		t.Errorf("%d are followed, stats %+v", k.followed.n, st)
	}
}

func TestOwnSocketsAreLeftOut(t *testing.T) {
	w := wants{}
	k := New(Config{}, toySpecs(), w)
	s := tcp(k, 1, kprobes.RoleClient)
	s.ev.Self = true
	s.say(true, ms, "?get\n")
	if st := k.Stats(); st.Own != 1 || st.Open != 0 || w[1] != WantNothing {
		t.Errorf("stats %+v, asked for %v", st, w)
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	steadyStateDoesNotAllocate(t, toySpecs(), "?get\n", "!OK\n", 1)
	steadyStateDoesNotAllocate(t, protocols.All(), get, noContent, 1)
	steadyStateDoesNotAllocate(t, protocols.All(), "PUB x 2\r\nhi\r\n", natsMessage, 2)
	steadyStateDoesNotAllocate(t, nil, "who knows", "nobody", 0)
}

// steadyStateDoesNotAllocate lets a server be told q and answer a again and again:
// told messages each time.
func steadyStateDoesNotAllocate(t *testing.T, specs []l7.Spec, question, answer string, told uint64) {
	k := New(Config{}, specs, nil)
	s := tcp(k, 1, kprobes.RoleServer)
	r := recordOf(0, 1)
	q, a := []byte(question), []byte(answer)
	at := ms
	interval := func() {
		for range 20 {
			for i, d := range [][]byte{q, a} {
				e := &s.ev
				e.Out, e.Time, e.Turn, e.Data, e.Len, e.Seq = i == 1, at, true, d, uint32(len(d)), s.seq[i]
				e.PrevFirst, e.PrevLast, e.PrevOctets, e.PrevNextSeq = at-ms, at-ms, 5, s.seq[1-i]
				s.seq[i] += e.Len
				k.Payload(e)
				at += ms
			}
		}
		k.Take(r)
		k.Tick(time.Unix(0, at))
	}
	interval()
	if n := testing.AllocsPerRun(100, interval); n != 0 {
		t.Errorf("%v allocations per interval", n)
	}
	if st := k.Stats(); st.Lost != 0 || st.Requests < 2000*told || st.Gaps > 2 || told < 2 && st.Responses < 2000 {
		t.Errorf("%q: stats %+v", question, st)
	}
}

func BenchmarkMessage(b *testing.B) {
	k := New(Config{}, toySpecs(), nil)
	sockets := make([]*socket, 1000)
	for i := range sockets {
		sockets[i] = tcp(k, uint64(i), kprobes.RoleServer)
	}
	q, a := []byte("?get\n"), []byte("!OK\n")
	at, n := ms, 0
	b.ReportAllocs()
	for b.Loop() {
		s := sockets[n%len(sockets)]
		n++
		for i, d := range [][]byte{q, a} {
			e := &s.ev
			e.Out, e.Time, e.Turn, e.Data, e.Len, e.Seq = i == 1, at, true, d, uint32(len(d)), s.seq[i]
			e.PrevFirst, e.PrevLast, e.PrevOctets, e.PrevNextSeq = at-ms, at-ms, 5, s.seq[1-i]
			s.seq[i] += e.Len
			k.Payload(e)
			at += ms
		}
	}
}

// TestServerNames asks one connection for two names.
func TestServerNames(t *testing.T) {
	k := New(Config{}, []l7.Spec{http1.Spec}, nil)
	s := tcp(k, 7, kprobes.RoleServer)
	for i, name := range []string{"a.example", "b.example", "A.example:80"} {
		s.say(false, int64(i*10+1), "GET / HTTP/1.1\r\nHost: "+name+"\r\n\r\n")
		s.say(true, int64(i*10+2), "HTTP/1.1 204 No Content\r\n\r\n")
	}
	r := recordOf(0, 7)
	k.Take(r)
	got := map[string]uint32{}
	for _, m := range r.Requests.Messages {
		got[m.ServerName] += m.Requests
	}
	if len(got) != 2 || got["a.example"] != 2 || got["b.example"] != 1 {
		t.Errorf("requests by name %v", got)
	}
}

// TestParsersAreBoundInOctets lets more talk at once than the parsers may hold: the
// last ones are not parsed, until others have been silent; nothing is lost that was
// told, and what the parsers held is given back.
func TestParsersAreBoundInOctets(t *testing.T) {
	const most = 64 << 10
	k := New(Config{MaxHeld: most}, []l7.Spec{http1.Spec}, nil)
	ask := func(cookie uint64, at int64) {
		s := tcp(k, cookie, kprobes.RoleServer)
		for i := range int64(20) {
			s.say(false, at+2*i, fmt.Sprintf("GET /%s/%s HTTP/1.1\r\nHost: h%d\r\n\r\n", word(cookie), word(uint64(i)), i))
			s.say(true, at+2*i+1, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	}
	for c := range uint64(100) {
		ask(c+1, 1000)
	}
	s := k.Stats()
	if s.Held > most || s.Held < most/2 || s.Outgrown == 0 {
		t.Errorf("%d octets held, %d outgrown", s.Held, s.Outgrown)
	}
	ask(1000, 1000+2*silent)
	if now := k.Stats(); now.Idle == 0 || now.Requests != s.Requests+20 {
		t.Errorf("after silence: %d gave way, %d requests more, want 20", now.Idle, now.Requests-s.Requests)
	}
	for c := range k.streams {
		r := recordOf(0, c.cookie)
		r.Final = true
		k.Take(r)
	}
	k.release()
	if held := k.Stats().Held; held != 0 {
		t.Errorf("%d octets are held by nobody", held)
	}
}

// word is a name of letters.
func word(n uint64) string {
	return string([]byte{'a' + byte(n%26), 'a' + byte(n/26%26), 'x'})
}
