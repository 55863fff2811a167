// Package frames follows the frames of a protocol that tells the length of each in
// its first octets, through payload in pieces of any size and with holes in it. A
// hole within a frame does no harm to the place in the stream: the frame is as long
// as it said.
package frames

// Format is how the frames of one direction begin, and what is kept of them.
type Format struct {
	// Prefix is how many octets tell the length: at least 1.
	Prefix int
	// Size reads from them how many come behind them. What is not from Least to Most
	// is the length of no frame.
	Size        func(prefix []byte) int64
	Least, Most int64
	// Keep is how many octets of a frame are kept, those of the prefix among them.
	Keep int
}

// Stream is one direction, which is at the beginning of a frame or in the middle of
// one. Set Format before use, and never in a frame that has begun. It holds no more
// than Keep octets, and none before the first comes.
type Stream struct {
	*Format
	// Head is the beginning of the frame, valid until the next call of Take or Reset.
	Head []byte
	// Torn says that a hole is where Head would go on.
	Torn bool
	// First is when the frame's first octet passed (unix ns), Octets how many have
	// since, holes included. Both outlive the frame, until the next begins.
	First  int64
	Octets uint64

	sized bool
	left  int64 // octets of the frame to come, valid iff sized
}

// Began says whether there are octets of a frame.
func (s *Stream) Began() bool { return len(s.Head) > 0 }

// Sized says whether the length of the frame is there.
func (s *Stream) Sized() bool { return s.sized }

// Whole says whether the frame has ended. Reset makes ready for the next.
func (s *Stream) Whole() bool { return s.sized && s.left == 0 }

// Body is what is kept of a sized frame behind its prefix.
func (s *Stream) Body() []byte { return s.Head[s.Prefix:] }

// Reset leaves the frame behind, whole or not: what comes next begins one.
func (s *Stream) Reset() { s.Head, s.sized = s.Head[:0], false }

// Take takes octets of b, which passed at time t, up to the end of the frame, and
// returns how many. Where the length cannot be one it ends behind the prefix, and
// says that this is no frame: Reset it.
func (s *Stream) Take(b []byte, t int64) (n int, ok bool) {
	if !s.sized {
		if n, ok = s.prefix(b, t); !ok || !s.sized {
			return n, ok
		}
		b = b[n:]
	}
	rest := int(min(int64(len(b)), s.left))
	if !s.Torn {
		s.keep(b[:rest])
	}
	s.left -= int64(rest)
	s.Octets += uint64(rest)
	return n + rest, true
}

// prefix takes octets of the prefix, and reads it once it is there.
func (s *Stream) prefix(b []byte, t int64) (n int, ok bool) {
	if !s.Began() {
		s.begin(t)
	}
	f := s.Format
	n = min(len(b), f.Prefix-len(s.Head))
	s.keep(b[:n])
	s.Octets += uint64(n)
	if len(s.Head) < f.Prefix {
		return n, true
	}
	s.left, s.sized = f.Size(s.Head), true
	return n, s.left >= f.Least && s.left <= f.Most
}

// keep adds to the head what has room.
func (s *Stream) keep(b []byte) {
	n := len(s.Head)
	s.Head = s.Head[:n+copy(s.Head[n:cap(s.Head)], b)]
}

func (s *Stream) begin(t int64) {
	if s.Head == nil {
		s.Head = make([]byte, 0, s.Keep)
	}
	s.First, s.Octets, s.left, s.Torn = t, 0, 0, false
}

// Skip takes n octets that were not copied, if they are known to be of this frame;
// else, and for n < 0, it changes nothing, and the place in the stream is lost.
func (s *Stream) Skip(n int64) bool {
	if n < 0 || !s.sized || n > s.left {
		return false
	}
	s.Tear()
	s.left -= n
	s.Octets += uint64(n)
	return true
}

// Tear says that what comes next of a frame is in a hole.
func (s *Stream) Tear() { s.Torn = s.Torn || len(s.Head) < cap(s.Head) }
