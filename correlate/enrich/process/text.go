package process

import "strings"

// text is one argument read as text, with the quotes open at the reading point.
type text struct {
	e     string
	shell bool // it has several words
	quote byte // the quote that is open, 0 none
}

// quoted follows the quotes past e[i].
func (t *text) quoted(i int) {
	c := t.e[i]
	if c != '"' && c != '\'' && c != '`' || i > 0 && t.e[i-1] == '\\' {
		return
	}
	switch t.quote {
	case 0:
		t.quote = c
	case c:
		t.quote = 0
	}
}

// atWord says whether a word begins at i.
func (t *text) atWord(i int) bool {
	if i == 0 {
		return true
	}
	switch c := t.e[i-1]; {
	case isSpace(c):
		return true
	default:
		return strings.IndexByte("\"'`;|&(={", c) >= 0
	}
}

// wordEnd returns the end of the shell word at i: quoted parts belong to it.
func (t *text) wordEnd(i int) int {
	e := t.e
	for j := i; j < len(e); j++ {
		switch c := e[j]; {
		case c == '\\':
			j++
		case c == t.quote && t.quote != 0:
			return j
		case (c == '"' || c == '\'' || c == '`') && t.quote == 0:
			n := strings.IndexByte(e[j+1:], c)
			if n < 0 {
				return len(e)
			}
			j += n + 1
		case isSpace(c), c == ';', c == '&', c == '|', c == ')':
			return j
		}
	}
	return len(e)
}

// valueEnd returns the end of a secret at v that followed sep. Where it is not
// clear it is the later of the possible ends.
func (t *text) valueEnd(v int, sep byte) int {
	e := t.e
	if v >= len(e) {
		return len(e)
	}
	switch {
	case strings.HasPrefix(e[v:], `\"`):
		if n := strings.Index(e[v+2:], `\"`); n >= 0 {
			return v + 2 + n + 2
		}
		return len(e)
	case (e[v] == '"' || e[v] == '\'') && (t.quote == 0 || t.quote != e[v]):
		return t.closing(v+1, e[v])
	case t.quote != 0:
		if n := strings.IndexByte(e[v:], t.quote); n >= 0 {
			return v + n
		}
		return len(e)
	case sep == ':':
		if n := strings.IndexByte(e[v:], '\n'); n >= 0 {
			return v + n
		}
		return len(e)
	case t.shell:
		return t.wordEnd(v)
	case strings.ContainsAny(e[:v], "?&"): // a query
		if n := strings.IndexAny(e[v:], "&#"); n >= 0 {
			return v + n
		}
	}
	return len(e)
}

// closing returns the place after the closing quote, which a backslash hides;
// what is glued to it belongs to the value.
func (t *text) closing(i int, quote byte) int {
	e := t.e
	for ; i < len(e); i++ {
		if e[i] == '\\' {
			i++
		} else if e[i] == quote {
			i++
			for i < len(e) && !isSpace(e[i]) && strings.IndexByte("\"'`;&|),}]", e[i]) < 0 {
				i++
			}
			return i
		}
	}
	return len(e)
}

// dsnPassword returns the place of the '@' of user:password@host whose ':' is at
// i, 0 when it is none.
func dsnPassword(e string, i int) int {
	if i >= len(e) || e[i] != ':' {
		return 0
	}
	j := i + 1
	for j < len(e) && !isSpace(e[j]) && e[j] != '"' && e[j] != '\'' {
		j++
	}
	at := strings.LastIndexByte(e[i:j], '@')
	if at <= 1 || strings.HasPrefix(e[i+at:], "@sha256:") {
		return 0
	}
	return i + at
}

// isHostPort says whether what looks like a header is a host name and its port
// or the beginning of a URL. rest begins with the ':'.
func isHostPort(name, rest string) bool {
	if strings.HasPrefix(rest, "://") {
		return true
	}
	if !strings.Contains(name, ".") {
		return false
	}
	n := 1
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	return n > 1 && n <= 6 && (n == len(rest) || rest[n] == '/' || rest[n] == ',')
}

func isFlag(e string) bool { return len(e) > 1 && e[0] == '-' }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// isName says whether c belongs to a name: an option, variable, header, host or token.
func isName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

func runEnd(e string, i int) int {
	for i < len(e) && isName(e[i]) {
		i++
	}
	return i
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
