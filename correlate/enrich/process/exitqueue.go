package process

import "github.com/weir-probe/weir/kprobes"

// exited is a process that ended.
type exited struct {
	id   kprobes.ProcessID
	time int64 // unix ns
}

// exitQueue is a ring, oldest first.
type exitQueue struct {
	ring    []exited
	head, n int
}

func (q *exitQueue) len() int        { return q.n }
func (q *exitQueue) oldest() *exited { return &q.ring[q.head] }

func (q *exitQueue) push(x exited) {
	if q.n == len(q.ring) {
		grown := make([]exited, max(64, 2*len(q.ring)))
		for i := range q.n {
			grown[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = x
	q.n++
}

func (q *exitQueue) pop() exited {
	x := q.ring[q.head]
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return x
}
