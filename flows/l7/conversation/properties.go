package conversation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/flows/l7"
)

// maxRuns bounds how often a property runs a conversation: of a longer one not
// every octet is a place to cut, but every k-th.
const maxRuns = 2000

// Properties checks what holds for every parser and every conversation in which no
// answer is missing: it is the same however the stream is cut; cut off at any octet
// it tells what it would have told so far; holes take messages away or make them
// lost and never give one an operation or a status it did not have; and a copy of
// the beginning of each turn only does the same.
func Properties(t *testing.T, spec l7.Spec, chunks []Chunk) {
	t.Helper()
	full := Tell(spec, chunks)
	t.Run("cut", func(t *testing.T) { cuts(t, spec, chunks, full) })
	t.Run("truncated", func(t *testing.T) { truncations(t, spec, chunks) })
	t.Run("holes", func(t *testing.T) { holes(t, spec, chunks, full) })
	t.Run("beginnings", func(t *testing.T) { beginnings(t, spec, chunks, full) })
	t.Run("midstream", func(t *testing.T) { midstream(t, spec, chunks) })
}

// PropertiesOfPart checks those of a conversation that has holes, requests without
// answers or nonsense in it.
func PropertiesOfPart(t *testing.T, spec l7.Spec, chunks []Chunk) {
	t.Helper()
	cuts(t, spec, chunks, Tell(spec, chunks))
	midstream(t, spec, chunks)
}

func size(chunks []Chunk) (n int) {
	for i := range chunks {
		n += len(chunks[i].Data)
	}
	return n
}

// split returns chunks with a cut before octet at of all payload.
func split(chunks []Chunk, at int) []Chunk {
	for i, c := range chunks {
		if at < len(c.Data) {
			if at == 0 {
				return chunks
			}
			head, tail := c, c
			head.Data, tail.Data, tail.Turn = c.Data[:at], c.Data[at:], false
			return slices.Concat(chunks[:i], []Chunk{head, tail}, chunks[i+1:])
		}
		at -= len(c.Data)
	}
	return chunks
}

func cuts(t *testing.T, spec l7.Spec, chunks []Chunk, want []string) {
	n := size(chunks)
	for at := 1; at < n; at += 1 + n/maxRuns {
		if diff := cmp.Diff(want, Tell(spec, split(chunks, at))); diff != "" {
			t.Fatalf("cut before octet %d (-whole +cut):\n%s", at, diff)
		}
	}
	var octets []Chunk
	for _, c := range chunks {
		for i := range c.Data {
			octet := c
			octet.Data, octet.Turn = c.Data[i:i+1], c.Turn && i == 0
			octets = append(octets, octet)
		}
		if c.Hole != 0 {
			octets = append(octets, c)
		}
	}
	if diff := cmp.Diff(want, Tell(spec, octets)); diff != "" {
		t.Fatalf("octet by octet (-whole +cut):\n%s", diff)
	}
}

func truncations(t *testing.T, spec l7.Spec, chunks []Chunk) {
	var want []string
	p := spec.New(func(m *l7.Message) { want = append(want, Spell(m)) })
	Feed(p, chunks)
	n := size(chunks)
	for at := 0; at < n; at += 1 + n/maxRuns {
		var got []string
		p := spec.New(func(m *l7.Message) { got = append(got, Spell(m)) })
		left := at
		for _, c := range chunks {
			if c.Data = c.Data[:min(left, len(c.Data))]; len(c.Data) == 0 {
				break
			}
			left -= len(c.Data)
			p.Data(&c.Chunk)
		}
		told := len(got)
		if told > len(want) || !slices.Equal(got, want[:told]) {
			t.Fatalf("truncated before octet %d:\n%s", at, cmp.Diff(want[:min(told, len(want))], got))
		}
		p.End(Start)
		for _, m := range got[told:] {
			if answered(m) {
				t.Fatalf("truncated before octet %d: the end is told as an answer: %s", at, m)
			}
		}
	}
}

// same says whether a message told is the one wanted. A parser may leave the status
// empty, or a name off the operation, where it was not copied, and says so by that.
func same(told, want string) bool {
	if told == want {
		return true
	}
	operation, status, _ := strings.Cut(told, `" "`)
	wantOperation, wantStatus, _ := strings.Cut(want, `" "`)
	return (status == wantStatus || status == `"`) && (operation == wantOperation || strings.HasPrefix(wantOperation, operation+" ") && operation != `"other`)
}

// contains says whether the answers told are some of those wanted, in their order.
func contains(want, told []string) error {
	i := 0
	for _, m := range told {
		if !answered(m) || strings.HasPrefix(name(m), `"other" `) { // what was asked is not known: no name is a wrong one
			continue
		}
		n := name(m)
		for i < len(want) && !same(n, name(want[i])) {
			i++
		}
		if i == len(want) {
			return fmt.Errorf("%s is not among the answers that are left", m)
		}
		i++
	}
	return nil
}

// hole returns chunks with a hole instead of octets from to to of the i-th.
func hole(chunks []Chunk, i, from, to int, unknown bool) []Chunk {
	c := chunks[i]
	var parts []Chunk
	if from > 0 {
		head := c
		head.Data = c.Data[:from]
		parts = append(parts, head)
	}
	gap := c
	gap.Data, gap.Hole = nil, int64(to-from)
	if unknown {
		gap.Hole = -1
	}
	parts = append(parts, gap)
	if to < len(c.Data) {
		tail := c
		tail.Data, tail.Turn = c.Data[to:], false
		parts = append(parts, tail)
	}
	return slices.Concat(chunks[:i], parts, chunks[i+1:])
}

func holes(t *testing.T, spec l7.Spec, chunks []Chunk, want []string) {
	if len(chunks) == 0 {
		t.Fatal("nothing was said")
	}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 4))
		holed := chunks
		for range 1 + random.IntN(3) {
			i := random.IntN(len(holed))
			if n := len(holed[i].Data); n > 0 {
				from := random.IntN(n)
				holed = hole(holed, i, from, from+1+random.IntN(n-from), random.IntN(4) == 0)
			}
		}
		if err := contains(want, Tell(spec, holed)); err != nil {
			t.Fatalf("holes of seed %d: %v", seed, err)
		}
	}
}

// beginnings has the first octets of each turn only, as the kernel copies them.
func beginnings(t *testing.T, spec l7.Spec, chunks []Chunk, want []string) {
	for _, limit := range []int{1, 5, 16, 33, 64, 100, 256, 1024, 4096} {
		var copied []Chunk
		left := limit
		for _, c := range chunks {
			if c.Turn {
				left = limit
			}
			n := min(left, len(c.Data))
			left -= n
			if n > 0 {
				head := c
				head.Data = c.Data[:n]
				copied = append(copied, head)
			}
			if n < len(c.Data) {
				gap := c
				gap.Data, gap.Hole = nil, int64(len(c.Data)-n)
				copied = append(copied, gap)
			}
		}
		if err := contains(want, Tell(spec, copied)); err != nil {
			t.Fatalf("%d octets of each turn: %v", limit, err)
		}
	}
}

// midstream begins with each packet: nothing is to be proved but that it ends
// without a panic and tells no more than there is.
func midstream(t *testing.T, spec l7.Spec, chunks []Chunk) {
	for i := range chunks {
		rest := slices.Clone(chunks[i:])
		rest[0].Turn = true
		if told := Tell(spec, rest); len(told) > size(rest) {
			t.Fatalf("from packet %d: %d messages of %d octets", i, len(told), size(rest))
		}
	}
}

// Allocations returns how often a running parser allocates for the conversation,
// which has nothing open at its end.
func Allocations(spec l7.Spec, chunks []Chunk) float64 {
	p := spec.New(func(*l7.Message) {})
	for range 3 {
		Feed(p, chunks)
	}
	return testing.AllocsPerRun(100, func() { Feed(p, chunks) })
}

// Benchmark measures the conversation per message that is told of it.
func Benchmark(b *testing.B, spec l7.Spec, chunks []Chunk) {
	b.ReportAllocs()
	n := 0
	p := spec.New(func(*l7.Message) { n++ })
	Feed(p, chunks)
	b.SetBytes(int64(size(chunks)))
	n = 0
	for b.Loop() {
		Feed(p, chunks)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(n, 1)), "ns/message")
}

// Fuzz feeds a parser with octets of both directions: each packet of data is a
// direction and kind, a length and payload. What it tells must be within bounds.
func Fuzz(t *testing.T, spec l7.Spec, data []byte) {
	octets := len(data)
	told := 0
	p := spec.New(func(m *l7.Message) {
		told++
		if len(m.Operation) > l7.MaxOperation || len(m.Status) > l7.MaxStatus {
			t.Fatalf("a name is too long: %s", Spell(m))
		}
		if m.Outcome == l7.Answered && len(m.Operation) == 0 {
			t.Fatalf("an answer to nothing: %s", Spell(m))
		}
	})
	previous := l7.Dir(9)
	for now := Start; len(data) > 2; now += Step {
		d := l7.Dir(data[0] & 1)
		kind, n := data[0]>>1&7, min(int(data[1])|int(data[2])<<8, len(data)-3)
		c := l7.Chunk{Dir: d, Time: now, Turn: d != previous, Data: data[3 : 3+n]}
		data, previous = data[3+n:], d
		switch kind {
		case 6:
			p.Gap(d, int64(n), now)
		case 7:
			p.Gap(d, -1, now)
		default:
			spec.Match(d, c.Data)
			p.Data(&c)
		}
	}
	p.End(Start)
	if told > 2*octets {
		t.Fatalf("%d messages of %d octets", told, octets)
	}
}

// FuzzSeed encodes a conversation for Fuzz.
func FuzzSeed(chunks []Chunk) []byte {
	var b []byte
	for _, c := range chunks {
		kind := byte(0)
		if c.Hole != 0 {
			kind = 6 << 1
		}
		b = append(b, byte(c.Dir)|kind, byte(len(c.Data)), byte(len(c.Data)>>8))
		b = append(b, c.Data...)
	}
	return b
}
