package dns

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

// pack builds a message with a library of its own.
func pack(t testing.TB, id uint16, name string, kind dnsmessage.Type, rcode int) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true, Response: rcode >= 0},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	if rcode >= 0 {
		m.RCode = dnsmessage.RCode(rcode)
	}
	if rcode == 0 {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		}}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func query(t testing.TB, id uint16, name string) []byte {
	return pack(t, id, name, dnsmessage.TypeA, -1)
}

func reply(t testing.TB, id uint16, name string, rcode int) []byte {
	return pack(t, id, name, dnsmessage.TypeA, rcode)
}

// at is a datagram that passed n ms after the start.
func at(n int64, d l7.Dir, b []byte) l7test.Chunk {
	return l7test.Chunk{Chunk: l7.Chunk{Dir: d, Time: l7test.Start + n*l7test.Step, Turn: true, Data: b}}
}

func TestDatagrams(t *testing.T) {
	const q, a = l7.ToServer, l7.ToClient
	for _, x := range []struct {
		name   string
		chunks []l7test.Chunk
		want   []string
	}{
		{"answers in any order", []l7test.Chunk{
			at(0, q, query(t, 1, "a.example.")), at(1, q, pack(t, 2, "b.example.", dnsmessage.TypeAAAA, -1)),
			at(5, a, pack(t, 2, "B.EXAMPLE.", dnsmessage.TypeAAAA, 3)), at(9, a, reply(t, 1, "a.example.", 0)),
		}, []string{`answered "AAAA" "NXDOMAIN" overlapped 27/27 4000us`, `answered "A" "NOERROR" overlapped 27/43 9000us`}},
		{"one id, two names", []l7test.Chunk{
			at(0, q, query(t, 1, "a.example.")), at(1, q, query(t, 1, "b.example.")),
			at(2, a, reply(t, 1, "b.example.", 2)), at(3, a, reply(t, 1, "a.example.", 5)), at(4, a, reply(t, 1, "a.example.", 5)),
		}, []string{`answered "A" "SERVFAIL" failed overlapped 27/27 1000us`, `answered "A" "REFUSED" failed overlapped 27/27 3000us`}},
		{"asked again", []l7test.Chunk{
			at(0, q, query(t, 1, "a.example.")), at(1000, q, query(t, 1, "a.example.")), at(1005, a, reply(t, 1, "a.example.", 0)),
		}, []string{`answered "A" "NOERROR" 54/43 1005000us`}},
		{"no answer", []l7test.Chunk{
			at(0, q, query(t, 1, "a.example.")), at(5001, q, query(t, 2, "a.example.")), at(5002, a, reply(t, 1, "a.example.", 0)),
		}, []string{`unanswered "A" "" 27/0`, `unanswered "A" "" 27/0`}},
		{"an answer to nobody", []l7test.Chunk{at(0, a, reply(t, 1, "a.example.", 0))}, nil},
		{"cut", []l7test.Chunk{at(0, q, query(t, 1, "a.example.")[:20])}, []string{`lost "other" "" 20/0`}},
	} {
		if diff := cmp.Diff(x.want, l7test.Tell(Datagram, x.chunks)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, diff)
		}
	}
}

// Ten thousand questions on one socket, whose ids come again: each has the time of
// its own answer.
func TestCaseG9_TenThousandQueries(t *testing.T) {
	const n = 10000
	told, now := 0, l7test.Start
	p := NewDatagram(func(m *l7.Message) {
		told++
		ns, ok := m.ResponseTime()
		if want := int64(1+told%7) * 1e6; m.Outcome != l7.Answered || !ok || ns != want {
			t.Fatalf("message %d: outcome %d after %d ns, want %d", told, m.Outcome, ns, want)
		}
	})
	for i := 1; i <= n; i++ {
		name := fmt.Sprintf("host%d.example.", i)
		c := at(0, l7.ToServer, query(t, uint16(i%50), name))
		c.Time = now
		p.Data(&c.Chunk)
		now += int64(1+i%7) * 1e6
		c = at(0, l7.ToClient, reply(t, uint16(i%50), name, 0))
		c.Time = now
		p.Data(&c.Chunk)
	}
	if told != n {
		t.Errorf("%d of %d answers", told, n)
	}
}

// framed puts the length before a message.
func framed(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

func TestStream(t *testing.T) {
	both := append(framed(query(t, 1, "a.example.")), framed(query(t, 2, "b.example."))...)
	chunks := []l7test.Chunk{
		at(0, l7.ToServer, both), at(2, l7.ToClient, framed(reply(t, 2, "b.example.", 3))), at(3, l7.ToClient, framed(reply(t, 1, "a.example.", 0))),
	}
	chunks[2].Turn = false
	want := []string{`answered "A" "NXDOMAIN" overlapped 29/29 2000us`, `answered "A" "NOERROR" overlapped 29/45 3000us`}
	if diff := cmp.Diff(want, l7test.Tell(Stream, chunks)); diff != "" {
		t.Error(diff)
	}
	l7test.Properties(t, Stream, chunks)
	if n := l7test.Allocations(Stream, chunks); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if v := MatchStream(l7.ToServer, both); v != l7.Yes {
		t.Errorf("verdict %d", v)
	}
	for i := range both[:20] {
		if v := MatchStream(l7.ToServer, both[:i]); v == l7.Yes {
			t.Errorf("Yes to %d octets", i)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, b := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff"} {
		if v := Match(l7.ToServer, []byte(b)); v != l7.No {
			t.Errorf("%q: verdict %d", b, v)
		}
	}
	if Match(l7.ToServer, query(t, 1, "a.")) != l7.Yes || Match(l7.ToClient, reply(t, 1, "a.", 0)) != l7.Yes {
		t.Error("a message is not recognised")
	}
	if Match(l7.ToClient, query(t, 1, "a.")) != l7.No || Match(l7.ToServer, reply(t, 1, "a.", 0)) != l7.No {
		t.Error("a question is no answer, nor the other way round")
	}
}

func TestAllocations(t *testing.T) {
	chunks := []l7test.Chunk{at(0, l7.ToServer, query(t, 1, "a.example.")), at(1, l7.ToClient, reply(t, 1, "a.example.", 0))}
	if n := l7test.Allocations(Datagram, chunks); n != 0 {
		t.Errorf("%v allocations per query", n)
	}
}

func BenchmarkQuery(b *testing.B) {
	l7test.Benchmark(b, Datagram, []l7test.Chunk{at(0, l7.ToServer, query(b, 1, "a.example.")), at(1, l7.ToClient, reply(b, 1, "a.example.", 0))})
}

func FuzzParser(f *testing.F) {
	f.Add(query(f, 1, "a.example."), reply(f, 1, "a.example.", 0))
	f.Fuzz(func(t *testing.T, q, a []byte) {
		for _, s := range []l7.Spec{Datagram, Stream} {
			told := 0
			p := s.New(func(m *l7.Message) {
				if told++; len(m.Operation) > l7.MaxOperation || len(m.Status) > l7.MaxStatus {
					t.Errorf("names of %d and %d octets", len(m.Operation), len(m.Status))
				}
			})
			for i, b := range [][]byte{q, a, q[:len(q)/2], a[len(a)/3:], framed(q), framed(a)} {
				if s.Match(l7.Dir(i&1), b); len(b) > 0 {
					p.Data(&l7.Chunk{Dir: l7.Dir(i & 1), Turn: true, Time: 1, Data: b})
				}
				p.Gap(l7.Dir(i&1), int64(i), 1)
			}
			p.End(2)
			if told > 3*(len(q)+len(a))+12 {
				t.Errorf("%d messages", told)
			}
		}
	})
}
