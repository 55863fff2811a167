package quic

// Bounds of the handshake messages of a direction.
const (
	maxHello  = 4096
	maxPieces = 16
)

// Frame types that an Initial packet may have (RFC 9000 section 12.4).
const (
	framePadding = 0x00
	framePing    = 0x01
	frameAck     = 0x02
	frameAckECN  = 0x03
	frameCrypto  = 0x06
	frameClose   = 0x1c
)

// hello is the stream of CRYPTO frames of one direction.
type hello struct {
	data   [maxHello]byte
	pieces [maxPieces]piece // what of it has come, in order, apart from each other
	n      int
}

type piece struct{ from, to int }

// add keeps a piece; what is out of bounds is left out.
func (h *hello) add(offset uint64, b []byte) {
	if offset >= maxHello || len(b) == 0 {
		return
	}
	from := int(offset)
	to := from + copy(h.data[from:], b)
	// Pieces that touch the new one become one with it.
	kept := 0
	for _, p := range h.pieces[:h.n] {
		if p.to < from || p.from > to {
			h.pieces[kept] = p
			kept++
			continue
		}
		from, to = min(from, p.from), max(to, p.to)
	}
	h.n = kept
	if h.n < maxPieces {
		h.pieces[h.n] = piece{from, to}
		h.n++
	}
}

// start returns what has come without a hole from the first octet.
func (h *hello) start() []byte {
	for _, p := range h.pieces[:h.n] {
		if p.from == 0 {
			return h.data[:p.to]
		}
	}
	return nil
}

// message returns the type and the body of the first message, when all of it has
// come.
func (h *hello) message() (kind byte, body []byte, ok bool) {
	b := h.start()
	if len(b) < 4 {
		return 0, nil, false
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	if n > len(b)-4 {
		return 0, nil, false
	}
	return b[0], b[4 : 4+n], true
}

// closed is the code of a CONNECTION_CLOSE frame.
type closed struct {
	code uint64
	seen bool
}

// frames reads those of an Initial packet, up to one that may not be in it.
func (h *hello) frames(b []byte) (end closed) {
	for at := 0; at < len(b); {
		kind := b[at]
		at++
		ok := true
		switch kind {
		case framePadding, framePing:
		case frameAck, frameAckECN:
			at, ok = skipAck(b, at, kind == frameAckECN)
		case frameCrypto:
			var offset, n uint64
			if offset, at, ok = varint(b, at); !ok {
				return end
			}
			if n, at, ok = varint(b, at); !ok || n > uint64(len(b)-at) {
				return end
			}
			h.add(offset, b[at:at+int(n)])
			at += int(n)
		case frameClose:
			end.code, _, end.seen = varint(b, at)
			return end
		default:
			return end
		}
		if !ok {
			return end
		}
	}
	return end
}

// skipAck passes an ACK frame (RFC 9000 section 19.3).
func skipAck(b []byte, at int, ecn bool) (int, bool) {
	var ranges uint64
	left := uint64(4) // largest, delay, count of ranges, first range
	for i := uint64(0); i < left; i++ {
		n, after, ok := varint(b, at)
		if !ok {
			return 0, false
		}
		at = after
		if i == 2 {
			if ranges = n; ranges > uint64(len(b)) {
				return 0, false
			}
			left += 2 * ranges
			if ecn {
				left += 3
			}
		}
	}
	return at, true
}
