package anomaly

import "math"

// share is what an edge asks of its server a minute, and what it usually asks.
type share struct{ seen, usual float64 }

// demand is what comes into a service: what of it is to be expected of what it asks of
// others.
type demand struct {
	asked [len(demanded)]share
	// more and less are by how much it is more, less than usual, levels. The first fades,
	// for what was asked is worked on for a while.
	more, less float64
}

// demanded are the metrics that say how much is asked of a service.
var demanded = [...]metric{bytesOut, connections}

const (
	// maxExplained is by how much demand may widen a band, levels, follows how much more
	// than demand something may grow by it.
	maxExplained = 4 * octave
	follows      = 1.25
	calming      = octave / 2 // a minute
)

// asks is how an edge's minute adds to the demand of its server: what it holds, or at once
// what it has in this minute.
func (p *profile) asks(w *view) {
	for i, m := range demanded {
		x := &p.asked[i]
		if *x = (share{}); !p.holds[m] {
			continue
		}
		x.seen = max(m.value(float64(p.held[m])), w.v[m])
		if x.usual = x.seen; p.days[m][w.hour] > 0 {
			x.usual = m.value(float64(p.usual[m][w.hour].mid))
		}
		s := &w.e.s.demand.asked[i]
		s.seen += x.seen
		s.usual += x.usual
	}
}

// begin begins a minute, end ends it: all edges have asked.
func (x *demand) begin() { x.asked = [len(demanded)]share{} }
func (x *demand) end() {
	x.more -= min(x.more, calming)
	x.less = 0
	for i := range x.asked {
		g := growth(x.asked[i])
		x.more, x.less = max(x.more, g), max(x.less, -g)
	}
}

// explained is by how much more than usual is asked of the client of an edge, or of its
// server by others, and by how much less: levels.
func (w *view) explained(p *profile) (more, less float64) {
	c, s := &w.e.c.demand, &w.e.s.demand
	more, less = c.more, c.less
	for i := range demanded {
		g := growth(share{s.asked[i].seen - p.asked[i].seen, s.asked[i].usual - p.asked[i].usual})
		more, less = max(more, g), max(less, -g)
	}
	return more, less
}

// growth is in levels, 0 where next to nothing is usual.
func growth(x share) float64 {
	if x.usual < 1 {
		return 0
	}
	return min(max(follows*math.Log2(max(x.seen, 1)/x.usual)*octave, -maxExplained), maxExplained)
}
