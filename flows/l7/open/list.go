package open

import "unsafe"

// MaxRequests bounds the requests a List keeps. With at most 64 octets for each that is
// 16 KiB per connection at most; a list that was never long is short.
const MaxRequests = 256

// List is the open requests of a connection, in the order they came. The zero
// List is empty. It is a ring that grows to what the connection needs and stays.
type List struct {
	ring []Request // its length is a power of two
	head int
	n    int
	// full counts the answers to come of requests that had no room (PushInOrder).
	full uint64
}

// Octets returns what the list holds.
func (l *List) Octets() int { return len(l.ring) * int(unsafe.Sizeof(Request{})) }

// Len returns how many requests are open.
func (l *List) Len() int { return l.n }

// At returns the i-th oldest; it is valid until the next Push or Remove.
func (l *List) At(i int) *Request { return &l.ring[(l.head+i)&(len(l.ring)-1)] }

// Push adds a request, unless MaxRequests are open. It marks it and the one that
// was alone before as overlapped.
func (l *List) Push(r Request) bool {
	if l.n == MaxRequests {
		return false
	}
	if l.n == len(l.ring) {
		l.grow()
	}
	if l.n > 0 {
		r.Overlapped = true
		l.At(0).Overlapped = true
		l.At(l.n - 1).Overlapped = true
	}
	l.n++
	*l.At(l.n - 1) = r
	return true
}

func (l *List) grow() {
	ring := make([]Request, max(4, 2*len(l.ring)))
	for i := range l.n {
		ring[i] = *l.At(i)
	}
	l.ring, l.head = ring, 0
}

// Remove takes out the i-th oldest.
func (l *List) Remove(i int) {
	for ; i > 0; i-- {
		*l.At(i) = *l.At(i - 1)
	}
	l.head = (l.head + 1) & (len(l.ring) - 1)
	l.n--
}

// Find returns the index of the oldest request with that ID, or -1.
func (l *List) Find(id uint64) int {
	for i := range l.n {
		if l.At(i).ID == id {
			return i
		}
	}
	return -1
}

// PushInOrder is Push where answers come in the order of the requests: after a
// request had no room, no other gets in before the answer of it has passed.
func (l *List) PushInOrder(r Request) bool {
	if l.full > 0 || !l.Push(r) {
		l.full++
		return false
	}
	return true
}

// Front returns the request that the next answer in order belongs to; nil if the
// answer is one of a request that had no room (Passed takes it) or of none.
func (l *List) Front() *Request {
	if l.n == 0 {
		return nil
	}
	return l.At(0)
}

// Passed says that an answer came while the list was empty, and returns whether a
// request without room explains it.
func (l *List) Passed() bool {
	if l.full == 0 {
		return false
	}
	l.full--
	return true
}

// Forget drops the memory of requests that had no room.
func (l *List) Forget() { l.full = 0 }
