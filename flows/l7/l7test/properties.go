package l7test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/weir-probe/weir/flows/l7"
)

// Properties checks what holds for every parser on every conversation: however
// the stream is cut the messages are the same (not checked of datagrams, whose
// cuts mean something); truncated at any octet, or with any hole, none is wrong.
// A parser says unknown where it does not know the operation.
func Properties(t *testing.T, spec l7.Spec, whole []Piece) {
	t.Helper()
	want := Run(spec, whole)
	if !spec.Datagram {
		checkCuts(t, spec, whole, want)
	}
	checkTruncations(t, spec, whole, want)
	checkHoles(t, spec, whole, want)
}

// maxPositions bounds how many places of a long conversation are tried.
const maxPositions = 4000

func stride(n int) int { return max(1, n/maxPositions) }

func checkCuts(t *testing.T, spec l7.Spec, whole []Piece, want []Message) {
	t.Helper()
	if d := cmp.Diff(want, Run(spec, crumbs(whole))); d != "" {
		t.Errorf("one octet at a time (-whole +cut):\n%s", d)
		return
	}
	step := stride(Octets(whole))
	for at := 0; at < len(whole); at++ {
		for n := 1; n < len(whole[at].Data); n += step {
			if d := cmp.Diff(want, Run(spec, cut(whole, at, n))); d != "" {
				t.Errorf("piece %d cut at %d (-whole +cut):\n%s", at, n, d)
				return
			}
		}
	}
}

// cut splits one piece in two of the same time.
func cut(whole []Piece, at, n int) []Piece {
	out := make([]Piece, 0, len(whole)+1)
	out = append(out, whole[:at]...)
	p := whole[at]
	head, tail := p, p
	head.Data, tail.Data = p.Data[:n], p.Data[n:]
	return append(append(out, head, tail), whole[at+1:]...)
}

func crumbs(whole []Piece) []Piece {
	var out []Piece
	for _, p := range whole {
		if p.Data == nil {
			out = append(out, p)
		}
		for i := range p.Data {
			c := p
			c.Data = p.Data[i : i+1]
			out = append(out, c)
		}
	}
	return out
}

func checkTruncations(t *testing.T, spec l7.Spec, whole []Piece, want []Message) {
	t.Helper()
	step := stride(Octets(whole))
	for at := range whole {
		for n := 0; n < len(whole[at].Data); n += step {
			out := append([]Piece{}, whole[:at]...)
			p := whole[at]
			p.Data = p.Data[:n]
			if err := noneWrong(want, Run(spec, append(out, p))); err != nil {
				t.Errorf("truncated at %d of piece %d: %v", n, at, err)
				return
			}
		}
	}
}

// checkHoles takes out single pieces, the tails of pieces, and random lots of
// both.
func checkHoles(t *testing.T, spec l7.Spec, whole []Piece, want []Message) {
	t.Helper()
	for at := range whole {
		for _, unknown := range []bool{false, true} {
			if err := noneWrong(want, Run(spec, holed(whole, func(i int) int { return keepUnless(i == at) }, unknown))); err != nil {
				t.Errorf("piece %d missing (length unknown: %v): %v", at, unknown, err)
				return
			}
		}
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		often := 1 + r.IntN(8)
		damaged := holed(whole, func(i int) int {
			if r.IntN(often) > 0 || len(whole[i].Data) == 0 {
				return -1
			}
			return r.IntN(len(whole[i].Data))
		}, r.IntN(4) == 0)
		if err := noneWrong(want, Run(spec, damaged)); err != nil {
			t.Errorf("random holes, seed %d: %v", seed, err)
			return
		}
	}
}

func keepUnless(missing bool) int {
	if missing {
		return 0
	}
	return -1
}

// holed keeps of each piece its first keep(i) octets, all if negative.
func holed(whole []Piece, keep func(i int) int, unknown bool) []Piece {
	var out []Piece
	for i, p := range whole {
		n := keep(i)
		if p.Data == nil || n < 0 {
			out = append(out, p)
			continue
		}
		if n > 0 {
			head := p
			head.Data = p.Data[:n]
			out = append(out, head)
		}
		gap := Piece{Dir: p.Dir, Time: p.Time, Gap: int64(len(p.Data) - n)}
		if unknown {
			gap.Gap = -1
		}
		out = append(out, gap)
	}
	return out
}

// unnamed says whether an operation is one of which the name was not copied:
// unknown, or open.Other.
func unnamed(operation string) bool {
	return operation == "" || operation == "unknown" || operation == "other"
}

type pair struct {
	operation, status string
	failed            bool
}

// noneWrong checks the messages of a damaged conversation against those of the
// whole one: each answered pair of operation and status is one of it, not more
// often than there, and each name occurs in it.
func noneWrong(whole, damaged []Message) error {
	pairs := make(map[pair]int)
	operations, statuses := map[string]bool{}, map[string]bool{"": true}
	for _, m := range whole {
		operations[m.Operation], statuses[m.Status] = true, true
		if m.Outcome == outcomes[l7.Answered] {
			pairs[pair{m.Operation, m.Status, m.Failed}]++
		}
	}
	for _, m := range damaged {
		// Of an unknown operation the protocol may be unknown, too, and its words for
		// a result.
		if !unnamed(m.Operation) && !(operations[m.Operation] && statuses[m.Status]) {
			return fmt.Errorf("a name that is not in the whole conversation: %+v", m)
		}
		if m.Outcome != outcomes[l7.Answered] || unnamed(m.Operation) || m.Status == "" {
			continue
		}
		p := pair{m.Operation, m.Status, m.Failed}
		if pairs[p]--; pairs[p] < 0 {
			return fmt.Errorf("a pair that is not (or not so often) in the whole conversation: %+v", m)
		}
	}
	return nil
}
