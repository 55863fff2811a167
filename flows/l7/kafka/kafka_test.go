package kafka

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

func client(frames ...string) string { return l7test.Line(l7.ToServer, frames...) }
func server(frames ...string) string { return l7test.Line(l7.ToClient, frames...) }

// octets writes integers big-endian and strings with their length before them.
func octets(parts ...any) string {
	var b []byte
	for _, part := range parts {
		switch part := part.(type) {
		case int16:
			b = binary.BigEndian.AppendUint16(b, uint16(part))
		case int32:
			b = binary.BigEndian.AppendUint32(b, uint32(part))
		case int64:
			b = binary.BigEndian.AppendUint64(b, uint64(part))
		case string:
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(part))), part...)
		case []byte:
			b = append(b, part...)
		}
	}
	return string(b)
}

func frame(payload string) string { return octets(int32(len(payload)), []byte(payload)) }

// ask is a request by "me" without tagged fields, tell a response.
func ask(key, version int16, id int32, body ...any) string {
	return frame(octets(key, version, id, "me") + octets(body...))
}

func tell(id int32, body ...any) string { return frame(octets(id) + octets(body...)) }

// produceOf is a Produce 3 of a topic with records of 100 octets.
func produceOf(id int32, acks int16, topic string) string {
	return ask(0, 3, id, int16(-1), acks, int32(1000), int32(1), topic, int32(1), int32(0), int32(100), make([]byte, 100))
}

func produced(id int32, code int16) string {
	return tell(id, int32(1), "orders", int32(1), int32(0), code, int64(7), int64(-1), int32(0))
}

// fetchOf is a Fetch 4 that waits for wait ms.
func fetchOf(id, wait int32, topics ...any) string {
	return ask(1, 4, id, append([]any{int32(-1), wait, int32(1), int32(1 << 20), []byte{0}}, topics...)...)
}

func fetched(id int32, code int16, size int32) string {
	return tell(id, int32(0), int32(1), "orders", int32(1), int32(0), code, int64(7), int64(7), int32(-1), size, make([]byte, size))
}

var rules = []l7test.Rule{
	{"a request and its response", client(ask(12, 0, 1, "group", int32(1), "member")) + server(tell(1, int16(0))),
		[]string{`answered "Heartbeat" "ok" 35/10 1000us`}},
	{"an error", client(ask(12, 0, 1, "group", int32(1), "member")) + server(tell(1, int16(25))),
		[]string{`answered "Heartbeat" "UNKNOWN_MEMBER_ID" failed 35/10 1000us`}},
	{"an exchange of the protocol is no failure", client(ask(12, 0, 1, "group", int32(1), "member")) + server(tell(1, int16(27))),
		[]string{`answered "Heartbeat" "REBALANCE_IN_PROGRESS" 35/10 1000us`}},
	{"produce", client(produceOf(1, -1, "orders"), produceOf(2, 1, "orders")) + server(produced(1, 0)+produced(2, 3)),
		[]string{`answered "Produce orders" "ok" overlapped 148/50 1000us`, `answered "Produce orders" "UNKNOWN_TOPIC_OR_PARTITION" failed overlapped 148/50 1000us`}},
	{"produce without acknowledgement", client(produceOf(1, 0, "orders")), []string{`oneway "Produce orders" "" 148/0`}},
	{"a topic that is none", client(produceOf(1, 0, "no topic")), []string{`oneway "Produce" "" 150/0`}},
	{"waiting is no service time", client(fetchOf(1, 500, int32(1), "orders")) + server(fetched(1, 0, 0)) +
		client(fetchOf(2, 0, int32(2), "orders")) + server(fetched(2, 1, 0)),
		[]string{`answered "Fetch orders" "ok" streaming 45/58`, `answered "Fetch" "OFFSET_OUT_OF_RANGE" failed 45/58 1000us`}},
	{"by correlation id", client(ask(12, 0, 1), ask(16, 0, 2)) + server(tell(2, int16(0), int32(0))) + server(tell(1, int16(0))),
		[]string{`answered "ListGroups" "ok" overlapped 16/14 1000us`, `answered "Heartbeat" "ok" overlapped 16/10 2000us`}},
	{"a client's id longer than what is kept", client(frame(octets(int16(12), int16(0), int32(1), strings.Repeat("x", 600)))) + server(tell(1, int16(0))),
		[]string{`answered "Heartbeat" "ok" 614/10 1000us`}},
	{"a request nobody knows", client(ask(1000, 0, 1)), nil},
	{"a version nobody knows", client(ask(12, 4, 1)+ask(12, 9, 2)) + server(tell(2, int16(0))),
		[]string{`answered "Heartbeat" "" overlapped 16/10 1000us`, `unanswered "Heartbeat" "" overlapped 16/0`}},
	{"holes in records do no harm", client(produceOf(1, -1, "orders")[:60]) + "> ...88\n" + server(produced(1, 0)) +
		client(fetchOf(2, 0, int32(1), "orders")) + server(fetched(2, 0, 5000)[:58]) + "< ...5000\n",
		[]string{`answered "Produce orders" "ok" 148/50 1000us`, `answered "Fetch orders" "" 45/5058 1000us`}},
	{"a hole right behind a length", client(ask(12, 0, 1)) + server(tell(1, int16(0))) + client(ask(12, 0, 2)[:4]) + "> ...6\n" + client(ask(12, 0, 2)[10:]) +
		server(tell(2, int16(0))) + client(ask(12, 0, 3)) + server(tell(3, int16(0))),
		[]string{`answered "Heartbeat" "ok" 16/10 1000us`, `lost "other" "" 16/0`, `answered "Heartbeat" "ok" 16/10 1000us`}},
	{"a hole over the end of a request", client(produceOf(1, -1, "orders")[:60]) + "> ...500\n" + server(produced(1, 0)) +
		client(ask(12, 0, 3)) + server(tell(3, int16(0))),
		[]string{`answered "Produce orders" "ok" 60/50`, `answered "Heartbeat" "ok" 16/10 1000us`}},
	{"a hole over the end of a response", client(ask(12, 0, 1), ask(12, 0, 2)) + server(tell(1, int16(0))[:9]) + "< ...11\n" +
		client(ask(12, 0, 3)) + server(tell(3, int16(0))),
		[]string{`answered "Heartbeat" "" overlapped 16/9 1000us`, `lost "Heartbeat" "" overlapped 16/0`, `answered "Heartbeat" "ok" 16/10 1000us`}},
	{"a response to what was not seen", client(ask(12, 0, 1)) + server(tell(1, int16(0))) + server(tell(77, int16(0))),
		[]string{`answered "Heartbeat" "ok" 16/10 1000us`, `lost "other" "" 0/10`}},
	{"not Kafka", "> GET / HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 200 OK\\r\\n\\r\\n\n", nil},
}

func TestRules(t *testing.T) { l7test.Rules(t, Spec, rules) }

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		dir  l7.Dir
		data string
		want l7.Verdict
	}{
		{l7.ToServer, ask(18, 3, 1), l7.Yes},
		{l7.ToServer, produceOf(1, -1, "orders")[:40], l7.Yes},
		{l7.ToServer, ask(18, 3, 1)[:9], l7.Maybe},
		{l7.ToServer, ask(1000, 0, 1), l7.No},
		{l7.ToServer, ask(18, 100, 1), l7.No},
		{l7.ToServer, frame(octets(int16(18), int16(0), int32(1), "\x00\x01")), l7.No},
		{l7.ToServer, "\x00\x00\x00\x25\x00\x03\x00\x00user\x00postgres\x00database\x00db\x00\x00", l7.No},                     // PostgreSQL
		{l7.ToServer, "\x00\x00\x00\x08\x04\xd2\x16\x2f", l7.Maybe},                                                            // its SSLRequest
		{l7.ToServer, "\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01", l7.No}, // DNS
		{l7.ToServer, "\x3a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00", l7.No},                               // MongoDB
		{l7.ToServer, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xxxx", l7.No},                                               // TLS
		{l7.ToServer, "GET / HTTP/1.1\r\n\r\n", l7.No},
		{l7.ToServer, "AMQP\x00\x00\x09\x01", l7.No},
		{l7.ToServer, "", l7.Maybe},
		{l7.ToClient, tell(1, int16(0)), l7.Maybe},
		{l7.ToClient, "HTTP/1.1 200 OK\r\n", l7.No},
	} {
		if got := Match(c.dir, []byte(c.data)); got != c.want {
			t.Errorf("Match(%d, %q) = %d, want %d", c.dir, c.data, got, c.want)
		}
	}
}

func TestGolden(t *testing.T) { l7test.Golden(t, Spec, l7test.Text) }

func TestMatchCaptures(t *testing.T) { l7test.MatchCaptures(t, Spec) }

var hot = client(produceOf(1, -1, "orders"), produceOf(2, 0, "orders")) + server(produced(1, 0)) +
	client(fetchOf(3, 500, int32(1), "orders")) + server(fetched(3, 0, 1000)[:90]) + "< ...968\n" +
	client(ask(12, 0, 4)) + server(tell(4, int16(27)))

func TestAllocations(t *testing.T) {
	if n := l7test.Allocations(Spec, l7test.Script(t, hot)); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestMemory has more requests in flight, and more topics, than are kept.
func TestMemory(t *testing.T) {
	outcomes, names := map[l7.Outcome]int{}, map[string]bool{}
	p := New(func(m *l7.Message) { outcomes[m.Outcome]++; names[string(m.Operation)] = true })
	for i := range int32(1000) {
		p.Data(&l7.Chunk{Dir: l7.ToServer, Turn: i == 0, Time: 1, Data: []byte(produceOf(i, -1, fmt.Sprint("topic", i)))})
	}
	for i := range int32(1000) {
		p.Data(&l7.Chunk{Dir: l7.ToClient, Turn: i == 0, Time: 1, Data: []byte(produced(i, 0))})
	}
	if outcomes[l7.Answered] != 256 || outcomes[l7.Lost] != 744 {
		t.Errorf("1000 in flight: %v, want 256 answered, 744 lost", outcomes)
	}
	if len(names) != maxNames+1 {
		t.Errorf("%d names, want %d and one without a topic", len(names), maxNames)
	}
}

func TestHostileLengths(t *testing.T) {
	many := ask(19, 2, 1) // CreateTopics, whose response says it has 2^31-1 elements
	for _, c := range []string{
		client("\xff\xff\xff\xff"), client("\x00\x00\x00\x00"), client("\x7f\xff\xff\xff\x00\x00"), client(frame("\x00\x00\x00\x00\x00\x00\x00\x00")),
		client(frame(octets(int16(0), int16(9), int32(1), int16(-1)) + "\xff\xff\xff\xff\xff\xff")),
		client(many) + server(tell(1, int32(0), int32(1<<31-1))),
		client(many) + server(tell(1, int32(0), int32(-1<<31))),
		client(ask(3, 0, 1)) + server(tell(1, int32(1<<31-1), make([]byte, 600))),
	} {
		told := l7test.Tell(Spec, l7test.Script(t, c+server("\x00")+client(ask(12, 0, 9))+server(tell(9, int16(0)))))
		for _, m := range told {
			if strings.Contains(m, `failed`) {
				t.Errorf("%q: %q", c, told)
			}
		}
	}
}

func FuzzParser(f *testing.F) { l7test.Fuzz(f, Spec, rules) }

func BenchmarkParser(b *testing.B) { l7test.Benchmark(b, Spec, l7test.Script(b, hot)) }
