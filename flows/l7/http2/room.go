package http2

import (
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
)

// maxRoom bounds what a connection may hold beside its parser, in octets: names of
// streams, tables of header fields, header blocks. What has no room is unknown.
const maxRoom = 64 << 10

// room counts what a connection holds of it. Memory once taken is reused, and given
// back with the connection.
type room struct {
	held    int
	crowded uint64 // how often there was none
}

// take says whether n more octets may be held.
func (r *room) take(n int) bool {
	if r.held+n > maxRoom {
		r.crowded++
		return false
	}
	r.held += n
	return true
}

// grown returns b with a capacity of n octets at least and most at most, b itself if
// there is no room for that.
func (r *room) grown(b []byte, n, most int) (grown []byte, ok bool) {
	if n <= cap(b) {
		return b, true
	}
	const step = 32
	n = min((n+step-1)/step*step, most)
	if !r.take(n - cap(b)) {
		return b, false
	}
	return append(make([]byte, 0, n), b...), true
}

// keep returns name in the memory of b, nothing of it if there is no room.
func (r *room) keep(b, name []byte, most int) []byte {
	b, ok := r.grown(b[:0], len(name), most)
	if !ok {
		return b
	}
	return append(b, name...)
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	// The fields of the header block that is read, a name and a value, and what there
	// is room for anyway.
	const (
		fields = (int(numFields) + 2) * maxValue
		first  = 2*int(unsafe.Sizeof(stream{})) + 2*16*int(unsafe.Sizeof(entry{}))
	)
	return int(unsafe.Sizeof(*p)) + 2*fields + first + p.room.held, p.room.crowded
}

var _ l7.Weighed = (*parser)(nil)
