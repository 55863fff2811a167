package http1

import (
	"bytes"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/lines"
	"github.com/weir-probe/weir/flows/l7/open"
	"github.com/weir-probe/weir/flows/l7/route"
)

// Spec is HTTP/1 over TCP.
var Spec = l7.Spec{Protocol: l7.HTTP, Match: Match, New: New}

// Bounds of a connection.
const (
	maxLine  = 1024 // octets kept of a line: a longer target is a longer query
	maxNames = 256  // operations; what comes after them is `other`
	maxHosts = 64   // server names; requests to others have none
)

// state is where in a message a direction is.
type state uint8

const (
	startLine state = iota
	headers
	body      // of known length
	chunkSize // RFC 9112 section 7.1
	chunk
	chunkEnd
	trailers
	untilClose
	tunnel // after CONNECT or an upgrade: no HTTP any more
)

// Kinds of requests (open.Request.Kind).
const (
	head = 1 << iota
	connect
)

// stream is one direction.
type stream struct {
	line    lines.Line
	state   state
	left    int64 // octets of the body, or of the chunk
	length  int64 // Content-Length, -1 none
	chunked bool
	first   int64 // of the message being read, 0 between messages
	last    int64
	octets  uint64
}

func (s *stream) reset() {
	s.line.Reset()
	*s = stream{line: s.line, length: -1}
}

// parser is the state of one connection.
type parser struct {
	tell   open.Teller
	open   open.List
	place  open.Place
	stream [2]stream
	names  open.Names // of operations
	hosts  map[string]*string
	route  []byte
	id     uint64 // of the newest request
	sent   bool   // the newest request is not at its end
	full   bool   // the newest request had no room
	status int    // of the answer being read
}

// New returns a parser of one connection.
func New(emit func(*l7.Message)) l7.Parser {
	p := &parser{tell: open.NewTeller(l7.HTTP, emit), place: open.Place{Patient: true}, hosts: map[string]*string{}}
	for i := range p.stream {
		p.stream[i].line.Max, p.stream[i].length = maxLine, -1
	}
	return p
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(*p)) + 2*maxLine + p.open.Octets() + p.names.Octets() + len(p.hosts)*(l7.MaxHost+96), 0
}

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	if len(c.Data) == 0 {
		return
	}
	s := &p.stream[c.Dir]
	if s.state == tunnel {
		return
	}
	switch p.place.Chunk(c, p.open.Len()) {
	case open.Skip:
		return
	case open.Restart:
		s.reset()
		if c.Dir == l7.ToServer {
			p.sent = false
			p.forget()
		}
	case open.Reopen:
		p.forget()
	}
	if c.Turn && s.state == startLine && s.line.Began() && Match(c.Dir, c.Data) != l7.No {
		s.reset() // what was read was the end of something else
	}
	for b := c.Data; len(b) > 0 && !p.place.Lost(c.Dir) && s.state != tunnel; {
		if s.first == 0 {
			s.first, s.octets = c.Time, 0
		}
		n := p.take(c.Dir, s, b, c.Time)
		b = b[n:]
	}
}

// Idle says that no message is open.
func (p *parser) Idle() bool {
	c, s := &p.stream[l7.ToServer], &p.stream[l7.ToClient]
	return p.open.Len() == 0 && !p.full && c.state == startLine && s.state == startLine && c.first == 0 && s.first == 0 &&
		!p.place.Lost(l7.ToServer) && !p.place.Lost(l7.ToClient)
}

// take takes some of b and returns how many octets.
func (p *parser) take(d l7.Dir, s *stream, b []byte, t int64) int {
	s.last = t
	switch s.state {
	case body, chunk:
		n := int(min(int64(len(b)), s.left))
		s.octets += uint64(n)
		if s.left -= int64(n); s.left == 0 {
			p.partEnded(d, s, t)
		}
		return n
	case untilClose:
		s.octets += uint64(len(b))
		return len(b)
	}
	n, line, size, ended := s.line.Take(b)
	if !ended {
		return n
	}
	s.octets += uint64(size)
	switch s.state {
	case startLine:
		p.startLine(d, s, line, t)
	case headers:
		if len(line) > 0 {
			p.header(d, s, line)
		} else {
			p.headersEnded(d, s, t)
		}
	case chunkSize:
		p.chunkBegins(d, s, line, t)
	case chunkEnd:
		s.state = chunkSize
	case trailers:
		if len(line) == 0 {
			p.messageEnded(d, s, t)
		}
	}
	return n
}

// partEnded takes the end of a body or of a chunk.
func (p *parser) partEnded(d l7.Dir, s *stream, t int64) {
	if s.state == chunk {
		s.state = chunkEnd
	} else {
		p.messageEnded(d, s, t)
	}
}

func (p *parser) startLine(d l7.Dir, s *stream, line []byte, t int64) {
	if len(line) == 0 { // RFC 9112 section 2.2: an empty line before it
		s.first = 0
		return
	}
	if d == l7.ToServer {
		method, target, cut, ok := requestLine(line)
		if !ok {
			p.lose(d, t)
			return
		}
		p.request(method, target, cut)
	} else {
		if matchStatus(line) != l7.Yes {
			p.lose(d, t)
			return
		}
		p.status, _ = code(line[9:])
	}
	s.state = headers
}

// requestLine takes a request line apart; of one longer than maxLine the end is
// missing.
func requestLine(line []byte) (method, target []byte, cut route.Cut, ok bool) {
	method, rest := lines.Word(line)
	if len(method) == 0 || len(method) > maxMethod || !token(method) || len(rest) == 0 {
		return nil, nil, route.Whole, false
	}
	if i := bytes.LastIndex(rest, []byte(" HTTP/1.")); i > 0 {
		return method, rest[:i], route.Whole, true
	}
	return method, rest, route.Shortened, len(line) >= maxLine
}

// request opens a request: its answer may come before its body has ended.
func (p *parser) request(method, target []byte, cut route.Cut) {
	var kind uint8
	switch string(method) {
	case "HEAD":
		kind = head
	case "CONNECT":
		kind = connect
	}
	p.route = route.Append(p.route[:0], method, target, cut)
	p.id++
	r := open.Request{ID: p.id, Operation: p.intern(p.route), First: p.stream[l7.ToServer].first, Kind: kind}
	p.sent = true
	if p.full = !p.open.PushInOrder(r); p.full {
		p.tell.Tell(&r, l7.Lost, open.Answer{})
	}
}

func (p *parser) intern(b []byte) string {
	b = b[:min(len(b), l7.MaxOperation)]
	if s, ok := p.names.Intern(b, maxNames); ok {
		return s
	}
	return open.Other
}

// header takes what of a header field says where the message ends, and whom it is
// for.
func (p *parser) header(d l7.Dir, s *stream, line []byte) {
	i := bytes.IndexByte(line, ':')
	if i <= 0 {
		return
	}
	name, value := line[:i], bytes.Trim(line[i+1:], " \t")
	switch {
	case equal(name, "content-length"):
		if n, ok := lines.Number(value); ok {
			s.length = n
		}
	case equal(name, "transfer-encoding"):
		// The last coding counts (RFC 9112 section 6.1).
		if j := bytes.LastIndexByte(value, ','); j >= 0 {
			value = bytes.TrimLeft(value[j+1:], " \t")
		}
		s.chunked = equal(value, "chunked")
	case d == l7.ToServer && equal(name, "host"):
		p.host(value)
	}
}

// host gives the newest request the name of the server it is for. A second Host is
// an error (RFC 9112 section 3.2): the first counts.
func (p *parser) host(value []byte) {
	i := p.open.Find(p.id)
	if i < 0 || p.full || p.open.At(i).Host != nil {
		return
	}
	p.route = route.AppendHost(p.route[:0], value)
	if len(p.route) == 0 {
		return
	}
	h := p.hosts[string(p.route)]
	if h == nil && len(p.hosts) < maxHosts {
		h = new(string)
		*h = string(p.route)
		p.hosts[*h] = h
	}
	p.open.At(i).Host = h
}

func equal(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func (p *parser) headersEnded(d l7.Dir, s *stream, t int64) {
	if d == l7.ToClient && p.answerHeaders(s, t) {
		return
	}
	switch {
	case s.chunked:
		s.state = chunkSize
	case s.length > 0:
		s.state, s.left = body, s.length
	case s.length == 0 || d == l7.ToServer:
		p.messageEnded(d, s, t)
	default:
		s.state = untilClose
	}
}

// answerHeaders takes the end of an answer's headers, and says whether its body
// needs no looking at.
func (p *parser) answerHeaders(s *stream, t int64) bool {
	q := p.open.Front()
	switch {
	case p.status == 101 || q != nil && q.Kind&connect != 0 && p.status/100 == 2:
		if q != nil {
			q.Streaming = true
			q.Last = max(q.Last, q.First)
		}
		p.messageEnded(l7.ToClient, s, t)
		p.forget()
		p.stream[l7.ToServer].state, p.stream[l7.ToClient].state = tunnel, tunnel
		return true
	case p.status/100 == 1: // the answer is yet to come
		s.reset()
		return true
	case p.status == 204, p.status == 304, q != nil && q.Kind&head != 0:
		p.messageEnded(l7.ToClient, s, t)
		return true
	}
	return false
}

func (p *parser) chunkBegins(d l7.Dir, s *stream, line []byte, t int64) {
	n, digits := int64(0), 0
	for _, c := range line {
		x := hexDigit(c)
		if x < 0 || digits == 15 {
			break
		}
		n, digits = n<<4|int64(x), digits+1
	}
	switch {
	case digits == 0:
		p.lose(d, t)
	case n == 0:
		s.state = trailers
	default:
		s.state, s.left = chunk, n
	}
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
