package conversation

import (
	"testing"

	"github.com/weir-probe/weir/flows/l7"
)

// Hostile is what a fuzz target does: two streams in pieces of cut+1 octets, turn
// about, with holes where cut is a multiple of three. The parser tells no more
// messages than there are octets, with bounded names, and does not panic.
func Hostile(t *testing.T, spec l7.Spec, up, down []byte, cut uint8) {
	told, n := 0, len(up)+len(down)
	p := spec.New(func(m *l7.Message) {
		if told++; len(m.Operation) > l7.MaxOperation || len(m.Status) > l7.MaxStatus {
			t.Errorf("names of %d and %d octets", len(m.Operation), len(m.Status))
		}
	})
	streams := [2][]byte{up, down}
	for d := l7.ToServer; len(streams[0])+len(streams[1]) > 0; d ^= 1 {
		b := streams[d]
		k := min(int(cut)+1, len(b))
		spec.Match(d, b)
		p.Data(&l7.Chunk{Dir: d, Turn: true, Time: 1, Data: b[:k]})
		streams[d] = b[k:]
		if cut%3 == 0 {
			p.Gap(d, int64(cut), 1)
		}
	}
	p.End(2)
	if told > n+1 {
		t.Errorf("%d messages of %d octets", told, n)
	}
}
