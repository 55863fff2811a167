package nats

import (
	"fmt"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

var rules = []l7test.Rule{
	{"connect", `
		< INFO {"server_id":"x"} \r\n
		> CONNECT {"verbose":false,"pass":"secret"}\r\nPING\r\n
		< PONG\r\n
		< PING\r\n
		> PONG\r\n
	`, []string{`answered "CONNECT" "OK" overlapped 43/6 1000us`, `answered "PING" "OK" overlapped 6/6 1000us`}},
	{"refused", `
		< INFO {"server_id":"x"} \r\n
		> CONNECT {"pass":"secret"}\r\nPING\r\n
		< -ERR 'Authorization Violation'\r\n
	`, []string{`answered "CONNECT" "Authorization Violation" failed overlapped 27/32 1000us`, `unanswered "PING" "" overlapped 6/0`}},
	{"publish and subscribe", `
		> SUB orders.created 1\r\nPUB orders.created 5\r\nhello\r\n
		< MSG orders.created 1 5\r\nhello\r\n
		> UNSUB 1\r\n
	`, []string{`oneway "SUB orders.created" "" 22/0`, `oneway "PUB orders.created" "" 29/0`, `oneway "MSG orders.created" "" 0/31`, `oneway "UNSUB" "" 9/0`}},
	{"request and reply", `
		> PUB orders.get.42 _INBOX.abc.1 2\r\nhi\r\n
		< MSG _INBOX.abc.1 1 3\r\nyes\r\n
		< MSG _INBOX.abc.1 1 5\r\nagain\r\n
	`, []string{`answered "PUB orders.get.*" "OK" 38/27 1000us`, `oneway "MSG _INBOX" "" 0/29`}},
	{"replies in any order", `
		> PUB a _INBOX.1 0\r\n\r\npub b _INBOX.2 0\r\n\r\n
		< MSG _INBOX.2 1 0\r\n\r\n
		< MSG _INBOX.1 1 0\r\n\r\n
	`, []string{`answered "PUB b" "OK" overlapped 20/20 1000us`, `answered "PUB a" "OK" overlapped 20/20 2000us`}},
	{"nobody serves it", `
		> HPUB a.b _INBOX.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n
		< HMSG _INBOX.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n
	`, []string{`answered "PUB a.b" "503" failed 41/41 1000us`}},
	{"JetStream", `
		> PUB $JS.API.STREAM.INFO.st _INBOX.1 0\r\n\r\n
		< MSG _INBOX.1 1 46\r\n{"type":"t","error":{"code":404,"err_code":1}}\r\n
		> PUB $JS.API.CONSUMER.MSG.NEXT.st.dur _INBOX.2 0\r\n\r\n
		< HMSG _INBOX.2 1 28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n
		> PUB $JS.ACK.st.dur.1.2.3.4.5 4\r\n+ACK\r\n
	`, []string{`answered "PUB $JS.API.STREAM.>" "404" failed 41/67 1000us`, `oneway "PUB $JS.API.CONSUMER.>" "" streaming 51/0`, `oneway "MSG _INBOX" "" 0/53`, `oneway "PUB $JS.ACK" "" 38/0`}},
	{"verbose", `
		> CONNECT {"verbose":true}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n
		< +OK\r\n+OK\r\n-ERR 'Invalid Subject'\r\nPONG\r\n
	`, []string{`answered "CONNECT" "OK" overlapped 26/5 1000us`, `answered "SUB a" "OK" overlapped 9/5 1000us`,
		`answered "PUB a" "Invalid Subject" failed overlapped 12/24 1000us`, `answered "PING" "OK" overlapped 6/6 1000us`}},
	{"an error that answers nothing", `
		> PUB secret.x 1\r\nx\r\n
		< -ERR 'Permissions Violation for Publish to "secret.x"'\r\n
		< -ERR 'made up'\r\n
	`, []string{`oneway "PUB secret.x" "" 19/0`, `oneway "-ERR" "Permissions Violation" failed 0/56`, `oneway "-ERR" "error" failed 0/16`}},
	{"holes in a payload do no harm", `
		> PUB a _INBOX.1 1000\r\nab
		> ...998
		> \r\nPUB b 0\r\n\r\n
		< MSG _INBOX.1 1 1000\r\nab
		< ...1000
		< MSG c 1 0\r\n\r\n
	`, []string{`oneway "PUB b" "" 11/0`, `answered "PUB a" "OK" 1023/1023 1000us`, `oneway "MSG c" "" 0/13`}},
	{"a hole that may have held an answer", `
		> PUB a _INBOX.1 1\r\nx\r\nPING\r\n
		< ...6
		> PUB b _INBOX.2 1\r\nx\r\n
		< MSG _INBOX.2 1 1\r\nx\r\n
	`, []string{`lost "PING" "" 6/0`, `lost "PUB a" "" 21/0`, `answered "PUB b" "OK" 21/21 1000us`}},
	{"without silence what answers in order is in doubt", `
		> PING\r\n
		< ...6
		> PING\r\n
		< PONG\r\n
		= 200
		> PING\r\n
		< PONG\r\n
	`, []string{`lost "PING" "" 6/0`, `lost "PING" "" 6/6`, `answered "PING" "OK" 6/6 1000us`}},
	{"a hole in a status", `
		> PUB a _INBOX.1 1\r\nx\r\n
		< HMSG _INBOX.1 1 16 16\r\nNATS
		< ...14
	`, []string{`lost "PUB a" "" 21/41`}},
	{"not NATS", `
		> GET / HTTP/1.1\r\nHost: x\r\n\r\n
		< HTTP/1.1 200 OK\r\n\r\n
	`, nil},
}

func TestRules(t *testing.T) { l7test.Rules(t, Spec, rules) }

func TestTemplate(t *testing.T) {
	for subject, want := range map[string]string{
		"orders": "orders", "orders.created": "orders.created", "orders.12.x": "orders.*.x", "a.b.c.d.e": "a.b.c.>",
		"_INBOX.x.y": "_INBOX", "$JS.ACK.a.b": "$JS.ACK", "a..b": "a.*.b", "user.bob@example.org": "user.*.org",
		"a.abcdefghijklmnopqrstuvwxyz": "a.*", "events.>": "events.>", "events.*": "events.*", "\x00\xff": "*",
	} {
		if got := string(template(nil, []byte(subject))); got != want {
			t.Errorf("template(%q) = %q, want %q", subject, got, want)
		}
	}
}

func TestNamesAreBounded(t *testing.T) {
	names := map[string]bool{}
	p := New(func(m *l7.Message) { names[string(m.Operation)] = true })
	for i := range 1000 {
		subject := fmt.Sprintf("%c%c.x", 'a'+i/26%26, 'a'+i%26)
		p.Data(&l7.Chunk{Dir: l7.ToServer, Turn: i == 0, Time: 1, Data: []byte("PUB " + subject + " 0\r\n\r\n")})
	}
	if len(names) != maxTemplates+1 || !names["PUB >"] {
		t.Errorf("%d names, want %d and PUB >", len(names), maxTemplates)
	}
}

// TestMemory leaves more requests without a reply than are kept.
func TestMemory(t *testing.T) {
	outcomes := map[l7.Outcome]int{}
	p := New(func(m *l7.Message) { outcomes[m.Outcome]++ })
	for i := range 1000 {
		p.Data(&l7.Chunk{Dir: l7.ToServer, Turn: i == 0, Time: 1, Data: fmt.Appendf(nil, "PUB a _INBOX.%d 0\r\n\r\n", i)})
	}
	p.Data(&l7.Chunk{Dir: l7.ToClient, Turn: true, Time: 1, Data: []byte("MSG _INBOX.999 1 0\r\n\r\n")})
	p.End(1)
	if outcomes[l7.Unanswered] != 999 || outcomes[l7.Answered] != 1 {
		t.Errorf("1000 requests, the last with a reply: %v", outcomes)
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		dir  l7.Dir
		data string
		want l7.Verdict
	}{
		{l7.ToClient, `INFO {"server_id":"NDX","server_name":"x"`, l7.Yes},
		{l7.ToServer, "CONNECT {\"verbose\":false}\r\nPING\r\n", l7.Yes},
		{l7.ToServer, "CONNECT example.org:443 HTTP/1.1\r\n\r\n", l7.No},
		{l7.ToServer, "PUB a.b 5\r\nhello\r\n", l7.Yes},
		{l7.ToServer, "PUB a.b x\r\nhello\r\n", l7.No},
		{l7.ToServer, "SUB a.b 1\r\n", l7.Yes},
		{l7.ToServer, "PING\r\n", l7.Maybe}, // Redis, too
		{l7.ToServer, "PU", l7.Maybe},
		{l7.ToServer, "PUB a", l7.Maybe},
		{l7.ToServer, "INFO\r\n", l7.No}, // Redis
		{l7.ToServer, "*1\r\n$4\r\nPING\r\n", l7.No},
		{l7.ToServer, "set k 0 0 1\r\nx\r\n", l7.No},
		{l7.ToServer, "GET / HTTP/1.1\r\n\r\n", l7.No},
		{l7.ToClient, "PONG\r\n", l7.Yes},
		{l7.ToClient, "MSG a 1 5\r\nhello\r\n", l7.Yes},
		{l7.ToClient, "HMSG a 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\n", l7.Yes},
		{l7.ToClient, "-ERR 'Authorization Violation'\r\n", l7.Yes},
		{l7.ToClient, "-ERR unknown command 'x'\r\n", l7.Maybe}, // Redis
		{l7.ToClient, "+OK\r\n", l7.Maybe},
		{l7.ToClient, "+OK POP3 ready\r\n", l7.No},
		{l7.ToClient, "-ERR", l7.Maybe},
		{l7.ToClient, "", l7.Maybe},
	} {
		if got := Match(c.dir, []byte(c.data)); got != c.want {
			t.Errorf("Match(%d, %q) = %d, want %d", c.dir, c.data, got, c.want)
		}
	}
}

func TestGolden(t *testing.T) { l7test.Golden(t, Spec, l7test.Text) }

func TestMatchCaptures(t *testing.T) { l7test.MatchCaptures(t, Spec) }

const hot = `
	> PUB orders.get.42 _INBOX.abc.1 2\r\nhi\r\nPUB orders.created 5\r\nhello\r\nPING\r\n
	< MSG _INBOX.abc.1 1 3\r\ny
	< ...2
	< \r\nMSG orders.created.77.x.y 1 5\r\nhello\r\nPONG\r\n
`

func TestAllocations(t *testing.T) {
	if n := l7test.Allocations(Spec, l7test.Script(t, hot)); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHostileLengths(t *testing.T) {
	for _, request := range []string{
		"PUB a 99999999999999999999\r\n", "PUB a -1\r\n", "PUB\r\n", "PUB a b c d e f g\r\n", "HPUB a 1\r\n", "\xff\r\n",
		"PUB " + string(make([]byte, 4096)) + " 1\r\n",
	} {
		told := l7test.Tell(Spec, []l7test.Chunk{
			{Chunk: l7.Chunk{Dir: l7.ToServer, Turn: true, Time: l7test.Start, Data: []byte(request)}},
			{Chunk: l7.Chunk{Dir: l7.ToServer, Turn: true, Time: l7test.Start + 1e9, Data: []byte("PING\r\n")}},
			{Chunk: l7.Chunk{Dir: l7.ToClient, Turn: true, Time: l7test.Start + 1e9, Data: []byte("PONG\r\n")}},
		})
		if want := `answered "PING" "OK" 6/6 0us`; len(told) != 1 || told[0] != want {
			t.Errorf("%.20q: %q, want %s", request, told, want)
		}
	}
}

func FuzzParser(f *testing.F) { l7test.Fuzz(f, Spec, rules) }

func BenchmarkParser(b *testing.B) { l7test.Benchmark(b, Spec, l7test.Script(b, hot)) }
