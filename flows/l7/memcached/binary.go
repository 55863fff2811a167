package memcached

import (
	"encoding/binary"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/open"
)

const (
	magicRequest = 0x80
	magicAnswer  = 0x81
	headerSize   = 24
	maxBody      = 1 << 30 // no server takes an item so large
)

// frame is a header that comes in pieces.
type frame struct {
	buf [headerSize]byte
	n   int
}

// header is the header of a request or an answer (protocol_binary.h).
type header struct {
	magic, opcode uint8
	key           int // octets of the key
	extras        int
	dataType      uint8
	status        uint16 // of a request: the vbucket
	body          int64  // octets of extras, key and value
	opaque        uint32
}

func parseHeader(b []byte) header {
	return header{
		magic: b[0], opcode: b[1],
		key: int(binary.BigEndian.Uint16(b[2:])), extras: int(b[4]), dataType: b[5],
		status: binary.BigEndian.Uint16(b[6:]),
		body:   int64(binary.BigEndian.Uint32(b[8:])),
		opaque: binary.BigEndian.Uint32(b[12:]),
	}
}

// opcodes are the commands of the binary protocol, by the names of the text
// protocol where it has them, and the extras a request has.
var opcodes = [...]struct {
	name   string
	kind   uint8
	extras int
	key    bool
}{
	0x00: {"get", reads, 0, true}, 0x01: {"set", 0, 8, true}, 0x02: {"add", 0, 8, true},
	0x03: {"replace", 0, 8, true}, 0x04: {"delete", 0, 0, true}, 0x05: {"incr", 0, 20, true},
	0x06: {"decr", 0, 20, true}, 0x07: {"quit", 0, 0, false}, 0x08: {"flush_all", 0, 4, false},
	0x09: {"get", reads | quiet, 0, true}, 0x0a: {"noop", 0, 0, false}, 0x0b: {"version", 0, 0, false},
	0x0c: {"get", reads, 0, true}, 0x0d: {"get", reads | quiet, 0, true}, 0x0e: {"append", 0, 0, true},
	0x0f: {"prepend", 0, 0, true}, 0x10: {"stats", 0, 0, false}, 0x11: {"set", quiet, 8, true},
	0x12: {"add", quiet, 8, true}, 0x13: {"replace", quiet, 8, true}, 0x14: {"delete", quiet, 0, true},
	0x15: {"incr", quiet, 20, true}, 0x16: {"decr", quiet, 20, true}, 0x17: {"quit", silent, 0, false},
	0x18: {"flush_all", quiet, 4, false}, 0x19: {"append", quiet, 0, true}, 0x1a: {"prepend", quiet, 0, true},
	0x1b: {"verbosity", 0, 4, false}, 0x1c: {"touch", 0, 4, true}, 0x1d: {"gat", reads, 4, true},
	0x1e: {"gat", reads | quiet, 4, true}, 0x20: {"sasl_list", 0, 0, false}, 0x21: {"sasl_auth", 0, 0, true},
	0x22: {"sasl_step", 0, 0, true}, 0x23: {"gat", reads, 4, true}, 0x24: {"gat", reads | quiet, 4, true},
}

const opStat = 0x10

// binaryStatuses are the statuses by the words of the text protocol, or of
// protocol_binary.h, and whether they count as failed.
func binaryStatus(status uint16) (word string, failed bool) {
	switch status {
	case 0x00:
		return "OK", false
	case 0x01:
		return "NOT_FOUND", false
	case 0x02:
		return "EXISTS", false
	case 0x03:
		return "E2BIG", true
	case 0x04:
		return "EINVAL", true
	case 0x05:
		return "NOT_STORED", false
	case 0x06:
		return "DELTA_BADVAL", true
	case 0x20:
		return "AUTH_ERROR", true
	case 0x21:
		return "AUTH_CONTINUE", false
	case 0x81:
		return "UNKNOWN_COMMAND", true
	case 0x82:
		return "ENOMEM", true
	case 0x83:
		return "NOT_SUPPORTED", true
	case 0x84:
		return "EINTERNAL", true
	case 0x85:
		return "EBUSY", true
	case 0x86:
		return "ETMPFAIL", true
	}
	return "ERROR", true
}

// takeFrame takes octets of a header.
func (p *parser) takeFrame(d l7.Dir, b []byte, t int64) int {
	s := &p.stream[d]
	n := copy(s.frame.buf[s.frame.n:], b)
	s.frame.n += n
	s.octets += uint64(n)
	if s.frame.n < headerSize {
		return n
	}
	s.frame.n = 0
	h := parseHeader(s.frame.buf[:])
	if d == l7.ToServer {
		if h.magic != magicRequest || !h.sound() {
			p.lose(d, t)
			return n
		}
		p.request = binaryRequest(h)
	} else {
		if h.magic != magicAnswer || !h.sound() {
			p.lose(d, t)
			return n
		}
		p.answer = h
	}
	s.body = h.body
	if s.body == 0 {
		p.bodyEnded(d, t)
	}
	return n
}

// sound says whether the lengths fit each other.
func (h *header) sound() bool {
	return h.dataType == 0 && h.body <= maxBody && int64(h.key+h.extras) <= h.body
}

func (h *header) id() uint64 { return uint64(h.opcode)<<32 | uint64(h.opaque) }

func binaryRequest(h header) request {
	r := request{name: open.Other, id: h.id()}
	if int(h.opcode) < len(opcodes) && opcodes[h.opcode].name != "" {
		r.name, r.kind = opcodes[h.opcode].name, opcodes[h.opcode].kind
	}
	return r
}

// binaryAnswer takes the answer whose body has passed. Of many to a stats request
// the one without a key is the last.
func (p *parser) binaryAnswer(t int64) {
	h := &p.answer
	s := &p.stream[l7.ToClient]
	if h.opcode == opStat && h.status == 0 && h.key > 0 {
		return
	}
	i := p.open.Find(h.id())
	if i < 0 {
		if !p.open.Passed() {
			p.tell.Tell(&open.Request{Operation: open.Other, Unknown: true}, l7.Lost,
				open.Answer{First: s.first, Last: t, Octets: s.octets})
		}
		s.first = 0
		return
	}
	var a open.Answer
	a.Status, a.Failed = binaryStatus(h.status)
	if p.open.At(i).Kind&reads != 0 {
		switch a.Status {
		case "OK":
			a.Status = "HIT"
		case "NOT_FOUND":
			a.Status = "MISS"
		}
	}
	p.answered(i, a, t)
}
