package postgres

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
	"github.com/weir-probe/weir/flows/l7/open"
)

// message is one with its type and length.
func message(kind byte, body string) string {
	return string(kind) + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

var (
	start = string([]byte{0, 0, 0, 23, 0, 3, 0, 0}) + "user\x00me\x00\x00\x00\x00\x00\x00\x00\x00"
	hello = message('R', "\x00\x00\x00\x00") + message('S', "a\x00b\x00") + message('Z', "I")
	done  = message('C', "SELECT 1\x00")
	ready = message('Z', "I")
	row   = message('T', "\x00\x01") + message('D', "\x00\x01") + done
	fault = func(code string) string { return message('E', "SERROR\x00VERROR\x00C"+code+"\x00Msecret\x00\x00") }
)

func extended(name, sql string) string {
	s := ""
	if sql != "" {
		s = message('P', name+"\x00"+sql+"\x00\x00\x00")
	}
	return s + message('B', "\x00"+name+"\x00\x00\x00\x00\x01secret") + message('E', "\x00\x00\x00\x00\x00")
}

// TestDoubt begins in the middle of a connection: whose answer the first one is, is
// not known, unless nothing has passed for a while.
func TestDoubt(t *testing.T) {
	asks, answers := message('Q', "SELECT 1 FROM a\x00"), done+ready
	for _, x := range []struct {
		name    string
		silence int64
		want    []string
	}{
		{"at once", 0, []string{`lost "SELECT a" "" 21/20`, `answered "SELECT a" "OK" 21/20 1000us`}},
		{"later", open.Quiet, []string{`answered "SELECT a" "OK" 21/20 1000us`, `answered "SELECT a" "OK" 21/20 1000us`}},
	} {
		chunks := l7test.Turns("", ready, asks, answers, asks, answers)[1:]
		for i := range chunks[1:] {
			chunks[i+1].Time += x.silence
		}
		if diff := cmp.Diff(x.want, l7test.Tell(Spec, chunks)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, diff)
		}
	}
}

func TestRules(t *testing.T) {
	sync := message('S', "")
	for _, x := range []struct {
		name  string
		turns []string
		want  []string
	}{
		{"simple", []string{start, hello, message('Q', "SELECT * FROM t WHERE a = 'secret'\x00"), row + ready},
			[]string{`answered "connect" "OK" 23/24 1000us`, `answered "SELECT t" "OK" 40/34 1000us`}},
		{"errors", []string{start, hello, message('Q', "SELECT 1 FROM no\x00"), fault("42P01") + ready, message('Q', "INSERT INTO t\x00"), fault("23505") + ready},
			[]string{`answered "connect" "OK" 23/24 1000us`, `answered "SELECT no" "42P01" failed 22/41 1000us`, `answered "INSERT t" "23505" 19/41 1000us`}},
		{"extended, prepared once", []string{
			extended("s1", "UPDATE a SET b = $1") + sync, message('1', "") + message('2', "") + done + ready,
			extended("s1", "") + sync, message('2', "") + done + ready,
		}, []string{`answered "UPDATE a" "OK" 64/24 1000us`, `answered "UPDATE a" "OK" 34/19 1000us`}},
		{"a pipeline with an error", []string{
			extended("", "SELECT 1 FROM a") + extended("", "SELECT 1 FROM b") + extended("", "SELECT 1 FROM c") + sync + extended("", "SELECT 1 FROM d") + sync,
			message('1', "") + message('2', "") + done + fault("40001") + ready + message('1', "") + message('2', "") + done + ready,
		}, []string{
			`answered "SELECT a" "OK" overlapped 51/24 1000us`, `answered "SELECT b" "40001" failed overlapped 51/35 1000us`,
			`lost "SELECT c" "" overlapped 56/0`, `answered "SELECT d" "OK" overlapped 56/24 1000us`,
		}},
		{"refused encryption", []string{"\x00\x00\x00\x08\x04\xd2\x16\x2f", "N", start, hello}, []string{`answered "connect" "OK" 23/24 1000us`}},
		{"encrypted", []string{"\x00\x00\x00\x08\x04\xd2\x16\x2f", "S", "\x16\x03\x01", "\x16\x03\x03"}, nil},
		{"begun in the middle", []string{extended("s9", "") + sync, message('2', "") + done + ready}, []string{`answered "other" "OK" 34/19 1000us`}},
		{"statements without execution", []string{message('P', "s\x00SELECT 1\x00\x00\x00") + sync, message('1', "") + ready, extended("s", "") + sync, message('2', "") + done + ready},
			[]string{`answered "SELECT" "OK" 33/19 1000us`}},
		{"no answer", []string{message('Q', "SELECT 1\x00")}, []string{`unanswered "SELECT" "" 14/0`}},
	} {
		t.Run(x.name, func(t *testing.T) {
			chunks := l7test.Turns(x.turns...)
			if diff := cmp.Diff(x.want, l7test.Tell(Spec, chunks)); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			l7test.PropertiesOfPart(t, Spec, chunks)
		})
	}
}

func TestGolden(t *testing.T) {
	l7test.Golden(t, Spec, l7test.Text)
	l7test.MatchCaptures(t, Spec)
}

func TestMatch(t *testing.T) {
	for _, x := range []struct {
		d    l7.Dir
		b    string
		want l7.Verdict
	}{
		{l7.ToServer, start, l7.Yes}, {l7.ToServer, message('Q', "SELECT 1\x00"), l7.Yes}, {l7.ToClient, ready, l7.Yes},
		{l7.ToServer, "GET / HTTP/1.1\r\n\r\n", l7.No}, {l7.ToClient, "HTTP/1.1 200 OK\r\n\r\n", l7.No}, {l7.ToServer, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", l7.No},
		{l7.ToServer, "S\x00\x00", l7.Maybe}, {l7.ToServer, "PING\r\n", l7.No}, {l7.ToClient, "S\x00\x00\x00\x04", l7.Maybe},
	} {
		if got := Match(x.d, []byte(x.b)); got != x.want {
			t.Errorf("%q: verdict %d, want %d", x.b, got, x.want)
		}
	}
}

// Statements without end are no memory without end.
func TestHostile(t *testing.T) {
	p := New(func(*l7.Message) {}).(*parser)
	for i := range 5000 {
		for _, c := range l7test.Turns(extended(fmt.Sprint("s", i), fmt.Sprint("SELECT 1 FROM t", i%10, "x", i%7))) {
			p.Data(&c.Chunk)
		}
	}
	big := l7test.Turns(message('Q', "SELECT 1\x00")[:1] + "\x3f\xff\xff\xff")
	p.Data(&big[0].Chunk)
	for range 1000 {
		p.Data(&l7.Chunk{Time: 1, Data: make([]byte, 4096)})
	}
	if len(p.stmts) > maxNames || len(p.names) > maxNames || cap(p.stream[0].Head) > 2*maxBody {
		t.Errorf("%d statements, %d names, %d octets", len(p.stmts), len(p.names), cap(p.stream[0].Head))
	}
}

func TestAllocations(t *testing.T) {
	if n := l7test.Allocations(Spec, l7test.Turns(message('Q', "SELECT * FROM t WHERE a = 1\x00"), row+ready)); n != 0 {
		t.Errorf("%v allocations per query", n)
	}
}

func BenchmarkQuery(b *testing.B) {
	l7test.Benchmark(b, Spec, l7test.Turns(message('Q', "SELECT * FROM t WHERE a = 1\x00"), row+ready))
}

func FuzzParser(f *testing.F) {
	f.Add([]byte(start+message('Q', "SELECT 1\x00")+extended("s", "SELECT 2")+message('S', "")), []byte(hello+row+ready+fault("42P01")+ready), uint8(9))
	f.Fuzz(func(t *testing.T, up, down []byte, cut uint8) {
		l7test.Hostile(t, Spec, up, down, cut)
	})
}
