package requests

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/correlate/dist"
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/http1"
	"github.com/weir-probe/weir/flows/l7/nats"
	"github.com/weir-probe/weir/flows/l7/protocols"
	"github.com/weir-probe/weir/kprobes"
)

// line is what one end of a connection said: the server, or else the client, which
// then did after so many ms of silence.
type line struct {
	server bool
	after  int64
	data   string
}

const (
	webSocket   = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	switching   = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	get         = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	noContent   = "HTTP/1.1 204 No Content\r\n\r\n"
	natsInfo    = `INFO {"server_id":"NA","version":"2.10","max_payload":1048576}` + "\r\n"
	natsConnect = `CONNECT {"verbose":false,"lang":"go"}` + "\r\nPING\r\n"
	natsMessage = "MSG news 1 5\r\nhello\r\n"
	record      = "\x17\x03\x03\x00\x05xxxxx"
)

// timesCases are connections and what is to be told of their times: whoever thinks,
// or speaks when it likes, is never timed.
var timesCases = []struct {
	name                         string
	said                         []line
	count, overlapped, streaming uint64
	max                          int64 // ms
}{
	{"http, with time to think", []line{
		{false, 0, get}, {true, 3, noContent}, {false, 20_000, get}, {true, 5, noContent}, {false, 40_000, get}, {true, 4, noContent},
	}, 3, 0, 0, 5},
	{"http, 100-continue", []line{
		{false, 0, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"}, {true, 1, "HTTP/1.1 100 Continue\r\n\r\n"},
		{false, 9000, "body"}, {true, 7, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	}, 1, 0, 0, 7},
	{"http, pipelined", []line{{false, 0, get + get}, {true, 2, noContent}, {true, 2, noContent}}, 2, 2, 0, 4},
	{"websocket", []line{
		{false, 0, webSocket}, {true, 2, switching}, {true, 30_000, "\x81\x05hello"}, {false, 10, "\x81\x82abcdef"}, {true, 59_999, "\x81\x04news"},
		{false, 5, "\x8a\x80abcd"}, {true, 41_000, "\x81\x04more"},
	}, 1, 0, 1, 2},
	{"tunnel", []line{
		{false, 0, "CONNECT db:1 HTTP/1.1\r\n\r\n"}, {true, 6, "HTTP/1.1 200 OK\r\n\r\n"}, {false, 10, "\x01\x02\x03\x04"}, {true, 50_000, "\x01\x02\x03\x04"},
		{false, 10, "\x01\x02\x03\x04"}, {true, 50_000, "\x01\x02\x03\x04"},
	}, 1, 0, 1, 6},
	{"tls", []line{
		{false, 0, clientHello()}, {true, 30, "\x16\x03\x03\x00\x05xxxxx"}, {false, 40, record}, {true, 8, record}, {false, 7000, record}, {true, 9, record},
	}, 2, 0, 0, 9},
	{"tls in a tunnel", []line{
		{false, 0, "CONNECT db:1 HTTP/1.1\r\n\r\n"}, {true, 6, "HTTP/1.1 200 OK\r\n\r\n"}, {false, 10, clientHello()}, {true, 30, "\x16\x03\x03\x00\x05xxxxx"},
		{false, 40, record}, {true, 9, record},
	}, 2, 0, 1, 9},
	{"nats", []line{ // CONNECT and PING, which PONG answers
		{true, 0, natsInfo}, {false, 8000, natsConnect}, {true, 1, "PONG\r\n"}, {false, 5, "SUB news 1\r\n"}, {true, 30_000, natsMessage},
		{false, 10, "PUB x 2\r\nhi\r\n"}, {true, 39_999, natsMessage}, {false, 10, "PONG\r\n"}, {true, 25_000, natsMessage},
	}, 2, 2, 0, 1},
	{"redis, pipelined", []line{
		{false, 0, strings.Repeat("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 50)}, {true, 3, strings.Repeat("$-1\r\n", 50)},
	}, 50, 50, 0, 3},
	{"redis, subscribed", []line{
		{false, 0, "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"}, {true, 1, "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"},
		{true, 9000, "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"}, {false, 10, "*1\r\n$4\r\nPING\r\n"}, {true, 2, "*2\r\n$4\r\npong\r\n$0\r\n\r\n"},
		{true, 50_000, "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"},
	}, 1, 0, 3, 2},
	{"nobody knows", []line{ // a server that speaks twice answers once
		{true, 0, "\x01\x02"}, {false, 5000, "\x03\x04"}, {true, 4, "\x05\x06"}, {true, 9000, "\x07\x08"}, {false, 6000, "\x09\x0a"}, {true, 2, "\x0b"},
	}, 2, 0, 0, 4},
}

func TestTimes(t *testing.T) {
	for _, c := range timesCases {
		for _, role := range []kprobes.Role{kprobes.RoleServer, kprobes.RoleClient} {
			// In one record, and in one after each line: nothing is told twice or lost.
			for _, each := range []bool{false, true} {
				k := New(Config{}, protocols.All(), wants{})
				r := recordOf(0, 5)
				if role == kprobes.RoleClient {
					r = recordOf(5, 0)
				}
				s := tcp(k, 5, role)
				var got times
				at := 1000 * ms
				for _, l := range c.said {
					at += l.after * ms
					s.say(l.server == (role == kprobes.RoleServer), at, l.data)
					if each {
						got.take(k, r)
					}
				}
				r.Final = true
				got.take(k, r)
				if got.Count != c.count || got.Max != uint64(c.max*ms) || got.overlapped != c.overlapped || got.streaming != c.streaming ||
					got.life.Responses != c.count || got.life.ResponseSum != got.Sum {
					t.Errorf("%s, role %v, a record after each line: %v: %d answers, %d in all, at most %d ms, %d overlapped, %d streaming", c.name, role, each,
						got.Count, got.life.Responses, got.Max/uint64(ms), got.overlapped, got.streaming)
				}
			}
		}
	}
}

// times is what some records of one connection told.
type times struct {
	dist.Histogram
	overlapped, streaming, estimated uint64
	life                             correlate.RequestsLife
}

func (x *times) take(k *Tracker, r *correlate.Record) {
	k.Take(r)
	if q := r.Requests; q != nil {
		q.Response.AddTo(&x.Histogram)
		x.overlapped, x.streaming, x.estimated, x.life = x.overlapped+q.Overlapped, x.streaming+q.Streaming, x.estimated+q.Estimated, q.Life
	}
}

// clientHello is what crypto/tls says first.
func clientHello() string {
	client, server := net.Pipe()
	go tls.Client(client, &tls.Config{ServerName: "example.com"}).Handshake()
	head := make([]byte, 5)
	if _, err := io.ReadFull(server, head); err != nil {
		panic(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(server, body); err != nil {
		panic(err)
	}
	server.Close()
	return string(head) + string(body)
}

// lateSpecs is the toy, which is not sure of what an operation a tells.
func lateSpecs() []l7.Spec {
	s := toySpec(l7.Redis, false)
	sure := s.Match
	s.Match = func(d l7.Dir, b []byte) l7.Verdict {
		if string(b) == "?a\n" || string(b) == "!a\n" {
			return l7.Maybe
		}
		return sure(d, b)
	}
	return []l7.Spec{s}
}

// What passed before the protocol was recognised is told once, by turns if a record
// came first, else by the messages that the parser makes of it.
func TestProtocolRecognisedLate(t *testing.T) {
	for _, role := range []kprobes.Role{kprobes.RoleUnknown, kprobes.RoleServer} {
		for taken := range 5 {
			k := New(Config{}, lateSpecs(), nil)
			s, r := tcp(k, 5, role), recordOf(0, 5)
			var got times
			for i, l := range []line{{false, 1, "?a\n"}, {true, 11, "!a\n"}, {false, 101, "?a\n"}, {true, 111, "!OK\n"}} {
				if i == taken {
					got.take(k, r)
				}
				s.say(l.server, l.after*ms, l.data)
			}
			r.Final = true
			if got.take(k, r); got.Count != 2 || got.life.Responses != 2 || got.Max != uint64(10*ms) {
				t.Errorf("role %v, a record before the %d. line: %d answers, %d in all, at most %d ms", role, taken, got.Count, got.life.Responses, got.Max/uint64(ms))
			}
		}
	}
}

// Where the socket's role becomes known after its messages were told, they are not lost.
func TestRoleKnownAfterTheMessages(t *testing.T) {
	k := New(Config{}, []l7.Spec{http1.Spec}, nil)
	s, r := tcp(k, 5, kprobes.RoleUnknown), recordOf(0, 5)
	s.say(false, 1*ms, get)
	s.say(true, 4*ms, noContent)
	var got times
	if got.take(k, r); got.Count != 1 || got.Max != uint64(3*ms) {
		t.Errorf("%d answers, at most %d ns", got.Count, got.Max)
	}
}

// end plays the end of a connection whose last turn was of more octets than were told.
func (s *socket) end(at int64, untold uint32) {
	i := 0
	if !s.out {
		i = 1
	}
	s.seq[i] += untold
	e := &s.ev
	e.Out, e.Time, e.Seq, e.Len, e.Data, e.Turn, e.Ends = !s.out, at, s.seq[1-i], 0, nil, true, true
	e.PrevFirst, e.PrevLast, e.PrevOctets, e.PrevNextSeq = s.first, at-ms, s.octets+uint64(untold), s.seq[i]
	s.t.Payload(e)
	e.Ends = false
}

// The last answer of a connection is known to be one whatever of it was not copied, and
// the last question of one is no answer.
func TestLastTurnIsLong(t *testing.T) {
	const body = 1 << 20
	for _, c := range []struct {
		name   string
		said   []line
		untold uint32
		count  uint64
		status string
	}{
		{"answer", []line{{false, 1, get}, {true, 5, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", body)}}, body, 1, "200"},
		{"cut answer", []line{{false, 1, get}, {true, 5, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", body)}}, body / 2, 0, ""},
		{"question", []line{{false, 1, fmt.Sprintf("PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n", body)}}, body, 0, ""},
	} {
		for _, role := range []kprobes.Role{kprobes.RoleServer, kprobes.RoleClient} {
			k := New(Config{}, protocols.All(), nil)
			s, r := tcp(k, 5, role), recordOf(0, 5)
			if role == kprobes.RoleClient {
				r = recordOf(5, 0)
			}
			for _, l := range c.said {
				s.say(l.server == (role == kprobes.RoleServer), l.after*ms, l.data)
			}
			s.end(90*ms, c.untold)
			r.Final = true
			var got times
			got.take(k, r)
			m := r.Requests.Messages
			if got.Count != c.count || got.Max > uint64(4*ms) || len(m) != 1 || m[0].Requests != 1 || m[0].Status != c.status {
				t.Errorf("%s, role %v: %d answers, at most %d ms; %d messages, the first %+v", c.name, role, got.Count, got.Max/uint64(ms), len(m), m[0])
			}
		}
	}
	for _, out := range []bool{false, true} { // where no protocol is known
		k := New(Config{}, nil, nil)
		s, r := tcp(k, 5, kprobes.RoleServer), recordOf(0, 5)
		s.say(out, 1*ms, "x")
		s.end(90*ms, body)
		var got times
		if got.take(k, r); got.Count != 0 {
			t.Errorf("an end is taken for an answer")
		}
	}
}

// A parser that lost its place, or had to end for others, leaves nothing to turns.
func TestNoTurnsAfterMessages(t *testing.T) {
	for name, end := range map[string]func(k *Tracker, s *stream){
		"lost":  func(k *Tracker, s *stream) { s.conv.Skip(Out, 1<<20, 1<<20, 10*ms) },
		"ended": func(k *Tracker, s *stream) { k.end(s, 10*ms) },
		"idled": func(k *Tracker, s *stream) { k.end(s, 10*ms); s.idled = true },
	} {
		k := New(Config{}, []l7.Spec{nats.Spec}, nil)
		s, r := tcp(k, 5, kprobes.RoleServer), recordOf(0, 5)
		s.say(true, 1*ms, natsInfo)
		s.say(false, 2*ms, natsConnect)
		s.say(true, 3*ms, "PONG\r\n")
		s.say(false, 4*ms, "SUB news 1\r\n")
		end(k, k.streams[streamKey{cookie: 5}])
		s.seq = [2]uint32{1 << 20, 1 << 20}
		for i := range int64(20) {
			s.say(true, 20_000*(i+1)*ms, natsMessage)
			s.say(false, 20_000*(i+1)*ms+ms, "PUB x 2\r\nhi\r\n")
		}
		var got times
		if got.take(k, r); got.Max > uint64(ms) {
			t.Errorf("%s: %d answers, at most %d ms", name, got.Count, got.Max/uint64(ms))
		}
	}
}

// The times of what a TLS library was given are those of its messages, and no turn of
// what it made of them is timed beside them.
func TestTimesInsideTLS(t *testing.T) {
	k := New(Config{}, protocols.All(), nil)
	wire, plain := tcp(k, 3, kprobes.RoleServer), tcp(k, 3, kprobes.RoleServer)
	plain.ev.Plain = true
	wire.say(false, ms, clientHello())
	wire.say(true, 2*ms, "\x16\x03\x03\x00\x05xxxxx")
	at := 10 * ms
	say := func(out bool, after int64, data string) {
		at += after * ms
		plain.say(out, at, data)
		wire.say(out, at, fmt.Sprintf("\x17\x03\x03\x00%c%s", len(data), data))
	}
	say(false, 1, webSocket)
	say(true, 3, switching)
	for range 10 {
		say(false, 10, "\x81\x82abcdef")
		say(true, 9000, "\x81\x04news")
	}
	var got times
	if got.take(k, recordOf(0, 3)); got.Count != 1 || got.Max != uint64(3*ms) || got.life.Responses != 1 {
		t.Errorf("%d answers, %d in all, at most %d ms", got.Count, got.life.Responses, got.Max/uint64(ms))
	}
}
