package amqp

import (
	"encoding/binary"

	"github.com/weir-probe/weir/flows/l7"
)

const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameEnd       = 0xce

	headSize = 7 // type, channel, size
	maxHead  = 512
	maxFrame = 32 << 20 // RabbitMQ's frame_max is 128 KiB
	greeting = "AMQP\x00\x00\x09\x01"
)

// stream is what is being read of one direction, frame by frame.
type stream struct {
	known  bool          // where it is in the stream
	head   [maxHead]byte // the beginning of the frame
	n      int
	left   int64 // octets of the frame to come, with its end, once n is headSize
	short  bool  // a hole is where head would go on
	first  int64
	octets uint64
}

// take takes octets of a frame and returns how many; bad says that this is none.
func (s *stream) take(b []byte) (n int, bad bool) {
	if s.n < headSize {
		n = copy(s.head[s.n:headSize], b)
		s.n += n
		if s.n == headSize {
			size := int64(binary.BigEndian.Uint32(s.head[3:]))
			s.left = size + 1
			return n, size > maxFrame || !isType(s.head[0])
		}
		return n, false
	}
	n = int(min(int64(len(b)), s.left))
	s.left -= int64(n)
	if s.left == 0 && b[n-1] != frameEnd {
		return n, true
	}
	if !s.short {
		s.n += copy(s.head[s.n:], b[:n])
	}
	return n, false
}

func (s *stream) whole() bool { return s.n >= headSize && s.left == 0 }

func isType(t byte) bool {
	return t == frameMethod || t == frameHeader || t == frameBody || t == frameHeartbeat
}

func (s *stream) channel() uint16 { return binary.BigEndian.Uint16(s.head[1:]) }

// payload returns what was kept of the frame behind its head.
func (s *stream) payload() []byte {
	size := int64(binary.BigEndian.Uint32(s.head[3:]))
	return s.head[headSize:min(int64(s.n), headSize+size)]
}

// Match says Yes to the greeting of AMQP 0-9-1 and to a frame of a known method, or
// a heartbeat, with the end where it is to be.
func Match(d l7.Dir, b []byte) l7.Verdict {
	if len(b) == 0 {
		return l7.Maybe
	}
	if d == l7.ToServer && b[0] == greeting[0] {
		n := min(len(b), len(greeting))
		switch {
		case string(b[:n]) != greeting[:n]:
			return l7.No
		case n < len(greeting):
			return l7.Maybe
		}
		return l7.Yes
	}
	var s stream
	n, bad := s.take(b)
	if bad || !isType(b[0]) {
		return l7.No
	}
	if s.n < headSize {
		return l7.Maybe
	}
	size := s.left - 1
	if size > 1<<20 {
		return l7.No // of no frame that is usual
	}
	if int64(len(b)-n) > size && b[int64(n)+size] != frameEnd {
		return l7.No
	}
	ended := int64(len(b)-n) > size
	switch b[0] {
	case frameHeartbeat:
		if size != 0 || s.channel() != 0 {
			return l7.No
		}
		if ended {
			return l7.Yes
		}
		return l7.Maybe
	case frameMethod:
		if size < 4 {
			return l7.No
		}
		if len(b) < headSize+4 {
			return l7.Maybe
		}
		number := binary.BigEndian.Uint32(b[headSize:])
		if _, ok := methods[number]; !ok {
			return l7.No
		}
		if ended || number == connectionStart && d == l7.ToClient {
			return l7.Yes
		}
	}
	return l7.Maybe
}
