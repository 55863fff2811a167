package capture

import "sync/atomic"

type fileStats struct{ packets, unordered, untimed atomic.Uint64 }

// window sorts packets by time over a fixed number of them: a binary heap whose
// entries own their data. Equal times keep the order of arrival.
type window struct {
	heap   []*windowSlot
	free   []*windowSlot
	lent   []*windowSlot // handed out, until the next ReadBatch
	size   int
	count  uint64
	newest int64
}

type windowSlot struct {
	Packet
	order  uint64
	buffer []byte
}

func (w *window) init(size int) { w.size = size }

func (w *window) full() bool { return len(w.heap) >= w.size }

// reclaim takes back what the previous batch lent.
func (w *window) reclaim() {
	w.free = append(w.free, w.lent...)
	w.lent = w.lent[:0]
}

func (s *windowSlot) less(t *windowSlot) bool {
	return s.Time < t.Time || (s.Time == t.Time && s.order < t.order)
}

// push copies p, its data cut to snaplen.
func (w *window) push(p Packet, snaplen int) {
	var s *windowSlot
	if n := len(w.free); n > 0 {
		s = w.free[n-1]
		w.free = w.free[:n-1]
	} else {
		s = &windowSlot{}
	}
	s.buffer = append(s.buffer[:0], p.Data[:min(len(p.Data), snaplen)]...)
	s.Packet = p
	s.Data = s.buffer
	s.order = w.count
	w.count++
	w.newest = max(w.newest, p.Time)

	w.heap = append(w.heap, s)
	i := len(w.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !w.heap[i].less(w.heap[parent]) {
			break
		}
		w.heap[i], w.heap[parent] = w.heap[parent], w.heap[i]
		i = parent
	}
}

// pop lends the earliest packet, nil when there is none.
func (w *window) pop() *Packet {
	n := len(w.heap)
	if n == 0 {
		return nil
	}
	top := w.heap[0]
	w.heap[0] = w.heap[n-1]
	w.heap[n-1] = nil
	w.heap = w.heap[:n-1]
	for i := 0; ; {
		least, left := i, 2*i+1
		for child := left; child <= left+1 && child < len(w.heap); child++ {
			if w.heap[child].less(w.heap[least]) {
				least = child
			}
		}
		if least == i {
			break
		}
		w.heap[i], w.heap[least] = w.heap[least], w.heap[i]
		i = least
	}
	w.lent = append(w.lent, top)
	return &top.Packet
}
