package mongodb

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

func client(frames ...string) string { return l7test.Line(l7.ToServer, frames...) }
func server(frames ...string) string { return l7test.Line(l7.ToClient, frames...) }

func i32(n int32) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

func message(id, to int32, op opcode, body ...string) string {
	b := strings.Join(body, "")
	return i32(int32(header+len(b))) + i32(id) + i32(to) + i32(int32(op)) + b
}

// ask is an opMsg of a client, tell one of a server, with a body of one document.
func ask(id int32, doc string) string { return message(id, 0, opMsg, i32(0), "\x00", doc) }

func tell(id, to int32, doc string) string { return message(id, to, opMsg, i32(0), "\x00", doc) }

// doc is a document of elements, each a name and a string, int32, float64 or
// another document.
func doc(elements ...any) string {
	i, b := bsoncore.AppendDocumentStart(nil)
	b = add(b, elements)
	b, _ = bsoncore.AppendDocumentEnd(b, i)
	return string(b)
}

func array(documents ...string) bsoncore.Array {
	i, b := bsoncore.AppendDocumentStart(nil)
	for i, d := range documents {
		b = bsoncore.AppendDocumentElement(b, fmt.Sprint(i), []byte(d))
	}
	b, _ = bsoncore.AppendDocumentEnd(b, i)
	return b
}

type sub string

func add(b []byte, elements []any) []byte {
	for i := 0; i < len(elements); i += 2 {
		key := elements[i].(string)
		switch v := elements[i+1].(type) {
		case string:
			b = bsoncore.AppendStringElement(b, key, v)
		case int:
			b = bsoncore.AppendInt32Element(b, key, int32(v))
		case int64:
			b = bsoncore.AppendInt64Element(b, key, v)
		case float64:
			b = bsoncore.AppendDoubleElement(b, key, v)
		case bool:
			b = bsoncore.AppendBooleanElement(b, key, v)
		case bsoncore.Array:
			b = bsoncore.AppendArrayElement(b, key, v)
		case sub:
			b = bsoncore.AppendDocumentElement(b, key, []byte(v))
		}
	}
	return b
}

func find(id int32, collection string) string {
	return ask(id, doc("find", collection, "filter", sub(doc("name", "secret")), "$db", "shop"))
}

func insert(id int32) string {
	return ask(id, doc("insert", "orders", "ordered", true, "$db", "shop"))
}

// found is a cursor with one document of size octets.
func found(id, to int32, size int) string {
	batch := array(doc("text", strings.Repeat("x", size)))
	return tell(id, to, doc("cursor", sub(doc("firstBatch", batch, "id", int64(0), "ns", "shop.orders")), "ok", 1.0))
}

var (
	good      = doc("n", 1, "ok", 1.0)
	notFound  = doc("ok", 0.0, "errmsg", "ns does not exist: shop.secret", "code", 26, "codeName", "NamespaceNotFound")
	duplicate = doc("n", 0, "writeErrors", array(doc("index", 0, "code", 11000, "errmsg", "E11000 secret")), "ok", 1.0)
)

var rules = []l7test.Rule{
	{"a request and its reply", client(find(1, "orders")) + server(found(9, 1, 10)),
		[]string{`answered "find orders" "ok" 87/129 1000us`}},
	{"an error", client(ask(1, doc("drop", "orders"))) + server(tell(2, 1, notFound)),
		[]string{`answered "drop orders" "NamespaceNotFound" failed 43/123 1000us`}},
	{"write errors", client(insert(1)) + server(tell(2, 1, duplicate)),
		[]string{`answered "insert orders" "DuplicateKey" failed 69/118 1000us`}},
	{"a write error without a name", client(insert(1)) + server(tell(2, 1, doc("n", 0, "writeErrors", array(doc("index", 0, "code", 17419)), "ok", 1))),
		[]string{`answered "insert orders" "17419" failed 69/88 1000us`}},
	{"write concern", client(insert(1)) + server(tell(2, 1, doc("n", 1, "writeConcernError", sub(doc("code", 64, "codeName", "WriteConcernTimeout")), "ok", 1.0))),
		[]string{`answered "insert orders" "WriteConcernTimeout" failed 69/113 1000us`}},
	{"an error without a code", client(ask(1, doc("ping", 1))) + server(tell(2, 1, doc("ok", 0, "errmsg", "no"))),
		[]string{`answered "ping" "error" failed 36/49 1000us`}},
	{"errors of a bulk write", client(ask(1, doc("bulkWrite", 1))) + server(tell(2, 1, doc("cursor", sub(doc("id", int64(0))), "nErrors", 1, "ok", 1))),
		[]string{`answered "bulkWrite" "error" failed 41/72 1000us`}},
	{"the oldest form of a code", client(ask(1, doc("count", "orders"))) + server(tell(2, 1, doc("errmsg", "x", "code", 13.0, "ok", false))),
		[]string{`answered "count orders" "Unauthorized" failed 44/59 1000us`}},
	{"documents beside the command", client(message(1, 0, opMsg, i32(0), "\x01", i32(4+10+5), "documents\x00", doc(), "\x00", doc("insert", "orders"))) + server(tell(2, 1, good)),
		[]string{`answered "insert orders" "ok" 65/45 1000us`}},
	{"a checksum", client(message(1, 0, opMsg, i32(checksumPresent), "\x00", doc("ping", 1), "\xde\xad\xbe\xef")) + server(tell(2, 1, good)),
		[]string{`answered "ping" "ok" 40/45 1000us`}},
	{"no reply wanted", client(message(1, 0, opMsg, i32(moreToCome), "\x00", doc("insert", "orders")), ask(2, doc("ping", 1))) + server(tell(2, 2, good)),
		[]string{`oneway "insert orders" "" 45/0`, `answered "ping" "ok" 36/45 1000us`}},
	{"exhaust", client(message(1, 0, opMsg, i32(exhaustAllowed), "\x00", doc("hello", 1, "maxAwaitTimeMS", 10000))) +
		server(message(7, 1, opMsg, i32(moreToCome), "\x00", good)) + server(message(8, 7, opMsg, i32(moreToCome), "\x00", good)) +
		server(message(9, 8, opMsg, i32(0), "\x00", good)),
		[]string{`answered "hello" "ok" streaming 57/45`, `oneway "hello" "ok" streaming 0/45`, `oneway "hello" "ok" streaming 0/45`}},
	{"more data when there is some", client(ask(1, doc("getMore", int64(5), "collection", "orders", "maxTimeMS", 500))) +
		server(found(2, 1, 1)) + client(ask(3, doc("getMore", int64(5), "collection", "orders"))) + server(found(4, 3, 1)),
		[]string{`answered "getMore orders" "ok" streaming 81/120`, `answered "getMore orders" "ok" 66/120 1000us`}},
	{"by id", client(find(1, "a"), find(2, "b")) + server(found(3, 2, 1)) + server(found(4, 1, 1)),
		[]string{`answered "find b" "ok" overlapped 82/120 1000us`, `answered "find a" "ok" overlapped 82/120 2000us`}},
	{"a command nobody knows, a name of a client", client(ask(1, doc("secret", 1))) + server(tell(2, 1, notFound)) +
		client(find(3, "höhe")) + server(found(4, 3, 1)) + client(ask(5, doc("usersInfo", "bob"))) + server(tell(6, 5, good)),
		[]string{`answered "other" "NamespaceNotFound" failed 38/123 1000us`, `answered "find" "ok" 86/120 1000us`, `answered "usersInfo" "ok" 45/45 1000us`}},
	{"compressed", client(message(1, 0, opCompressed, i32(2013), i32(100), "\x02xxxx"), message(2, 0, opCompressed, i32(2013), i32(100), "\x02xxxx")) +
		server(message(3, 2, opCompressed, i32(2013), i32(100), "\x02xx")),
		[]string{`oneway "other" "" overlapped 29/0`, `answered "other" "" overlapped 29/27 1000us`}},
	{"a hello of old", client(message(1, 0, opQuery, i32(4), "admin.$cmd\x00", i32(0), i32(-1), doc("isMaster", 1, "helloOk", true))) +
		server(message(2, 1, opReply, i32(8), i32(0), i32(0), i32(0), i32(1), doc("ismaster", true, "ok", 1.0))),
		[]string{`answered "isMaster" "ok" 68/64 1000us`}},
	{"a command of old with options", client(message(1, 0, opQuery, i32(4), "shop.$cmd\x00", i32(0), i32(-1), doc("$query", sub(doc("count", "orders"))))) +
		server(message(2, 1, opReply, i32(8), i32(0), i32(0), i32(0), i32(1), doc("n", 1, "ok", 1.0))),
		[]string{`answered "count orders" "ok" 74/60 1000us`}},
	{"queries of old", client(message(1, 0, opQuery, i32(0), "shop.orders\x00", i32(0), i32(0), doc("ok", 0))) +
		server(message(2, 1, opReply, i32(8), i32(0), i32(0), i32(0), i32(1), doc("ok", 0))) +
		client(message(3, 0, opGetMore, i32(0), "shop.orders\x00", i32(0), i32(0), i32(0))) + server(message(4, 3, opReply, i32(1), i32(0), i32(0), i32(0), i32(0))) +
		client(message(5, 0, opQuery, i32(0), "shop.orders\x00", i32(0), i32(0), doc())) +
		server(message(6, 5, opReply, i32(2), i32(0), i32(0), i32(0), i32(1), doc("$err", "no", "code", 13))),
		[]string{`answered "find orders" "ok" 53/49 1000us`, `answered "getMore orders" "CursorNotFound" failed 44/36 1000us`, `answered "find orders" "Unauthorized" failed 45/64 1000us`}},
	{"writes of old", client(message(1, 0, opInsert, i32(0), "shop.orders\x00", doc()), message(2, 0, opUpdate, i32(0), "shop.orders\x00", i32(0), doc(), doc()),
		message(3, 0, opDelete, i32(0), "shop.orders\x00", i32(0), doc()), message(4, 0, opKillCursors, i32(0), i32(1), i32(0), i32(0))),
		[]string{`oneway "insert orders" "" 37/0`, `oneway "update orders" "" 46/0`, `oneway "delete orders" "" 41/0`, `oneway "killCursors" "" 32/0`}},
	{"a large result counts by its beginning", client(find(1, "orders")) + server(found(9, 1, 5000)[:200]) + "< ...4919\n" + client(find(2, "orders")) + server(found(9, 2, 1)),
		[]string{`answered "find orders" "ok" 87/5119 1000us`, `answered "find orders" "ok" 87/120 1000us`}},
	{"errors behind what was copied", client(insert(1)) + server(tell(2, 1, duplicate)[:60]) + "< ...63\n",
		[]string{`answered "insert orders" "" failed 69/60 1000us`}},
	{"a hole right behind a length", client(find(1, "a")) + server(found(2, 1, 1)) + client(find(3, "a")[:4]) + "> ...8\n" + client(find(3, "a")[12:]) +
		server(found(4, 3, 1)) + client(find(5, "a")) + server(found(6, 5, 1)),
		[]string{`answered "find a" "ok" 82/120 1000us`, `lost "other" "" 82/0`, `answered "find a" "ok" 82/120 1000us`}},
	{"a hole over the end of a request", client(find(1, "orders")[:60]) + "> ...500\n" + server(found(9, 1, 10)) + client(find(3, "orders")) + server(found(9, 3, 10)),
		[]string{`answered "find orders" "ok" 60/129`, `answered "find orders" "ok" 87/129 1000us`}},
	{"a hole over the end of a reply", client(find(1, "a"), find(2, "a")) + server(found(3, 1, 10)[:100]) + "< ...40\n" + client(find(4, "a")) + server(found(5, 4, 1)),
		[]string{`answered "find a" "ok" overlapped 82/100 1000us`, `lost "find a" "" overlapped 82/0`, `answered "find a" "ok" 82/120 1000us`}},
	{"a reply to what was not seen", client(find(1, "a")) + server(found(3, 1, 1)) + server(found(4, 77, 1)),
		[]string{`answered "find a" "ok" 82/120 1000us`, `lost "other" "" 0/120`}},
	{"never answered", client(find(1, "a")), []string{`unanswered "find a" "" 82/0`}},
	{"not MongoDB", "> GET / HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 200 OK\\r\\n\\r\\n\n", nil},
}

func TestRules(t *testing.T) { l7test.Rules(t, Spec, rules) }

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		dir  l7.Dir
		data string
		want l7.Verdict
	}{
		{l7.ToServer, find(1, "orders"), l7.Yes},
		{l7.ToServer, find(1, "orders")[:33], l7.Yes},
		{l7.ToServer, find(1, "orders")[:20], l7.Maybe},
		{l7.ToServer, message(1, 0, opQuery, i32(4), "admin.$cmd\x00", i32(0), i32(-1), doc("isMaster", 1)), l7.Yes},
		{l7.ToServer, message(1, 0, opCompressed, i32(2013), i32(100), "\x02xxxx"), l7.Yes},
		{l7.ToServer, message(1, 0, opCompressed, i32(2012), i32(100), "\x02xxxx"), l7.No},
		{l7.ToServer, message(1, 0, opMsg, i32(0), "\x00", i32(1000), "\x02find\x00"), l7.No},
		{l7.ToServer, message(1, 0, opMsg, i32(4), "\x00", doc("find", "a")), l7.No},
		{l7.ToServer, found(2, 1, 1), l7.No},
		{l7.ToClient, found(2, 1, 1), l7.Yes},
		{l7.ToClient, find(1, "orders"), l7.No},
		{l7.ToClient, message(2, 1, opReply, i32(8), i32(0), i32(0), i32(0), i32(1), doc("ok", 1)), l7.Yes},
		{l7.ToServer, "", l7.Maybe},
		{l7.ToServer, "GET / HTTP/1.1\r\n\r\n", l7.No},
	} {
		if got := Match(c.dir, []byte(c.data)); got != c.want {
			t.Errorf("Match(%d, %q) = %d, want %d", c.dir, c.data, got, c.want)
		}
	}
}

func TestGolden(t *testing.T) { l7test.Golden(t, Spec, l7test.Text) }

func TestMatchCaptures(t *testing.T) { l7test.MatchCaptures(t, Spec) }

var hot = client(find(1, "orders")) + server(found(2, 1, 2000)[:400]) + "< ...1715\n" + client(insert(3)) + server(tell(4, 3, duplicate)) +
	client(ask(5, doc("drop", "orders"))) + server(tell(6, 5, notFound)) + client(ask(7, doc("ping", 1))) + server(tell(8, 7, good))

func TestAllocations(t *testing.T) {
	if n := l7test.Allocations(Spec, l7test.Script(t, hot)); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestMemory has more requests in flight, and more collections and errors, than are
// kept.
func TestMemory(t *testing.T) {
	outcomes, names, words := map[l7.Outcome]int{}, map[string]bool{}, map[string]bool{}
	p := New(func(m *l7.Message) {
		outcomes[m.Outcome]++
		names[string(m.Operation)] = true
		words[string(m.Status)] = true
	})
	for i := range int32(1000) {
		p.Data(&l7.Chunk{Dir: l7.ToServer, Turn: i == 0, Time: 1, Data: []byte(find(i, fmt.Sprint("orders", i)))})
	}
	for i := range int32(1000) {
		failure := doc("ok", 0, "code", 100000+int(i), "codeName", fmt.Sprint("Location", 100000+i))
		p.Data(&l7.Chunk{Dir: l7.ToClient, Turn: i == 0, Time: 1, Data: []byte(tell(5000+i, i, failure))})
	}
	if outcomes[l7.Answered] != 256 || outcomes[l7.Lost] != 744 {
		t.Errorf("1000 in flight: %v, want 256 answered, 744 lost", outcomes)
	}
	if len(names) != maxNames+1 || len(words) != maxNames+2 {
		t.Errorf("%d names and %d words, want %d and one without a collection, and %d, error and none", len(names), len(words), maxNames, maxNames)
	}
}

func TestHostileLengths(t *testing.T) {
	for _, c := range []string{
		client("\xff\xff\xff\xff"), client("\x00\x00\x00\x00"), client("\x0f\x00\x00\x00\x00\x00"), client(message(1, 0, opMsg)),
		client(message(1, 0, opMsg, i32(0), "\x01", i32(-1))), client(message(1, 0, opMsg, i32(0), "\x00", i32(-1), "\x02find\x00", i32(-1))),
		client(message(1, 0, opMsg, i32(0), "\x00", i32(100), "\x02find\x00", i32(0), "x")),
		client(message(1, 0, opMsg, i32(0), "\x00", i32(100), "\x02find\x00", i32(1<<31-1), "x")),
		client(find(1, "a")) + server(message(2, 1, opMsg, i32(0), "\x00", i32(1<<31-1), "\x04writeErrors\x00", i32(1<<31-1), "\x030\x00", i32(-5))),
		client(find(1, "a")) + server(message(2, 1, opReply, i32(0))),
	} {
		l7test.Tell(Spec, l7test.Script(t, c))
		told := l7test.Tell(Spec, l7test.Script(t, c+server("\x00")+client(find(9, "z"))+server(found(10, 9, 1))))
		if len(told) == 0 {
			t.Errorf("%q: nothing is told", c)
		}
	}
}

func FuzzParser(f *testing.F) { l7test.Fuzz(f, Spec, rules) }

func BenchmarkParser(b *testing.B) { l7test.Benchmark(b, Spec, l7test.Script(b, hot)) }
