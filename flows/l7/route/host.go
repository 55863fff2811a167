package route

// MaxHost is how many octets a server name can have (RFC 1035).
const MaxHost = 253

const maxLabel = 63

// AppendHost appends the server name in an authority (RFC 3986 section 3.2): without
// user information and port, a name in lower case and without the last dot, an IPv6
// address without brackets. Nothing if it is too long or no valid name or address.
func AppendHost(dst, b []byte) []byte {
	for i, c := range b {
		if c == '@' {
			b = b[i+1:]
			break
		}
	}
	before := len(dst)
	if len(b) > 0 && b[0] == '[' {
		var ok bool
		if dst, ok = appendBracketed(dst, b[1:]); !ok || !address6(dst[before:]) {
			return dst[:before]
		}
		return dst
	}
	dst, ok := appendName(dst, b)
	if !ok {
		return dst[:before]
	}
	return dst
}

// appendBracketed appends what stands before the closing bracket, if a port or
// nothing follows.
func appendBracketed(dst, b []byte) ([]byte, bool) {
	for i, c := range b {
		if c == ']' {
			return dst, port(b[i+1:])
		}
		if i == len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255") {
			break
		}
		dst = append(dst, lower(c))
	}
	return dst, false
}

// address6 says whether b looks like an IPv6 address.
func address6(b []byte) bool {
	colons := 0
	for _, c := range b {
		switch {
		case c == ':':
			colons++
		case c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return colons >= 2 && colons <= 8
}

// appendName appends labels of letters, digits, - and _, which is not allowed but
// used, up to the port. An IPv4 address is made of such labels, too.
func appendName(dst, b []byte) ([]byte, bool) {
	label, before := 0, len(dst)
	for i, c := range b {
		c = lower(c)
		switch {
		case c == ':':
			return dst, len(dst) > before && port(b[i:])
		case c == '.':
			if label == 0 || dst[len(dst)-1] == '-' {
				return dst, false
			}
			if i+1 == len(b) || b[i+1] == ':' {
				continue
			}
			label = 0
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-' && label > 0:
			if label++; label > maxLabel {
				return dst, false
			}
		default:
			return dst, false
		}
		if len(dst)-before == MaxHost {
			return dst, false
		}
		dst = append(dst, c)
	}
	return dst, len(dst) > before && dst[len(dst)-1] != '-'
}

// port says whether b is a port with its colon, or nothing.
func port(b []byte) bool {
	if len(b) > 6 || len(b) > 0 && b[0] != ':' {
		return false
	}
	for _, c := range b[min(len(b), 1):] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
