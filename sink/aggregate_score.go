package sink

import "github.com/weir-probe/weir/correlate"

// maxScores bounds how many pairs of an edge here and one of anomaly.Detector an interval
// may have: the two are cut differently, and a row's score is the highest of them.
const maxScores = 1 << 16

// scored is an edge, and where one of its scores will stand when the interval ends.
type scored struct {
	edge *edge
	from *float64
}

// noteScore takes note of where r's score will stand. The records of one edge of both
// mostly follow one another.
func (a *Aggregator) noteScore(e *edge, r *correlate.Record) {
	if r.Score == nil || r.Score == e.sum.scoredBy {
		return
	}
	e.sum.scoredBy = r.Score
	if len(a.scores) >= maxScores {
		a.stats.ScoresLost++
		return
	}
	a.scores = append(a.scores, scored{e, r.Score})
}

// takeScores reads the scores at the end of the interval.
func (a *Aggregator) takeScores() {
	for _, s := range a.scores {
		s.edge.sum.score.see(*s.from)
	}
	clear(a.scores) // they are not kept from the collector of garbage
	a.scores = a.scores[:0]
}

// score is the highest that was seen; there may be none.
type score struct {
	highest float64
	known   bool
}

func (s *score) see(v float64) { s.highest, s.known = max(s.highest, v), true }

func (s *score) merge(o score) {
	if o.known {
		s.see(o.highest)
	}
}
