package mysql

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
	"github.com/weir-probe/weir/flows/l7/open"
)

// packet is a body with its length and sequence number.
func packet(seq byte, body string) string {
	n := len(body)
	return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq}) + body
}

const (
	ok   = "\x00\x01\x00\x02\x00\x00\x00"
	eof  = "\xfe\x00\x00\x02\x00"
	okay = "\xfe\x00\x00\x02\x00\x00\x00" // OK in place of EOF
)

func fault(code uint16, state string) string {
	return "\xff" + string(binary.LittleEndian.AppendUint16(nil, code)) + "#" + state + "secret"
}

// TestDoubt begins in the middle of a connection: whose answer the first one is, is
// not known, unless nothing has passed for a while or the server greets.
func TestDoubt(t *testing.T) {
	const greets = "\x0a8.0.36\x00\x07\x00\x00\x00"
	asks, answers := packet(0, "\x03SELECT 1 FROM a"), packet(1, ok)
	for _, x := range []struct {
		name    string
		begins  string
		silence int64
		want    []string
	}{
		{"at once", packet(5, "x"), 0, []string{`lost "SELECT a" "" 20/11`, `answered "SELECT a" "OK" 20/11 1000us`}},
		{"later", packet(5, "x"), open.Quiet, []string{`answered "SELECT a" "OK" 20/11 1000us`, `answered "SELECT a" "OK" 20/11 1000us`}},
		{"at the beginning", packet(0, greets), 0, []string{`answered "SELECT a" "OK" 20/11 1000us`, `answered "SELECT a" "OK" 20/11 1000us`}},
	} {
		chunks := l7test.Turns("", x.begins, asks, answers, asks, answers)[1:]
		for i := range chunks[1:] {
			chunks[i+1].Time += x.silence
		}
		if diff := cmp.Diff(x.want, l7test.Tell(Spec, chunks)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, diff)
		}
	}
}

func TestRules(t *testing.T) {
	withEOF := packet(1, "\x01") + packet(2, "def") + packet(3, eof) + packet(4, "\x011") + packet(5, eof)
	without := packet(1, "\x01") + packet(2, "def") + packet(3, "\x011") + packet(4, okay)
	for _, x := range []struct {
		name  string
		turns []string
		want  []string
	}{
		{"query", []string{packet(0, "\x03SELECT * FROM t WHERE a='secret'"), withEOF, packet(0, "\x03SELECT 1"), without},
			[]string{`answered "SELECT t" "OK" 37/36 1000us`, `answered "SELECT" "OK" 13/29 1000us`}},
		{"no rows", []string{packet(0, "\x03SELECT 1 FROM a"), packet(1, "\x01") + packet(2, "def") + packet(3, okay),
			packet(0, "\x03SELECT 1 FROM b"), packet(1, "\x01") + packet(2, "def") + packet(3, eof) + packet(4, eof)},
			[]string{`answered "SELECT a" "OK" 20/23 1000us`, `answered "SELECT b" "OK" 20/30 1000us`}},
		{"errors", []string{packet(0, "\x03SELECT * FROM no"), packet(1, fault(1146, "42S02")), packet(0, "\x03INSERT INTO t"), packet(1, fault(1062, "23000"))},
			[]string{`answered "SELECT no" "1146" failed 21/19 1000us`, `answered "INSERT t" "1062" 18/19 1000us`}},
		{"prepared", []string{
			packet(0, "\x16UPDATE a SET b=?"), packet(1, "\x00\x07\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00") + packet(2, "def") + packet(3, eof),
			packet(0, "\x17\x07\x00\x00\x00secret"), packet(1, ok), packet(0, "\x19\x07\x00\x00\x00") + packet(0, "\x0e"), packet(1, ok),
		}, []string{`answered "PREPARE UPDATE a" "OK" 21/16 1000us`, `answered "UPDATE a" "OK" 15/11 1000us`, `oneway "STMT_CLOSE" "" 9/0`, `answered "PING" "OK" 5/11 1000us`}},
		{"several results", []string{packet(0, "\x03CALL p()"), packet(1, "\x01") + packet(2, "def") + packet(3, "\x011") + packet(4, "\xfe\x00\x00\x0a\x00\x00\x00") + packet(5, ok)},
			[]string{`answered "CALL p" "OK" 13/40 1000us`}},
		{"a file", []string{packet(0, "\x03LOAD DATA LOCAL INFILE 'x' INTO TABLE t"), packet(1, "\xfbx"), packet(2, "1,2,3") + packet(3, ""), packet(4, ok)},
			[]string{`answered "LOAD" "OK" streaming 57/17`}},
		{"unknown statement", []string{packet(0, "\x17\x09\x00\x00\x00"), packet(1, ok)}, []string{`answered "other" "OK" 9/11 1000us`}},
		{"goodbye", []string{packet(0, "\x01")}, []string{`oneway "QUIT" "" 5/0`}},
		{"no answer", []string{packet(0, "\x03SELECT 1")}, []string{`unanswered "SELECT" "" 13/0`}},
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

// TestTornError has an error of which the SQLSTATE, which says whether it counts as
// failed, was not copied.
func TestTornError(t *testing.T) {
	torn := packet(1, fault(1062, "23000"))
	chunks := l7test.Talk(l7test.C(packet(0, "\x03INSERT INTO t")), l7test.S(torn[:9]), l7test.Hole(l7.ToClient, int64(len(torn)-9)),
		l7test.C(packet(0, "\x0e")), l7test.S(packet(1, ok)))
	want := []string{`lost "INSERT t" "" 18/19`, `answered "PING" "OK" 5/11 1000us`}
	if diff := cmp.Diff(want, l7test.Tell(Spec, chunks)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
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
		{l7.ToServer, packet(0, "\x03SELECT 1 FROM t"), l7.Yes}, {l7.ToClient, packet(0, "\x0a10.11.6-MariaDB\x00abc"), l7.Yes},
		{l7.ToServer, packet(0, "\x0e"), l7.Maybe}, {l7.ToServer, "GET / HTTP/1.1\r\n\r\n", l7.No}, {l7.ToServer, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", l7.No},
		{l7.ToServer, "*1\r\n$4\r\nPING\r\n", l7.No}, {l7.ToClient, "HTTP/1.1 200 OK\r\n", l7.No},
	} {
		if got := Match(x.d, []byte(x.b)); got != x.want {
			t.Errorf("%q: verdict %d, want %d", x.b, got, x.want)
		}
	}
}

func TestHostile(t *testing.T) {
	p := New(func(*l7.Message) {}).(*parser)
	for i := range uint32(5000) {
		id := string(binary.LittleEndian.AppendUint32(nil, i))
		for _, c := range l7test.Turns(packet(0, fmt.Sprint("\x16SELECT 1 FROM t", i%10, "x", i%7)), packet(1, "\x00"+id+"\x00\x00\x00\x00\x00\x00\x00")) {
			p.Data(&c.Chunk)
		}
	}
	c := l7test.Turns("\xff\xff\xff\x00\x03SELECT")
	p.Data(&c[0].Chunk)
	for range 1000 {
		p.Data(&l7.Chunk{Time: 1, Data: make([]byte, 4096)})
	}
	if len(p.stmts) > maxNames || len(p.names) > maxNames || cap(p.stream[0].Head) > 2*maxBody {
		t.Errorf("%d statements, %d names, %d octets", len(p.stmts), len(p.names), cap(p.stream[0].Head))
	}
}

func TestAllocations(t *testing.T) {
	if n := l7test.Allocations(Spec, l7test.Turns(packet(0, "\x03SELECT * FROM t WHERE a=1"), packet(1, ok))); n != 0 {
		t.Errorf("%v allocations per query", n)
	}
}

func BenchmarkQuery(b *testing.B) {
	l7test.Benchmark(b, Spec, l7test.Turns(packet(0, "\x03SELECT * FROM t WHERE a=1"), packet(1, ok)))
}

func FuzzParser(f *testing.F) {
	f.Add([]byte(packet(0, "\x03SELECT 1")+packet(0, "\x16SELECT 2")), []byte(packet(1, "\x01")+packet(2, "def")+packet(3, eof)+packet(1, fault(1, "42000"))), uint8(9))
	f.Add([]byte(packet(0, "\xfe")), []byte(packet(1, ok)), uint8(0)) // no command
	f.Fuzz(func(t *testing.T, up, down []byte, cut uint8) {
		l7test.Hostile(t, Spec, up, down, cut)
	})
}
