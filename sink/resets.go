package sink

import (
	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/sink/lineproto"
)

// resetSums counts resets of known reason, by who did it and why.
type resetSums [2][correlate.NumResetReasons]uint64

func (s *resetSums) add(n *[2][correlate.NumResetReasons]uint32) {
	for by := range s {
		for why := range s[by] {
			s[by][why] += uint64(n[by][why])
		}
	}
}

func (s *resetSums) merge(o *resetSums) {
	for by := range s {
		for why := range s[by] {
			s[by][why] += o[by][why]
		}
	}
}

func (s *resetSums) write(enc *lineproto.Encoder) {
	for by := range s {
		for why := range s[by] {
			if name := FieldResetFor[by][why]; name != "" {
				nonZero(enc, name, s[by][why])
			}
		}
	}
}
