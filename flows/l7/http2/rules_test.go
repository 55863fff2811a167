package http2

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

// frame makes one.
func frame(kind, flags byte, id uint32, payload string) string {
	n := len(payload)
	return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}) + payload
}

// peer encodes the header blocks of one direction.
type peer struct {
	b bytes.Buffer
	e *hpack.Encoder
}

func newPeer() *peer {
	p := new(peer)
	p.e = hpack.NewEncoder(&p.b)
	return p
}

// block encodes "name value" lines.
func (p *peer) block(fields ...string) string {
	p.b.Reset()
	for _, f := range fields {
		name, value, _ := strings.Cut(f, " ")
		if err := p.e.WriteField(hpack.HeaderField{Name: name, Value: value}); err != nil {
			panic(err)
		}
	}
	return p.b.String()
}

const endStream, endHeaders, both = flagEndStream, flagEndHeaders, flagEndStream | flagEndHeaders

func get(p *peer, path string) string {
	return p.block(":method GET", ":scheme http", ":authority API.example", ":path "+path, "authorization Bearer secret")
}

func rpc(p *peer, method string) string {
	return p.block(":method POST", ":scheme http", ":path /pkg.v1.Users/"+method, ":authority api", "content-type application/grpc+proto")
}

func TestRules(t *testing.T) {
	okBlock := func() string { return newPeer().block(":status 200", "content-type text/html") }
	grpcHead := func() string { return newPeer().block(":status 200", "content-type application/grpc") }
	msg := "\x00\x00\x00\x00\x03abc"
	answered := func(operation, status string) l7test.Message {
		return l7test.Message{Outcome: "answered", Operation: operation, Status: status}
	}
	failed := func(m l7test.Message) l7test.Message { m.Failed = true; return m }
	streaming := func(m l7test.Message) l7test.Message { m.Streaming = true; return m }
	whole := get(newPeer(), "/users/42?x=secret")
	call := frame(typeHeaders, endHeaders, 1, rpc(newPeer(), "Get2"))
	data := frame(typeData, endStream, 1, msg)
	reset := func(code string) string { return frame(typeReset, 0, 1, "\x00\x00\x00"+code) }
	for name, test := range map[string]struct {
		talk []l7test.Chunk
		want []l7test.Message
	}{
		"plain": {l7test.Talk(l7test.C(preface+frame(typeSettings, 0, 0, "")+frame(typeHeaders, both, 1, whole)), l7test.S(frame(typeHeaders, endHeaders, 1, okBlock())+frame(typeData, endStream, 1, "x"))),
			[]l7test.Message{answered("GET /users/{id}", "200")}},
		"continuation": {l7test.Talk(l7test.C(frame(typeHeaders, endStream, 1, whole[:5])+frame(typeContinuation, 0, 1, whole[5:9])+frame(typeContinuation, endHeaders, 1, whole[9:])), l7test.S(frame(typeHeaders, both, 1, okBlock()))),
			[]l7test.Message{answered("GET /users/{id}", "200")}},
		"padding and priority": {l7test.Talk(l7test.C(frame(typeHeaders, both|flagPadded|flagPriority, 1, "\x03\x00\x00\x00\x00\x10"+whole+"\xff\xff\xff")), l7test.S(frame(typeHeaders, both, 1, okBlock()))),
			[]l7test.Message{answered("GET /users/{id}", "200")}},
		"interim": {l7test.Talk(l7test.C(frame(typeHeaders, both, 1, whole)), l7test.S(frame(typeHeaders, endHeaders, 1, newPeer().block(":status 103"))), l7test.S(frame(typeHeaders, both, 1, newPeer().block(":status 500")))),
			[]l7test.Message{failed(answered("GET /users/{id}", "500"))}},
		"pushed": {l7test.Talk(l7test.C(frame(typeHeaders, both, 1, whole)), l7test.S(frame(typePushPromise, endHeaders, 1, "\x00\x00\x00\x02"+whole)+frame(typeHeaders, both, 2, okBlock())+frame(typeHeaders, both, 1, okBlock()))),
			[]l7test.Message{answered("GET /users/{id}", "200")}},
		"unary": {l7test.Talk(l7test.C(call+data), l7test.S(frame(typeHeaders, endHeaders, 1, grpcHead())+frame(typeData, 0, 1, msg)+frame(typeHeaders, both, 1, newPeer().block("grpc-status 0")))),
			[]l7test.Message{answered("/pkg.v1.Users/Get2", "OK")}},
		"trailers only": {l7test.Talk(l7test.C(call+data), l7test.S(frame(typeHeaders, both, 1, newPeer().block(":status 200", "content-type application/grpc", "grpc-status 14")))),
			[]l7test.Message{failed(answered("/pkg.v1.Users/Get2", "UNAVAILABLE"))}},
		"not served by gRPC": {l7test.Talk(l7test.C(call+data), l7test.S(frame(typeHeaders, both, 1, newPeer().block(":status 503")))),
			[]l7test.Message{failed(answered("/pkg.v1.Users/Get2", "UNAVAILABLE"))}},
		"server streaming": {l7test.Talk(l7test.C(call+data), l7test.S(frame(typeHeaders, endHeaders, 1, grpcHead())+frame(typeData, 0, 1, msg+msg)+frame(typeHeaders, both, 1, newPeer().block("grpc-status 5")))),
			[]l7test.Message{streaming(answered("/pkg.v1.Users/Get2", "NOT_FOUND"))}},
		"client streaming": {l7test.Talk(l7test.C(call+frame(typeData, 0, 1, msg)+data), l7test.S(frame(typeHeaders, endHeaders, 1, grpcHead())+frame(typeHeaders, both, 1, newPeer().block("grpc-status 0")))),
			[]l7test.Message{streaming(answered("/pkg.v1.Users/Get2", "OK"))}},
		"reset by the server": {l7test.Talk(l7test.C(frame(typeHeaders, both, 1, whole)), l7test.S(reset("\x02"))),
			[]l7test.Message{failed(answered("GET /users/{id}", "INTERNAL_ERROR"))}},
		"refused call": {l7test.Talk(l7test.C(call+data), l7test.S(reset("\x07"))),
			[]l7test.Message{failed(answered("/pkg.v1.Users/Get2", "UNAVAILABLE"))}},
		"cancelled": {l7test.Talk(l7test.C(call+data), l7test.C(reset("\x08"))),
			[]l7test.Message{{Outcome: "unanswered", Operation: "/pkg.v1.Users/Get2", Status: "CANCELLED"}}},
		"go away": {l7test.Talk(l7test.C(frame(typeHeaders, both, 1, whole)), l7test.S(frame(typeGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"))),
			[]l7test.Message{{Outcome: "unanswered", Operation: "GET /users/{id}"}}},
		"invalid Huffman code": {l7test.Talk(l7test.C(frame(typeHeaders, both, 1, "\x82\x44\x84\xff\xff\xff\xff")), l7test.S(frame(typeHeaders, both, 1, okBlock()))),
			[]l7test.Message{answered(unknown, "200")}},
	} {
		t.Run(name, func(t *testing.T) {
			l7test.Equal(t, test.want, l7test.Run(Spec, test.talk))
			l7test.Properties(t, Spec, test.talk, l7test.AnswersAtEnd)
		})
	}
}

// TestDynamicTableFromTheMiddle joins after the first request of a connection:
// what the table of before is used for is unknown, what came since is known.
func TestDynamicTableFromTheMiddle(t *testing.T) {
	c, s := newPeer(), newPeer()
	get(c, "/old") // not seen
	answer := s.block(":status 200")
	again, fresh := get(c, "/old"), get(c, "/new")
	repeat := get(c, "/new")
	got := l7test.Run(Spec, l7test.Talk(
		l7test.C(frame(typeHeaders, both, 3, again)), l7test.S(frame(typeHeaders, both, 3, answer)),
		l7test.C(frame(typeHeaders, both, 5, fresh)), l7test.S(frame(typeHeaders, both, 5, answer)),
		l7test.C(frame(typeHeaders, both, 7, repeat)), l7test.S(frame(typeHeaders, both, 7, answer)),
	))
	want := []string{unknown, "GET /new", "GET /new"}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, m := range got {
		if m.Operation != want[i] || m.Status != "200" {
			t.Errorf("request %d: %s %s, want %s", i, m.Operation, m.Status, want[i])
		}
	}
}

// TestDynamicTableAfterUpload has a hole over the end of a body: the next stream shows
// that it held no other, a later one that it may have.
func TestDynamicTableAfterUpload(t *testing.T) {
	for name, c := range map[string]struct {
		next uint32
		want string
	}{"the next stream": {3, "GET /new"}, "another": {5, unknown}} {
		p := newPeer()
		get(p, "/new")
		body := frame(typeData, 0, 1, strings.Repeat("x", 1000))
		hole := frame(typeData, 0, 1, strings.Repeat("x", 1000)) + frame(typeData, endStream, 1, "x")
		answer := newPeer().block(":status 200")
		got := l7test.Run(Spec, l7test.Talk(
			l7test.C(preface+frame(typeHeaders, endHeaders, 1, get(newPeer(), "/new"))+body[:500]),
			l7test.Hole(l7.ToServer, int64(len(body)-500+len(hole))),
			l7test.S(frame(typeHeaders, both, 1, answer)),
			l7test.C(frame(typeHeaders, both, c.next, get(p, "/new"))), l7test.S(frame(typeHeaders, both, c.next, answer)),
		))
		if len(got) != 2 || got[0].Operation != "GET /new" || got[1].Operation != c.want || got[1].Status != "200" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestDynamicTableAfterDownload has a hole over the end of an answer, with trailers
// that add nothing to the server's table, or something: then what comes after is
// unknown, never another's.
func TestDynamicTableAfterDownload(t *testing.T) {
	for name, c := range map[string]struct {
		trailers []string
		want     l7test.Message
	}{
		"nothing new":   {[]string{"grpc-status 0"}, l7test.Message{Outcome: "answered", Status: "NOT_FOUND"}},
		"another field": {[]string{"grpc-status 13", "grpc-message no"}, l7test.Message{Outcome: "lost"}},
	} {
		client, server := newPeer(), newPeer()
		talk := []l7test.Chunk{l7test.C(preface)}
		call := func(id uint32, status ...string) (ask, head, end string) {
			return frame(typeHeaders, endHeaders, id, rpc(client, "Get")) + frame(typeData, endStream, id, ""),
				frame(typeHeaders, endHeaders, id, server.block(":status 200", "content-type application/grpc")), frame(typeHeaders, both, id, server.block(status...))
		}
		for i, status := range [][]string{{"grpc-status 0"}, {"grpc-status 5"}} {
			ask, head, end := call(uint32(2*i+1), status...)
			talk = append(talk, l7test.C(ask), l7test.S(head+end))
		}
		ask, head, end := call(5, c.trailers...)
		body := frame(typeData, 0, 5, strings.Repeat("x", 1000))
		talk = append(talk, l7test.C(ask), l7test.S(head+body[:100]), l7test.Hole(l7.ToClient, int64(len(body)-100+len(end))))
		ask, head, end = call(7, "grpc-status 5")
		got := l7test.Run(Spec, l7test.Talk(append(talk, l7test.C(ask), l7test.S(head+end))...))
		if len(got) != 4 || got[1].Status != "NOT_FOUND" || got[2].Outcome != "lost" || got[3].Outcome != c.want.Outcome || got[3].Status != c.want.Status {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestAgainstLibrary compares the decoder with that of x/net on random fields.
func TestAgainstLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p, d := newPeer(), &decoder{room: new(room)}
	for round := range 2000 {
		target := "/" + strings.Repeat("x", r.IntN(40)) + string(rune('a'+r.IntN(26)))
		fields := []string{":method GET", ":path " + target, ":authority host" + string(rune('a'+r.IntN(5))),
			"x-" + string(rune('a'+r.IntN(26))) + " " + strings.Repeat("v", r.IntN(90)), "content-type text/" + string(rune('a'+r.IntN(9)))}
		if r.IntN(50) == 0 {
			p.e.SetMaxDynamicTableSize(uint32(r.IntN(4097)))
		}
		d.begin()
		d.block([]byte(p.block(fields...)))
		if d.unknown || ":path "+string(d.fields[path].b) != fields[1] || ":authority "+string(d.fields[authority].b) != fields[2] || "content-type "+string(d.fields[contentType].b) != fields[4] {
			t.Fatalf("block %d: %q, want %q", round, d.fields[path].b, fields)
		}
	}
}

// TestRFC7541 is appendix C.4: requests with Huffman coding.
func TestRFC7541(t *testing.T) {
	d := &decoder{room: new(room)}
	for _, test := range []struct{ block, path, authority string }{
		{"828684418cf1e3c2e5f23a6ba0ab90f4ff", "/", "www.example.com"},
		{"828684be5886a8eb10649cbf", "/", "www.example.com"},
		{"828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", "/index.html", "www.example.com"},
	} {
		b, err := hex.DecodeString(test.block)
		if err != nil {
			t.Fatal(err)
		}
		d.begin()
		d.block(b)
		if f := &d.fields; d.unknown || string(f[method].b) != "GET" || string(f[path].b) != test.path || string(f[authority].b) != test.authority {
			t.Errorf("%s: %q %q %q", test.block, f[method].b, f[path].b, f[authority].b)
		}
	}
}

func TestMatch(t *testing.T) {
	for name, test := range map[string]struct {
		dir  l7.Dir
		b    string
		want l7.Verdict
	}{
		"preface":        {l7.ToServer, preface, l7.Yes},
		"half a preface": {l7.ToServer, preface[:10], l7.Maybe},
		"POST":           {l7.ToServer, "POST / HTTP/1.1\r\n", l7.No},
		"request":        {l7.ToServer, frame(typeHeaders, both, 5, "\x82\x86"), l7.Yes},
		"response":       {l7.ToClient, frame(typeHeaders, endHeaders, 5, "\x88\xbe"), l7.Yes},
		"settings":       {l7.ToClient, frame(typeSettings, 0, 0, "\x00\x03\x00\x00\x00\x80"), l7.Yes},
		"ping":           {l7.ToClient, frame(typePing, 0, 0, "12345678"), l7.Maybe},
		"Kafka":          {l7.ToServer, "\x00\x00\x00\x2c\x00\x12\x00\x04\x00\x00\x00\x01", l7.No},
		"PostgreSQL":     {l7.ToServer, "\x00\x00\x00\x54\x00\x03\x00\x00user\x00", l7.No},
		"TLS":            {l7.ToServer, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", l7.No},
		"MySQL":          {l7.ToClient, "\x4a\x00\x00\x00\x0a8.0.36\x00", l7.No},
	} {
		if got := Spec.Match(test.dir, []byte(test.b)); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// TestHostileMemory fills what a connection may hold in both directions: the weight
// told is not less than what is held, and bounded.
func TestHostileMemory(t *testing.T) {
	told := 0
	p := newParser(func(*l7.Message) { told++ }).(*parser)
	c, s := newPeer(), newPeer()
	n := 0
	for id := uint32(1); id < 5000; id += 2 {
		path := fmt.Sprintf("/%s%d", strings.Repeat("ab/", 40), id)
		b := c.block(":method GET", ":path "+path, ":authority "+strings.Repeat("a", 60)+fmt.Sprint(id), "x"+strings.Repeat("b", 3000)+" c")
		p.Data(&l7.Chunk{Dir: l7.ToServer, Time: int64(id), Data: []byte(frame(typeHeaders, both, id, b))})
		interim := s.block(":status 103", "content-type "+strings.Repeat("t", 200)+fmt.Sprint(id))
		p.Data(&l7.Chunk{Dir: l7.ToClient, Time: int64(id), Data: []byte(frame(typeHeaders, endHeaders, id, interim))})
		n++
	}
	// A header block without an end, and a frame of declared 16 MiB.
	p.Data(&l7.Chunk{Dir: l7.ToServer, Time: 9999, Data: []byte(frame(typeHeaders, 0, 9001, "\x82"))})
	for range 1000 {
		p.Data(&l7.Chunk{Dir: l7.ToServer, Time: 9999, Data: []byte(frame(typeContinuation, 0, 9001, strings.Repeat("\x00\x01a\x01b", 300)))})
	}
	weight, crowded := p.Weight()
	if held := octets(p); held > weight || weight > maxRoom+10<<10 || crowded == 0 {
		t.Errorf("%d octets held, %d told, %d times without room", held, weight, crowded)
	}
	if told+p.streams.n != n || p.streams.n < 2 {
		t.Errorf("%d told, %d open of %d", told, p.streams.n, n)
	}
}

// octets is what a parser holds.
func octets(p *parser) int {
	n := int(unsafe.Sizeof(*p)) + len(p.streams.all)*int(unsafe.Sizeof(stream{}))
	for i := range p.streams.all {
		n += cap(p.streams.all[i].operation) + cap(p.streams.all[i].host)
	}
	for d := range p.sides {
		s := &p.sides[d]
		n += cap(s.block) + cap(s.hpack.name.b) + cap(s.hpack.text.b) + len(s.hpack.ring)*int(unsafe.Sizeof(entry{}))
		for i := range s.hpack.ring {
			n += cap(s.hpack.ring[i].value.b)
		}
		for i := range s.hpack.fields {
			n += cap(s.hpack.fields[i].b)
		}
	}
	return n
}

func FuzzParser(f *testing.F) {
	l7test.Fuzz(f, Spec, nil, func(t *testing.T, told []l7test.Message) {
		for _, m := range told {
			if m.Operation == "" || m.Outcome == "answered" && m.Status == "" {
				t.Fatalf("%+v", m)
			}
		}
	})
}

func FuzzHPACK(f *testing.F) {
	f.Add([]byte(get(newPeer(), "/x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := &decoder{room: new(room)}
		for range 2 {
			d.begin()
			d.block(b)
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	c, s := newPeer(), newPeer()
	get(c, "/users/42")
	request := []byte(frame(typeHeaders, both, 1, get(c, "/users/42")))
	response := []byte(frame(typeHeaders, both, 1, s.block(":status 200")))
	told := 0
	p := newParser(func(*l7.Message) { told++ }).(*parser)
	b.ReportAllocs()
	for b.Loop() {
		p.maxID = 0
		p.Data(&l7.Chunk{Dir: l7.ToServer, Time: 1, Data: request})
		p.Data(&l7.Chunk{Dir: l7.ToClient, Time: 2, Data: response})
	}
	if told != b.N {
		b.Fatalf("%d of %d told", told, b.N)
	}
}
