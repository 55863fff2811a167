package postgres

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/frames"
	"github.com/weir-probe/weir/flows/l7/open"
	"github.com/weir-probe/weir/flows/l7/sqlname"
)

// Spec is PostgreSQL over TCP.
var Spec = l7.Spec{Protocol: l7.PostgreSQL, Match: Match, New: New}

// Bounds of a connection.
const (
	maxBody  = 1024 // octets kept of a message
	maxNames = 256  // different operations, and statements that are remembered
	maxSize  = 1 << 30
)

// Kinds of requests (open.Request.Kind). An execute's ID is how many Sync messages
// came behind it: each is answered by a ReadyForQuery of its own.
const (
	simple  uint8 = iota // until ReadyForQuery
	execute              // until it completes
	startup
)

// Codes of a first message (its "protocol version").
const (
	version3 = 196608
	cancel   = 80877102
	sslCode  = 80877103
	gssCode  = 80877104
)

// typed is the format of messages: type, length and body; untyped that of those with
// which a client begins a connection.
var (
	typed   = frames.Format{Prefix: 5, Size: size, Most: maxSize, Keep: 5 + maxBody}
	untyped = frames.Format{Prefix: 4, Size: size, Most: maxSize, Keep: 5 + maxBody}
)

// size is how many octets come behind the length, which counts itself.
func size(head []byte) int64 { return int64(binary.BigEndian.Uint32(head[len(head)-4:])) - 4 }

// parser is the state of one connection.
type parser struct {
	tell   open.Teller
	open   open.List
	place  open.Place
	stream [2]frames.Stream
	names  open.Names        // of operations, and codes
	stmts  map[string]string // prepared statements: name → operation
	portal string            // operation of the portal bound last
	name   []byte

	asked   bool // for encryption: the next octet of the server is no message
	opaque  bool
	failed  bool   // the front request has had an error
	ready   uint64 // ReadyForQuery messages to come that end no open request
	rows    bool   // the front request has had something of a result
	status  string // of its error
	answer  int64  // when its answer began
	answers uint64 // octets of it
	asking  uint64 // octets of messages since the last request
	began   int64
}

// New returns a parser of one connection.
func New(emit func(*l7.Message)) l7.Parser {
	return &parser{
		tell: open.NewTeller(l7.PostgreSQL, emit), place: open.Place{Patient: true},
		stream: [2]frames.Stream{l7.ToServer: {Format: &untyped}, l7.ToClient: {Format: &typed}},
		stmts:  map[string]string{}, portal: open.Other,
	}
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(*p)) + 2*typed.Keep + p.open.Octets() + p.names.Octets() + len(p.stmts)*(2*open.NameOctets), 0
}

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	if len(c.Data) == 0 || p.opaque {
		return
	}
	s := &p.stream[c.Dir]
	switch p.place.Chunk(c, p.open.Len()) {
	case open.Skip:
		return
	case open.Restart:
		s.Reset()
		if c.Dir == l7.ToServer {
			p.forget()
			if c.Data[0] != 0 { // a type; no length is that large
				s.Format = &typed
			}
		}
	case open.Reopen:
		p.forget()
	}
	for b := c.Data; len(b) > 0 && !p.opaque && !p.place.Lost(c.Dir); {
		if p.asked && c.Dir == l7.ToClient && !s.Began() {
			p.asked = false
			p.opaque = b[0] == 'S' || b[0] == 'G'
			b = b[1:]
			continue
		}
		n, ok := s.Take(b, c.Time)
		b = b[n:]
		switch {
		case !ok:
			p.lose(c.Dir, c.Time)
		case s.Whole():
			p.message(c.Dir, s, c.Time)
		}
	}
}

// fresh says whether the client has sent nothing but what begins a connection.
func (p *parser) fresh() bool { return p.stream[l7.ToServer].Format == &untyped }

// message takes a whole message.
func (p *parser) message(d l7.Dir, s *frames.Stream, t int64) {
	switch {
	case d == l7.ToClient:
		p.fromServer(s, t)
	case p.fresh():
		p.first(s, t)
	default:
		p.fromClient(s, t)
	}
	s.Reset()
}

// first takes a message that begins a connection.
func (p *parser) first(s *frames.Stream, t int64) {
	if len(s.Body()) < 4 {
		p.lose(l7.ToServer, t)
		return
	}
	switch binary.BigEndian.Uint32(s.Body()) {
	case sslCode, gssCode:
		p.asked = true
	case cancel:
		p.tell.Tell(&open.Request{Operation: "cancel", First: s.First, Last: t, Octets: s.Octets}, l7.OneWay, open.Answer{})
	default:
		p.push(open.Request{Operation: "connect", Kind: startup, First: s.First, Last: t, Octets: s.Octets})
		s.Reset()
		s.Format = &typed
	}
}

func (p *parser) fromClient(s *frames.Stream, t int64) {
	if p.asking == 0 {
		p.began = s.First
	}
	p.asking += s.Octets
	switch s.Head[0] {
	case 'Q', 'F':
		p.request(simple, p.operation(s.Body(), s.Torn), t)
	case 'P':
		if name, rest, ok := cut(s.Body()); ok {
			p.remember(string(name), p.operation(rest, s.Torn))
		} else {
			clear(p.stmts) // which one has another meaning now is not known
		}
	case 'B':
		p.portal = open.Other
		if _, rest, ok := cut(s.Body()); ok {
			if name, _, ok := cut(rest); ok {
				if op := p.stmts[string(name)]; op != "" {
					p.portal = op
				}
			}
		}
	case 'E':
		p.request(execute, p.portal, t)
	case 'S':
		p.sync(t)
	case 'X':
		p.asking = 0
	case 'd', 'c', 'f', 'p':
		// what COPY sends and a password belong to the request that is open
		if n := p.open.Len(); n > 0 {
			p.open.At(n - 1).Octets += p.asking
		}
		p.asking = 0
	}
}

// sync takes the end of a pipeline.
func (p *parser) sync(t int64) {
	n := p.open.Len()
	if n == 0 || p.open.At(n-1).Kind != execute {
		p.ready++
		p.asking = 0
		return
	}
	q := p.open.At(n - 1)
	if q.ID++; q.ID == 1 && q.Last != 0 { // the request ends with what it is sent with
		q.Octets, q.Last = q.Octets+p.asking, t
	}
	p.asking = 0
}

func cut(b []byte) (head, rest []byte, ok bool) { return bytes.Cut(b, []byte{0}) }

func (p *parser) request(kind uint8, operation string, t int64) {
	p.push(open.Request{Operation: operation, Kind: kind, First: p.began, Last: t, Octets: p.asking})
	p.asking = 0
}

func (p *parser) push(r open.Request) {
	// Statements of one pipeline are sent together; only other open ones overlap.
	if !p.open.PushInOrder(r) {
		p.tell.Tell(&r, l7.Lost, open.Answer{})
	}
}

// operation is the interned name of a statement; of a torn one it is not known.
func (p *parser) operation(sql []byte, torn bool) string {
	if torn {
		return open.Other
	}
	if i := bytes.IndexByte(sql, 0); i >= 0 {
		sql = sql[:i]
	}
	p.name = sqlname.Append(p.name[:0], sql)
	if s, ok := p.names.Intern(p.name, maxNames); ok {
		return s
	}
	return open.Other
}

func (p *parser) remember(statement, operation string) {
	if len(statement) > l7.MaxOperation {
		return
	}
	if _, ok := p.stmts[statement]; !ok && len(p.stmts) >= maxNames {
		clear(p.stmts) // their names are unknown from now on, none is wrong
	}
	p.stmts[statement] = operation
}
