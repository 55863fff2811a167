package main

import "testing"

func TestMemoryLimit(t *testing.T) {
	for live, want := range map[uint64]int64{
		0:         memoryFloor,
		64 << 20:  memoryFloor,
		100 << 20: 182 << 20,
		300 << 20: 482 << 20,
		2 << 30:   memoryCeiling,
	} {
		if got := memoryLimit(live); got != want {
			t.Errorf("%d MiB live: limit %d MiB, want %d", live>>20, got>>20, want>>20)
		}
		if got := memoryLimit(live); live < memoryCeiling/2 && uint64(got) < live+live/4 {
			t.Errorf("%d MiB live: the limit %d MiB leaves no room", live>>20, got>>20)
		}
	}
	g := newMemoryGuard()
	if n := testing.AllocsPerRun(100, g.adapt); n != 0 {
		t.Errorf("%.0f allocations per interval", n)
	}
}
