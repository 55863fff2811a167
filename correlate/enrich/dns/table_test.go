package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weir-probe/weir/flows"
	"github.com/weir-probe/weir/kprobes"
)

const sec = int64(time.Second)

func addr(s string) flows.Addr { return flows.AddrFrom(netip.MustParseAddr(s)) }

// query and reply build messages with a library of its own.
func query(t testing.TB, id uint16, name string) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func reply(t testing.TB, id uint16, name string, ttl uint32, addrs ...string) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	for _, a := range addrs {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
		})
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// datagram is what socket 7 in namespace 5 sent or received.
func datagram(out bool, at int64, b []byte) *kprobes.PayloadEvent {
	return &kprobes.PayloadEvent{
		Time: at, Cookie: 7, Out: out, Turn: true, Data: b, Len: uint32(len(b)),
		Key: flows.Key{Src: addr("10.0.0.2"), Dst: addr("10.0.0.53"), SrcPort: 40000, DstPort: 53, Proto: flows.UDP, NetNS: 5},
	}
}

// ask lets socket 7 learn addresses of a name in 30 ms.
func ask(t testing.TB, table *Table, at int64, name string, ttl uint32, addrs ...string) {
	t.Helper()
	table.Payload(datagram(true, at-30e6, query(t, 1, name)))
	table.Payload(datagram(false, at, reply(t, 1, name, ttl, addrs...)))
}

func TestNameAndTime(t *testing.T) {
	table := New(Config{})
	ask(t, table, 100*sec, "API.Example.com.", 60, "192.0.2.1", "192.0.2.2")
	ask(t, table, 130*sec, "cdn.example.net.", 60, "192.0.2.1")
	for _, x := range []struct {
		a     string
		netns uint32
		began int64
		want  string
	}{
		{"192.0.2.1", 5, 100 * sec, "api.example.com"},
		{"192.0.2.2", 5, 101 * sec, "api.example.com"},
		{"192.0.2.1", 5, 129 * sec, "api.example.com"},
		{"192.0.2.1", 5, 131 * sec, "cdn.example.net"}, // the newest
		{"192.0.2.1", 5, 99 * sec, ""},                 // nobody had asked yet
		{"192.0.2.1", 6, 101 * sec, ""},                // another namespace
		{"192.0.2.3", 5, 101 * sec, ""},
		{"192.0.2.2", 5, 100*sec + 60*sec + 3599*sec, "api.example.com"}, // stale
		{"192.0.2.2", 5, 100*sec + 60*sec + 3601*sec, ""},
	} {
		if got := table.Name(addr(x.a), x.netns, x.began); got != x.want {
			t.Errorf("%s in %d at %d s is called %q, want %q", x.a, x.netns, x.began/sec, got, x.want)
		}
	}
}

// A resolver asked over TCP (RFC 7766): length, message; only at the beginning of a
// turn, and a question by itself.
func TestOverTCP(t *testing.T) {
	table := New(Config{})
	stream := func(out bool, at int64, b []byte) *kprobes.PayloadEvent {
		e := datagram(out, at, append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
		e.Key.Proto = flows.TCP
		return e
	}
	good := reply(t, 1, "big.example.", 60, "192.0.2.1", "192.0.2.2")
	question := query(t, 1, "big.example.")
	more := stream(true, sec, question)
	more.Len++
	table.Payload(more)
	table.Payload(stream(false, 2*sec, good)) // to what was no question
	table.Payload(stream(true, 3*sec, question))
	later := stream(false, 3*sec, good)
	later.Turn = false
	table.Payload(later)
	if s := table.Stats(); s.Answers != 0 || s.Unasked != 0 {
		t.Errorf("before the answer: %+v", s)
	}
	cut := stream(false, 3*sec+30e6, good)
	cut.Data = cut.Data[:len(cut.Data)-3] // the last address is elsewhere
	table.Payload(cut)
	if s := table.Stats(); s.Answers != 1 || s.Malformed != 1 {
		t.Errorf("after it: %+v", s)
	}
	if got := table.Name(addr("192.0.2.1"), 5, 4*sec); got != "big.example" {
		t.Errorf("the address is called %q", got)
	}
	if got := table.Name(addr("192.0.2.2"), 5, 4*sec); got != "" {
		t.Errorf("an address that was not seen is called %q", got)
	}
	if d, ok := table.Wait(addr("192.0.2.1"), 5, 3*sec+31e6); !ok || d != 30*time.Millisecond {
		t.Errorf("waited %v", d)
	}
}

func TestOnlyAnswersToQuestions(t *testing.T) {
	table := New(Config{})
	at := 100 * sec
	deliver := func(b []byte, change func(*kprobes.PayloadEvent)) {
		e := datagram(false, at, b)
		if change != nil {
			change(e)
		}
		table.Payload(e)
	}
	good := reply(t, 1, "a.example.", 60, "192.0.2.1")
	deliver(good, nil) // before the question
	table.Payload(datagram(true, at, query(t, 1, "a.example.")))
	deliver(reply(t, 2, "a.example.", 60, "192.0.2.1"), nil)                               // another id
	deliver(reply(t, 1, "b.example.", 60, "192.0.2.1"), nil)                               // another name
	deliver(good, func(e *kprobes.PayloadEvent) { e.Cookie = 8 })                          // another socket
	deliver(good, func(e *kprobes.PayloadEvent) { e.Time += 2 * patience })                // too late
	deliver(good, func(e *kprobes.PayloadEvent) { e.Out = true })                          // its own
	deliver(good, func(e *kprobes.PayloadEvent) { e.Plain = true })                        // no datagram
	deliver(good[:len(good)-3], func(e *kprobes.PayloadEvent) { e.Key.Proto = flows.TCP }) // no datagram
	if s := table.Stats(); s.Answers != 0 || s.Addresses != 0 || s.Unasked != 5 {
		t.Errorf("%+v", s)
	}
	deliver(good, nil)
	deliver(good, nil) // once
	if s := table.Stats(); s.Answers != 1 || s.Addresses != 1 || s.Unasked != 6 {
		t.Errorf("%+v", s)
	}
	// What is cut off names nobody, or those before the cut; and is counted.
	table.Payload(datagram(true, at, query(t, 3, "c.example.")))
	cut := reply(t, 3, "c.example.", 60, "192.0.2.9")
	deliver(cut[:len(cut)-2], nil)
	if s := table.Stats(); s.Malformed != 1 || table.Name(addr("192.0.2.9"), 5, at) != "" {
		t.Errorf("%+v", s)
	}
}

// A resolver that changes the case of letters gets its answer; names that are no
// host names and addresses that are nobody's name nothing.
func TestNamesThatAreNone(t *testing.T) {
	table := New(Config{})
	table.Payload(datagram(true, sec, query(t, 1, "wWw.ExAmPle.")))
	table.Payload(datagram(false, sec, reply(t, 1, "WwW.eXaMpLE.", 60, "192.0.2.1", "127.0.0.1", "0.0.0.0", "224.0.0.1")))
	if got := table.Name(addr("192.0.2.1"), 5, 2*sec); got != "www.example" {
		t.Errorf("called %q", got)
	}
	ask(t, table, sec, "a b,c=d.example.", 60, "192.0.2.2")
	ask(t, table, sec, "x\n<script>.example.", 60, "192.0.2.3")
	if s := table.Stats(); s.Addresses != 1 || s.Answers != 3 {
		t.Errorf("%+v", s)
	}
}

// A crawler makes neither names of ends nor memory without end (J2).
func TestCaseJ2_Crawler(t *testing.T) {
	table := New(Config{MaxAnswers: 1000, MaxNames: 10})
	shown := 0
	for i := range 5000 {
		name := fmt.Sprintf("host%d.example.", i)
		a := fmt.Sprintf("10.%d.%d.9", i>>8, i&255)
		ask(t, table, int64(i)*1e6+sec, name, 60, a)
		if table.Show(table.Name(addr(a), 5, int64(i)*1e6+sec), sec) {
			shown++
		}
	}
	s := table.Stats()
	if s.Addresses > 1000 || s.Evicted != 4500 && s.Evicted != 4000 || shown != 10 || s.Names != 10 || s.Refused != 4990 {
		t.Errorf("%+v, %d shown", s, shown)
	}
	if !table.Show("host3.example", 2*sec) {
		t.Error("a name in use is refused")
	}
	table.Tick(3*sec+int64(time.Hour), time.Hour)
	if !table.Show("new.example", 4*sec) {
		t.Error("no name is free after an hour")
	}
}

func TestDoesNotAllocate(t *testing.T) {
	table := New(Config{})
	q, r := datagram(true, sec, query(t, 1, "a.example.")), datagram(false, sec, reply(t, 1, "a.example.", 60, "192.0.2.1"))
	other := datagram(true, sec, []byte(strings.Repeat("no DNS at all", 20)))
	table.Payload(q)
	table.Payload(r)
	if n := testing.AllocsPerRun(100, func() {
		table.Payload(other)
		table.Payload(q)
		table.Name(addr0, 5, 2*sec)
		table.Wait(addr0, 5, 2*sec)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var addr0 = addr("192.0.2.1")

func FuzzPayload(f *testing.F) {
	f.Add(query(f, 1, "a.example."), reply(f, 1, "a.example.", 60, "192.0.2.1", "192.0.2.2"))
	f.Fuzz(func(t *testing.T, q, r []byte) {
		table := New(Config{MaxAnswers: 8})
		table.Payload(datagram(true, sec, q))
		table.Payload(datagram(false, sec, r))
		if s := table.Stats(); s.Addresses > 8 || s.Answers > 1 {
			t.Errorf("%+v", s)
		}
		key := datagram(true, sec, q).Key
		for i, p := range []flows.Packet{{Key: key, Time: 2 * sec}, {Key: key.Reverse(), Time: 3 * sec}} {
			for _, proto := range []flows.Proto{flows.UDP, flows.TCP} {
				p.Key.Proto = proto
				b := [][]byte{q, r}[i]
				p.Payload = uint64(len(b))
				table.Packet(&p, b)
			}
		}
		if s := table.Stats(); s.Addresses > 8 || s.Answers > 3 {
			t.Errorf("with packets: %+v", s)
		}
	})
}
