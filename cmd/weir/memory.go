package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
)

// The garbage collector works harder before the probe grows beyond memoryFloor.
// Where what it holds comes near that, tens of thousands of connections at once,
// it would work for nothing and starve the collector of the rings; so the limit
// stays half above what is held, up to memoryCeiling. The tables are bounded: what
// is held is, too.
const (
	memoryFloor   = 128 << 20
	memoryCeiling = 1 << 30
	memorySpare   = 32 << 20
)

// memoryGuard moves the runtime's memory limit; one that the user chose by
// GOMEMLIMIT is left alone.
type memoryGuard struct {
	fixed bool
	limit int64
	live  []metrics.Sample
}

func newMemoryGuard() *memoryGuard {
	g := &memoryGuard{fixed: os.Getenv("GOMEMLIMIT") != "", limit: memoryFloor, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	if !g.fixed {
		debug.SetMemoryLimit(g.limit)
	}
	return g
}

// adapt sets the limit by what the last garbage collection left.
func (g *memoryGuard) adapt() {
	if g.fixed {
		return
	}
	metrics.Read(g.live)
	if g.live[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	// It stops the world for a moment: not for every few octets.
	if l := memoryLimit(g.live[0].Value.Uint64()); l > g.limit || l < g.limit-g.limit/4 {
		g.limit = l
		debug.SetMemoryLimit(l)
	}
}

// memoryLimit is the limit for a heap of that many live octets.
func memoryLimit(live uint64) int64 {
	return int64(min(max(live+live/2+memorySpare, memoryFloor), memoryCeiling))
}
