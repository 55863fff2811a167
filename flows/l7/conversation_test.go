package l7

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// piece is one packet of a scripted connection.
type piece struct {
	dir  Dir
	off  uint32 // in its direction
	data string
	time int64
}

type exchange struct {
	name              string
	request, response int // octets of the bodies
}

// script cuts exchanges into packets of at most size octets, one per microsecond.
func script(xs []exchange, size int) []piece {
	var ps []piece
	var off [2]uint32
	t := int64(1000)
	say := func(d Dir, s string) {
		for len(s) > 0 {
			n := min(size, len(s))
			ps = append(ps, piece{d, off[d], s[:n], t})
			off[d] += uint32(n)
			s = s[n:]
			t += 1000
		}
	}
	for _, x := range xs {
		say(ToServer, fmt.Sprintf("?%s:%d\n%s", x.name, x.request, strings.Repeat("q", x.request)))
		say(ToClient, fmt.Sprintf("!%s:%d\n%s", x.name, x.response, strings.Repeat("a", x.response)))
	}
	return ps
}

// told is a Message that may be kept.
type told struct {
	op                        string
	lost                      bool
	reqOctets, respOctets     uint64
	reqLast, respFirst, respL int64
}

type listener struct {
	all []told
	c   Conversation
	o   *Observer
	t   Turns
	isn [2]uint32
	cap int // octets copied of a packet
}

func listen(specs ...Spec) *listener {
	l := &listener{o: NewObserver(specs, 1<<20), isn: [2]uint32{4294967000, 77}, cap: 1 << 16}
	l.c.Open(l.o, Stream, Straight, l.take)
	return l
}

func (l *listener) take(m *Message) {
	l.all = append(l.all, told{string(m.Operation), m.Outcome == Lost, m.RequestOctets, m.ResponseOctets, m.RequestLast, m.ResponseFirst, m.ResponseLast})
}

func (l *listener) hear(p *piece) {
	s := Segment{Dir: p.dir, Time: p.time, Seq: l.isn[p.dir] + p.off, Len: uint32(len(p.data)), Data: []byte(p.data)}
	s.Data = s.Data[:min(len(s.Data), l.cap)]
	l.t.Mark(&s)
	l.c.Segment(&s)
}

func run(ps []piece) *listener {
	l := listen(toySpec())
	for i := range ps {
		l.hear(&ps[i])
	}
	l.c.End(1)
	return l
}

func exchanges(n int, rng *rand.Rand) []exchange {
	xs := make([]exchange, n)
	for i := range xs {
		xs[i] = exchange{fmt.Sprintf("op%d", i), rng.IntN(300), rng.IntN(3000)}
	}
	return xs
}

func TestWholeConversation(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	xs := exchanges(20, rng)
	want := run(script(xs, 1400)).all
	if len(want) != 20 || want[3].op != "op3" || want[3].lost {
		t.Fatalf("told %v", want)
	}
	for i, x := range xs {
		head := len(fmt.Sprintf("?%s:%d\n", x.name, x.request))
		if got := want[i].reqOctets; got != uint64(head+x.request) {
			t.Errorf("%s: request of %d octets, want %d", x.name, got, head+x.request)
		}
	}
	for _, size := range []int{1, 2, 7, 100, 536} {
		for i, m := range run(script(xs, size)).all {
			if m.op != want[i].op || m.lost || m.reqOctets != want[i].reqOctets || m.respOctets != want[i].respOctets {
				t.Fatalf("cut into %d octets: %+v, want %+v", size, m, want[i])
			}
		}
	}
}

// What networks do to segments never makes a message that was not: only the same,
// or lost ones.
func TestDisturbedConversation(t *testing.T) {
	var whole, lost, held uint64
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		xs := exchanges(1+rng.IntN(12), rng)
		ps := script(xs, 1+rng.IntN(1400))
		truth := map[string]told{}
		for _, m := range run(ps).all {
			truth[m.op] = m
		}
		l := listen(toySpec())
		if rng.IntN(2) == 0 {
			l.cap = 20 + rng.IntN(200) // bulk is not copied
		}
		disturbed := disturb(ps, rng)
		for i := range disturbed {
			l.hear(&disturbed[i])
		}
		l.c.End(1)
		seen := map[string]bool{}
		for _, m := range l.all {
			want, known := truth[m.op]
			if m.lost {
				lost++
				continue
			}
			whole++
			if !known || seen[m.op] || m.reqOctets != want.reqOctets || m.respOctets != want.respOctets {
				t.Fatalf("seed %d: told %+v, want %+v; seen %v", seed, m, want, seen[m.op])
			}
			seen[m.op] = true
		}
		if s := l.o.Stats(); s.Reordered > 0 {
			held++
		}
		if l.c.log != nil || l.c.half[0].held != nil || l.c.half[1].held != nil {
			t.Fatalf("seed %d: an ended conversation holds memory", seed)
		}
	}
	if whole < 3000 || lost == 0 || held == 0 {
		t.Errorf("%d whole, %d lost, %d with reordering: proves nothing", whole, lost, held)
	}
}

// disturb repeats, delays, drops and cuts packets anew.
func disturb(ps []piece, rng *rand.Rand) []piece {
	out := slices.Clone(ps)
	kind := rng.IntN(4)
	for range 1 + rng.IntN(4) {
		i := rng.IntN(len(out))
		p := out[i]
		switch kind {
		case 0: // sent again, together with what follows it
			if j := i + 1; j < len(out) && out[j].dir == p.dir {
				p.data += out[j].data
			}
			at := min(len(out), i+1+rng.IntN(4))
			p.time = out[min(at, len(out)-1)].time
			out = slices.Insert(out, at, p)
		case 1: // overtaken
			if j := i + 1 + rng.IntN(3); j < len(out) {
				out[i], out[j] = out[j], out[i]
			}
		case 2: // not seen
			if len(out) > 1 {
				out = slices.Delete(out, i, i+1)
			}
		case 3: // all of it
			out = slices.Insert(out, rng.IntN(len(out)), p)
			if j := rng.IntN(len(out)); j > 0 {
				out[j], out[j-1] = out[j-1], out[j]
			}
			if len(out) > 2 && rng.IntN(3) == 0 {
				out = slices.Delete(out, 1, 2)
			}
		}
	}
	return out
}

func TestReorderedIsWhole(t *testing.T) {
	xs := []exchange{{"a", 4000, 4000}, {"b", 4000, 4000}}
	ps := script(xs, 1000)
	ps[1], ps[2] = ps[2], ps[1]
	ps[6], ps[8] = ps[8], ps[6]
	l := run(ps)
	if len(l.all) != 2 || l.all[0].lost || l.all[1].lost || l.o.Stats().Reordered == 0 || l.o.Stats().Gaps != 0 {
		t.Errorf("told %+v, stats %+v", l.all, l.o.Stats())
	}
}

func TestUncopiedBodies(t *testing.T) {
	l := listen(toySpec())
	l.cap = 40
	ps := script([]exchange{{"up", 100000, 3}, {"down", 3, 100000}, {"x", 1, 1}}, 1448)
	copied := 0
	for i := range ps { // the kernel tells the beginning of a turn only
		if i > 0 && ps[i-1].dir == ps[i].dir {
			s := Segment{Dir: ps[i].dir, Time: ps[i].time, Seq: l.isn[ps[i].dir] + ps[i].off, Len: uint32(len(ps[i].data))}
			l.t.Mark(&s)
			continue
		}
		l.hear(&ps[i])
		copied++
	}
	l.c.End(1)
	if len(l.all) != 3 || copied != 6 {
		t.Fatalf("told %+v of %d copied", l.all, copied)
	}
	up, down := l.all[0], l.all[1]
	if up.lost || up.reqOctets != 100011 || up.respFirst-up.reqLast != 1000 {
		t.Errorf("upload %+v", up)
	}
	if down.lost || down.respOctets != 100013 {
		t.Errorf("download %+v", down)
	}
}

func TestRecognition(t *testing.T) {
	say := func(l *listener, d Dir, off uint32, s string) {
		l.hear(&piece{d, off, s, int64(off) + 1})
	}
	t.Run("in pieces", func(t *testing.T) {
		l := listen(toySpec())
		say(l, ToServer, 0, "?slo")
		say(l, ToServer, 4, "w:0")
		say(l, ToServer, 7, "\n")
		say(l, ToClient, 0, "!slow:0\n")
		if len(l.all) != 1 || l.all[0].op != "slow" || l.all[0].reqOctets != 8 || l.o.blocks != 1 || l.o.free == nil {
			t.Errorf("told %+v", l.all)
		}
	})
	t.Run("by the other direction", func(t *testing.T) {
		l := listen(toySpec())
		l.c.Open(l.o, Stream, Unoriented, l.take)
		say(l, ToClient, 0, "?who:0\n") // Dir is not known: this is the client
		say(l, ToServer, 0, "!who:2\nab")
		if len(l.all) != 1 || l.all[0].op != "who" {
			t.Errorf("told %+v", l.all)
		}
	})
	t.Run("of datagrams that say it themselves", func(t *testing.T) {
		either := toySpec()
		either.Datagram, either.Match = true, func(Dir, []byte) Verdict { return Yes }
		l := listen(either)
		l.c.Open(l.o, Datagram, Unoriented, l.take)
		say(l, ToServer, 0, "?x:0\n")
		say(l, ToClient, 0, "!x:0\n")
		if len(l.all) != 1 || l.all[0].op != "x" {
			t.Errorf("told %+v", l.all)
		}
		l = listen(toySpec())
		l.o.specs[Stream][0].Match = either.Match
		l.c.Open(l.o, Stream, Unoriented, l.take)
		say(l, ToServer, 0, "?x:0\n")
		if l.c.Protocol() != Unknown {
			t.Error("a stream was taken for what fits both ways")
		}
	})
	t.Run("from the middle", func(t *testing.T) {
		l := listen(toySpec())
		say(l, ToClient, 0, "rest of a body")
		say(l, ToServer, 0, "?x:0\n")
		say(l, ToClient, 14, "!x:0\n")
		if len(l.all) != 1 || l.all[0].lost || l.o.Stats().UnparsedOctets != 14 {
			t.Errorf("told %+v, stats %+v", l.all, l.o.Stats())
		}
	})
	t.Run("opaque", func(t *testing.T) {
		l := listen(toySpec())
		for i := range uint32(20) {
			say(l, Dir(i%2), i/2*4, "blob")
		}
		st := l.o.Stats()
		if !l.c.Opaque() || l.c.Wants() || st.Opaque != 1 || st.DetectedTotal() != 0 || st.UnparsedOctets != 80 {
			t.Errorf("stats %+v", st)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		hello := Spec{Protocol: TLS, Match: func(d Dir, b []byte) Verdict {
			if d == ToServer && b[0] == 0x16 {
				return Yes
			}
			return No
		}, New: func(emit func(*Message)) Parser { return &sealedParser{onceParser{emit}, 1} }}
		l := listen(hello, toySpec())
		var protocols []Protocol
		l.c.Open(l.o, Stream, Straight, func(m *Message) {
			protocols = append(protocols, m.Protocol)
		})
		say(l, ToServer, 0, "?starttls:0\n")
		say(l, ToClient, 0, "!starttls:0\n")
		say(l, ToServer, 12, "\x16\x03\x01")
		if len(protocols) != 2 || protocols[1] != TLS || l.c.Wants() || l.c.Protocol() != TLS || l.o.Stats().Upgraded != 1 {
			t.Errorf("told %v, stats %+v", protocols, l.o.Stats())
		}
		say(l, ToClient, 12, "\x17")
	})
}

func TestSealedConversationsEnd(t *testing.T) {
	s := toySpec()
	s.New = func(emit func(*Message)) Parser { return &sealedParser{onceParser: onceParser{emit}} }
	l := listen(s)
	l.hear(&piece{ToServer, 0, "?a:0\n", 1})
	if !l.c.Wants() {
		t.Error("over after the first octets")
	}
	l.hear(&piece{ToClient, 0, "!a:0\n", 2})
	if l.c.Wants() || l.c.Opaque() || len(l.all) != 2 {
		t.Errorf("told %v", l.all)
	}
}

// sealedParser has seen enough after the second time.
type sealedParser struct {
	onceParser
	n int
}

func (p *sealedParser) Data(c *Chunk) { p.n++; p.onceParser.Data(c) }
func (p *sealedParser) Opaque() bool  { return p.n > 1 }

type onceParser struct{ emit func(*Message) }

func (p onceParser) Data(*Chunk)           { p.emit(&Message{Protocol: TLS}) }
func (p onceParser) Gap(Dir, int64, int64) {}
func (p onceParser) End(int64)             {}

func TestWaitingIsBounded(t *testing.T) {
	o := NewObserver([]Spec{toySpec()}, 3*blockOctets)
	cs := make([]Conversation, 100)
	for i := range cs {
		cs[i].Open(o, Stream, Straight, func(*Message) {})
		cs[i].Segment(&Segment{Turn: true, Time: 1, Seq: 1, Len: 2, Data: []byte("?a")})
		cs[i].Segment(&Segment{Time: 2, Seq: 50, Len: 2, Data: []byte("zz")})
	}
	if o.blocks != 3 || o.Stats().NoRoom == 0 {
		t.Errorf("%d blocks, want 3; stats %+v", o.blocks, o.Stats())
	}
	for i := range cs {
		cs[i].End(3)
	}
	n := 0
	for b := o.free; b != nil; b = b.next {
		n++
	}
	if n != 3 {
		t.Errorf("%d blocks came back, want 3", n)
	}
}

func TestSteadyConversationDoesNotAllocate(t *testing.T) {
	l := listen(toySpec())
	l.c.Open(l.o, Stream, Straight, func(*Message) {})
	xs := []exchange{{"a", 100, 5000}}
	ps := script(xs, 1400)
	ps[2], ps[3] = ps[3], ps[2]
	size := [2]uint32{}
	segs := make([]Segment, len(ps))
	for i, p := range ps {
		segs[i] = Segment{Dir: p.dir, Len: uint32(len(p.data)), Data: []byte(p.data)}
		size[p.dir] += uint32(len(p.data))
	}
	round := uint32(0)
	play := func() {
		for i := range segs {
			segs[i].Seq = ps[i].off + round*size[ps[i].dir]
			segs[i].PrevOctets = 0
			l.t.Mark(&segs[i])
			l.c.Segment(&segs[i])
		}
		round++
	}
	play()
	if n := testing.AllocsPerRun(200, play); n != 0 {
		t.Errorf("%v allocations per exchange", n)
	}
	if s := l.o.Stats(); s.Gaps != 0 || s.Reordered == 0 {
		t.Errorf("stats %+v", s)
	}
}

func BenchmarkExchange(b *testing.B) {
	l := listen(toySpec())
	l.c.Open(l.o, Stream, Straight, func(*Message) {})
	q, a := []byte("?bench:0\n"), []byte("!bench:5\nhello")
	var off [2]uint32
	b.ReportAllocs()
	for b.Loop() {
		for d, data := range [2][]byte{q, a} {
			s := Segment{Dir: Dir(d), Seq: off[d], Len: uint32(len(data)), Data: data}
			off[d] += s.Len
			l.t.Mark(&s)
			l.c.Segment(&s)
		}
	}
}

// Whatever comes, in whatever order, nothing breaks and memory comes back.
func FuzzConversation(f *testing.F) {
	f.Add([]byte("\x00\x04?a:0\x01\x05!a:0\n"), uint32(5))
	f.Add([]byte("\x02\x04?a:0\x05\x05!a:0\n\x10\x02xx"), uint32(1<<31))
	f.Fuzz(func(t *testing.T, b []byte, seq uint32) {
		o := NewObserver([]Spec{toySpec()}, 4*blockOctets)
		var c Conversation
		c.Open(o, Kind(seq%2), Orientation(seq%3), func(*Message) {})
		for len(b) > 2 {
			h, n := b[0], min(int(b[1]), len(b)-2)
			c.Segment(&Segment{
				Dir: Dir(h & 1), Turn: h&2 != 0, Seq: seq + uint32(h>>4)*uint32(b[1]), Len: uint32(n) + uint32(h>>2&3),
				Data: b[2 : 2+n], PrevOctets: uint64(h>>3) << (h & 31), PrevNextSeq: seq + uint32(h),
			})
			seq += uint32(n)
			b = b[2+n:]
		}
		c.End(1)
		n := 0
		for x := o.free; x != nil; x = x.next {
			n++
		}
		if n != o.blocks {
			t.Fatalf("%d of %d blocks came back", n, o.blocks)
		}
	})
}

// TestInOrder: where nothing comes late, what is missing is known at once, and what
// follows is not held back for it.
func TestInOrder(t *testing.T) {
	l := listen(toySpec())
	hear := func(d Dir, seq uint32, n uint32, data string) {
		l.c.Segment(&Segment{Dir: d, Time: 1000, Seq: seq, Len: n, Data: []byte(data), InOrder: true})
	}
	hear(ToServer, 0, 5, "?a:0\n")
	hear(ToClient, 0, 105, "!a:100\n") // cut: the rest of the call is told to be missing
	hear(ToServer, 5, 5, "?b:0\n")     //
	hear(ToClient, 105, 5, "!b:9\n")   //
	hear(ToClient, 114, 4, "tail")     // four are missing before these
	hear(ToServer, 10, 5, "?c:0\n")    //
	hear(ToClient, 118, 5, "!c:0\n")   //
	if l.o.stats.Reordered != 0 || l.o.blocks != 0 && l.c.half[ToClient].held != nil {
		t.Errorf("something waits: %+v", l.o.stats)
	}
	var ops []string
	for _, m := range l.all {
		ops = append(ops, m.op)
	}
	if got := strings.Join(ops, ""); !strings.HasPrefix(got, "ab") {
		t.Errorf("told %q", got)
	}
	if l.o.stats.Gaps == 0 || l.o.stats.GapOctets < 98+4 {
		t.Errorf("%+v", l.o.stats)
	}
	// Another beginning loses the place, and nothing else.
	hear(ToServer, 0, 5, "?d:0\n")
	hear(ToClient, 0, 5, "!d:0\n")
	l.c.End(2000)
}
