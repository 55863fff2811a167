package memcached

import (
	"testing"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

var rules = []l7test.Rule{
	{"a hit and a miss", `
		> get k\r\n
		< VALUE k 0 5\r\nhello\r\nEND\r\n
		> get k\r\n
		< END\r\n
	`, []string{`answered "get" "HIT" 7/25 1000us`, `answered "get" "MISS" 7/5 1000us`}},
	{"many keys", `
		> gets k l m\r\n
		< VALUE k 0 5 7\r\nEND\r\n\r\nVALUE m 0 0 8\r\n\r\n
		< END\r\n
	`, []string{`answered "gets" "HIT" 12/44 1000us`}},
	{"storage", `
		> set k 0 0 5\r\nhel
		> lo\r\nadd k 0 0 0\r\n\r\ncas k 0 0 1 99\r\nx\r\n
		< STORED\r\nNOT_STORED\r\nEXISTS\r\n
	`, []string{`answered "set" "STORED" overlapped 20/8 1000us`, `answered "add" "NOT_STORED" overlapped 15/12 1000us`, `answered "cas" "EXISTS" overlapped 19/8 1000us`}},
	{"noreply", `
		> set k 0 0 1 noreply\r\nx\r\ndelete k noreply\r\nget k\r\n
		< END\r\n
	`, []string{`oneway "set" "" 24/0`, `oneway "delete" "" 18/0`, `answered "get" "MISS" 7/5 1000us`}},
	{"errors", `
		> nonsense secret\r\n
		< ERROR\r\n
		> incr k 1\r\n
		< CLIENT_ERROR cannot increment or decrement non-numeric value\r\n
		> set k 0 0 1\r\nx\r\n
		< SERVER_ERROR out of memory storing object\r\n
	`, []string{`answered "other" "ERROR" failed 17/7 1000us`, `answered "incr" "CLIENT_ERROR" failed 10/62 1000us`, `answered "set" "SERVER_ERROR" failed 16/43 1000us`}},
	{"numbers and listings", `
		> incr n 1\r\n
		< 43\r\n
		> stats\r\n
		< STAT pid 1\r\nSTAT uptime 2\r\n
		< END\r\n
		> version\r\n
		< VERSION 1.6.18\r\n
		> quit\r\n
	`, []string{`answered "incr" "OK" 10/4 1000us`, `answered "stats" "OK" 7/32 1000us`, `answered "version" "OK" 9/16 1000us`, `oneway "quit" "" 6/0`}},
	{"meta commands", `
		> ms k 2 T0\r\nab\r\n
		< HD\r\n
		> mg k v\r\n
		< VA 2\r\nab\r\n
		> mg none v\r\n
		< EN\r\n
		> md k\r\n
		< NF\r\n
		> ma k\r\n
		< HD\r\n
		> mn\r\n
		< MN\r\n
	`, []string{
		`answered "ms" "STORED" 15/4 1000us`, `answered "mg" "HIT" 8/10 1000us`, `answered "mg" "MISS" 11/4 1000us`,
		`answered "md" "NOT_FOUND" 6/4 1000us`, `answered "ma" "OK" 6/4 1000us`, `answered "mn" "OK" 4/4 1000us`,
	}},
	{"quiet meta commands are resolved by what comes after them", `
		> mg a v q\r\nms b 1 q\r\nx\r\nmd c q\r\nmn\r\n
		< NS\r\nMN\r\n
	`, []string{`oneway "mg" "" overlapped 10/0`, `answered "ms" "NOT_STORED" overlapped 13/4 1000us`, `oneway "md" "" overlapped 8/0`, `answered "mn" "OK" overlapped 4/4 1000us`}},
	{"an opaque says whose answer it is", `
		> mg a v q O1\r\nmg b v q O2\r\nmg c v O3\r\n
		< VA 1 O2\r\nx\r\nEN\r\n
	`, []string{`oneway "mg" "" overlapped 13/0`, `answered "mg" "HIT" overlapped 13/12 1000us`, `answered "mg" "MISS" overlapped 11/4 1000us`}},
	{"without it two are not told apart", `
		> mg a v q\r\nmg b v\r\n
		< VA 1\r\nx\r\n
		= 200
		> get k\r\n
		< END\r\n
	`, []string{`lost "mg" "" overlapped 10/0`, `lost "mg" "" overlapped 8/0`, `answered "get" "MISS" 7/5 1000us`}},
	{"watch", `
		> watch fetchers\r\n
		< OK\r\n
		< ts=1 gid=1 type=item_get key=k status=found\r\n
	`, []string{`answered "watch" "OK" streaming 16/4`, `oneway "push watch" "" streaming 0/45`}},
	{"binary", `
		> \x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00k
		< \x81\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00hi
		> \x80\x04\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00k
		< \x81\x04\x00\x00\x00\x00\x00\x01\x00\x00\x00\x09\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00Not found
	`, []string{`answered "get" "HIT" 25/30 1000us`, `answered "delete" "NOT_FOUND" 25/33 1000us`}},
	{"quiet binary", `
		> \x80\x0d\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00a\x80\x0d\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00b\x80\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00
		< \x81\x0d\x00\x01\x04\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00bx\x81\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00
	`, []string{`oneway "get" "" overlapped 25/0`, `answered "get" "HIT" overlapped 25/30 1000us`, `answered "noop" "OK" overlapped 24/24 1000us`}},
	{"holes in a value do no harm", `
		> set k 0 0 1000\r\nab
		> ...1000
		< STORED\r\n
		> get k\r\n
		< VALUE k 0 1000\r\nab
		< ...1000
		< END\r\n
	`, []string{`answered "set" "STORED" 1018/8 1000us`, `answered "get" "HIT" 7/1023 1000us`}},
	{"a hole over the end of a value", `
		> get k l\r\n
		< VALUE k 0 1000\r\nab
		< ...5000
		= 200
		> get k\r\n
		< END\r\n
	`, []string{`answered "get" "HIT" 9/18 1000us`, `answered "get" "MISS" 7/5 1000us`}},
	{"a hole in a long line of keys", `
		> get key1 key2 ke
		> ...5000
		< END\r\n
		= 200
		> get k\r\n
		< END\r\n
	`, []string{`answered "get" "MISS" 16/5`, `answered "get" "MISS" 7/5 1000us`}},
	{"a hole in an answer", `
		> get k\r\n
		< ...50
		= 200
		> get k\r\n
		< END\r\n
	`, []string{`lost "get" "" 7/0`, `answered "get" "MISS" 7/5 1000us`}},
	{"begun in mid-stream", `
		< STORED\r\n
		= 200
		> get k\r\n
		< END\r\n
	`, []string{`lost "other" "" 0/8`, `answered "get" "MISS" 7/5 1000us`}},
	{"not memcached", `
		> GET / HTTP/1.1\r\nHost: x\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
	`, nil},
	{"unanswered", `
		> get k\r\n
	`, []string{`unanswered "get" "" 7/0`}},
}

func TestRules(t *testing.T) { l7test.Rules(t, Spec, rules) }

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		dir  l7.Dir
		data string
		want l7.Verdict
	}{
		{l7.ToServer, "set k 0 0 5\r\nhello\r\n", l7.Yes},
		{l7.ToServer, "mg k v\r\n", l7.Yes},
		{l7.ToServer, "mn\r\n", l7.Yes},
		{l7.ToServer, "get k\r\n", l7.Maybe}, // Redis, too
		{l7.ToServer, "get k", l7.Maybe},
		{l7.ToServer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", l7.No},
		{l7.ToServer, "PING\r\n", l7.No},
		{l7.ToServer, "*1\r\n$4\r\nPING\r\n", l7.No},
		{l7.ToServer, "\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00k", l7.Yes},
		{l7.ToServer, "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00\x00\x6b\x00\x00\x00", l7.No}, // MongoDB, 128 octets
		{l7.ToServer, "\x80\x2e\x01\x03\x01\x00\x2b\x00\x00\x00\x20\x00\x00\x39\x00\x00\x38\x00\x00\x35\x00\x00\x16\x00\x00", l7.No}, // SSLv2 hello
		{l7.ToServer, "\x80\x00", l7.Maybe},
		{l7.ToServer, "\x00\x00\x00\x08\x04\xd2\x16\x2f", l7.No},
		{l7.ToClient, "END\r\n", l7.Yes},
		{l7.ToClient, "VALUE k 0 1\r\nx\r\n", l7.Yes},
		{l7.ToClient, "STORED\r\n", l7.Yes},
		{l7.ToClient, "ERROR\r\n", l7.Maybe},
		{l7.ToClient, "VALUE k x y\r\n", l7.No},
		{l7.ToClient, "+OK\r\n", l7.No},
		{l7.ToClient, "$2\r\nhi\r\n", l7.No},
		{l7.ToClient, "HTTP/1.1 200 OK\r\n\r\n", l7.No},
		{l7.ToClient, "INFO {\"server_id\":\"x\"}\r\n", l7.No},
	} {
		if got := Match(c.dir, []byte(c.data)); got != c.want {
			t.Errorf("Match(%d, %q) = %d, want %d", c.dir, c.data, got, c.want)
		}
	}
}

func TestGolden(t *testing.T) { l7test.Golden(t, Spec, l7test.Text) }

func TestMatchCaptures(t *testing.T) { l7test.MatchCaptures(t, Spec) }

const (
	hot = `
		> set k 0 0 5\r\nhello\r\nget k l\r\ndelete n noreply\r\n
		< STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n
		> ms k 2 T0\r\nab\r\nmg a v q\r\nmn\r\n
		< HD\r\n
		< MN\r\n
		> get k\r\n
		< VALUE k 0 5\r\nhe
		< ...5
		< END\r\n
	`
	hotBinary = `
		> \x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00k
		< \x81\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00hi
	`
)

func TestAllocations(t *testing.T) {
	for _, script := range []string{hot, hotBinary} {
		if n := l7test.Allocations(Spec, l7test.Script(t, script)); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func TestHostileLengths(t *testing.T) {
	for _, request := range []string{
		"set k 0 0 99999999999999999999\r\n", "set k 0 0 -1\r\n", "\x80\x00\x00\x01\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00k",
		"\x80\x00\xff\xff\xff\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00k", "\x00\xff\n",
	} {
		told := l7test.Tell(Spec, []l7test.Chunk{
			{Chunk: l7.Chunk{Dir: l7.ToServer, Turn: true, Time: l7test.Start, Data: []byte(request)}},
			{Chunk: l7.Chunk{Dir: l7.ToClient, Turn: true, Time: l7test.Start, Data: []byte("ERROR\r\n")}},
			{Chunk: l7.Chunk{Dir: l7.ToServer, Turn: true, Time: l7test.Start + 1e9, Data: []byte("get k\r\n")}},
			{Chunk: l7.Chunk{Dir: l7.ToClient, Turn: true, Time: l7test.Start + 1e9, Data: []byte("END\r\n")}},
		})
		if n := len(told); n == 0 || told[n-1] != `answered "get" "MISS" 7/5 0us` {
			t.Errorf("%q: %q", request, told)
		}
	}
}

func FuzzParser(f *testing.F) { l7test.Fuzz(f, Spec, rules) }

func BenchmarkText(b *testing.B) { l7test.Benchmark(b, Spec, l7test.Script(b, hot)) }
func BenchmarkBinary(b *testing.B) {
	l7test.Benchmark(b, Spec, l7test.Script(b, hotBinary))
}
