package mysql

import (
	"encoding/binary"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/frames"
	"github.com/weir-probe/weir/flows/l7/open"
)

// result is where in a result the server is.
type result uint8

const (
	start     result = iota
	columns          // their definitions, of which left are to come
	afterThem        // an EOF packet, or the first row
	rows             //
)

// moreResults is the server's status flag for another result to follow.
const moreResults = 0x0008

// fromServer takes a packet of the server.
func (p *parser) fromServer(s *frames.Stream, t int64) {
	body := s.Body()
	q := p.open.Front()
	if q == nil && s.Head[3] == 0 && len(body) > 0 && body[0] == 10 && greeting(body) == l7.Yes {
		p.place.Begins()
	}
	if q == nil || size(s.Head) == 0 {
		return
	}
	if p.answer == 0 {
		p.answer = s.First
	}
	p.answers += s.Octets
	if len(body) == 0 { // torn before its first octet
		q.Unknown = true
		return
	}
	kind := body[0]
	switch {
	case kind == 0xff && p.result != columns:
		p.error(s, t)
	case q.Kind == connect:
		if kind == 0x00 {
			p.answered("OK", false, t)
			p.opaque = p.compress
		}
	case p.result == start:
		p.begins(q, s, t)
	case p.result == columns:
		if p.columns--; p.columns == 0 {
			p.result = afterThem
		}
	case kind == 0xfe && size(s.Head) < 0xffff:
		p.end(s, t)
	default:
		p.result = rows
	}
}

// begins takes the first packet of an answer.
func (p *parser) begins(q *open.Request, s *frames.Stream, t int64) {
	body := s.Body()
	switch kind := body[0]; {
	case kind == 0x00 && q.Kind == prepare:
		if len(body) >= 5 && q.Operation != open.Other {
			p.remember(binary.LittleEndian.Uint32(body[1:]), q.Operation[len("PREPARE "):])
		}
		p.answered("OK", false, t)
	case kind == 0x00:
		if !p.okMore(body) {
			p.answered("OK", false, t)
		}
	case kind == 0xfe && size(s.Head) == 5:
		p.answered("OK", false, t)
	case kind == 0xfb: // LOCAL INFILE: the client sends a file first
		q.Streaming = true
	case q.Kind != query:
		p.answered("OK", false, t) // text
	default:
		n, _ := lenenc(body)
		if p.columns = n; n == 0 || n > 1<<16 {
			q.Unknown = true
			p.answered("OK", false, t)
			return
		}
		p.result = columns
	}
}

// end takes an EOF packet, or the OK packet that stands for it (CLIENT_DEPRECATE_EOF):
// which of both its length tells.
func (p *parser) end(s *frames.Stream, t int64) {
	if p.result == afterThem && size(s.Head) == 5 {
		p.result = rows
		return
	}
	body, more := s.Body(), false
	if size(s.Head) == 5 && len(body) == 5 {
		more = binary.LittleEndian.Uint16(body[3:])&moreResults != 0
	} else {
		more = p.okMore(body)
	}
	if p.result = start; !more {
		p.answered("OK", false, t)
	}
}

// okMore reads the status flags of an OK packet: after two numbers.
func (p *parser) okMore(b []byte) bool {
	rest := b[1:]
	for range 2 {
		_, n := lenenc(rest)
		if n == 0 || n > len(rest) {
			return false
		}
		rest = rest[n:]
	}
	return len(rest) >= 2 && binary.LittleEndian.Uint16(rest)&moreResults != 0
}

// lenenc reads a length-encoded number and returns how many octets it has, 0 when
// it is none.
func lenenc(b []byte) (v, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	switch {
	case b[0] < 0xfb:
		return int(b[0]), 1
	case b[0] == 0xfc && len(b) >= 3:
		return int(binary.LittleEndian.Uint16(b[1:])), 3
	case b[0] == 0xfd && len(b) >= 4:
		return int(b[1]) | int(b[2])<<8 | int(b[3])<<16, 4
	case b[0] == 0xfe && len(b) >= 9:
		return 1 << 30, 9
	}
	return 0, 0
}

// error takes an ERR packet: code, and after # the SQLSTATE.
func (p *parser) error(s *frames.Stream, t int64) {
	body := s.Body()
	if len(body) >= 3 && binary.LittleEndian.Uint16(body[1:]) == 0xffff {
		return // MariaDB reports progress so
	}
	// What was not copied is the code, or the SQLSTATE that says whose fault it is.
	if len(body) < 3 || int64(len(body)) < min(9, size(s.Head)) {
		p.open.Front().Unknown = true
		p.answered("error", true, t)
		return
	}
	failed := true
	if len(body) >= 9 && body[3] == '#' { // as for PostgreSQL: data that does not fit is the client's
		class := string(body[4:6])
		failed = class != "22" && class != "23"
	}
	p.answered(p.code(binary.LittleEndian.Uint16(body[1:])), failed, t)
}

func (p *parser) remember(id uint32, operation string) {
	if len(p.stmts) >= maxNames {
		clear(p.stmts)
	}
	p.stmts[id] = operation
}

// answered tells the oldest open request.
func (p *parser) answered(status string, failed bool, t int64) {
	q := p.open.Front()
	q.Unknown = q.Unknown || p.place.Doubt()
	p.tell.Tell(q, l7.Answered, open.Answer{Status: status, Failed: failed, First: p.answer, Last: t, Octets: p.answers})
	p.open.Remove(0)
	p.next()
}

// next makes ready for the answer of the next request.
func (p *parser) next() { p.result, p.columns, p.answer, p.answers = start, 0, 0, 0 }

// Gap says that n octets of a direction were not copied.
func (p *parser) Gap(d l7.Dir, n int64, t int64) {
	if n == 0 || p.opaque || p.place.Lost(d) {
		return
	}
	p.doubt = true
	s := &p.stream[d]
	if s.Skip(n) {
		if s.Whole() {
			p.packet(d, s, t)
		}
		return
	}
	if n > 0 && d == l7.ToClient {
		p.answers += uint64(n)
	}
	p.lose(d, t)
}

// lose gives up the place in a direction. A result that had begun is one.
func (p *parser) lose(d l7.Dir, t int64) {
	p.place.Lose(d)
	s := &p.stream[d]
	switch {
	case d == l7.ToClient && p.open.Len() > 0 && p.result != start:
		p.answered("OK", false, t)
	case d == l7.ToServer && s.Sized() && s.Head[3] == 0 && len(s.Body()) > 0:
		s.Tear()
		p.command(s, t)
	}
	p.next()
	s.Reset()
}

// forget tells what is open as lost.
func (p *parser) forget() {
	p.tell.TellAll(&p.open, l7.Lost)
	p.open.Forget()
	p.next()
}

// End says that the connection is over.
func (p *parser) End(int64) {
	if p.place.Lost(l7.ToClient) || p.answer != 0 {
		p.forget()
	}
	p.tell.TellAll(&p.open, l7.Unanswered)
}
