package l7test

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

// Trait is what sets a parser apart.
type Trait uint8

// AnswersAtEnd is that of a protocol in which the beginning of an answer tells all that
// is to be told of it: one that is cut off is an answer at the end of the connection.
const AnswersAtEnd Trait = 1

// Properties checks what holds for every parser and every conversation in which no
// answer is missing: it is the same however the stream is cut (datagrams are not);
// cut off at any octet it tells what it would have told so far; holes take messages
// away or make them lost and never give one an operation or a status it did not have;
// and a copy of the beginning of each turn only does the same.
func Properties(t *testing.T, spec l7.Spec, chunks []Chunk, traits ...Trait) {
	t.Helper()
	if len(chunks) == 0 {
		t.Fatal("nothing was said")
	}
	w := whole{spec: spec, chunks: chunks, told: Run(spec, chunks), late: slices.Contains(traits, AnswersAtEnd)}
	if !spec.Datagram {
		t.Run("cut", w.cuts)
	}
	t.Run("truncated", w.truncations)
	t.Run("holes", w.holes)
	t.Run("beginnings", w.beginnings)
	t.Run("midstream", w.midstream)
}

// PropertiesOfPart checks those of a conversation that has holes, requests without
// answers or nonsense in it.
func PropertiesOfPart(t *testing.T, spec l7.Spec, chunks []Chunk) {
	t.Helper()
	w := whole{spec: spec, chunks: chunks, told: Run(spec, chunks)}
	w.cuts(t)
	w.midstream(t)
}

// whole is a conversation to which nothing was done, and what is told of it.
type whole struct {
	spec   l7.Spec
	chunks []Chunk
	told   []Message
	late   bool // answers at the end
}

// places are those where to cut.
func (w *whole) places(from int, at func(int)) {
	n := octets(w.chunks)
	for i := from; i < n; i += 1 + n/maxRuns {
		at(i)
	}
}

func (w *whole) cuts(t *testing.T) {
	w.places(1, func(at int) {
		head, tail := split(w.chunks, at)
		if diff := cmp.Diff(w.told, Run(w.spec, slices.Concat(head, tail))); diff != "" {
			t.Fatalf("cut before octet %d (-whole +cut):\n%s", at, diff)
		}
	})
	var crumbs []Chunk
	for _, c := range w.chunks {
		for i := range c.Data {
			crumbs = append(crumbs, part(c, i, i+1))
		}
		if c.Hole != 0 {
			crumbs = append(crumbs, c)
		}
	}
	if diff := cmp.Diff(w.told, Run(w.spec, crumbs)); diff != "" {
		t.Fatalf("octet by octet (-whole +cut):\n%s", diff)
	}
}

// part is what of a chunk is from octet from to octet to.
func part(c Chunk, from, to int) Chunk {
	c.Data, c.Turn = c.Data[from:to], c.Turn && from == 0
	return c
}

// split returns what is before and behind octet at of all payload.
func split(chunks []Chunk, at int) (head, tail []Chunk) {
	for i, c := range chunks {
		if n := len(c.Data); at >= n {
			at -= n
			continue
		}
		if at == 0 {
			return chunks[:i], chunks[i:]
		}
		return append(slices.Clone(chunks[:i]), part(c, 0, at)), append([]Chunk{part(c, at, len(c.Data))}, chunks[i+1:]...)
	}
	return chunks, nil
}

func (w *whole) truncations(t *testing.T) {
	whole, _ := run(w.spec, w.chunks)
	w.places(0, func(at int) {
		head, _ := split(w.chunks, at)
		got, end := run(w.spec, head)
		soFar := len(*got)
		if !w.spec.Datagram && (soFar > len(*whole) || !slices.Equal(*got, (*whole)[:soFar])) {
			t.Fatalf("truncated before octet %d:\n%s", at, cmp.Diff((*whole)[:min(soFar, len(*whole))], *got))
		}
		end()
		if err := w.contains(*got); err != nil {
			t.Fatalf("truncated before octet %d: %v", at, err)
		}
		for _, m := range (*got)[soFar:] {
			if !w.late && m.answered() {
				t.Fatalf("truncated before octet %d: the end is told as an answer: %v", at, m)
			}
		}
	})
}

// hole returns chunks with a hole instead of octets from to to of the i-th.
func hole(chunks []Chunk, i, from, to int, unknown bool) []Chunk {
	c := chunks[i]
	var parts []Chunk
	if from > 0 {
		parts = append(parts, part(c, 0, from))
	}
	gap := Chunk{Chunk: l7.Chunk{Dir: c.Dir, Time: c.Time, Turn: c.Turn && from == 0}, Hole: int64(to - from)}
	if unknown {
		gap.Hole = -1
	}
	parts = append(parts, gap)
	if to < len(c.Data) {
		parts = append(parts, part(c, to, len(c.Data)))
	}
	return slices.Concat(chunks[:i], parts, chunks[i+1:])
}

// holes takes out each chunk, and random pieces of several. A datagram is cut, it is
// not continued behind a hole.
func (w *whole) holes(t *testing.T) {
	for i, c := range w.chunks {
		if c.Hole != 0 {
			continue
		}
		for _, unknown := range []bool{false, true} {
			if err := w.contains(Run(w.spec, hole(w.chunks, i, 0, len(c.Data), unknown))); err != nil {
				t.Fatalf("without chunk %d (length unknown: %v): %v", i, unknown, err)
			}
		}
	}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 4))
		holed := w.chunks
		for range 1 + random.IntN(3+len(w.chunks)/8) {
			i := random.IntN(len(holed))
			n := len(holed[i].Data)
			if n == 0 {
				continue
			}
			from := random.IntN(n)
			to := from + 1 + random.IntN(n-from)
			if w.spec.Datagram || random.IntN(3) == 0 {
				to = n
			}
			holed = hole(holed, i, from, to, random.IntN(4) == 0)
		}
		if err := w.contains(Run(w.spec, holed)); err != nil {
			t.Fatalf("holes of seed %d: %v", seed, err)
		}
	}
}

// beginnings has the first octets of each turn only, as the kernel copies them.
func (w *whole) beginnings(t *testing.T) {
	for _, limit := range []int{1, 5, 16, 33, 64, 100, 256, 1024, 4096} {
		if err := w.contains(Run(w.spec, Beginnings(w.chunks, limit))); err != nil {
			t.Fatalf("%d octets of each turn: %v", limit, err)
		}
	}
}

// Beginnings is what is copied of chunks with a limit of octets of each turn.
func Beginnings(chunks []Chunk, limit int) []Chunk {
	var copied []Chunk
	left := limit
	for _, c := range chunks {
		if c.Turn {
			left = limit
		}
		n := min(left, len(c.Data))
		left -= n
		if n == len(c.Data) {
			copied = append(copied, c)
			continue
		}
		copied = append(copied, hole([]Chunk{c}, 0, n, len(c.Data), false)...)
	}
	return copied
}

// midstream begins with each packet: nothing is to be proved but that it ends
// without a panic and tells no more than there is.
func (w *whole) midstream(t *testing.T) {
	for i := range w.chunks {
		rest := slices.Clone(w.chunks[i:])
		rest[0].Turn = true
		if told := Run(w.spec, rest); len(told) > octets(rest) {
			t.Fatalf("from packet %d: %d messages of %d octets", i, len(told), octets(rest))
		}
	}
}

// contains says whether the operations told are of the whole conversation, and the
// answers some of it, in their order unless they come late. Where what was asked is not
// known no name is a wrong one; what a server seems to send unasked may have been an
// answer.
func (w *whole) contains(told []Message) error {
	left := slices.Clone(w.told)
	for _, m := range told {
		if m.unnamed() || m.RequestOctets == 0 && !m.answered() {
			continue
		}
		if !slices.ContainsFunc(w.told, func(w Message) bool { return sameOperation(&m, &w) }) {
			return fmt.Errorf("an operation that is not in the whole conversation: %v", m)
		}
		if !m.answered() {
			continue
		}
		i := slices.IndexFunc(left, func(w Message) bool { return same(&m, &w) })
		if i < 0 {
			return fmt.Errorf("%v is not among the answers that are left", m)
		}
		if w.late {
			left = slices.Delete(left, i, i+1)
		} else {
			left = left[i+1:]
		}
	}
	return nil
}

// same says whether a message told is the one of the whole conversation. A parser may
// leave the status empty, or a name off the operation, where it was not copied, and
// says so by that.
func same(m, whole *Message) bool {
	return sameOperation(m, whole) && (m.Status == "" || m.Status == whole.Status && m.Failed == whole.Failed)
}

func sameOperation(m, whole *Message) bool {
	return m.Operation == whole.Operation || strings.HasPrefix(whole.Operation, m.Operation+" ")
}
