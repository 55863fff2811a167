package dns

import (
	"encoding/binary"

	"github.com/weir-probe/weir/flows/l7"
)

const (
	headerSize = 12  // RFC 1035 section 4.1.1
	maxName    = 255 // octets
	// maxHead is what is needed of a message: header, name, type and class.
	maxHead = headerSize + maxName + 4
)

// question is what a message asks, or says it answers.
type question struct {
	key    uint64 // id, and a hash of name, type and class
	kind   uint16
	rcode  uint8
	answer bool
	// shout marks a question to everybody (RFC 6762): no id, and recursion not
	// desired. Who answers, answers everybody.
	shout bool
}

// parse reads the beginning of a message, and says whether b holds enough of it.
func parse(b []byte) (q question, ok bool) {
	if len(b) < headerSize {
		return q, false
	}
	flags := binary.BigEndian.Uint16(b[2:])
	q.answer, q.rcode = flags&0x8000 != 0, uint8(flags&15)
	id := binary.BigEndian.Uint16(b)
	q.shout = id == 0 && flags&0x0100 == 0
	h := uint64(14695981039346656037) // FNV-1a
	n := headerSize
	for {
		if n >= len(b) || n > headerSize+maxName {
			return q, false
		}
		label := int(b[n])
		if label == 0 {
			n++
			break
		}
		if label > 63 || n+1+label > len(b) {
			return q, false // no compression in the first name of a message
		}
		for _, c := range b[n : n+1+label] {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A' // a resolver may change the case at random
			}
			h = (h ^ uint64(c)) * 1099511628211
		}
		n += 1 + label
	}
	if n+4 > len(b) {
		return q, false
	}
	for _, c := range b[n : n+4] {
		h = (h ^ uint64(c)) * 1099511628211
	}
	q.kind = binary.BigEndian.Uint16(b[n:])
	q.key = uint64(id)<<48 | h>>16
	return q, true
}

// plausible says whether the header could be one: one question, no record in a
// query but for EDNS and signatures, few in an answer.
func plausible(b []byte) bool {
	if len(b) < headerSize+5 {
		return false
	}
	flags := binary.BigEndian.Uint16(b[2:])
	answers, authority, more := binary.BigEndian.Uint16(b[6:]), binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])
	if flags&0x7840 != 0 || binary.BigEndian.Uint16(b[4:]) != 1 || answers > 256 || authority > 64 || more > 64 || b[12] > 63 {
		return false
	}
	return flags&0x8000 != 0 || answers == 0 && authority == 0 && flags&15 == 0 && more <= 2
}

// kinds are the types that are told by name (IANA DNS parameters).
func kindName(kind uint16) string {
	switch kind {
	case 1:
		return "A"
	case 2:
		return "NS"
	case 5:
		return "CNAME"
	case 6:
		return "SOA"
	case 12:
		return "PTR"
	case 15:
		return "MX"
	case 16:
		return "TXT"
	case 28:
		return "AAAA"
	case 33:
		return "SRV"
	case 35:
		return "NAPTR"
	case 43:
		return "DS"
	case 48:
		return "DNSKEY"
	case 64:
		return "SVCB"
	case 65:
		return "HTTPS"
	case 255:
		return "ANY"
	case 257:
		return "CAA"
	}
	return "other"
}

var rcodes = [16]string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE", "RCODE11", "RCODE12", "RCODE13", "RCODE14", "RCODE15"}

// failed says whether a code is a failure of the service: that a name does not
// exist is an answer.
func failed(rcode uint8) bool { return rcode != 0 && rcode != 3 }

// Match says Yes to a whole question or answer over UDP.
func Match(d l7.Dir, b []byte) l7.Verdict {
	if !plausible(b) {
		return l7.No
	}
	if q, ok := parse(b); !ok || q.answer != (d == l7.ToClient) {
		return l7.No
	}
	return l7.Yes
}

// MatchStream is Match over TCP, where a length comes first.
func MatchStream(d l7.Dir, b []byte) l7.Verdict {
	if len(b) < 2+headerSize+5 {
		if len(b) >= 4 && (b[2] != 0 || b[3] != 0) && len(b) < 8 || len(b) < 4 {
			return l7.Maybe
		}
		if len(b) >= 8 && (b[6] != 0 || b[7] != 1) {
			return l7.No
		}
		return l7.Maybe
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < headerSize+5 || d == l7.ToServer && n > 1500 {
		return l7.No
	}
	return Match(d, b[2:min(len(b), 2+n)])
}
