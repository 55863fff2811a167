//go:build !race

package http2

import (
	"testing"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/l7test"
)

// Not under the race detector: it makes sync.Pool forget at random, and the
// Huffman decoder of x/net/http2/hpack takes its buffer from one.
func TestNoAllocation(t *testing.T) {
	for path, all := range l7test.Captures(t) {
		s := all[len(all)-1]
		// The same requests again and again, under new numbers.
		p := newParser(func(*l7.Message) {}).(*parser)
		feed := func() {
			p.maxID = 0
			l7test.Feed(p, s)
			for d := range p.sides {
				p.sides[d].found = false
			}
		}
		for range 300 { // until every slot of the tables has been used
			feed()
		}
		if n := testing.AllocsPerRun(50, feed); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}
