package redis

import (
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		dir  l7.Dir
		data string
		want l7.Verdict
	}{
		{l7.ToServer, "*1\r\n$4\r\nPING\r\n", l7.Yes},
		{l7.ToServer, "*2\r\n$8\r\nJSON.GET\r\n$1\r\nk\r\n", l7.Yes},
		{l7.ToServer, "*2\r\n$4\r\nPI", l7.Maybe},
		{l7.ToServer, "*2\r", l7.Maybe},
		{l7.ToServer, "*", l7.Maybe},
		{l7.ToServer, "", l7.Maybe},
		{l7.ToServer, "*2\r\n$4\r\n\x00\x01\x02\x03\r\n", l7.No},
		{l7.ToServer, "*a\r\n", l7.No},
		{l7.ToServer, "PING\r\n", l7.Maybe},                       // NATS, too
		{l7.ToServer, "get key\r\n", l7.Maybe},                    // memcached, too
		{l7.ToServer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", l7.No}, // HTTP
		{l7.ToServer, "CONNECT {\"verbose\":false}\r\n", l7.No},   // NATS
		{l7.ToServer, "PUB a 1\r\nx\r\n", l7.No},                  // NATS
		{l7.ToServer, "\x00\x00\x00\x08\x04\xd2\x16\x2f", l7.No},  // PostgreSQL
		{l7.ToServer, "\x16\x03\x01\x02\x00\x01", l7.No},          // TLS
		{l7.ToServer, "AMQP\x00\x00\x09\x01", l7.No},              // AMQP
		{l7.ToClient, "$5\r\nhello\r\n", l7.Yes},
		{l7.ToClient, "*2\r\n:1\r\n:2\r\n", l7.Yes},
		{l7.ToClient, "%7\r\n$6\r\nserver\r\n", l7.Yes},
		{l7.ToClient, "+PONG\r\n", l7.Yes},
		{l7.ToClient, "-WRONGTYPE x\r\n", l7.Yes},
		{l7.ToClient, "+OK\r\n", l7.Maybe},
		{l7.ToClient, "-ERR x\r\n", l7.Maybe},
		{l7.ToClient, "-ERR 'Unknown Protocol Operation'\r\n", l7.No}, // NATS
		{l7.ToClient, ":1\r\n", l7.Maybe},
		{l7.ToClient, "HTTP/1.1 200 OK\r\n\r\n", l7.No},
		{l7.ToClient, "INFO {\"server_id\":\"x\"}\r\n", l7.No},
		{l7.ToClient, "VALUE k 0 1\r\nx\r\nEND\r\n", l7.No},
	} {
		if got := Match(c.dir, []byte(c.data)); got != c.want {
			t.Errorf("Match(%d, %q) = %d, want %d", c.dir, c.data, got, c.want)
		}
	}
}

func TestGolden(t *testing.T) { l7test.Golden(t, Spec, l7test.Text) }

func TestMatchCaptures(t *testing.T) { l7test.MatchCaptures(t, Spec) }

// request is a request with its answer, three times pipelined: all of a hot path.
const hot = `
	> *3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$5\r\nhello\r\n*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n*4\r\n$6\r\nCLIENT\r\n$7\r\nSETINFO\r\n$8\r\nLIB-NAME\r\n$2\r\nme\r\n
	< +OK\r\n$5\r\nhello\r\n-ERR no\r\n
	> *2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n
	< $5\r\nhe
	< ...3
	< \r\n
`

func TestAllocations(t *testing.T) {
	if n := l7test.Allocations(Spec, l7test.Script(t, hot)); n != 0 {
		t.Errorf("%v allocations for 4 messages", n)
	}
}

// TestMemory pipelines more requests than are kept: those without room are told as
// lost, and the answers after theirs belong to who asked.
func TestMemory(t *testing.T) {
	outcomes := map[l7.Outcome]int{}
	last := ""
	p := New(func(m *l7.Message) { outcomes[m.Outcome]++; last = l7test.Keep(m).String() })
	say := func(d l7.Dir, turn bool, text string) {
		p.Data(&l7.Chunk{Dir: d, Turn: turn, Time: l7test.Start, Data: []byte(text)})
	}
	for i := range 1000 {
		say(l7.ToServer, i == 0, "*1\r\n$4\r\nPING\r\n")
	}
	for i := range 1000 {
		say(l7.ToClient, i == 0, "+PONG\r\n")
	}
	if outcomes[l7.Answered] != 256 || outcomes[l7.Lost] != 744 {
		t.Errorf("1000 pipelined: %v, want 256 answered, 744 lost", outcomes)
	}
	say(l7.ToServer, true, "*1\r\n$4\r\nTIME\r\n")
	say(l7.ToClient, true, "*2\r\n:1\r\n:2\r\n")
	if want := `answered "TIME" "OK" 14/12 0us`; last != want {
		t.Errorf("afterwards %s, want %s", last, want)
	}
}

// TestTrust has an answer in a hole: a client that has always waited for its answers
// is believed to have done so again, one that was not seen long enough is not.
func TestTrust(t *testing.T) {
	for turns, want := range map[int]string{10: `lost "TIME" "" 14/7`, 40: `answered "TIME" "OK" 14/7 1000us`} {
		script := strings.Repeat("> *1\\r\\n$4\\r\\nPING\\r\\n\n< +PONG\\r\\n\n", turns) +
			"> *1\\r\\n$4\\r\\nPING\\r\\n\n< ...7\n> *1\\r\\n$4\\r\\nTIME\\r\\n\n< +PONG\\r\\n\n"
		told := l7test.Tell(Spec, l7test.Script(t, script))
		if got := told[len(told)-1]; len(told) != turns+2 || got != want {
			t.Errorf("after %d turns %d messages, the last %s, want %s", turns, len(told), got, want)
		}
	}
}

func TestHostileLengths(t *testing.T) {
	for _, request := range []string{
		"*9999999999999999999\r\n", "*2147483647\r\n$-2\r\n", "*1\r\n$99999999999999999\r\n", "*1\r\n$-5\r\n", "$5\r\nhello\r\n",
		"*1\r\n:5\r\n", "*1\r\n$4\r\nPINGxx", "\x00\x00\x00\n",
	} {
		told := l7test.Tell(Spec, []l7test.Chunk{
			{Chunk: l7.Chunk{Dir: l7.ToServer, Turn: true, Time: l7test.Start, Data: []byte(request)}},
			{Chunk: l7.Chunk{Dir: l7.ToServer, Turn: true, Time: l7test.Start + 1e9, Data: []byte("*1\r\n$4\r\nPING\r\n")}},
			{Chunk: l7.Chunk{Dir: l7.ToClient, Turn: true, Time: l7test.Start + 1e9, Data: []byte("+PONG\r\n")}},
		})
		if n := len(told); n == 0 || told[n-1] != `answered "PING" "OK" 14/7 0us` && told[n-1] != `answered "PING" "OK" overlapped 14/7 0us` {
			t.Errorf("%q: %q", request, told)
		}
	}
}

func FuzzParser(f *testing.F) { l7test.Fuzz(f, Spec, rules) }

func BenchmarkParser(b *testing.B) { l7test.Benchmark(b, Spec, l7test.Script(b, hot)) }
