package http2

import (
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/route"
)

// Spec is HTTP/2 over TCP, plain or as read from a TLS library.
var Spec = l7.Spec{Protocol: l7.HTTP2, Match: match, New: newParser}

// maxBlock is how many octets of a header block are kept.
const maxBlock = 8192

// side is the frames of one direction.
type side struct {
	found  bool // the place is known
	seek   bool // and was not before this frame: it must be plausible
	raw    [headerSize]byte
	have   int
	skip   int // octets of the preface to go
	frame  header
	left   int   // octets of the frame's payload to go
	began  int64 // of the frame
	fixed  [13]byte
	prefix int // octets of fixed there are

	// The header block that is being collected; open from HEADERS to END_HEADERS.
	hpack   decoder
	block   []byte
	blockOf uint32 // its stream
	open    bool
	broken  bool // some of it was not copied, or had no room
	pushed  bool // it is a PUSH_PROMISE's
	last    bool // with END_STREAM
	first   int64
	octets  uint64
	strip   int // octets of priority or promised stream before the block to go
	begin   int // of the frame's octets in block
	pad     int // octets of padding behind block or data; unread: its length is to come
}

// parser is the l7.Parser.
type parser struct {
	emit    func(*l7.Message)
	sides   [2]side
	streams streams
	spoken  bool
	dir     l7.Dir
	maxID   uint32
	last    int64 // when the server's last octet passed
	// missed says that requests may have passed that were not seen.
	missed bool
	msg    l7.Message
	room   room
	name   [l7.MaxOperation]byte
	host   [route.MaxHost]byte
	word   [l7.MaxStatus]byte
}

func newParser(emit func(*l7.Message)) l7.Parser {
	p := &parser{emit: emit}
	for d := range p.sides {
		p.sides[d].hpack.room = &p.room
	}
	return p
}

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	if len(c.Data) == 0 {
		return
	}
	s := &p.sides[c.Dir]
	if (p.turn(c.Dir) || c.Turn) && !s.found {
		s.found, s.seek, s.have, s.left, s.skip, s.open = true, true, 0, 0, 0, false
	}
	if c.Dir == l7.ToClient {
		p.last = c.Time
	}
	for b := c.Data; len(b) > 0 && s.found; {
		var n int
		switch {
		case s.skip > 0:
			n = min(s.skip, len(b))
			s.skip -= n
		case s.left > 0:
			n = min(s.left, len(b))
			p.payload(c.Dir, b[:n])
			p.passed(c.Dir, n, c.Time)
		default:
			if s.have == 0 {
				s.began = c.Time
			}
			n = copy(s.raw[s.have:], b)
			if s.have += n; s.have == headerSize {
				p.header(c.Dir, c.Time)
			}
		}
		b = b[n:]
	}
}

// turn says whether a direction speaks after the other.
func (p *parser) turn(d l7.Dir) bool {
	if p.spoken && p.dir == d {
		return false
	}
	p.spoken, p.dir = true, d
	return true
}

// header is behind a frame header.
func (p *parser) header(d l7.Dir, t int64) {
	s := &p.sides[d]
	s.have = 0
	if d == l7.ToServer && s.seek && string(s.raw[:]) == preface[:headerSize] {
		s.skip, s.seek = len(preface)-headerSize, false
		return
	}
	s.frame = parseHeader(s.raw[:])
	s.prefix = 0
	wrong := s.open && (s.frame.kind != typeContinuation || s.frame.id != s.blockOf)
	if !s.frame.possible() || s.seek && (!s.frame.plausible() || s.raw[5]&0x80 != 0) || wrong {
		p.lose(d)
		return
	}
	if s.seek && s.frame.kind == typeContinuation {
		s.open, s.broken, s.blockOf, s.last, s.pushed = true, true, s.frame.id, false, false
		s.block, s.first, s.octets = s.block[:0], 0, 0
	}
	s.seek = false
	s.left = s.frame.size
	p.frameBegins(d)
	if s.left == 0 {
		p.frameEnds(d, t)
	}
}

func (p *parser) passed(d l7.Dir, n int, t int64) {
	s := &p.sides[d]
	if s.left -= n; s.left == 0 {
		p.frameEnds(d, t)
	}
}

// Gap says that n octets of a direction were not copied.
func (p *parser) Gap(d l7.Dir, n, t int64) {
	if n == 0 {
		return
	}
	p.turn(d)
	s := &p.sides[d]
	if d == l7.ToClient {
		p.last = t
	}
	if !s.found {
		p.missed = p.missed || d == l7.ToServer
		return
	}
	if n < 0 || s.left == 0 || n > int64(s.left) {
		p.lose(d)
		return
	}
	p.hole(d, int(n))
	p.passed(d, int(n), t)
}

// lose forgets the place of a direction. Streams may have ended or begun in what
// was not seen.
func (p *parser) lose(d l7.Dir) {
	s := &p.sides[d]
	if s.open || d == l7.ToClient && p.streams.n > 1 {
		s.hpack.forget()
	} else {
		s.hpack.doubt = true // see read
	}
	s.found, s.open = false, false
	p.missed = p.missed || d == l7.ToServer
	for i := range p.streams.all {
		if r := &p.streams.all[i]; r.id != 0 {
			r.holed[d] = true
			r.messages[d].broken = true
		}
	}
}

// End tells what is open.
func (p *parser) End(int64) {
	for {
		r := p.streams.oldest()
		if r == nil {
			return
		}
		p.abandon(r, l7.Unanswered)
	}
}
