package tls

import (
	"testing"
	"time"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

func TestGolden(t *testing.T) { l7test.Golden(t, Spec, l7test.JSON) }

func TestMatchCaptures(t *testing.T) {
	for path, streams := range l7test.Captures(t) {
		for i, s := range streams {
			if v := Spec.Match(l7.ToServer, s[0].Data); v != l7.Yes {
				t.Errorf("%s, connection %d: %v", path, i, v)
			}
			for n := range 11 {
				if v := Spec.Match(l7.ToServer, s[0].Data[:n]); v != l7.Maybe {
					t.Errorf("%s, connection %d, %d octets: %v", path, i, n, v)
				}
			}
		}
	}
	for _, other := range []string{"GET / HTTP/1.1\r\n", "\x16\x03\x01\x00\x00", "\x16\x02\x01", "\x17\x03\x03\x00\x20", "\x00\x00\x00\x08\x04\xd2\x16\x2f"} {
		if v := Spec.Match(l7.ToServer, []byte(other)); v != l7.No {
			t.Errorf("%q: %v", other, v)
		}
	}
}

// record makes one of content.
func record(kind byte, content ...byte) string {
	return string([]byte{kind, 3, 3, byte(len(content) >> 8), byte(len(content))}) + string(content)
}

func TestAlerts(t *testing.T) {
	hello := string(l7test.Captures(t)["testdata/tls12.pcap"][0][0].Data)
	for name, test := range map[string]struct {
		server string
		want   l7test.Message
	}{
		"fatal":   {record(recordAlert, 2, 40), l7test.Message{Outcome: "answered", Operation: unknown, Status: "handshake_failure", Failed: true}},
		"nobody":  {record(recordAlert, 2, 99), l7test.Message{Outcome: "answered", Operation: unknown, Status: "alert", Failed: true}},
		"warning": {record(recordAlert, 1, 112), l7test.Message{Outcome: "unanswered", Operation: unknown}},
		"garbage": {"HTTP/1.1 400 Bad Request\r\n", l7test.Message{Outcome: "lost", Operation: unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			talk := l7test.Talk(l7test.C(hello), l7test.S(test.server))
			l7test.Equal(t, []l7test.Message{test.want}, l7test.Run(Spec, talk))
			l7test.Properties(t, Spec, talk)
		})
	}
}

func TestBeginsInTheMiddle(t *testing.T) {
	whole := l7test.Captures(t)["testdata/tls13.pcap"][0]
	if whole[1].Dir != l7.ToClient {
		t.Fatal("the server does not answer at once")
	}
	got := l7test.Run(Spec, whole[1:])
	l7test.Equal(t, []l7test.Message{{Outcome: "lost", Operation: "TLS 1.3", Status: ok}}, got)
	if got := l7test.Run(Spec, whole[len(whole)-1:]); len(got) != 0 && got[0].Outcome == "answered" {
		t.Errorf("encrypted data is told as %+v", got)
	}
}

func TestHoleBehindServerHello(t *testing.T) {
	for _, path := range []string{"testdata/tls12.pcap", "testdata/tls13.pcap"} {
		var cut []l7test.Chunk
		whole := l7test.Captures(t)[path][0]
		for _, c := range whole {
			if c.Dir == l7.ToClient {
				cut = append(cut, l7test.Beginnings([]l7test.Chunk{c}, 600)...)
			} else {
				cut = append(cut, c)
			}
		}
		want, got := l7test.Run(Spec, whole), l7test.Run(Spec, cut)
		if len(got) != 1 || got[0].Outcome != "answered" || got[0].Operation != want[0].Operation || got[0].Status != ok || got[0].NotAfter != want[0].NotAfter {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

func TestCertificateTimes(t *testing.T) {
	for text, want := range map[string]time.Time{
		"\x17360102030405Z":   time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC),
		"\x17500102030405Z":   time.Date(1950, 1, 2, 3, 4, 5, 0, time.UTC),
		"\x1820500102030405Z": time.Date(2050, 1, 2, 3, 4, 5, 0, time.UTC),
		"\x1899991231235959Z": time.Date(2261, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		if got := derTime(text[0], []byte(text[1:])); got != want.UnixNano() {
			t.Errorf("%q: %v", text, time.Unix(0, got).UTC())
		}
	}
	for _, text := range []string{"\x1736010203040Z", "\x173601020304xxZ", "\x17360102030405+", "\x05360102030405Z"} {
		if got := derTime(text[0], []byte(text[1:])); got != 0 {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestEndlessHello(t *testing.T) {
	p := Spec.New(func(*l7.Message) {})
	c := l7.Chunk{Dir: l7.ToServer, Time: 1, Turn: true, Data: []byte("\x16\x03\x01\x40\x00\x01\xff\xff\xff\x03\x03")}
	p.Data(&c)
	filler := []byte(record(recordHandshake, make([]byte, 16000)...))
	c = l7.Chunk{Dir: l7.ToServer, Time: 2, Data: make([]byte, 0x4000-6)}
	p.Data(&c)
	c.Data = filler
	if n := testing.AllocsPerRun(200, func() { p.Data(&c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParser(f *testing.F) {
	l7test.Fuzz(f, Spec, nil, func(t *testing.T, told []l7test.Message) {
		if len(told) > 1 {
			t.Fatalf("%d messages", len(told))
		}
		for _, m := range told {
			if m.Outcome == "answered" && m.Status == "" {
				t.Fatalf("%+v", m)
			}
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	s := l7test.Captures(b)["testdata/tls12.pcap"][0]
	told := 0
	b.ReportAllocs()
	for b.Loop() {
		l7test.Feed(Spec.New(func(*l7.Message) { told++ }), s)
	}
	if told != b.N {
		b.Fatalf("%d messages of %d handshakes", told, b.N)
	}
}
