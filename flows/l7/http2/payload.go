package http2

import "github.com/weir-probe/weir/flows/l7"

// unread is the value of pad before its octet was read.
const unread = -1

// frameBegins is behind a frame's header.
func (p *parser) frameBegins(d l7.Dir) {
	s := &p.sides[d]
	f := s.frame
	s.pad, s.strip = 0, 0
	padded := f.flags&flagPadded != 0
	switch f.kind {
	case typeHeaders, typePushPromise:
		s.open, s.broken, s.blockOf = true, false, f.id
		s.pushed = f.kind == typePushPromise
		s.last = !s.pushed && f.flags&flagEndStream != 0
		s.block, s.first, s.octets = s.block[:0], s.began, 0
		if s.pushed {
			s.strip = 4
		} else if f.flags&flagPriority != 0 {
			s.strip = 5
		}
	case typeData:
	default:
		padded = false
	}
	if padded {
		s.pad = unread
	}
	s.begin = len(s.block)
}

// payload takes octets of a frame; left is still what it was before them.
func (p *parser) payload(d l7.Dir, b []byte) {
	s := &p.sides[d]
	left := s.left
	if s.pad == unread {
		s.pad = int(b[0])
		b = b[1:]
		left--
	}
	switch s.frame.kind {
	case typeHeaders, typePushPromise, typeContinuation:
		n := min(s.strip, len(b))
		s.strip -= n
		s.collect(&p.room, b[n:])
	case typeData:
		if r := p.streams.find(s.frame.id); r != nil && r.counts() {
			r.messages[d].data(b[:max(0, min(len(b), left-s.pad))])
		}
	default:
		s.prefix += copy(s.fixed[s.prefix:], b)
	}
}

// collect appends to the header block.
func (s *side) collect(r *room, b []byte) {
	if s.broken {
		return
	}
	if free := maxBlock - len(s.block); len(b) > free {
		b, s.broken = b[:free], true
	}
	n := len(s.block) + len(b)
	if n > cap(s.block) {
		n = max(n, min(2*cap(s.block), maxBlock))
	}
	var ok bool
	if s.block, ok = r.grown(s.block, n, maxBlock); !ok {
		s.broken = true
		return
	}
	s.block = append(s.block, b...)
}

// hole passes n octets within a frame.
func (p *parser) hole(d l7.Dir, n int) {
	s := &p.sides[d]
	switch s.frame.kind {
	case typeHeaders, typePushPromise, typeContinuation:
		s.broken = true
	case typeData:
		if r := p.streams.find(s.frame.id); r != nil {
			r.messages[d].hole(n, s.pad)
		}
	}
	if s.pad == unread {
		s.pad = 0
	}
}

// frameEnds is behind a frame.
func (p *parser) frameEnds(d l7.Dir, t int64) {
	s := &p.sides[d]
	f := s.frame
	octets := uint64(headerSize + f.size)
	switch f.kind {
	case typeHeaders, typePushPromise, typeContinuation:
		s.octets += octets
		if s.strip > 0 || s.pad > len(s.block)-s.begin {
			s.broken = true
		} else if !s.broken && s.pad > 0 {
			s.block = s.block[:len(s.block)-s.pad]
		}
		if f.flags&flagEndHeaders != 0 {
			p.blockEnds(d, t)
		}
	case typeData:
		if r := p.streams.find(f.id); r != nil {
			r.passed(d, octets, t)
			if f.flags&flagEndStream != 0 {
				p.ended(d, r, t)
			}
		}
	case typeReset:
		if r := p.streams.find(f.id); r != nil {
			r.passed(d, octets, t)
			p.reset(d, r, s.word(0), t)
		}
	case typeGoAway:
		if last := s.word(0); d == l7.ToClient && last != missingWord {
			p.goAway(last & (1<<31 - 1))
		}
	}
}

// missingWord is a word that was not copied, or not sent.
const missingWord = 1<<32 - 1

// word returns 32 bits of the frame's payload.
func (s *side) word(at int) uint32 {
	if s.prefix < at+4 {
		return missingWord
	}
	b := s.fixed[at:]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// blockEnds reads a header block.
func (p *parser) blockEnds(d l7.Dir, t int64) {
	s := &p.sides[d]
	s.open = false
	h := &s.hpack
	p.read(d)
	if s.broken {
		h.unknown = true
		h.forget()
	}
	switch {
	case s.pushed:
	case d == l7.ToServer:
		p.request(s, t)
	default:
		p.response(s, t)
	}
}

// counter counts the messages of a gRPC stream by their five-octet prefixes: a
// flag and a length.
type counter struct {
	n      int // 2: more than one
	have   int // octets of the prefix
	length uint32
	left   uint32 // octets of the message to go
	broken bool
}

func (c *counter) data(b []byte) {
	for len(b) > 0 && !c.broken {
		if c.left > 0 {
			n := min(int64(c.left), int64(len(b)))
			c.left -= uint32(n)
			b = b[n:]
			continue
		}
		if c.have == 0 {
			c.n, c.length = min(c.n+1, 2), 0
		} else {
			c.length = c.length<<8 | uint32(b[0])
		}
		b = b[1:]
		if c.have++; c.have == 5 {
			c.have, c.left = 0, c.length
		}
	}
}

// hole passes n octets of which up to pad may be padding.
func (c *counter) hole(n, pad int) {
	if pad != 0 || int64(n) > int64(c.left) {
		c.broken = true
		return
	}
	c.left -= uint32(n)
}
