package nats

import (
	"bytes"
	"hash/maphash"
	"unsafe"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/lines"
	"github.com/weir-probe/weir/flows/l7/open"
)

// Spec is NATS over TCP.
var Spec = l7.Spec{Protocol: l7.NATS, Match: Match, New: New}

const (
	maxLine = 1024 // kept of a control line; a server takes 4096
	maxHead = 256  // kept of the header and payload of a message with a reply waiting
	maxBody = 64 << 20
)

// Kinds of open requests that wait for +OK or PONG.
const (
	isCommand = iota
	isConnect
	isPing
)

// stream is what is being read of one direction.
type stream struct {
	known bool // where it is in the stream
	lost  bool // it was known before
	line  lines.Line
	body  int64 // octets left of a payload, with its CRLF
	// first and octets are of what is being read; first is 0 between.
	first  int64
	octets uint64
}

// message is the MSG or PUB whose payload is being read.
type message struct {
	operation string
	id        uint64 // of the subject (MSG) or of the reply subject (PUB), else 0
	streaming bool
	headed    bool // with a NATS header
	head      []byte
	short     bool // head has a hole in it
}

// parser is the state of one connection.
type parser struct {
	tell   open.Teller
	stream [2]stream
	// waiting are requests that wait for a message on their reply subject, due those
	// that +OK, PONG or -ERR answer in order.
	waiting, due open.List
	message      [2]message
	verbose      bool
	// doubt says that a +OK or PONG may belong to what was in a hole; last is when
	// anything passed.
	doubt bool
	last  int64
	seed  maphash.Seed
	names templates
}

// New returns a parser of one connection.
func New(emit func(*l7.Message)) l7.Parser {
	p := &parser{tell: open.NewTeller(l7.NATS, emit), seed: maphash.MakeSeed(), names: newTemplates()}
	for d := range p.stream {
		p.stream[d].line.Max = maxLine
		p.message[d].head = make([]byte, 0, maxHead)
	}
	return p
}

// Weight implements l7.Weighed.
func (p *parser) Weight() (octets int, crowded uint64) {
	return int(unsafe.Sizeof(*p)) + 2*(maxLine+maxHead) + p.waiting.Octets() + p.due.Octets() + p.names.known.Octets(), 0
}

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	s := &p.stream[c.Dir]
	p.doubt = p.doubt && c.Time-p.last < open.Quiet
	p.last = max(p.last, c.Time)
	if c.Turn && c.Dir == l7.ToServer && p.stream[l7.ToClient].lost {
		p.forget() // what the server has said to it was in the hole
	}
	if !s.known {
		if !c.Turn {
			return
		}
		s.known, s.lost = true, false
	}
	for b := c.Data; len(b) > 0 && s.known; {
		if s.first == 0 {
			s.first, s.octets = c.Time, 0
		}
		if s.body > 0 {
			n := min(int64(len(b)), s.body)
			p.message[c.Dir].keep(b[:n], s.body)
			s.body -= n
			s.octets += uint64(n)
			if s.body == 0 {
				p.messageEnded(c.Dir, c.Time)
			}
			b = b[n:]
			continue
		}
		n, line, size, ended := s.line.Take(b)
		s.octets += uint64(n)
		b = b[n:]
		if !ended {
			continue
		}
		cut := size > len(line)+2
		if c.Dir == l7.ToServer {
			p.fromClient(line, cut, c.Time)
		} else {
			p.fromServer(line, cut, c.Time)
		}
	}
}

// Gap says that n octets of a direction were not copied.
func (p *parser) Gap(d l7.Dir, n int64, t int64) {
	s := &p.stream[d]
	if n == 0 || s.lost {
		return
	}
	if n < 0 || n > s.body {
		p.lose(d)
		return
	}
	m := &p.message[d]
	m.short = m.short || len(m.head) < maxHead
	s.body -= n
	s.octets += uint64(n)
	if s.body == 0 {
		p.messageEnded(d, t)
	}
}

// End says that the connection is over.
func (p *parser) End(int64) {
	if s := &p.stream[l7.ToServer]; s.body > 0 {
		p.tell.Tell(p.oneWay(l7.ToServer), l7.Lost, open.Answer{})
	}
	if s := &p.stream[l7.ToClient]; s.lost || s.body > 0 {
		p.forget()
	}
	p.tell.TellAll(&p.due, l7.Unanswered)
	p.tell.TellAll(&p.waiting, l7.Unanswered)
}

// lose gives up the place in a direction. Which of the answers that come in order
// were in the hole is not known, nor which message had a request waiting.
func (p *parser) lose(d l7.Dir) {
	s := &p.stream[d]
	if s.body > 0 {
		p.tell.Tell(p.oneWay(d), l7.Lost, open.Answer{})
	}
	p.doubt = true
	*s = stream{line: s.line, lost: true}
	s.line.Reset()
	if d == l7.ToClient {
		p.forget()
		return
	}
	p.tell.TellAll(&p.due, l7.Lost)
	p.due.Forget()
}

// forget tells what is open as lost.
func (p *parser) forget() {
	p.tell.TellAll(&p.due, l7.Lost)
	p.due.Forget()
	p.tell.TellAll(&p.waiting, l7.Lost)
}

// oneWay returns a request for the message of which the end is missing.
func (p *parser) oneWay(d l7.Dir) *open.Request {
	q := &open.Request{Operation: p.message[d].operation, Streaming: p.message[d].streaming}
	if d == l7.ToServer {
		q.First, q.Octets = p.stream[d].first, p.stream[d].octets
	}
	return q
}

// keep keeps the beginning of a payload; left are its octets to come, with b.
func (m *message) keep(b []byte, left int64) {
	if m.id == 0 || m.short {
		return
	}
	m.head = append(m.head, b[:min(int64(len(b)), left, int64(maxHead-len(m.head)))]...)
}

// fromClient takes a line of the client.
func (p *parser) fromClient(line []byte, cut bool, t int64) {
	verb, rest := lines.Word(line)
	switch verbOf(verb) {
	case "PUB", "HPUB":
		p.begin(l7.ToServer, verbOf(verb), rest, cut)
	case "SUB":
		subject, _ := lines.Word(rest)
		p.command(p.names.operation("SUB", subject), isCommand, t)
	case "UNSUB":
		p.command("UNSUB", isCommand, t)
	case "CONNECT":
		p.verbose = bytes.Contains(rest, []byte(`"verbose":true`)) || bytes.Contains(rest, []byte(`"verbose": true`))
		p.command("CONNECT", isConnect, t)
	case "PING":
		p.command("PING", isPing, t)
	case "PONG":
		p.stream[l7.ToServer].first = 0
	case "":
		if len(line) == 0 {
			p.stream[l7.ToServer].first = 0
			return
		}
		fallthrough
	default:
		p.lose(l7.ToServer)
	}
}

// command takes a command of the client that has no payload.
func (p *parser) command(operation string, kind uint8, t int64) {
	s := &p.stream[l7.ToServer]
	q := open.Request{Operation: operation, Kind: kind, First: s.first, Last: t, Octets: s.octets}
	s.first = 0
	p.ask(q, p.verbose || kind != isCommand)
}

// ask opens q if an answer in order is due, else it is told as OneWay.
func (p *parser) ask(q open.Request, due bool) {
	switch {
	case !due:
		p.tell.Tell(&q, l7.OneWay, open.Answer{})
	default:
		q.Unknown = p.doubt
		if !p.due.PushInOrder(q) {
			p.tell.Tell(&q, l7.Lost, open.Answer{})
		}
	}
}

// wait opens q, which waits for a message on its reply subject. There may never be
// one: when too many wait, the oldest has waited in vain.
func (p *parser) wait(q open.Request) {
	if p.waiting.Len() == open.MaxRequests {
		p.tell.Tell(p.waiting.At(0), l7.Unanswered, open.Answer{})
		p.waiting.Remove(0)
	}
	p.waiting.Push(q)
}

// fromServer takes a line of the server.
func (p *parser) fromServer(line []byte, cut bool, t int64) {
	verb, rest := lines.Word(line)
	switch verbOf(verb) {
	case "MSG", "HMSG":
		p.begin(l7.ToClient, verbOf(verb), rest, cut)
		return
	case "PONG":
		p.answer(isPing, open.Answer{Status: "OK"}, t)
	case "+OK":
		p.answer(isCommand, open.Answer{Status: "OK"}, t)
	case "-ERR":
		p.failed(rest, t)
	case "INFO", "PING":
	default:
		if len(line) > 0 {
			p.lose(l7.ToClient)
		}
	}
	p.stream[l7.ToClient].first = 0
}

// answer answers the oldest request with a +OK (isCommand) or PONG (isPing). A
// CONNECT that is not verbose has neither of its own: the PONG after it says that
// it was accepted.
func (p *parser) answer(kind uint8, a open.Answer, t int64) {
	s := &p.stream[l7.ToClient]
	a.First, a.Last, a.Octets = s.first, t, s.octets
	q := p.due.Front()
	if q != nil && kind == isPing && q.Kind == isConnect && !p.verbose {
		p.tell.Tell(q, l7.Answered, a)
		p.due.Remove(0)
		q = p.due.Front()
	}
	if q == nil {
		p.due.Passed()
		return
	}
	if (kind == isPing) == (q.Kind == isPing) {
		p.tell.Tell(q, l7.Answered, a)
		p.due.Remove(0)
	}
}

// failed takes an -ERR: the answer to a CONNECT, in verbose mode to what is due.
func (p *parser) failed(text []byte, t int64) {
	s := &p.stream[l7.ToClient]
	a := open.Answer{Status: errorStatus(text), Failed: true, First: s.first, Last: t, Octets: s.octets}
	if q := p.due.Front(); q != nil && (p.verbose || q.Kind == isConnect) {
		p.tell.Tell(q, l7.Answered, a)
		p.due.Remove(0)
		return
	}
	p.tell.Tell(&open.Request{Operation: "-ERR"}, l7.OneWay, a)
}
