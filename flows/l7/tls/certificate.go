package tls

import "time"

// notAfter finds when the first certificate of a Certificate message (RFC 5246
// section 7.4.2) expires, in unix ns; 0 if it cannot be found in b, which may be
// the beginning of the message only.
func notAfter(b []byte) int64 {
	if len(b) < 6 {
		return 0
	}
	b = b[6:] // lengths of list and certificate
	cert, _ := derOpen(b, 0x30)
	tbs, _ := derOpen(cert, 0x30)
	if len(tbs) > 0 && tbs[0] == 0xa0 { // version
		_, tbs = derOpen(tbs, 0xa0)
	}
	_, tbs = derOpen(tbs, 0x02) // serial
	_, tbs = derOpen(tbs, 0x30) // signature algorithm
	_, tbs = derOpen(tbs, 0x30) // issuer
	validity, _ := derOpen(tbs, 0x30)
	if len(validity) == 0 {
		return 0
	}
	_, end := derOpen(validity, validity[0])
	if len(end) < 2 || int(end[1]) > len(end)-2 {
		return 0
	}
	return derTime(end[0], end[2:2+int(end[1])])
}

// derOpen returns content and rest of the element at the front of b, as far as
// they are there; nothing if it is not of that tag.
func derOpen(b []byte, tag byte) (content, rest []byte) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil
	}
	n, b := int(b[1]), b[2:]
	if n >= 0x80 {
		octets := n & 0x7f
		if octets == 0 || octets > 3 || octets > len(b) {
			return nil, nil
		}
		n = 0
		for _, c := range b[:octets] {
			n = n<<8 | int(c)
		}
		b = b[octets:]
	}
	n = min(n, len(b))
	return b[:n], b[n:]
}

// derTime reads UTCTime (YYMMDDHHMMSSZ, from 1950) and GeneralizedTime
// (YYYYMMDDHHMMSSZ), RFC 5280 section 4.1.2.5.
func derTime(tag byte, b []byte) int64 {
	year := 0
	switch {
	case tag == 0x17 && len(b) == 13:
		if year = twoDigits(b); year >= 50 {
			year += 1900
		} else {
			year += 2000
		}
		b = b[2:]
	case tag == 0x18 && len(b) == 15:
		year = twoDigits(b)*100 + twoDigits(b[2:])
		b = b[4:]
	default:
		return 0
	}
	for _, c := range b[:10] {
		if c < '0' || c > '9' {
			return 0
		}
	}
	if b[10] != 'Z' || year < 1950 || year > 2261 { // 2262: int64 ns end
		if year <= 2261 || b[10] != 'Z' {
			return 0
		}
		year = 2261 // 99991231235959Z: never
	}
	at := time.Date(year, time.Month(twoDigits(b)), twoDigits(b[2:]), twoDigits(b[4:]), twoDigits(b[6:]), twoDigits(b[8:]), 0, time.UTC)
	return at.UnixNano()
}

func twoDigits(b []byte) int { return int(b[0]-'0')*10 + int(b[1]-'0') }
