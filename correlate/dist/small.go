package dist

// fewKept is how many durations a Small keeps without a Histogram.
const fewKept = 3

// Small is a Histogram for one of very many places, most of which see a few
// durations between two readings: it keeps the first as they are and borrows a
// Histogram for more. The zero value is empty.
type Small struct {
	n   uint32
	few [fewKept]uint64
	h   *Histogram
}

// Pool lends Histograms, a bounded number of them. Not safe for concurrent use.
type Pool struct {
	free      []*Histogram
	made, max int
}

// maxPooled is how many buckets a Histogram may have to be lent again: after a
// time of odd latencies the memory goes back.
const maxPooled = 256

// NewPool returns a Pool of at most n Histograms.
func NewPool(n int) *Pool { return &Pool{max: n} }

func (p *Pool) take() *Histogram {
	if n := len(p.free); n > 0 {
		h := p.free[n-1]
		p.free = p.free[:n-1]
		return h
	}
	if p.made >= p.max {
		return nil
	}
	p.made++
	return new(Histogram)
}

func (p *Pool) give(h *Histogram) {
	h.Reset()
	if cap(h.buckets) > maxPooled {
		h.buckets = nil
	}
	p.free = append(p.free, h)
}

// Add counts one duration of v ns; negative durations count as 0. It returns false
// when there is no room: every Histogram of p is lent.
func (s *Small) Add(v int64, p *Pool) bool { return s.AddN(v, 1, p) }

// AddN counts n durations of v ns.
func (s *Small) AddN(v int64, n uint32, p *Pool) bool {
	if s.h == nil && n == 1 && s.n < fewKept {
		s.few[s.n] = uint64(max(v, 0))
		s.n++
		return true
	}
	if s.h == nil {
		if s.h = p.take(); s.h == nil {
			return false
		}
		for _, u := range s.few[:s.n] {
			s.h.addN(u, 1)
		}
	}
	s.h.addN(uint64(max(v, 0)), n)
	return true
}

// Count is how many durations it holds.
func (s *Small) Count() uint64 {
	if s.h != nil {
		return s.h.Count
	}
	return uint64(s.n)
}

// Sum is that of the durations, ns.
func (s *Small) Sum() uint64 {
	if s.h != nil {
		return s.h.Sum
	}
	var sum uint64
	for _, u := range s.few[:s.n] {
		sum += u
	}
	return sum
}

// AddTo adds all of s to h, exactly as if every duration had been added.
func (s *Small) AddTo(h *Histogram) {
	if s.h != nil {
		h.Merge(s.h)
		return
	}
	for _, u := range s.few[:s.n] {
		h.addN(u, 1)
	}
}

// Reset empties s and gives its Histogram back.
func (s *Small) Reset(p *Pool) {
	if s.h != nil {
		p.give(s.h)
	}
	*s = Small{}
}
