package quic

import (
	"bytes"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/route"
	"github.com/weir-probe/weir/flows/l7/tls"
)

// Spec is QUIC over UDP.
var Spec = l7.Spec{Protocol: l7.QUIC, Datagram: true, Match: match, New: newParser, Octets: 12 << 10}

// maxOpened bounds the packets of a connection that are decrypted.
const maxOpened = 24

const unknown = "unknown"

// parser is the l7.Parser.
type parser struct {
	emit    func(*l7.Message)
	keys    [2]keys
	keyed   bool
	retried bool // keys must be made again from the next Initial packet
	over    bool
	version uint32
	source  [maxID]byte // of the client
	sourceN int
	opened  int
	octets  [2]uint64
	stage   [2]hello
	opener  opener
	asked   bool // the ClientHello was read
	msg     l7.Message
	name    [route.MaxHost]byte
	alpn    [l7.MaxALPN]byte
	word    [l7.MaxStatus]byte
}

func newParser(emit func(*l7.Message)) l7.Parser { return &parser{emit: emit} }

// Opaque says that the handshake was told: the rest is encrypted.
func (p *parser) Opaque() bool { return p.over }

// Data takes a datagram, which may hold several packets.
func (p *parser) Data(c *l7.Chunk) {
	if p.over {
		return
	}
	p.octets[c.Dir] += uint64(len(c.Data))
	for b := c.Data; len(b) > 0 && !p.over; {
		h, rest, ok := parseLong(b)
		if !ok {
			return
		}
		p.packet(c.Dir, &h, c.Time)
		b = rest
	}
}

// Gap has nothing to say: a datagram stands for itself.
func (p *parser) Gap(d l7.Dir, n, _ int64) {
	if !p.over && n > 0 {
		p.octets[d] += uint64(n)
	}
}

func (p *parser) packet(d l7.Dir, h *longHeader, t int64) {
	switch {
	case d == l7.ToServer && h.kind == initial:
		p.clientInitial(h, t)
	case d == l7.ToClient && p.keyed && bytes.Equal(h.dst, p.source[:p.sourceN]):
		switch h.kind {
		case initial:
			p.serverInitial(h, t)
		case retry: // RFC 9001 section 5.2: the server's id makes new keys
			p.retried = true
		case negotiation:
			p.begin() // in another version, or not at all
		}
	}
}

// begin forgets the connection but for when it began.
func (p *parser) begin() {
	p.keyed, p.asked, p.version = false, false, 0
	p.stage[0].n, p.stage[1].n = 0, 0
}

func (p *parser) clientInitial(h *longHeader, t int64) {
	if p.msg.RequestFirst == 0 {
		p.msg.RequestFirst, p.msg.RequestLast = t, t
	}
	if p.asked && !p.retried || p.opened >= maxOpened {
		return
	}
	if !p.keyed || p.retried {
		k, err := deriveKeys(h.version, h.dst)
		if err != nil {
			return // of no length that AES and SHA-256 have
		}
		p.keys, p.keyed, p.retried = k, true, false
		p.version = h.version
		p.sourceN = copy(p.source[:], h.src)
	}
	p.opened++
	frames, ok := p.opener.open(&p.keys[l7.ToServer], h)
	if !ok {
		if p.stage[l7.ToServer].n == 0 {
			p.keyed = false // a later packet of another id
		}
		return
	}
	p.stage[l7.ToServer].frames(frames)
	kind, body, ok := p.stage[l7.ToServer].message()
	var hello tls.ClientHello
	if !ok || kind != tls.TypeClientHello || !hello.Parse(body) {
		return
	}
	p.asked = true
	p.msg.Host = route.AppendHost(p.name[:0], hello.ServerName)
	p.msg.ALPN = append(p.alpn[:0], hello.ALPN...)
}

func (p *parser) serverInitial(h *longHeader, t int64) {
	if p.msg.ResponseFirst == 0 {
		p.msg.ResponseFirst = t
	}
	p.msg.ResponseLast = t
	if p.opened >= maxOpened {
		p.tell(l7.Lost, "")
		return
	}
	p.opened++
	frames, ok := p.opener.open(&p.keys[l7.ToClient], h)
	if !ok {
		return
	}
	if end := p.stage[l7.ToClient].frames(frames); end.seen {
		p.msg.Failed = end.code != 0
		p.tell(l7.Answered, closeName(end.code))
		return
	}
	if kind, _, ok := p.stage[l7.ToClient].message(); ok && kind == tls.TypeServerHello {
		p.tell(l7.Answered, "ok")
	}
}

// closeName names the code of a CONNECTION_CLOSE (RFC 9000 section 20.1).
func closeName(code uint64) string {
	if code>>8 == 1 {
		return tls.AlertName(byte(code))
	}
	if code < uint64(len(closeNames)) {
		return closeNames[code]
	}
	return "transport_error"
}

var closeNames = [...]string{
	"no_error", "internal_error", "connection_refused", "flow_control_error", "stream_limit_error", "stream_state_error",
	"final_size_error", "frame_encoding_error", "transport_parameter_error", "connection_id_limit_error",
	"protocol_violation", "invalid_token", "application_error", "crypto_buffer_exceeded", "key_update_error",
	"aead_limit_reached", "no_viable_path",
}

// tell tells the connection, once. A ServerHello that only asks the client to begin
// again is told, too: the server has answered.
func (p *parser) tell(o l7.Outcome, status string) {
	m := &p.msg
	m.Protocol, m.Outcome = l7.QUIC, o
	m.Operation = append(m.Operation[:0], versionName(p.version)...)
	m.Status = append(p.word[:0], status...)
	m.RequestOctets, m.ResponseOctets = p.octets[l7.ToServer], p.octets[l7.ToClient]
	p.over = true
	p.emit(m)
}

func versionName(v uint32) string {
	switch v {
	case version1:
		return "QUIC v1"
	case version2:
		return "QUIC v2"
	}
	return unknown
}

// End tells a connection that got no answer that could be read.
func (p *parser) End(int64) {
	switch {
	case p.over || p.msg.RequestFirst == 0:
	case p.msg.ResponseFirst != 0:
		p.tell(l7.Lost, "")
	default:
		p.tell(l7.Unanswered, "")
	}
}
