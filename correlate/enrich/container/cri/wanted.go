package cri

import "sync"

// wanted are ids that were asked for and are not known. Each is worth a few
// lists: a container may be known to the kernel before the runtime tells of it.
// After that only the periodic list finds it: what is not in CRI (made by nerdctl,
// ctr or Docker) must not keep the runtime busy.
type wanted struct {
	mu   sync.Mutex
	ids  map[string]int // lists begun since it was first asked for
	bell chan struct{}  // holds one token while a list is wanted
}

const (
	tries     = 4
	maxWanted = 4096
)

func newWanted() wanted { return wanted{ids: map[string]int{}, bell: make(chan struct{}, 1)} }

// ask wants an id; it never waits.
func (w *wanted) ask(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, known := w.ids[id]
	if n >= tries {
		return
	}
	if !known {
		if len(w.ids) >= maxWanted {
			clear(w.ids) // strangers all; each gets its tries again
		}
		w.ids[id] = 0
	}
	w.ring()
}

// begin notes that a list begins, which every id wanted so far takes part in.
func (w *wanted) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.ids {
		w.ids[id]++
	}
	select {
	case <-w.bell:
	default:
	}
}

// found forgets the ids that has knows; for the others there is one more list,
// until they have had their tries.
func (w *wanted) found(has func(id string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	more := false
	for id, n := range w.ids {
		if has(id) {
			delete(w.ids, id)
		} else if n < tries {
			more = true
		}
	}
	if more {
		w.ring()
	}
}

func (w *wanted) ring() {
	select {
	case w.bell <- struct{}{}:
	default:
	}
}
