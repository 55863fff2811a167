package mongodb

import (
	"encoding/binary"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/frames"
)

// Sizes of messages and of what is kept of them, octets.
const (
	header = 16 // length, id, id of what is answered, operation code
	// maxMessage is what a server takes: 48 000 000 octets, and 16 KiB for a document
	// that just fits.
	maxMessage  = 48_000_000 + 16<<10
	requestHead = 256
	replyHead   = 1024
)

// opcode is the form of a message.
type opcode int32

const (
	opReply       opcode = 1
	opUpdate      opcode = 2001
	opInsert      opcode = 2002
	opQuery       opcode = 2004
	opGetMore     opcode = 2005
	opDelete      opcode = 2006
	opKillCursors opcode = 2007
	opCompressed  opcode = 2012
	opMsg         opcode = 2013
)

// Flags of opMsg. A receiver must refuse any other of the lower 16.
const (
	checksumPresent = 1 << 0
	moreToCome      = 1 << 1
	exhaustAllowed  = 1 << 16
	required        = 1<<16 - 1
)

// formats are those of requests and replies.
var formats = [2]frames.Format{
	l7.ToServer: {Prefix: 4, Size: size, Least: header - 4, Most: maxMessage, Keep: requestHead},
	l7.ToClient: {Prefix: 4, Size: size, Least: header - 4, Most: maxMessage, Keep: replyHead},
}

// size is how many octets come behind those that tell it, which count themselves.
func size(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) - 4 }

// stream is what is being read of one direction.
type stream struct {
	frames.Stream
	known bool // where it is in the stream
}

func (s *stream) id() uint64   { return uint64(binary.LittleEndian.Uint32(s.Head[4:])) }
func (s *stream) to() uint64   { return uint64(binary.LittleEndian.Uint32(s.Head[8:])) }
func (s *stream) op() opcode   { return opcode(binary.LittleEndian.Uint32(s.Head[12:])) }
func (s *stream) body() []byte { return s.Head[header:] }

// asks says whether a client sends it.
func (op opcode) asks() bool {
	switch op {
	case opUpdate, opInsert, opQuery, opGetMore, opDelete, opKillCursors, opCompressed, opMsg:
		return true
	}
	return false
}

// oneWay says whether it is a request that gets no answer.
func (op opcode) oneWay() bool {
	return op == opUpdate || op == opInsert || op == opDelete || op == opKillCursors
}

// answers says whether a server sends it.
func (op opcode) answers() bool { return op == opReply || op == opCompressed || op == opMsg }
