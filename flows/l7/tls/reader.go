package tls

// reader takes fields from the front of b. short is set once something was not
// there; what is read then is zero.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.short = nil, true
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) skip(n int) { r.take(n) }

func (r *reader) u8() int {
	if b := r.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return uint16(b[0])<<8 | uint16(b[1])
	}
	return 0
}

func (r *reader) vector8() []byte { return r.take(r.u8()) }

func (r *reader) vector16() []byte { return r.take(int(r.u16())) }

// extensions calls each for the extensions that are there completely.
func (r *reader) extensions(each func(kind uint16, e reader)) {
	size := int(r.u16())
	list := reader{b: r.b[:min(size, len(r.b))]}
	for len(list.b) > 0 {
		kind := list.u16()
		if body := list.vector16(); !list.short {
			each(kind, reader{b: body})
		}
	}
}
