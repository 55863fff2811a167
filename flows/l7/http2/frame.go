package http2

import "github.com/weir-probe/weir/flows/l7"

// Frame types (RFC 9113 section 6).
const (
	typeData         = 0
	typeHeaders      = 1
	typePriority     = 2
	typeReset        = 3
	typeSettings     = 4
	typePushPromise  = 5
	typePing         = 6
	typeGoAway       = 7
	typeWindowUpdate = 8
	typeContinuation = 9
	typePriorityUpd  = 16 // RFC 9218
)

// Flags.
const (
	flagEndStream  = 0x01 // DATA, HEADERS
	flagEndHeaders = 0x04
	flagPadded     = 0x08
	flagPriority   = 0x20
)

const (
	headerSize = 9
	// maxFrame is the largest frame that is believed; peers may agree on 16 MiB.
	maxFrame = 1 << 21
	preface  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

// header is a frame header.
type header struct {
	size  int
	kind  byte
	flags byte
	id    uint32
}

func parseHeader(b []byte) header {
	return header{
		size: int(b[0])<<16 | int(b[1])<<8 | int(b[2]), kind: b[3], flags: b[4],
		id: (uint32(b[5])<<24 | uint32(b[6])<<16 | uint32(b[7])<<8 | uint32(b[8])) & (1<<31 - 1),
	}
}

// possible says whether a frame like that may occur.
func (h header) possible() bool {
	if h.size > maxFrame {
		return false
	}
	switch h.kind {
	case typeData, typeHeaders, typeContinuation, typePushPromise:
		return h.id != 0
	case typePriority:
		return h.id != 0 && h.size == 5
	case typeReset:
		return h.id != 0 && h.size == 4
	case typeSettings:
		return h.id == 0 && h.size%6 == 0
	case typePing:
		return h.id == 0 && h.size == 8
	case typeGoAway:
		return h.id == 0 && h.size >= 8
	case typeWindowUpdate:
		return h.size == 4
	}
	return true // to be ignored (section 4.1)
}

// flagsOf are the flags that a type of frame may have.
var flagsOf = [...]byte{
	typeData: 0x09, typeHeaders: 0x2d, typePriority: 0, typeReset: 0, typeSettings: 1, typePushPromise: 0x0c,
	typePing: 1, typeGoAway: 0, typeWindowUpdate: 0, typeContinuation: 4,
}

// plausible is what a frame header must be to find the place by.
func (h header) plausible() bool {
	switch {
	case !h.possible() || h.size > 1<<14 && h.kind != typeData:
		return false
	case h.kind == typePriorityUpd:
		return h.id == 0
	}
	return int(h.kind) < len(flagsOf) && h.flags&^flagsOf[h.kind] == 0
}

func match(d l7.Dir, b []byte) l7.Verdict {
	if d == l7.ToServer && len(b) > 0 && b[0] == preface[0] {
		n := min(len(b), len(preface))
		switch {
		case string(b[:n]) != preface[:n]:
			return l7.No
		case n < 16: // PRI * HTTP/2.0 and its line end
			return l7.Maybe
		}
		return l7.Yes
	}
	if len(b) < headerSize {
		if len(b) > 0 && b[0] != 0 || len(b) > 3 && int(b[3]) >= len(flagsOf) {
			return l7.No
		}
		return l7.Maybe
	}
	h := parseHeader(b)
	if !h.plausible() || b[5]&0x80 != 0 {
		return l7.No
	}
	return matchPayload(d, h, b[headerSize:])
}

// matchPayload believes what begins like a header block (an indexed method or
// status of the static table) or like settings.
func matchPayload(d l7.Dir, h header, b []byte) l7.Verdict {
	switch {
	case h.kind == typeHeaders && h.id&1 == 1 && h.flags&flagEndHeaders != 0 && h.flags&flagPadded == 0:
		if h.flags&flagPriority != 0 {
			b = b[min(5, len(b)):]
		}
		if len(b) == 0 {
			return l7.Maybe
		}
		if request := b[0] == 0x82 || b[0] == 0x83; request && d == l7.ToServer {
			return l7.Yes
		}
		if response := b[0] >= 0x88 && b[0] <= 0x8e; response && d == l7.ToClient {
			return l7.Yes
		}
	case h.kind == typeSettings && h.size > 0 && h.flags == 0:
		if len(b) < 2 {
			return l7.Maybe
		}
		if b[0] == 0 && b[1] >= 1 && b[1] <= 9 {
			return l7.Yes
		}
		return l7.No
	}
	return l7.Maybe
}
