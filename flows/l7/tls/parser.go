package tls

import (
	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/route"
)

// Spec is TLS over TCP.
var Spec = l7.Spec{Protocol: l7.TLS, Match: match, New: newParser, Octets: 9 << 10}

// sealedAlert is the size of an alert that TLS 1.3 has encrypted: two octets, the
// type of content, and the tag of an AEAD.
const sealedAlert = 2 + 1 + 16

const (
	ok             = "ok"
	encryptedAlert = "encrypted_alert"
	unknown        = "unknown"
)

// parser is the l7.Parser.
type parser struct {
	emit   func(*l7.Message)
	sides  [2]side
	server ServerHello
	msg    l7.Message
	// asked and greeted: the hello of client and server was seen.
	asked, greeted bool
	early          bool // the client sends data before the handshake is over
	spoken         bool
	dir            l7.Dir
	over           bool
	name           [route.MaxHost]byte
	alpn           [l7.MaxALPN]byte
	status         [l7.MaxStatus]byte
	operation      [16]byte
}

func newParser(emit func(*l7.Message)) l7.Parser { return &parser{emit: emit} }

// Opaque says that the handshake is over: what follows is encrypted.
func (p *parser) Opaque() bool { return p.over }

// Data takes the next octets of a direction.
func (p *parser) Data(c *l7.Chunk) {
	if p.over || len(c.Data) == 0 {
		return
	}
	if p.turn(c.Dir) || c.Turn {
		if s := &p.sides[c.Dir]; s.lost {
			s.begin()
		}
	}
	if p.msg.RequestFirst == 0 && c.Dir == l7.ToServer && !p.sides[c.Dir].lost {
		p.msg.RequestFirst = c.Time
	}
	p.take(c.Dir, c.Data, c.Time)
}

// turn says whether a direction speaks after the other.
func (p *parser) turn(d l7.Dir) bool {
	if p.spoken && p.dir == d {
		return false
	}
	p.spoken, p.dir = true, d
	return true
}

// begin expects a record.
func (s *side) begin() {
	s.lost, s.have, s.left, s.got, s.size, s.alerts = false, 0, 0, 0, 0, 0
}

// Gap says that n octets of a direction were not copied.
func (p *parser) Gap(d l7.Dir, n, t int64) {
	s := &p.sides[d]
	if p.over || n == 0 {
		return
	}
	p.turn(d)
	if s.lost {
		return
	}
	if n < 0 || s.left == 0 || n > int64(s.left) {
		s.octets += uint64(max(n, 0))
		p.lose(d, t)
		return
	}
	s.octets += uint64(n)
	if s.header[0] == recordHandshake && !s.sealed {
		p.skip(d, int(n), t)
	}
	if !p.over {
		s.pass(int(n))
	}
}

// skip passes a hole in handshake messages: within one of them, or the place among
// them is lost.
func (p *parser) skip(d l7.Dir, n int, t int64) {
	s := &p.sides[d]
	if s.got < len(s.head) || n > s.size {
		p.lose(d, t)
		return
	}
	s.holed = true
	if s.size -= n; s.size == 0 {
		s.got = 0
		p.message(d, t)
	}
}

// lose reads what was kept of a message whose end was not seen.
func (p *parser) lose(d l7.Dir, t int64) {
	s := &p.sides[d]
	if s.got == len(s.head) && s.body > 0 && !s.sealed {
		s.holed = true
		p.message(d, t)
	}
	s.lost, s.missed = true, true
}

// message is at the end of a handshake message.
func (p *parser) message(d l7.Dir, t int64) {
	s := &p.sides[d]
	b := s.kept[:s.body]
	switch kind := s.head[0]; {
	case d == l7.ToServer && kind == TypeClientHello:
		var h ClientHello
		if !h.Parse(b) {
			return
		}
		p.asked, p.early = true, h.EarlyData
		p.msg.RequestLast = t
		p.msg.Host = route.AppendHost(p.name[:0], h.ServerName)
		p.msg.ALPN = append(p.alpn[:0], h.ALPN...)
	case d == l7.ToClient && kind == TypeServerHello:
		var h ServerHello
		if !h.Parse(b) || h.Retry {
			return
		}
		if s.holed && h.Version == TLS12 {
			h.Version = 0 // the extension that says more was perhaps not seen
		}
		p.server, p.greeted = h, true
		p.msg.ResponseFirst = s.began
		if len(h.ALPN) > 0 {
			p.msg.ALPN = append(p.alpn[:0], h.ALPN...)
		}
	case d == l7.ToClient && kind == typeCertificate && p.server.Version != TLS13:
		p.msg.NotAfter = notAfter(b)
	}
}

// alerted takes an alert that is not encrypted. Its level means nothing in TLS 1.3
// (RFC 8446 section 6); warnings of older versions end nothing.
func (p *parser) alerted(level, description byte, t int64) {
	const fatal = 2
	if level == fatal {
		if p.msg.ResponseFirst == 0 && p.dir == l7.ToClient {
			p.msg.ResponseFirst = p.sides[l7.ToClient].first
		}
		p.failed(AlertName(description), t)
	}
}

func (p *parser) failed(status string, t int64) {
	p.msg.Failed = true
	p.tell(l7.Answered, status, t)
}

func (p *parser) done(t int64) { p.tell(l7.Answered, ok, t) }

// tell tells the handshake, once.
func (p *parser) tell(o l7.Outcome, status string, t int64) {
	m := &p.msg
	m.Protocol, m.Outcome = l7.TLS, o
	m.Operation = append(p.operation[:0], unknown...)
	if p.greeted {
		m.Operation = append(p.operation[:0], VersionName(p.server.Version)...)
	}
	if o == l7.Answered && (!p.asked || !p.greeted && !m.Failed) {
		m.Outcome = l7.Lost
	}
	if status != "" {
		m.Status = append(p.status[:0], status...)
		m.ResponseLast = t
	}
	m.RequestOctets, m.ResponseOctets = p.sides[l7.ToServer].octets, p.sides[l7.ToClient].octets
	p.over = true
	p.emit(m)
}

// End tells a handshake that came to no end.
func (p *parser) End(int64) {
	if p.over || !p.asked && !p.greeted && p.msg.RequestFirst == 0 {
		return
	}
	o := l7.Unanswered
	if p.sides[l7.ToServer].lost || p.sides[l7.ToClient].lost || p.greeted && !p.asked {
		o = l7.Lost
	}
	p.tell(o, "", 0)
}
