package dns

import "time"

const (
	maxWaits  = 8192                   // addresses of recent answers that a connection may have waited for
	useWithin = int64(2 * time.Second) // a connection begun later did not wait for the answer
	maxSteps  = 256                    // back through the answers of one address
)

// offer is an address of an answer.
type offer struct {
	at              place
	asked, answered int64  // unix ns
	first           uint64 // the first offer of the same answer: who takes one has waited for all
	prev            uint64 // the one before of the same place, 0 none; once it is open
	taken           bool   // of a first one
}

// waits are the offers of late, in the order in which they came, numbered from 1.
// Connections ask once per interval, in the order in which they began: an offer is
// opened when one asks that began after it, so that those of a place are a stack
// with the one that such a connection used on top. The zero value is ready to use.
type waits struct {
	ring   []offer
	last   uint64 // number of the newest
	opened uint64 // up to this one
	tops   map[place]uint64
	asked  int64  // when connections asked last, unix ns
	missed uint64 // overwritten before those of their interval asked
}

func (w *waits) number(n uint64) *offer { return &w.ring[(n-1)%maxWaits] }

func (w *waits) has(n uint64) bool { return n != 0 && n+uint64(len(w.ring)) > w.last }

// add takes an address of an answer and returns its number; first is that of the
// answer's first address, 0 for that itself.
func (w *waits) add(o offer) uint64 {
	if len(w.ring) < maxWaits {
		w.ring = append(w.ring, offer{})
	} else {
		w.forget(w.last + 1 - maxWaits)
	}
	w.last++
	if o.first == 0 {
		o.first = w.last
	}
	*w.number(w.last) = o
	return o.first
}

func (w *waits) forget(n uint64) {
	if n > w.opened {
		if w.opened = n; w.number(n).answered > w.asked {
			w.missed++
		}
		return
	}
	if at := w.number(n).at; w.tops[at] == n {
		delete(w.tops, at)
	}
}

// open stacks what was answered until a time.
func (w *waits) open(until int64) {
	for w.opened < w.last && w.number(w.opened+1).answered <= until {
		w.opened++
		if w.tops == nil {
			w.tops = map[place]uint64{}
		}
		o := w.number(w.opened)
		o.prev = w.tops[o.at]
		w.tops[o.at] = w.opened
	}
}

// take returns the newest offer of a place that a connection begun at a time may have
// waited for, and that no other one has; nil: none.
func (w *waits) take(at place, began int64) *offer {
	w.open(began)
	top := true
	n := w.tops[at]
	for range maxSteps {
		if !w.has(n) {
			break
		}
		o := w.number(n)
		if began-o.answered > useWithin {
			return nil
		}
		free := w.has(o.first) && !w.number(o.first).taken
		if free && o.answered <= began {
			w.number(o.first).taken = true
			return o
		}
		if n = o.prev; free {
			top = false
		} else if top {
			w.tops[at] = n
		}
	}
	if top && !w.has(n) {
		delete(w.tops, at)
	}
	return nil
}
