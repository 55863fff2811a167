package sink

import "math"

// memory holds hashes of what was asked for in vain, and when that was first. Where more
// is asked for than it has room for, it holds a sample, another one in each interval: a
// flood of names that come once can't keep out what comes again and again, only delay
// it, by as many intervals as the flood is larger than the memory.
type memory struct {
	young, old map[uint64]int64 // hash → time of the interval
	max        int              // of each
	now        int64            // time of the interval
	turn       uint64           // number of the interval: which sample it is
	sample     uint64           // hashes up to this are held, mixed with turn
}

func newMemory(n int) memory {
	return memory{young: map[uint64]int64{}, old: map[uint64]int64{}, max: max(n/2, 1), sample: math.MaxUint64}
}

// returns says whether something was asked for in an earlier interval, and remembers
// that it was in this one. now is the interval's time.
func (m *memory) returns(hash uint64, now int64) bool {
	if now != m.now {
		m.begin(now)
	}
	for _, held := range [...]map[uint64]int64{m.young, m.old} {
		if first, ok := held[hash]; ok && first != now {
			delete(held, hash)
			return true
		} else if ok {
			return false
		}
	}
	for len(m.young) >= m.max {
		m.thin()
	}
	if m.sampled(hash) {
		m.young[hash] = now
	}
	return false
}

// begin makes room for what is asked for in a new interval: what was in the one before
// is kept for this one, and without pressure until it expires.
func (m *memory) begin(now int64) {
	m.now, m.sample = now, math.MaxUint64
	m.turn++
	if len(m.young) > m.max/2 {
		m.young, m.old = m.old, m.young
		clear(m.young)
	}
}

// sampled: the product's upper half depends on all bits of the hash.
func (m *memory) sampled(hash uint64) bool {
	h := hash ^ m.turn*0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return h^h>>32 <= m.sample
}

// thin halves the sample.
func (m *memory) thin() {
	m.sample /= 2
	for h := range m.young {
		if !m.sampled(h) {
			delete(m.young, h)
		}
	}
}

// expire forgets what was asked for before then.
func (m *memory) expire(then int64) {
	for _, held := range [...]map[uint64]int64{m.young, m.old} {
		for h, t := range held {
			if t < then {
				delete(held, h)
			}
		}
	}
}
