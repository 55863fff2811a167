package http1

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

var rules = []l7test.Rule{
	{"keep-alive", `
		> GET /users/1042?token=s3cret HTTP/1.1\r\nHost: x\r\nCookie: s3cret\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
		> GET / HTTP/1.1\r\n\r\n
		< HTTP/1.1 404 Not Found\r\ncontent-length:0\r\n\r\n
	`, []string{`answered "GET /users/{id}" "200" 66/43 1000us`, `answered "GET /" "404" 18/44 1000us`}},
	{"server error", `
		> DELETE /x HTTP/1.1\r\n\r\n
		= 9
		< HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n
	`, []string{`answered "DELETE /x" "503" failed 22/38 11000us`}},
	{"body in pieces", `
		> POST /orders HTTP/1.1\r\nContent-Length: 10\r\n\r\n01234
		> 56789
		< HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nab
		< c
	`, []string{`answered "POST /orders" "201" 55/46 1000us`}},
	{"chunked both ways, with trailers", `
		> PUT /f HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n
		< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nServer-Timing: x\r\n\r\n
		> GET / HTTP/1.1\r\n\r\n
		< HTTP/1.1 204 No Content\r\n\r\n
	`, []string{`answered "PUT /f" "200" 87/78 1000us`, `answered "GET /" "204" 18/27 1000us`}},
	{"HEAD and 304 have no body", `
		> HEAD / HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n
		> GET / HTTP/1.1\r\nIf-None-Match: x\r\n\r\n
		< HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n
		> GET /a HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
	`, []string{`answered "HEAD /" "200" 19/40 1000us`, `answered "GET /" "304" 36/50 1000us`, `answered "GET /a" "200" 19/38 1000us`}},
	{"the final answer answers", `
		> POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n
		< HTTP/1.1 100 Continue\r\n\r\n
		> body
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
	`, []string{`answered "POST /" "200" 64/38 1000us`}},
	{"pipelined", `
		> GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
		< HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n
	`, []string{`answered "GET /a" "200" overlapped 19/38 1000us`, `answered "GET /b" "500" failed overlapped 19/38 2000us`}},
	{"upgrade", `
		> GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n
		< HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n
		> \x81\x05hello
		< GET / HTTP/1.1\r\n\r\n
	`, []string{`answered "GET /ws" "101" streaming 61/56`}},
	{"tunnel", `
		> CONNECT db.example:443 HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\n\r\n
		> GET / HTTP/1.1\r\n\r\n
	`, []string{`answered "CONNECT {authority}" "200" streaming 35/19`}},
	{"answered before the body has ended", `
		> POST /up HTTP/1.1\r\nContent-Length: 100\r\n\r\n0123
		< HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n
	`, []string{`answered "POST /up" "413" streaming 46/45`}},
	{"line ends without CR, absolute target, odd method", `
		> FROB http://h/a/b?c HTTP/1.0\nHost: x\n\n
		< HTTP/1.0 200 OK\nContent-Length: 1\n\nx
	`, []string{`answered "other /a/b" "200" 38/36 1000us`}},
	{"a body that was not copied", `
		> POST /up HTTP/1.1\r\nContent-Length: 10000\r\n\r\n01234
		> ...9995
		< HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\nab
		< ...69998
		> GET / HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
	`, []string{`answered "POST /up" "200" 10044/70042 1000us`, `answered "GET /" "200" 18/38 1000us`}},
	{"a chunked body that was not copied", `
		> POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n01234
		> ...2000
		< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n01234
		< ...2000
		> GET / HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
	`, []string{`answered "POST /up" "200" 2059/2057 1000us`, `answered "GET /" "200" 18/38 1000us`}},
	{"headers longer than what was copied", `
		> GET /a HTTP/1.1\r\nCookie: xxxx
		> ...9000
		< HTTP/1.1 200 OK\r\nSet-Cookie: yyyy
		< ...9000
		> GET /b HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
	`, []string{`answered "GET /a" "200" 9017/9017 1000us`, `answered "GET /b" "200" 19/38 1000us`}},
	{"begun in the middle", `
		< 0123456789
		> GET /b HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
	`, []string{`lost "GET /b" "" 19/38`}},
	{"in doubt until nothing has passed for a while", `
		< 0123456789
		= 100
		> GET /b HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
	`, []string{`answered "GET /b" "200" 19/38 1000us`}},
	{"or the client has waited for an answer", `
		< 0123456789
		> GET /a HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
		> GET /b HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n01234
		< ...2000
		> GET /c HTTP/1.1\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
	`, []string{`lost "GET /a" "" 19/38`, `answered "GET /b" "200" 19/2057 1000us`, `answered "GET /c" "200" 19/38 1000us`}},
	{"no answer", `
		> GET /b HTTP/1.1\r\n\r\n
	`, []string{`unanswered "GET /b" "" 19/0`}},
	{"no HTTP", `
		> hello\r\n\r\n
		< 220 hello\r\n
	`, nil},
}

func TestRules(t *testing.T) { l7test.Rules(t, Spec, rules) }

// An answer without a length ends with the connection.
func TestUntilClose(t *testing.T) {
	got := l7test.Tell(Spec, l7test.Script(t, `
		> GET / HTTP/1.0\r\n\r\n
		< HTTP/1.0 200 OK\r\n\r\nhello
		< ...500
	`))
	if diff := cmp.Diff([]string{`answered "GET /" "200" 18/524 1000us`}, got); diff != "" {
		t.Error(diff)
	}
}

func TestGolden(t *testing.T) {
	l7test.Golden(t, Spec, l7test.Text)
	l7test.MatchCaptures(t, Spec)
}

// What a client can choose makes no names without end, and no memory.
func TestHostileTargets(t *testing.T) {
	seen := map[string]bool{}
	p := New(func(m *l7.Message) {
		if len(m.Operation) > l7.MaxOperation || len(m.Status) > l7.MaxStatus {
			t.Errorf("a name of %d octets", len(m.Operation))
		}
		seen[string(m.Operation)] = true
	}).(*parser)
	for i := range 20000 {
		target := "/" + strings.Repeat(string(rune('a'+i%26)), 1+i%31) + "/" + strings.Repeat(string(rune('a'+i/26%26)), 1+i/800%30)
		p.Data(&l7.Chunk{Dir: l7.ToServer, Turn: true, Time: int64(i), Data: []byte("GET " + target + " HTTP/1.1\r\n\r\n")})
		p.Data(&l7.Chunk{Dir: l7.ToClient, Turn: true, Time: int64(i), Data: []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")})
	}
	p.Data(&l7.Chunk{Dir: l7.ToServer, Turn: true, Time: 1, Data: []byte("GET /")})
	for range 10000 {
		p.Data(&l7.Chunk{Dir: l7.ToServer, Time: 1, Data: make([]byte, 1000)})
	}
	if len(seen) > maxNames+1 || cap(p.stream[0].line.Beginning()) > 2*maxLine {
		t.Errorf("%d names, %d octets of a line", len(seen), cap(p.stream[0].line.Beginning()))
	}
}

const exchange = `
	> GET /users/1042?x=1 HTTP/1.1\r\nHost: example\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n
	< HTTP/1.1 200 OK\r\nServer: x\r\nDate: now\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello
`

func TestAllocations(t *testing.T) {
	if n := l7test.Allocations(Spec, l7test.Script(t, exchange)); n != 0 {
		t.Errorf("%v allocations per request", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	l7test.Benchmark(b, Spec, l7test.Script(b, exchange))
}

func FuzzParser(f *testing.F) {
	for _, r := range rules {
		var up, down []byte
		for _, c := range l7test.Script(f, r.Script) {
			if c.Dir == l7.ToServer {
				up = append(up, c.Data...)
			} else {
				down = append(down, c.Data...)
			}
		}
		f.Add(up, down, uint8(7))
	}
	f.Fuzz(func(t *testing.T, up, down []byte, cut uint8) {
		l7test.Hostile(t, Spec, up, down, cut)
	})
}
