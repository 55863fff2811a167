package lineproto

import (
	"bytes"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/influxdata/influxdb-client-go/v2/api/write"
	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

func row(e *Encoder, m string, tags []Tag, fields func()) string {
	e.Reset(nil)
	e.Begin(m, e.AppendTags(nil, tags))
	fields()
	e.End(17)
	return string(e.Bytes())
}

func TestRows(t *testing.T) {
	var e Encoder
	for _, c := range []struct {
		name, m string
		tags    []Tag
		fields  func()
		want    string
	}{
		{"sorted, empty left out", "flow", []Tag{{"b", "2"}, {"c", ""}, {"a", "1"}}, func() { e.Int("x", -3) }, "flow,a=1,b=2 x=-3i 17\n"},
		{"every type", "m", nil, func() {
			e.Int("i", math.MinInt64)
			e.Uint("u", math.MaxUint64)
			e.Float("f", 0.25)
			e.Bool("b", true)
			e.String("s", `a "q" \ b`)
			e.Addr("a", netip.MustParseAddr("fe80::1%eth0"))
		}, `m i=-9223372036854775808i,u=9223372036854775807i,f=0.25,b=true,s="a \"q\" \\ b",a="fe80::1"` + " 17\n"},
		{"escapes", "m n,o", []Tag{{"k =", "a,b c=d"}}, func() { e.Int("f ,", 1) }, `m\ n\,o,k\ \==a\,b\ c\=d f\ \,=1i` + " 17\n"},
		{"backslashes", "m", []Tag{{"a", `x\`}, {"b", `c:\new\x2d`}, {"c", `\,`}, {"d", `\\n`}}, func() { e.Int("f", 1) },
			`m,a=x_,b=c:\new\x2d,c=_\,,d=_\n f=1i` + " 17\n"},
		{"control", "m", []Tag{{"a", "x\ny\x00\xff\u0085"}}, func() { e.String("f", "l1\r\nl2\xff\x1b[2J") }, `m,a=x_y___ f="l1  l2_ [2J"` + " 17\n"},
		{"no field", "m", nil, func() { e.Float("f", math.NaN()); e.Float("g", math.Inf(-1)); e.Int("", 1) }, ""},
		{"no measurement", "", nil, func() { e.Int("f", 1) }, ""},
		{"comment", "#m", nil, func() { e.Int("f", 1) }, "_m f=1i 17\n"},
		{"repeated tag", "m", []Tag{{"a", "1"}, {"a", "2"}}, func() { e.Int("f", 1) }, "m,a=1 f=1i 17\n"},
	} {
		if got := row(&e, c.m, c.tags, c.fields); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
	s := e.Stats()
	if s.Rows != 7 || s.EmptyRows != 2 || s.SkippedFields != 3 || s.Clamped != 1 || s.Cleaned == 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestLengthCaps(t *testing.T) {
	long := strings.Repeat("é", MaxString)
	if got := CleanTag(long[:1] + "é" + long); len(got) > MaxTag || !utf8.ValidString(got) {
		t.Errorf("tag of %d octets, valid %v", len(got), utf8.ValidString(got))
	}
	if got := CleanTag("x" + long); len(got) != MaxTag-1 {
		t.Errorf("cut at %d, want the rune boundary %d", len(got), MaxTag-1)
	}
	var e Encoder
	got := row(&e, "m", nil, func() { e.String("s", "x"+long) })
	if want := len(`m s="" 17`+"\n") + MaxString - 1; len(got) != want || e.Stats().Cleaned != 1 {
		t.Errorf("row of %d octets, want %d; stats %+v", len(got), want, e.Stats())
	}
}

func TestTakenBackRowLeavesTheOthers(t *testing.T) {
	var e Encoder
	e.Begin("a", nil)
	e.Int("x", 1)
	e.End(1)
	e.Begin("b", nil)
	if e.End(2) {
		t.Error("a row without a field was written")
	}
	e.Begin("c", nil)
	e.Int("x", 1)
	e.End(3)
	if got, want := string(e.Bytes()), "a x=1i 1\nc x=1i 3\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAgainstClient compares with influxdb-client-go's encoder on ordinary points.
func TestAgainstClient(t *testing.T) {
	var e Encoder
	got := row(&e, "flow", []Tag{{"server", "shop/db"}, {"host", "h 1"}, {"client", "a=b,c"}}, func() {
		e.Bool("b", true)
		e.Int("bytes", 1<<40)
		e.Float("rtt_avg_seconds", 0.000123)
		e.String("s", `x\y "z"`)
	})
	p := write.NewPointWithMeasurement("flow").
		AddTag("server", "shop/db").AddTag("host", "h 1").AddTag("client", "a=b,c").
		AddField("bytes", int64(1<<40)).AddField("rtt_avg_seconds", 0.000123).AddField("b", true).AddField("s", `x\y "z"`).
		SetTime(time.Unix(0, 17)).SortTags().SortFields()
	if want := write.PointToLineProtocol(p, time.Nanosecond); got != want {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestNoAllocation(t *testing.T) {
	var e Encoder
	buf := make([]byte, 0, 4096)
	tagbuf := make([]byte, 0, 1024)
	tags := []Tag{{"server", "db"}, {"client", "a b"}, {"host", "h"}}
	a := netip.MustParseAddr("192.0.2.1")
	n := testing.AllocsPerRun(100, func() {
		e.Reset(buf)
		e.Begin("flow", e.AppendTags(tagbuf[:0], tags))
		e.Int("x", 1)
		e.Float("f", 0.123456789)
		e.String("s", "plain \"text\"")
		e.Addr("a", a)
		e.End(17)
	})
	if n != 0 {
		t.Errorf("%v allocations per row", n)
	}
}

// FuzzRow: whatever goes in, an independent decoder reads exactly one row with
// the cleaned values, or the row was not written.
func FuzzRow(f *testing.F) {
	f.Add("flow", "client", "a b", "bytes", "text", 1.5, uint64(7), int64(9))
	f.Add("#", `\`, `a\,`, "f=", "\"\\\n", math.NaN(), uint64(math.MaxUint64), int64(-1))
	f.Add("m\n", "\xff", "x\r\n,y=1 z=2i", "", "a\x00\u2028", math.Inf(1), uint64(0), int64(0))
	f.Fuzz(func(t *testing.T, m, tk, tv, fk, fs string, fl float64, u uint64, ns int64) {
		var e Encoder
		e.Begin(m, e.AppendTags(nil, []Tag{{tk, tv}, {"zz", tv}}))
		e.String(fk, fs)
		e.Float("fl", fl)
		e.Uint("u", u)
		ok := e.End(ns)
		out := e.Bytes()
		if !ok {
			if len(out) != 0 || CleanTag(m) != "" {
				t.Fatalf("row taken back: %q of measurement %q", out, m)
			}
			return
		}
		if bytes.Count(out, []byte{'\n'}) != 1 || out[len(out)-1] != '\n' {
			t.Fatalf("not one line: %q", out)
		}
		check(t, out, m, tk, tv, fk, fs, fl, u, ns)
	})
}

func check(t *testing.T, out []byte, m, tk, tv, fk, fs string, fl float64, u uint64, ns int64) {
	t.Helper()
	d := lineprotocol.NewDecoderWithBytes(out)
	if !d.Next() {
		t.Fatalf("no row in %q", out)
	}
	got, err := d.Measurement()
	want := CleanTag(m)
	if want[0] == '#' {
		want = "_" + want[1:]
	}
	if err != nil || string(got) != want {
		t.Fatalf("measurement %q (%v), want %q in %q", got, err, want, out)
	}
	wantTags := map[string]string{"zz": CleanTag(tv)}
	if tk < "zz" || CleanTag(tk) != "zz" {
		wantTags[CleanTag(tk)] = CleanTag(tv)
	}
	delete(wantTags, "")
	n := 0
	for {
		k, v, err := d.NextTag()
		if err != nil {
			t.Fatalf("tag: %v in %q", err, out)
		}
		if k == nil {
			break
		}
		n++
		if w, ok := wantTags[string(k)]; !ok || w != string(v) {
			t.Fatalf("tag %q=%q, want %q in %q", k, v, w, out)
		}
	}
	if CleanTag(tv) == "" {
		wantTags = nil
	}
	if n != len(wantTags) {
		t.Fatalf("%d tags, want %d in %q", n, len(wantTags), out)
	}
	for {
		k, v, err := d.NextField()
		if err != nil {
			t.Fatalf("field: %v in %q", err, out)
		}
		if k == nil {
			break
		}
		switch x := v.Interface().(type) {
		case int64:
			if x < 0 || uint64(x) != min(u, math.MaxInt64) {
				t.Fatalf("u = %d, want %d", x, u)
			}
		case float64:
			if x != fl {
				t.Fatalf("fl = %v, want %v", x, fl)
			}
		case string:
			if string(k) != CleanTag(fk) || len(x) > MaxString || !utf8.ValidString(x) || strings.ContainsAny(x, "\n\r\x00") {
				t.Fatalf("string %q = %q of %q", k, x, fs)
			}
			if plain(fs) && x != fs {
				t.Fatalf("string %q, want %q", x, fs)
			}
		}
	}
	at, err := d.Time(lineprotocol.Nanosecond, time.Time{})
	if err != nil || at.UnixNano() != ns {
		t.Fatalf("time %d (%v), want %d", at.UnixNano(), err, ns)
	}
	if d.Next() {
		t.Fatalf("a second row in %q", out)
	}
}

func plain(s string) bool {
	if len(s) > MaxString || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if control(r, 1) && r != utf8.RuneError {
			return false
		}
	}
	return true
}

func BenchmarkRow(b *testing.B) {
	var e Encoder
	buf := make([]byte, 0, 4096)
	tags := e.AppendTags(nil, []Tag{{"client", "shop/web"}, {"host", "h"}, {"server", "shop/db"}})
	b.ReportAllocs()
	for b.Loop() {
		e.Reset(buf)
		e.Begin("flow", tags)
		for range 16 {
			e.Int("to_server_wire_bytes", 123456789)
		}
		e.End(1790000000000000000)
	}
}
