package amqp

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

// client and server return a line of a script: a packet with frames.
func client(frames ...string) string { return l7test.Line(l7.ToServer, frames...) }
func server(frames ...string) string { return l7test.Line(l7.ToClient, frames...) }

func frame(kind byte, channel uint16, payload string) string {
	b := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return string(b) + payload + "\xce"
}

// call is a method frame; args are short strings as strings, the rest as octets.
func call(channel, class, number uint16, args ...any) string {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, class), number)
	for _, a := range args {
		switch a := a.(type) {
		case string:
			b = append(append(b, byte(len(a))), a...)
		case byte:
			b = append(b, a)
		case uint16:
			b = binary.BigEndian.AppendUint16(b, a)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, a)
		}
	}
	return frame(frameMethod, channel, string(b))
}

// content is a header and one body frame.
func body(channel uint16, text string) string {
	b := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(len(text)))
	header := frame(frameHeader, channel, string(b)+"\x00\x00")
	if text == "" {
		return header
	}
	return header + frame(frameBody, channel, text)
}

func publish(channel uint16, text string) string {
	return call(channel, 60, 40, uint16(0), "ex", "key", byte(0)) + body(channel, text)
}

func declare(channel uint16, bits byte) string {
	return call(channel, 50, 10, uint16(0), "q", bits) // without its table
}

var (
	declared = call(1, 50, 11, "q", uint64(0))
	selected = call(1, 85, 10, byte(0))
	confirms = call(1, 85, 11)
)

func ack(tag uint64, multiple byte) string { return call(1, 60, 80, tag, multiple) }

var rules = []l7test.Rule{
	{"greeting and login", client(greeting) + server(call(0, 10, 10)) + client(call(0, 10, 11)) + server(call(0, 10, 30)) +
		client(call(0, 10, 31), call(0, 10, 40, "/")) + server(call(0, 10, 41)),
		[]string{`answered "connection.start-ok" "OK" 12/12 1000us`, `answered "connection.open" "OK" 14/12 1000us`}},
	{"refused", client(greeting) + server(call(0, 10, 10)) + client(call(0, 10, 11)) + server(call(0, 10, 50, uint16(403), "no", uint16(0), uint16(0))),
		[]string{`answered "connection.start-ok" "403 ACCESS_REFUSED" failed 12/21 1000us`}},
	{"a method and its answer", client(declare(1, 0)) + server(declared), []string{`answered "queue.declare" "OK" 17/22 1000us`}},
	{"no-wait", client(declare(1, 1<<4), call(1, 60, 30, "tag", byte(1))), []string{`oneway "queue.declare" "" 17/0`, `oneway "basic.cancel" "" 17/0`}},
	{"channels answer in any order", client(declare(2, 0), declare(1, 0)) + server(declared) + server(call(2, 50, 11, "q", uint64(0))),
		[]string{`answered "queue.declare" "OK" overlapped 17/22 1000us`, `answered "queue.declare" "OK" overlapped 17/22 2000us`}},
	{"a close instead of an answer", client(declare(1, 1)) + server(call(1, 20, 40, uint16(404), "NOT_FOUND", uint16(50), uint16(10))) + client(call(1, 20, 41)),
		[]string{`answered "queue.declare" "404 NOT_FOUND" failed 17/28 1000us`}},
	{"a close that nothing open has caused", client(publish(1, "x")) + server(call(1, 20, 40, uint16(404), "", uint16(60), uint16(40))),
		[]string{`oneway "basic.publish" "" 53/0`, `oneway "channel.close" "404 NOT_FOUND" failed 0/19`}},
	{"publish", client(publish(1, "hello"), publish(1, "")), []string{`oneway "basic.publish" "" 57/0`, `oneway "basic.publish" "" 44/0`}},
	{"confirms", client(selected) + server(confirms) + client(publish(1, "1"), publish(1, "2"), publish(1, "3")) + server(ack(2, 1)) + server(call(1, 60, 120, uint64(3), byte(0))),
		[]string{`answered "confirm.select" "OK" 13/12 1000us`, `answered "basic.publish" "OK" overlapped 53/21 1000us`,
			`answered "basic.publish" "OK" overlapped 53/21 1000us`, `answered "basic.publish" "NACK" failed overlapped 53/21 2000us`}},
	{"get", client(call(1, 60, 70, uint16(0), "q", byte(0))) + server(call(1, 60, 71, uint64(1)), body(1, "hello")) +
		client(call(1, 60, 80, uint64(1), byte(0)), call(1, 60, 70, uint16(0), "q", byte(0))) + server(call(1, 60, 72, "")),
		[]string{`answered "basic.get" "OK" 17/55 1000us`, `oneway "basic.ack" "" 21/0`, `answered "basic.get" "EMPTY" 17/13 1000us`}},
	{"deliver and return", server(call(1, 60, 60, "tag", uint64(1)), body(1, "hello")) + server(call(1, 60, 50, uint16(312), "NO_ROUTE"), body(1, "")),
		[]string{`oneway "basic.deliver" "" 0/59`, `oneway "basic.return" "312 NO_ROUTE" failed 0/45`}},
	{"heartbeats are nothing", client(frame(8, 0, "")) + server(frame(8, 0, "")), nil},
	{"holes in a body do no harm", client(strings.TrimSuffix(publish(1, strings.Repeat("x", 1000)), strings.Repeat("x", 900)+"\xce")) +
		"> ...901\n" + client(declare(1, 0)) + server(declared),
		[]string{`oneway "basic.publish" "" 1052/0`, `answered "queue.declare" "OK" 17/22 1000us`}},
	{"a hole over the end of a publish", client(selected) + server(confirms) + client(publish(1, "1"), publish(1, "2")[:50]) + "> ...500\n" +
		server(ack(1, 0)) + client(publish(1, "3")) + server(ack(4, 1)),
		[]string{`answered "confirm.select" "OK" 13/12 1000us`, `answered "basic.publish" "OK" overlapped 53/21 2000us`,
			`lost "basic.publish" "" 53/0`, `answered "basic.publish" "OK" overlapped 44/21`}},
	{"a hole in the answers", client(declare(1, 0)) + "< ...22\n" + client(declare(1, 0)) + server(declared),
		[]string{`lost "queue.declare" "" 17/0`, `answered "queue.declare" "OK" 17/22 1000us`}},
	{"begun in mid-stream", server(declared) + client(declare(1, 0)) + server(declared),
		[]string{`lost "other" "" 0/22`, `answered "queue.declare" "OK" 17/22 1000us`}},
	{"not AMQP", "> GET / HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 200 OK\\r\\n\\r\\n\n", nil},
}

func TestRules(t *testing.T) { l7test.Rules(t, Spec, rules) }

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		dir  l7.Dir
		data string
		want l7.Verdict
	}{
		{l7.ToServer, greeting, l7.Yes},
		{l7.ToServer, "AMQP", l7.Maybe},
		{l7.ToServer, "AMQP\x00\x01\x00\x00", l7.No}, // AMQP 1.0
		{l7.ToServer, "AMQP\x03\x01\x00\x00", l7.No}, // its SASL
		{l7.ToClient, call(0, 10, 10)[:11], l7.Yes},
		{l7.ToServer, declare(1, 0), l7.Yes},
		{l7.ToServer, declare(1, 0)[:12], l7.Maybe},
		{l7.ToServer, frame(8, 0, ""), l7.Yes},
		{l7.ToServer, frame(8, 0, "")[:7], l7.Maybe},
		{l7.ToServer, frame(3, 1, "x"), l7.Maybe},
		{l7.ToServer, call(1, 99, 99), l7.No},
		{l7.ToServer, strings.Replace(declare(1, 0), "\xce", "x", 1), l7.No},
		{l7.ToServer, "GET / HTTP/1.1\r\n\r\n", l7.No},
		{l7.ToServer, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", l7.No},     // TLS
		{l7.ToServer, "\x00\x00\x00\x21\x00\x12\x00\x04\x00\x00", l7.No}, // Kafka
		{l7.ToServer, "\x01\x00\x00\x00\x01", l7.Maybe},                  // MySQL: COM_QUIT
		{l7.ToServer, "\x01\x00\x00\x00\x0e", l7.Maybe},                  // MySQL: COM_PING
		{l7.ToClient, "\x01\x00\x00\x01\x02\x27\x00\x00\x02\x03", l7.No}, // MySQL: a result set
		{l7.ToClient, "", l7.Maybe},
	} {
		if got := Match(c.dir, []byte(c.data)); got != c.want {
			t.Errorf("Match(%d, %q) = %d, want %d", c.dir, c.data, got, c.want)
		}
	}
}

func TestGolden(t *testing.T) { l7test.Golden(t, Spec, l7test.Text) }

func TestMatchCaptures(t *testing.T) { l7test.MatchCaptures(t, Spec) }

var hot = client(selected) + server(confirms) + client(publish(1, "hello"), publish(1, "hello")) + server(ack(2, 1)) +
	client(declare(1, 0)) + server(declared, call(1, 60, 60, "tag", uint64(1)), body(1, "hello")) +
	client(call(1, 60, 80, uint64(1), byte(0)), call(1, 20, 40, uint16(200), "", uint16(0), uint16(0))) + server(call(1, 20, 41))

func TestAllocations(t *testing.T) {
	if n := l7test.Allocations(Spec, l7test.Script(t, hot)); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestMemory has more channels, and more unconfirmed publishes, than are kept.
func TestMemory(t *testing.T) {
	outcomes := map[l7.Outcome]int{}
	p := New(func(m *l7.Message) { outcomes[m.Outcome]++ })
	say := func(text string) {
		p.Data(&l7.Chunk{Dir: l7.ToServer, Turn: true, Time: l7test.Start, Data: []byte(text)})
	}
	say(selected)
	for range 1000 {
		say(publish(1, "x"))
	}
	for id := range uint16(1000) {
		say(call(2+id, 60, 40, uint16(0), "ex", "key", byte(0)))
	}
	p.End(l7test.Start)
	if n := len(p.(*parser).channels); n != maxChannels {
		t.Errorf("%d channels are kept, want %d", n, maxChannels)
	}
	if want := 1 + 1000 + 1000; outcomes[l7.Lost]+outcomes[l7.Unanswered] != want {
		t.Errorf("outcomes %v, want %d lost or unanswered", outcomes, want)
	}
}

func TestHostileLengths(t *testing.T) {
	for _, bad := range []string{
		"\x01\x00\x01\xff\xff\xff\xff\x00", "\x01\x00\x01\x00\x00\x00\x04\x00\x32\x00\x0ax", "\x05\x00\x01\x00\x00\x00\x00\xce",
		frame(1, 1, ""), frame(1, 1, "\x00\x32\x00\x0a"), frame(1, 1, "\x00\x32\x00\x0a\x00\x00\xff"), frame(2, 1, "x"),
		frame(1, 1, "\x00\x3c\x00\x28") + frame(2, 1, "\x00\x3c\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"),
	} {
		told := l7test.Tell(Spec, l7test.Script(t, client(bad)+server(frame(8, 0, ""))+client(declare(1, 0))+server(declared)))
		found := false
		for _, m := range told {
			found = found || strings.HasPrefix(m, `answered "queue.declare" "OK"`)
		}
		if !found {
			t.Errorf("%q: %q", bad, told)
		}
	}
}

func FuzzParser(f *testing.F) { l7test.Fuzz(f, Spec, rules) }

func BenchmarkParser(b *testing.B) { l7test.Benchmark(b, Spec, l7test.Script(b, hot)) }
