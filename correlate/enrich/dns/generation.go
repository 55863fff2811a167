package dns

// generation is a bounded map that forgets what was not used for longest, in two
// halves: when the young one is full it becomes the old one, and what was in the
// old one is gone. The zero value with cap set is ready to use.
type generation[K comparable, V any] struct {
	cap        int // of both together
	young, old map[K]V
	evicted    uint64
}

func (g *generation[K, V]) get(k K) (V, bool) {
	if v, ok := g.young[k]; ok {
		return v, true
	}
	v, ok := g.old[k]
	if ok {
		delete(g.old, k)
		g.put(k, v)
	}
	return v, ok
}

func (g *generation[K, V]) put(k K, v V) {
	if _, ok := g.young[k]; !ok && len(g.young) >= max(g.cap/2, 1) {
		g.evicted += uint64(len(g.old))
		g.young, g.old = g.old, g.young
		clear(g.young)
	}
	if g.young == nil {
		g.young = map[K]V{}
	}
	delete(g.old, k)
	g.young[k] = v
}

func (g *generation[K, V]) remove(k K) {
	delete(g.young, k)
	delete(g.old, k)
}

func (g *generation[K, V]) len() int { return len(g.young) + len(g.old) }
