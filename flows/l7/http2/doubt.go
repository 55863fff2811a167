package http2

import "github.com/weir-probe/weir/flows/l7"

// read reads the header block of a direction. After a hole it decides whether the
// table is still what it was: else a body of which the end was not copied would cost
// the connection the names, or the results, of all that follows.
//
// A client's table is if the block begins the very next stream, since others would
// have had numbers between. A server's, with one stream open, can have got no more
// than the trailers of that: what the next response to a gRPC call refers to shows
// whether there was anything new in them. (A client's trailers could add to the table,
// too; few send any, and fewer behind a body.)
func (p *parser) read(d l7.Dir) {
	s := &p.sides[d]
	h := &s.hpack
	if h.doubt && d == l7.ToServer {
		if p.maxID == 0 || s.blockOf != p.maxID+2 {
			h.forget()
		}
		h.doubt = false
	}
	h.begin()
	h.block(s.block)
	if !h.doubt || h.dynamic == 0 {
		return
	}
	r := p.streams.find(s.blockOf)
	if !s.broken && r != nil && r.grpc && r.code == 0 && p.streams.n == 1 && h.proven() {
		h.doubt = false
		return
	}
	h.forget()
	h.begin()
	h.block(s.block)
}
