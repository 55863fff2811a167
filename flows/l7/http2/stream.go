package http2

import (
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
)

// maxStreams bounds the streams of a connection that are followed.
const maxStreams = 100

// stream is a request that waits for its answer.
type stream struct {
	id        uint32 // 0: the slot is free
	operation []byte
	host      []byte

	first, last   int64 // of the request
	rfirst, rlast int64 // of the response
	octets        [2]uint64
	code          int // of the response, 0 not known
	text          [3]byte
	grpcStatus    int // negative: not known

	done       bool // the request has ended
	holed      [2]bool
	blind      bool // a header block of the response could not be read completely
	grpc       bool
	tunnel     bool // CONNECT
	overlapped bool
	messages   [2]counter
}

func (r *stream) counts() bool { return r.grpc }

// passed counts octets of a direction.
func (r *stream) passed(d l7.Dir, octets uint64, t int64) {
	r.octets[d] += octets
	if d == l7.ToServer {
		r.last = t
	} else {
		r.rlast = t
	}
}

// streams are those of a connection; their slots are reused with what they hold.
type streams struct {
	all []stream
	n   int
}

func (q *streams) find(id uint32) *stream {
	if id == 0 || q.n == 0 {
		return nil
	}
	for i := range q.all {
		if q.all[i].id == id {
			return &q.all[i]
		}
	}
	return nil
}

// oldest returns the one with the lowest number.
func (q *streams) oldest() *stream {
	var r *stream
	for i := range q.all {
		if s := &q.all[i]; s.id != 0 && (r == nil || s.id < r.id) {
			r = s
		}
	}
	return r
}

// stale returns the one that is the least likely to be answered yet: the oldest of
// which something was not seen, else the oldest.
func (q *streams) stale() *stream {
	var r *stream
	for i := range q.all {
		s := &q.all[i]
		if s.id != 0 && s.holed[l7.ToClient] && (r == nil || s.id < r.id) {
			r = s
		}
	}
	if r == nil {
		r = q.oldest()
	}
	return r
}

// free says whether there is a slot for one more stream, and makes it where there is
// room; the first two have it anyway.
func (q *streams) free(m *room) bool {
	n := len(q.all)
	if q.n < n || n == 0 {
		return true
	}
	return n < maxStreams && m.take((min(2*n, maxStreams)-n)*int(unsafe.Sizeof(stream{})))
}

// add returns a slot for a stream; there must be a free one.
func (q *streams) add(id uint32) *stream {
	at := -1
	for i := range q.all {
		if q.all[i].id == 0 {
			at = i
		} else if q.n > 0 {
			q.all[i].overlapped = true
		}
	}
	if at < 0 {
		at = len(q.all)
		grown := make([]stream, min(max(2, 2*len(q.all)), maxStreams))
		copy(grown, q.all)
		q.all = grown
	}
	r := &q.all[at]
	*r = stream{id: id, operation: r.operation[:0], host: r.host[:0], overlapped: q.n > 0, grpcStatus: -1}
	q.n++
	return r
}

func (q *streams) remove(r *stream) {
	r.id = 0
	q.n--
}
