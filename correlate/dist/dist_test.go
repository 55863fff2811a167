package dist

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestQuantileWithinResolution(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var vs []int64
	for range 20000 {
		v := int64(math.Exp(r.NormFloat64()*2 + 12)) // log-normal around 160 µs
		vs = append(vs, v)
		h.Add(v)
	}
	slices.Sort(vs)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 1} {
		want := float64(vs[int(q*float64(len(vs)-1))])
		if got := h.Quantile(q); math.Abs(got-want)/want > 1.0/(1<<subBits) {
			t.Errorf("q%.2f: got %.0f, want %.0f", q, got, want)
		}
	}
}

func TestMergeEqualsAdd(t *testing.T) {
	var a, b, all Histogram
	for i := range int64(5000) {
		v := i * i % 7919 * 1000
		all.Add(v)
		if i%3 == 0 {
			a.Add(v)
		} else {
			b.Add(v)
		}
	}
	a.Merge(&b)
	if a.Count != all.Count || a.Sum != all.Sum || a.Min != all.Min || a.Max != all.Max || !slices.Equal(a.buckets, all.buckets) {
		t.Fatalf("merged %+v, want %+v", a, all)
	}
}

func TestBucketsTile(t *testing.T) {
	var end uint64
	for i := range uint16(1500) {
		lo, w := lower(i)
		if lo != end {
			t.Fatalf("bucket %d starts at %d, want %d", i, lo, end)
		}
		if indexOf(lo) != i || indexOf(lo+w-1) != i {
			t.Fatalf("bucket %d: bounds map to %d and %d", i, indexOf(lo), indexOf(lo+w-1))
		}
		end = lo + w
	}
}

func TestEdges(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.CountLE(10) != 0 {
		t.Error("empty histogram must answer 0")
	}
	h.Add(-5)
	h.Add(math.MaxInt64)
	if h.Min != 0 || h.Max != math.MaxInt64 || h.CountLE(0) != 1 || h.CountLE(math.MaxInt64) != 2 {
		t.Errorf("got %+v", h)
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	var h Histogram
	for v := int64(1); v < 1<<40; v <<= 1 {
		h.Add(v)
	}
	if n := testing.AllocsPerRun(100, func() { h.Reset(); h.Add(1000); h.Add(70000) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
