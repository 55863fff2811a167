// Package dist keeps distributions of durations as log-linear histograms that
// merge without loss, so that quantiles of a sum can be had from the sums.
package dist

import "math/bits"

// subBits sets the resolution: 2^subBits buckets per power of two, a relative
// error of at most 1/2^(subBits+1) ≈ 1.6 % at the middle of a bucket.
const subBits = 5

// Histogram counts durations in ns. The zero value is empty. Buckets are kept
// sparse and sorted: a series of similar latencies costs a handful of them.
// Not safe for concurrent use.
type Histogram struct {
	Count    uint64
	Sum      uint64 // ns
	Min, Max uint64 // ns, valid iff Count > 0
	buckets  []bucket
}

type bucket struct {
	index uint16
	n     uint32
}

// indexOf is exact below 2^subBits and log-linear above (HdrHistogram's layout).
func indexOf(v uint64) uint16 {
	if v < 1<<subBits {
		return uint16(v)
	}
	exp := bits.Len64(v) - 1 - subBits
	return uint16(uint64(exp+1)<<subBits + (v>>uint(exp))&(1<<subBits-1))
}

// lower returns the smallest value of a bucket and its width.
func lower(i uint16) (lo, width uint64) {
	if i < 1<<subBits {
		return uint64(i), 1
	}
	exp := uint(i>>subBits) - 1
	return (1<<subBits + uint64(i)&(1<<subBits-1)) << exp, 1 << exp
}

// Add counts one duration of v ns; negative durations count as 0.
func (h *Histogram) Add(v int64) {
	h.addN(uint64(max(v, 0)), 1)
}

func (h *Histogram) addN(u uint64, n uint32) {
	h.merge(u, u, u*uint64(n), uint64(n))
	h.bump(indexOf(u), n)
}

func (h *Histogram) merge(lo, hi, sum, n uint64) {
	if h.Count == 0 || lo < h.Min {
		h.Min = lo
	}
	if h.Count == 0 || hi > h.Max {
		h.Max = hi
	}
	h.Count += n
	h.Sum += sum
}

func (h *Histogram) bump(i uint16, n uint32) {
	lo, hi := 0, len(h.buckets)
	for lo < hi {
		if mid := (lo + hi) / 2; h.buckets[mid].index < i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(h.buckets) && h.buckets[lo].index == i {
		h.buckets[lo].n += n
		return
	}
	h.buckets = append(h.buckets, bucket{})
	copy(h.buckets[lo+1:], h.buckets[lo:])
	h.buckets[lo] = bucket{i, n}
}

// Merge adds all of o to h, exactly as if every value of o had been added.
func (h *Histogram) Merge(o *Histogram) {
	if o.Count == 0 {
		return
	}
	h.merge(o.Min, o.Max, o.Sum, o.Count)
	for _, b := range o.buckets {
		h.bump(b.index, b.n)
	}
}

// Quantile returns the value below which the fraction q of the durations lies,
// in ns: the middle of its bucket, clamped to Min and Max. 0 when empty.
func (h *Histogram) Quantile(q float64) float64 {
	if h.Count == 0 {
		return 0
	}
	rank := uint64(q * float64(h.Count-1))
	var seen uint64
	for _, b := range h.buckets {
		seen += uint64(b.n)
		if seen > rank {
			lo, w := lower(b.index)
			return min(max(float64(lo)+float64(w-1)/2, float64(h.Min)), float64(h.Max))
		}
	}
	return float64(h.Max)
}

// CountLE returns how many durations are at most v ns, to the resolution of a
// bucket: the cumulative `…_le_…` fields.
func (h *Histogram) CountLE(v uint64) uint64 {
	if h.Count > 0 && v >= h.Max {
		return h.Count
	}
	var n uint64
	for _, b := range h.buckets {
		if lo, _ := lower(b.index); lo > v {
			break
		}
		n += uint64(b.n)
	}
	return n
}

// Reset empties the histogram and keeps its memory.
func (h *Histogram) Reset() {
	*h = Histogram{buckets: h.buckets[:0]}
}
