package nats

import (
	"bytes"
	"hash/maphash"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/lines"
	"github.com/weir-probe/weir/flows/l7/open"
)

// begin takes the line of a message:
//
//	PUB subject [reply] size            HPUB subject [reply] header size
//	MSG subject sid [reply] size        HMSG subject sid [reply] header size
func (p *parser) begin(d l7.Dir, verb string, rest []byte, cut bool) {
	var words [5][]byte
	n := 0
	for ; len(rest) > 0 && n < len(words); n++ {
		words[n], rest = lines.Word(rest)
	}
	m := &p.message[d]
	*m = message{head: m.head[:0], headed: verb[0] == 'H'}
	fixed := 2 // words there are without a reply
	if d == l7.ToClient {
		fixed++
	}
	if m.headed {
		fixed++
	}
	if cut || len(rest) > 0 || n < fixed || n > fixed+1 {
		p.lose(d)
		return
	}
	size, ok := lines.Number(words[n-1])
	if !ok || size > maxBody {
		p.lose(d)
		return
	}
	p.stream[d].body = size + 2
	m.operation = p.names.operation(verb, words[0])
	switch {
	case d == l7.ToClient:
		if m.id = p.id(words[0]); p.waiting.Find(m.id) < 0 {
			m.id = 0
		}
	case n > fixed:
		// Messages that are asked for come by their own subjects.
		m.streaming = bytes.HasPrefix(words[0], []byte("$JS.API.CONSUMER.MSG.NEXT."))
		if !m.streaming {
			m.id = p.id(words[1])
		}
	}
}

// id returns a number for a subject that is not 0.
func (p *parser) id(subject []byte) uint64 { return maphash.Bytes(p.seed, subject) | 1 }

// messageEnded takes the end of a payload.
func (p *parser) messageEnded(d l7.Dir, t int64) {
	s := &p.stream[d]
	m := &p.message[d]
	first := s.first
	s.first = 0
	if d == l7.ToServer {
		q := open.Request{
			ID: m.id, Operation: m.operation, Streaming: m.streaming,
			First: first, Last: t, Octets: s.octets,
		}
		if m.id != 0 && !p.verbose {
			p.wait(q)
		} else {
			p.ask(q, p.verbose)
		}
		return
	}
	a := open.Answer{Status: "OK", First: first, Last: t, Octets: s.octets}
	if m.id != 0 {
		if i := p.waiting.Find(m.id); i >= 0 {
			outcome := l7.Answered
			if m.unclear() {
				outcome, a.Status = l7.Lost, ""
			} else {
				a.Status, a.Failed = m.status()
			}
			p.tell.Tell(p.waiting.At(i), outcome, a)
			p.waiting.Remove(i)
			return
		}
	}
	a.Status = ""
	p.tell.Tell(&open.Request{Operation: m.operation}, l7.OneWay, a)
}

// unclear says whether a hole may have swallowed the status.
func (m *message) unclear() bool {
	return m.short && (m.headed && len(m.head) < len("NATS/1.0 503") || !m.headed && (len(m.head) < 2 || m.head[0] == '{'))
}

// status reads what a reply says of itself: NATS/1.0 and three digits in its
// header, or the error of JetStream's API in its payload.
func (m *message) status() (status string, failed bool) {
	code, ok := []byte(nil), false
	if m.headed {
		code, ok = bytes.CutPrefix(m.head, []byte("NATS/1.0 "))
	} else if bytes.HasPrefix(m.head, []byte(`{"`)) {
		_, code, ok = bytes.Cut(m.head, []byte(`"error":{"code":`))
	}
	if !ok || len(code) < 3 {
		return "OK", false
	}
	switch string(code[:3]) {
	case "100":
		return "100", false
	case "400":
		return "400", true
	case "404":
		return "404", !m.headed // of a pull: no messages
	case "408":
		return "408", false
	case "409":
		return "409", true
	case "500":
		return "500", true
	case "503":
		return "503", true
	}
	return "error", true
}
