package route

// kind is what one look at a segment's octets tells.
type kind struct {
	digits, hex, lower, upper, marks int // marks: - _ . ~ and others that are plain
	at                               int // @
	turns                            int // letter to digit or back
	short                            int // single small letters between capitals
	dots                             int
	plain                            bool // nothing but letters, digits and marks
}

func look(s []byte) kind {
	k := kind{plain: true}
	var before, beforeThat byte
	for _, c := range s {
		var class byte
		switch {
		case c >= '0' && c <= '9':
			k.digits++
			k.hex++
			class = 'd'
		case c >= 'a' && c <= 'z':
			k.lower++
			class = 'l'
		case c >= 'A' && c <= 'Z':
			k.upper++
			class = 'u'
		case c == '-' || c == '_' || c == '.' || c == '~' || c == ':':
			k.marks++
			class = 'm'
		case c == '@':
			k.at++
			class = 'm'
		default:
			k.plain = false
		}
		if c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' {
			k.hex++
		}
		if c == '.' {
			k.dots++
		}
		digit := class == 'd'
		if before != 0 && before != 'm' && class != 'm' && (before == 'd') != digit {
			k.turns++
		}
		if class == 'u' && before == 'l' && beforeThat == 'u' {
			k.short++
		}
		beforeThat, before = before, class
	}
	return k
}

// isWord says whether the segment looks like one of the service's own.
func (k kind) isWord(s []byte) bool {
	switch {
	case !k.plain || k.at > 0 || len(s) > maxWord:
		return false
	case k.digits == 0:
		return !k.scrambled(len(s)) && !(len(s) >= 8 && k.hex == len(s))
	case isVersion(s):
		return true
	}
	// One digit at the end of letters only: oauth2, s3.
	return k.digits == 1 && k.lower+k.upper > 0 && k.marks == 0 && isDigit(s[len(s)-1]) && !k.scrambled(len(s)) && len(s) < 12 && k.hex < len(s)
}

// scrambled says whether capitals come and go as in base64 and not as in
// camelCase, whose words seldom leave one small letter alone (getOrdersByName).
func (k kind) scrambled(n int) bool { return n >= 16 && k.short >= 2 }

// isID says whether a segment that is no word is an identifier of a usual shape.
func (k kind) isID(s []byte) bool {
	switch {
	case !k.plain || len(s) > maxWord && k.at == 0 || len(s) == 0:
		return false
	case k.at == 1, k.digits == len(s), k.hex == len(s), isUUID(s):
		return true
	}
	return len(s) < 16 || k.turns <= 1 && !k.scrambled(len(s))
}

// isVersion: v1, v2.1, v1beta1.
func isVersion(s []byte) bool {
	if len(s) < 2 || len(s) > 8 || s[0] != 'v' || !isDigit(s[1]) {
		return false
	}
	i, digits := 1, 0
	for i < len(s) && (isDigit(s[i]) || s[i] == '.') {
		i++
		digits++
	}
	if digits > 3 {
		return false
	}
	if tail := s[i:]; len(tail) > 0 {
		for _, stage := range [...]string{"alpha", "beta", "rc"} {
			if n := len(stage); len(tail) >= n && string(tail[:n]) == stage && len(tail) <= n+1 {
				return len(tail) == n || isDigit(tail[n])
			}
		}
		return false
	}
	return true
}

func isUUID(s []byte) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !isHex(c) {
			return false
		}
	}
	return true
}

// extension returns where the extension of a file name begins (its dot), 0 when
// there is none: 2 to 5 small letters and digits, the first of which is a letter.
func extension(s []byte) int {
	for i := len(s) - 1; i > 0 && len(s)-i <= 6; i-- {
		if s[i] != '.' {
			if !isDigit(s[i]) && (s[i] < 'a' || s[i] > 'z') {
				return 0
			}
			continue
		}
		if ext := s[i+1:]; len(ext) > 1 && !isDigit(ext[0]) {
			return i
		}
		return 0
	}
	return 0
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
