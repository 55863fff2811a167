package quic

import "github.com/weir-probe/weir/flows/l7"

// Versions.
const (
	version1 = 0x00000001
	version2 = 0x6b3343cf
)

const maxID = 20 // octets of a connection id (RFC 9000 section 17.2)

// packetKind is the type of a long-header packet, as version 1 numbers it.
type packetKind uint8

const (
	initial packetKind = iota
	zeroRTT
	handshake
	retry
	negotiation // version 0
)

// longHeader is the beginning of a packet. The slices point into the datagram.
type longHeader struct {
	kind     packetKind
	version  uint32
	dst, src []byte
	packet   []byte // all of the packet
	number   int    // where in packet the packet number begins; only of an initial one
}

// parseLong reads the long-header packet at the front of b; false: there is none.
func parseLong(b []byte) (h longHeader, rest []byte, ok bool) {
	if len(b) < 7 || b[0]&0x80 == 0 {
		return h, nil, false
	}
	h.version = uint32(b[1])<<24 | uint32(b[2])<<16 | uint32(b[3])<<8 | uint32(b[4])
	at := 5
	if h.dst, at, ok = id(b, at); !ok {
		return h, nil, false
	}
	if h.src, at, ok = id(b, at); !ok {
		return h, nil, false
	}
	bits := packetKind(b[0] >> 4 & 3)
	switch h.version {
	case 0:
		h.kind, h.packet = negotiation, b
		return h, nil, true
	case version1:
		h.kind = bits
	case version2: // RFC 9369 section 3.2
		h.kind = (bits + 3) & 3
	default:
		return h, nil, false
	}
	if h.kind == retry {
		h.packet = b
		return h, nil, true
	}
	if h.kind == initial {
		n, after, ok := varint(b, at)
		if !ok || n > uint64(len(b)-after) {
			return h, nil, false
		}
		at = after + int(n) // the token
	}
	n, at, ok := varint(b, at)
	if !ok || n > uint64(len(b)-at) || n < 20 {
		return h, nil, false
	}
	h.number = at
	end := at + int(n)
	h.packet = b[:end]
	return h, b[end:], true
}

// id reads a connection id with its length.
func id(b []byte, at int) ([]byte, int, bool) {
	if at >= len(b) || int(b[at]) > maxID || at+1+int(b[at]) > len(b) {
		return nil, 0, false
	}
	end := at + 1 + int(b[at])
	return b[at+1 : end], end, true
}

// varint reads an integer (RFC 9000 section 16).
func varint(b []byte, at int) (n uint64, after int, ok bool) {
	if at >= len(b) {
		return 0, 0, false
	}
	size := 1 << (b[at] >> 6)
	if at+size > len(b) {
		return 0, 0, false
	}
	n = uint64(b[at] & 0x3f)
	for _, c := range b[at+1 : at+size] {
		n = n<<8 | uint64(c)
	}
	return n, at + size, true
}

func match(d l7.Dir, b []byte) l7.Verdict {
	const fixedBit = 0x40
	if len(b) < 7 || b[0]&0x80 == 0 || b[0]&fixedBit == 0 {
		return l7.No
	}
	version := uint32(b[1])<<24 | uint32(b[2])<<16 | uint32(b[3])<<8 | uint32(b[4])
	if version != version1 && version != version2 {
		return l7.No
	}
	first := initial
	if version == version2 {
		first = 1
	}
	if packetKind(b[0]>>4&3) != first {
		return l7.Maybe
	}
	// What was copied may be less than the datagram, so that its size tells nothing.
	dst, at, ok := id(b, 5)
	if !ok {
		return l7.No
	}
	if _, _, ok = id(b, at); !ok {
		return l7.No
	}
	if d == l7.ToClient { // the same look, but no connection begins with it
		return l7.Maybe
	}
	if len(dst) < 8 { // section 7.2: the first one is 8 and more
		return l7.Maybe
	}
	return l7.Yes
}
