package quic

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of RFC 9001 appendix A and RFC 9369 appendix A have this
// destination connection id.
const rfcID = "8394c8f03e515708"

func TestKeysOfRFC(t *testing.T) {
	for version, want := range map[uint32][2]string{ // iv of client and server
		version1: {"fa044b2f42a3fd3b46fb255c", "0ac1493ca1905853b0bba03e"},
		version2: {"91f73e2351d8fa91660e909f", "dd13c276499c0249d3310652"},
	} {
		k, err := deriveKeys(version, unhex(t, rfcID))
		if err != nil {
			t.Fatal(err)
		}
		for i := range k {
			if got := hex.EncodeToString(k[i].iv[:]); got != want[i] {
				t.Errorf("version %x, side %d: iv %s, want %s", version, i, got, want[i])
			}
		}
	}
}

// server packets of RFC 9001 appendix A.3 and RFC 9369 appendix A.3.
const (
	rfcServer1 = `cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a
		5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73
		cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee`
	rfcServer2 = `dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698
		baeea26b91eb761d9b89237bbf87263017915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4c
		fa52382dd16a393e42757507698075b2c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140`
	rfcServerFrames = `02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a1200
		130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00020304`
)

func rfcClient(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/rfc9001-a2.hex")
	if err != nil {
		t.Fatal(err)
	}
	return unhex(t, string(b))
}

func TestPacketsOfRFC(t *testing.T) {
	want := unhex(t, rfcServerFrames)
	for version, packet := range map[uint32]string{version1: rfcServer1, version2: rfcServer2} {
		k, err := deriveKeys(version, unhex(t, rfcID))
		if err != nil {
			t.Fatal(err)
		}
		h, rest, ok := parseLong(unhex(t, packet))
		if !ok || len(rest) > 0 || h.kind != initial || h.version != version {
			t.Fatalf("version %x: %+v %v", version, h, ok)
		}
		var o opener
		got, ok := o.open(&k[l7.ToClient], &h)
		if !ok || !bytes.Equal(got, want) {
			t.Errorf("version %x: %v %x", version, ok, got)
		}
		if _, ok := o.open(&k[l7.ToServer], &h); ok {
			t.Errorf("version %x: opened with the wrong keys", version)
		}
	}
}

func TestConversationOfRFC(t *testing.T) {
	talk := l7test.Talk(l7test.C(string(rfcClient(t))), l7test.S(string(unhex(t, rfcServer1))))
	want := l7test.Message{
		Outcome: "answered", Operation: "QUIC v1", Status: "ok", Host: "example.com", ALPN: "alpn",
		RequestLast: l7test.Start, ResponseFirst: l7test.Start + l7test.Step,
	}
	l7test.Equal(t, []l7test.Message{want}, l7test.Run(Spec, talk))
	l7test.Properties(t, Spec, talk)
	// The server's packet alone cannot be read and tells nothing.
	if got := l7test.Run(Spec, talk[1:]); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := l7test.Run(Spec, talk[:1]); len(got) != 1 || got[0].Outcome != "unanswered" || got[0].Host != "example.com" {
		t.Errorf("%+v", got)
	}
}

func TestGolden(t *testing.T) {
	l7test.Golden(t, Spec, l7test.JSON)
	for _, chunks := range l7test.Captures(t)["testdata/echo.pcap"] {
		if v := Spec.Match(chunks[0].Dir, chunks[0].Data); v != l7.Yes {
			t.Errorf("a first datagram is %v", v)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, other := range []string{
		"", "\xc3", "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www", // DNS
		"\xc3\x00\x00\x00\x09\x08abcdefgh\x00", "\x40\x00\x00\x00\x01\x08abcdefgh\x00", "\xc3\x00\x00\x00\x01\x20abcdefgh\x00",
	} {
		if v := Spec.Match(l7.ToServer, []byte(other)); v != l7.No {
			t.Errorf("%q: %v", other, v)
		}
	}
	if v := Spec.Match(l7.ToServer, rfcClient(t)[:64]); v != l7.Yes {
		t.Errorf("a copied beginning: %v", v)
	}
}

func TestCryptoInAnyOrder(t *testing.T) {
	message := append([]byte{1, 0, 0, 26}, "abcdefghijklmnopqrstuvwxyz"...)
	for _, order := range [][]int{{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {2, 0, 4, 1, 5, 3}, {0, 0, 5, 3, 3, 1, 4, 2}} {
		h := new(hello)
		for i, part := range order {
			if _, _, ok := h.message(); ok {
				t.Fatalf("%v: whole after %d", order, i)
			}
			frame := append([]byte{frameCrypto, byte(part * 5), 5}, message[part*5:part*5+5]...)
			h.frames(append([]byte{framePing, framePadding}, frame...))
		}
		if kind, body, ok := h.message(); !ok || kind != 1 || string(body) != string(message[4:]) {
			t.Errorf("%v: %d %q %v", order, kind, body, ok)
		}
	}
}

func TestHostileFrames(t *testing.T) {
	for _, b := range []string{
		"\x02\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00", "\x06\xff\xff\xff\xff\xff\xff\xff\xff\x01a", "\x06\x00\xff\xff\xff\xff\xff\xff\xff\xff",
		"\x06", "\x02", "\x1c", "\x1c\x01", "\x06\x00\x40", "\xff",
	} {
		h := new(hello)
		h.frames([]byte(b))
		if h.n != 0 {
			t.Errorf("%q: %v", b, h.pieces[:h.n])
		}
	}
	h := new(hello) // more pieces than are kept
	for i := range uint64(200) {
		h.add(i*7, []byte("x"))
	}
	if h.n > maxPieces {
		t.Errorf("%d pieces", h.n)
	}
}

// TestBoundedWork sends what cannot be decrypted for ever.
func TestBoundedWork(t *testing.T) {
	p := newParser(func(*l7.Message) {}).(*parser)
	b := rfcClient(t)
	b[len(b)-1]++
	for i := range 1000 {
		p.Data(&l7.Chunk{Dir: l7.ToServer, Time: int64(i + 1), Turn: true, Data: b})
	}
	if p.opened != maxOpened {
		t.Errorf("%d packets were decrypted", p.opened)
	}
	c := l7.Chunk{Dir: l7.ToServer, Time: 1, Data: b}
	if n := testing.AllocsPerRun(100, func() { p.Data(&c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParser(f *testing.F) {
	l7test.Fuzz(f, Spec, nil, func(t *testing.T, told []l7test.Message) {
		if len(told) > 1 {
			t.Fatalf("%+v", told)
		}
	})
}

// FuzzFrames fuzzes what only somebody who encrypts can send.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x00\x06\x00\x05\x01\x00\x00\x01a\x1c\x41\x78\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := new(hello)
		h.frames(b)
		h.message()
		for i, p := range h.pieces[:h.n] {
			if p.from >= p.to || p.to > maxHello {
				t.Fatalf("piece %d: %v", i, p)
			}
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	c := l7.Chunk{Dir: l7.ToServer, Time: 1, Turn: true, Data: rfcClient(b)}
	s := l7.Chunk{Dir: l7.ToClient, Time: 2, Turn: true, Data: unhex(b, rfcServer1)}
	told := 0
	b.ReportAllocs()
	for b.Loop() {
		p := newParser(func(*l7.Message) { told++ })
		p.Data(&c)
		p.Data(&s)
	}
	if told != b.N {
		b.Fatalf("%d of %d told", told, b.N)
	}
}
