package route

// MaxHost is how many octets of a host can be kept (RFC 1035: 253, and a port).
const MaxHost = 260

// AppendHost appends an authority without user information, in lower case; nothing
// if it is too long or does not look like a host.
func AppendHost(dst, b []byte) []byte {
	for i, c := range b {
		if c == '@' {
			b = b[i+1:]
			break
		}
	}
	before := len(dst)
	if len(b) > MaxHost {
		return dst
	}
	for _, c := range b {
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return dst[:before]
		}
		dst = append(dst, c)
	}
	return dst
}
