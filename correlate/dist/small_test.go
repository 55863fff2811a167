package dist

import (
	"math/rand/v2"
	"testing"
)

func TestSmallIsTheSameDistribution(t *testing.T) {
	for n := range 20 {
		p := NewPool(1)
		var s Small
		var want, got Histogram
		for range n {
			v := rand.Int64N(1e9)
			want.Add(v)
			if !s.Add(v, p) {
				t.Fatal("no room")
			}
		}
		if s.AddTo(&got); got.Count != want.Count || got.Sum != want.Sum || got.Quantile(0.9) != want.Quantile(0.9) || s.Count() != uint64(n) {
			t.Errorf("%d durations: %+v, want %+v", n, got, want)
		}
		if s.Reset(p); s.Count() != 0 || p.made != len(p.free) {
			t.Errorf("%d durations: not empty after Reset", n)
		}
	}
}

func TestPoolIsBounded(t *testing.T) {
	p := NewPool(2)
	full := 0
	smalls := make([]Small, 5)
	for i := range smalls {
		for v := range int64(10) {
			if !smalls[i].Add(v, p) {
				full++
			}
		}
	}
	if full != 3*(10-fewKept) || p.made != 2 {
		t.Errorf("%d not kept, %d histograms", full, p.made)
	}
	for i := range smalls {
		smalls[i].Reset(p)
	}
	if n := testing.AllocsPerRun(100, func() {
		for v := range int64(10) {
			smalls[0].Add(v, p)
		}
		smalls[0].Reset(p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
