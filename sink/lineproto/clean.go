package lineproto

import (
	"strings"
	"unicode/utf8"
)

// Length caps in octets, after cleaning and before escaping. InfluxDB refuses
// a series key above 65 535 octets and a string field above 64 KiB.
const (
	MaxTag    = 256
	MaxString = 4096
)

// substitute stands for what cannot be written: one octet, so that cleaning
// never lengthens a string.
const substitute = '_'

// CleanTag returns s as a tag value (or key) keeps it: at most MaxTag octets
// cut at a rune boundary, control characters and invalid UTF-8 replaced by
// '_', and likewise a backslash that stands last or before a character that
// needs an escape (the servers' parsers do not agree on those). It returns s
// itself when there is nothing to do.
func CleanTag(s string) string {
	if tagIsClean(s) {
		return s
	}
	s = cut(s, MaxTag)
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case control(r, n), r == '\\' && ambiguous(s[i+1:]):
			b.WriteByte(substitute)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func tagIsClean(s string) bool {
	if len(s) > MaxTag {
		return false
	}
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '\\' && c != 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if control(r, n) || r == '\\' && ambiguous(s[i+1:]) {
			return false
		}
		i += n
	}
	return true
}

// control says whether a decoded rune is invalid UTF-8, a C0 or C1 control
// character, or one of the two Unicode line separators.
func control(r rune, size int) bool {
	return r == utf8.RuneError && size <= 1 || r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029
}

// ambiguous says whether a backslash before rest could be read as an escape.
func ambiguous(rest string) bool {
	if rest == "" {
		return true
	}
	switch rest[0] {
	case ',', '=', ' ', '\\':
		return true
	}
	// What follows may itself be replaced; '_' needs no escape.
	return false
}

// cut shortens s to at most n octets without splitting a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
