package tls

import "github.com/weir-probe/weir/flows/l7"

// Types of records.
const (
	recordCipher    = 20 // ChangeCipherSpec
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23 // and all that is encrypted in TLS 1.3
)

const (
	headerSize = 5
	maxRecord  = 1<<14 + 2048 // RFC 5246 section 6.2.3
	maxKept    = 4096         // octets kept of a handshake message
)

// side is the records of one direction.
type side struct {
	lost   bool
	missed bool // records of it were
	header [headerSize]byte
	have   int // octets of header
	left   int // octets of the record to go
	alert  [2]byte
	alerts int // octets of alert
	sealed bool

	// The handshake message that is being collected.
	head   [4]byte
	got    int // octets of head
	size   int // octets of its body to go
	body   int // octets of it kept
	holed  bool
	kept   [maxKept]byte
	octets uint64
	first  int64 // of the record
	began  int64 // of the handshake message
}

// isHeader says whether b, of any length, could be the beginning of a record.
func isHeader(b []byte) bool {
	if len(b) > 0 && (b[0] < recordCipher || b[0] > recordData) {
		return false
	}
	if len(b) > 1 && b[1] != 3 || len(b) > 2 && b[2] > 4 {
		return false
	}
	if len(b) < headerSize {
		return true
	}
	n := int(b[3])<<8 | int(b[4])
	return n > 0 && n <= maxRecord
}

func match(d l7.Dir, b []byte) l7.Verdict {
	if !isHeader(b) {
		return l7.No
	}
	if len(b) > 0 && b[0] == recordAlert && d == l7.ToClient {
		return l7.Maybe
	}
	if len(b) > 0 && b[0] != recordHandshake {
		return l7.No
	}
	want := byte(TypeClientHello)
	if d == l7.ToClient {
		want = TypeServerHello
	}
	if len(b) > 5 && b[5] != want || len(b) > 6 && b[6] != 0 || len(b) > 9 && b[9] != 3 {
		return l7.No
	}
	if len(b) < 11 {
		return l7.Maybe
	}
	return l7.Yes
}

// take reads records from b.
func (p *parser) take(d l7.Dir, b []byte, t int64) {
	s := &p.sides[d]
	for len(b) > 0 && !s.lost && !p.over {
		if s.left == 0 {
			if s.have == 0 {
				s.first = t
			}
			n := copy(s.header[s.have:], b)
			s.have += n
			b = b[n:]
			if !isHeader(s.header[:s.have]) {
				s.lost, s.missed = true, true
			} else if s.have == headerSize {
				s.octets += headerSize
				s.left = int(s.header[3])<<8 | int(s.header[4])
				p.record(d, t)
			}
			continue
		}
		n := min(s.left, len(b))
		s.octets += uint64(n)
		p.content(d, b[:n], t)
		s.pass(n)
		b = b[n:]
	}
}

// pass leaves n octets of the record behind.
func (s *side) pass(n int) {
	if s.left -= n; s.left == 0 {
		s.have, s.alerts = 0, 0
	}
}

// record is at the beginning of a record's content.
func (p *parser) record(d l7.Dir, t int64) {
	s := &p.sides[d]
	switch s.header[0] {
	case recordCipher:
		// TLS 1.3 sends it for the sake of old middleboxes and means nothing by it.
		if p.greeted && p.server.Version != TLS13 {
			s.sealed = true
			if p.sides[d.Opposite()].sealed {
				p.done(t)
			}
		}
	case recordData:
		if d == l7.ToServer && (p.greeted || p.sides[l7.ToClient].lost) {
			switch {
			case p.server.Version == TLS13 && p.early: // where the handshake ends in its records cannot be seen
				p.done(0)
			case p.server.Version != TLS13 || s.left != sealedAlert:
				p.done(t)
			case s.missed: // the first one, or the farewell of a connection that went well
				p.tell(l7.Lost, "", t)
			default:
				p.failed(encryptedAlert, t)
			}
		}
	}
}

// content takes octets of a record.
func (p *parser) content(d l7.Dir, b []byte, t int64) {
	s := &p.sides[d]
	switch {
	case s.sealed:
	case s.header[0] == recordAlert:
		s.alerts += copy(s.alert[s.alerts:], b)
		if s.alerts == len(s.alert) && s.left == len(b) {
			p.alerted(s.alert[0], s.alert[1], t)
		}
	case s.header[0] == recordHandshake:
		s.collect(b, t, func() { p.message(d, t) })
	}
}

// collect takes octets of handshake messages; whole is called at the end of each.
func (s *side) collect(b []byte, t int64, whole func()) {
	for len(b) > 0 {
		if s.got < len(s.head) {
			if s.got == 0 {
				s.body, s.holed, s.began = 0, false, s.first
			}
			n := copy(s.head[s.got:], b)
			s.got += n
			b = b[n:]
			if s.got < len(s.head) {
				return
			}
			s.size = int(s.head[1])<<16 | int(s.head[2])<<8 | int(s.head[3])
		} else {
			n := min(s.size, len(b))
			if !s.holed {
				s.body += copy(s.kept[s.body:], b[:n])
			}
			s.size -= n
			b = b[n:]
		}
		if s.size == 0 {
			s.got = 0
			whole()
		}
	}
}
