package mongodb

import (
	"encoding/binary"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/weir-probe/weir/flows/l7"
)

// Match says Yes to a message whose header makes sense in its direction and whose
// document begins with an element that can be read; a request asks, a reply names
// what it answers.
func Match(d l7.Dir, b []byte) l7.Verdict {
	if len(b) < 4 {
		return l7.Maybe
	}
	size := int64(int32(binary.LittleEndian.Uint32(b)))
	if size < header+5 || size > maxMessage {
		return l7.No
	}
	if len(b) < header {
		return l7.Maybe
	}
	to, op := binary.LittleEndian.Uint32(b[8:]), opcode(binary.LittleEndian.Uint32(b[12:]))
	if d == l7.ToServer && (to != 0 || !op.asks()) || d == l7.ToClient && (to == 0 || !op.answers()) {
		return l7.No
	}
	return form(op, b[header:], size-header)
}

// form judges what stands behind the header of a message with a body of size octets.
func form(op opcode, b []byte, size int64) l7.Verdict {
	switch op {
	case opMsg:
		if len(b) < 5 {
			return l7.Maybe
		}
		if f := binary.LittleEndian.Uint32(b); f&required&^(checksumPresent|moreToCome) != 0 || b[4] > 1 {
			return l7.No
		}
		if b[4] == 1 {
			return l7.Maybe
		}
		return element(b[5:], size-5)
	case opReply:
		if len(b) < 20 {
			return l7.Maybe
		}
		if binary.LittleEndian.Uint32(b) > 15 {
			return l7.No
		}
		return element(b[20:], size-20)
	case opQuery:
		if len(b) < 4 {
			return l7.Maybe
		}
		namespace, rest, ok := bsoncore.ReadKeyBytes(b[4:])
		switch {
		case !ok && len(b) < 200 || len(rest) < 8 && plain(namespace):
			return l7.Maybe
		case !ok || !plain(namespace):
			return l7.No
		}
		return element(rest[8:], size-int64(len(namespace))-13)
	case opCompressed:
		if len(b) < 9 {
			return l7.Maybe
		}
		of, whole := opcode(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint32(b[4:])
		if of != opMsg && of != opQuery && of != opReply || whole < 9 || whole > maxMessage || b[8] > 3 {
			return l7.No
		}
		return l7.Yes
	}
	return l7.Maybe // writes of old tell too little
}

// element judges the beginning of a document in the last size octets of a message.
func element(b []byte, size int64) l7.Verdict {
	n, rest, ok := bsoncore.ReadLength(b)
	switch {
	case !ok && len(b) < 4:
		return l7.Maybe
	case !ok || n < 5 || int64(n) > size:
		return l7.No
	}
	t, rest, ok := bsoncore.ReadType(rest)
	if !ok {
		return l7.Maybe
	}
	if t > bsoncore.TypeDecimal128 && t != bsoncore.TypeMinKey && t != bsoncore.TypeMaxKey || t == 0 {
		return l7.No
	}
	key, _, ok := bsoncore.ReadKeyBytes(rest)
	if !ok {
		key = rest
	}
	if len(key) > 64 || !plain(key) {
		return l7.No
	}
	if !ok {
		return l7.Maybe
	}
	return l7.Yes
}
