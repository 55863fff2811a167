package amqp

import (
	"encoding/binary"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/frames"
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

// format is that of the frames of both sides.
var format = frames.Format{Prefix: headSize, Size: size, Least: 1, Most: maxFrame + 1, Keep: maxHead}

// size is how many octets come behind the head b of a frame, its end among them.
func size(b []byte) int64 {
	if !isType(b[0]) {
		return -1
	}
	return payloadSize(b) + 1
}

func payloadSize(b []byte) int64 { return int64(binary.BigEndian.Uint32(b[3:])) }

func channelOf(b []byte) uint16 { return binary.BigEndian.Uint16(b[1:]) }

// stream is what is being read of one direction, frame by frame.
type stream struct {
	frames.Stream
	known bool // where it is in the stream
}

// payload returns what was kept of the frame behind its head.
func (s *stream) payload() []byte {
	return s.Head[headSize:min(int64(len(s.Head)), headSize+payloadSize(s.Head))]
}

func isType(t byte) bool {
	return t == frameMethod || t == frameHeader || t == frameBody || t == frameHeartbeat
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
	if !isType(b[0]) {
		return l7.No
	}
	if len(b) < headSize {
		return l7.Maybe
	}
	size := payloadSize(b)
	if size > 1<<20 {
		return l7.No // of no frame that is usual
	}
	ended := int64(len(b)-headSize) > size
	if ended && b[headSize+size] != frameEnd {
		return l7.No
	}
	switch b[0] {
	case frameHeartbeat:
		if size != 0 || channelOf(b) != 0 {
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
