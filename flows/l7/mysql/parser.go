package mysql

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/frames"
	"github.com/weir-probe/weir/flows/l7/open"
	"github.com/weir-probe/weir/flows/l7/sqlname"
)

// Spec is MySQL over TCP.
var Spec = l7.Spec{Protocol: l7.MySQL, Match: Match, New: New}

// Bounds of a connection.
const (
	maxBody  = 1024 // octets kept of a packet
	maxNames = 256  // different operations, and statements that are remembered
	header   = 4    // length, sequence number
)

// Kinds of requests (open.Request.Kind).
const (
	command uint8 = iota
	query         // may be answered by results
	prepare       // is answered by the id of a statement
	connect
)

// Capability flags of a client.
const (
	capSSL      = 0x0800
	capCompress = 0x0020
	cap41       = 0x0200
)

// format is that of the packets of both sides.
var format = frames.Format{Prefix: header, Size: size, Most: 1<<24 - 1, Keep: header + maxBody}

// size is how many octets of a packet come behind its header.
func size(head []byte) int64 { return int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16 }

// parser is the state of one connection.
type parser struct {
	tell   open.Teller
	open   open.List
	place  open.Place
	stream [2]frames.Stream
	names  open.Names        // of operations, and codes
	stmts  map[uint32]string // prepared statements
	name   []byte

	opaque   bool
	doubt    bool // there was a hole: what is open may have been answered in it
	compress bool
	result   result
	answer   int64  // when the answer began
	answers  uint64 // octets of it
	columns  int    // of a result, yet to come
}

// New returns a parser of one connection.
func New(emit func(*l7.Message)) l7.Parser {
	return &parser{
		tell: open.NewTeller(l7.MySQL, emit), place: open.Place{Patient: true},
		stream: [2]frames.Stream{{Format: &format}, {Format: &format}},
		stmts:  map[uint32]string{},
	}
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(*p)) + 2*format.Keep + p.open.Octets() + p.names.Octets() + len(p.stmts)*open.NameOctets, 0
}

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	if len(c.Data) == 0 || p.opaque {
		return
	}
	s := &p.stream[c.Dir]
	if p.doubt && c.Turn && c.Dir == l7.ToServer {
		p.doubt = false
		p.forget() // a client waits for its answer before it asks again
	}
	switch p.place.Chunk(c, p.open.Len()) {
	case open.Skip:
		return
	case open.Restart:
		s.Reset()
		if c.Dir == l7.ToServer {
			p.forget()
		}
	case open.Reopen:
		p.forget()
	}
	for b := c.Data; len(b) > 0 && !p.opaque && !p.place.Lost(c.Dir); {
		n, _ := s.Take(b, c.Time) // of any size
		b = b[n:]
		if s.Whole() {
			p.packet(c.Dir, s, c.Time)
		}
	}
}

// packet takes a whole packet.
func (p *parser) packet(d l7.Dir, s *frames.Stream, t int64) {
	if d == l7.ToClient {
		p.fromServer(s, t)
	} else {
		p.fromClient(s, t)
	}
	s.Reset()
}

func (p *parser) fromClient(s *frames.Stream, t int64) {
	seq, body := s.Head[3], s.Body()
	switch {
	case seq == 0 && size(s.Head) > 0 && len(body) > 0:
		p.command(s, t)
	case seq == 1 && p.open.Len() == 0 && handshake(body):
		flags := binary.LittleEndian.Uint32(body)
		p.compress = flags&capCompress != 0
		if flags&capSSL != 0 && size(s.Head) == 32 {
			return // TLS begins
		}
		p.push(open.Request{Operation: "connect", Kind: connect, First: s.First, Last: t, Octets: s.Octets})
	case p.open.Len() > 0: // a file, a password, the rest of a long statement
		p.open.At(p.open.Len() - 1).Octets += s.Octets
	}
}

// handshake says whether b could be a client's answer to the greeting: flags, and 23
// octets of zero.
func handshake(b []byte) bool {
	if len(b) < 32 || binary.LittleEndian.Uint32(b)&cap41 == 0 {
		return false
	}
	return bytes.Count(b[9:28], []byte{0}) == 19 // the last four are MariaDB's flags
}

// command opens the request of a command.
func (p *parser) command(s *frames.Stream, t int64) {
	body := s.Body()
	r := open.Request{First: s.First, Last: t, Octets: s.Octets}
	switch code := body[0]; code {
	case 0x03, 0x16: // COM_QUERY, COM_STMT_PREPARE
		r.Operation, r.Kind = p.operation(body[1:], s.Torn), query
		if code == 0x16 {
			r.Operation, r.Kind = p.prefixed("PREPARE ", r.Operation), prepare
		}
	case 0x17: // COM_STMT_EXECUTE
		r.Operation, r.Kind = open.Other, query
		if len(body) >= 5 {
			if op := p.stmts[binary.LittleEndian.Uint32(body[1:])]; op != "" {
				r.Operation = op
			}
		}
	case 0x19, 0x18, 0x01: // COM_STMT_CLOSE, COM_STMT_SEND_LONG_DATA, COM_QUIT: no answer
		if code == 0x19 && len(body) >= 5 {
			delete(p.stmts, binary.LittleEndian.Uint32(body[1:]))
		}
		r.Operation = commandNames[code]
		p.tell.Tell(&r, l7.OneWay, open.Answer{})
		return
	case 0x1c, 0x04: // COM_STMT_FETCH, COM_FIELD_LIST
		r.Operation, r.Kind = commandNames[code], query
	default:
		if r.Operation = commandNames[code]; r.Operation == "" {
			r.Operation = open.Other
		}
		r.Streaming = code == 0x12 || code == 0x1e
	}
	p.push(r)
}

// commandNames are the commands that are told by their own name.
var commandNames = [256]string{
	0x01: "QUIT", 0x02: "INIT_DB", 0x04: "FIELD_LIST", 0x07: "REFRESH", 0x09: "STATISTICS", 0x0a: "PROCESS_INFO", 0x0c: "PROCESS_KILL", 0x0d: "DEBUG", 0x0e: "PING",
	0x11: "CHANGE_USER", 0x12: "BINLOG_DUMP", 0x18: "STMT_SEND_LONG_DATA", 0x19: "STMT_CLOSE", 0x1a: "STMT_RESET", 0x1b: "SET_OPTION", 0x1c: "STMT_FETCH",
	0x1e: "BINLOG_DUMP_GTID", 0x1f: "RESET_CONNECTION",
}

func (p *parser) push(r open.Request) {
	if !p.open.PushInOrder(r) {
		p.tell.Tell(&r, l7.Lost, open.Answer{})
	}
	if p.open.Len() == 1 {
		p.next() // what the server still had to say of the one before is said
	}
}

// operation is the interned name of a statement; of a torn one it is not known.
func (p *parser) operation(sql []byte, torn bool) string {
	if torn {
		return open.Other
	}
	if len(sql) > 2 && sql[0] == 0 && sql[1] == 1 { // query attributes: none
		sql = sql[2:]
	}
	p.name = sqlname.Append(p.name[:0], sql)
	return p.intern(p.name, open.Other)
}

// prefixed is the interned name of something done with a statement.
func (p *parser) prefixed(what, operation string) string {
	if operation == open.Other {
		return open.Other
	}
	p.name = append(append(p.name[:0], what...), operation...)
	return p.intern(p.name, open.Other)
}

// intern keeps one copy of a name, or says instead where there are too many.
func (p *parser) intern(b []byte, instead string) string {
	if s, ok := p.names.Intern(b, maxNames); ok {
		return s
	}
	return instead
}

func (p *parser) code(n uint16) string {
	p.name = strconv.AppendUint(p.name[:0], uint64(n), 10)
	return p.intern(p.name, "error")
}
