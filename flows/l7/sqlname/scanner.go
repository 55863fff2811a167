package sqlname

import "bytes"

type kind uint8

const (
	end kind = iota
	name
	literal
	symbol
)

type token struct {
	kind kind
	text []byte
	up   [24]byte // of a short word, in capitals
	n    int
}

// upper is a word in capitals, "" of a long one.
func upper(w token) string {
	if w.kind != name || w.n == 0 {
		return ""
	}
	return string(w.up[:w.n])
}

// scanner splits a statement, comments left out.
type scanner struct {
	b     []byte
	depth int
}

func (s *scanner) next() token {
	s.skip()
	if len(s.b) == 0 {
		return token{}
	}
	switch c := s.b[0]; {
	case c == '\'':
		return s.quoted('\'', literal)
	case c == '"', c == '`':
		return s.identifier()
	case c == '$' && len(s.b) > 1 && !digit(s.b[1]):
		return s.dollar()
	case digit(c):
		return s.run(literal)
	case letter(c):
		if len(s.b) > 1 && s.b[1] == '\'' { // E'…', x'…'
			s.b = s.b[1:]
			return s.quoted('\'', literal)
		}
		return s.identifier()
	case c == '(':
		s.depth++
	case c == ')':
		s.depth--
	}
	t := token{kind: symbol, text: s.b[:1]}
	s.b = s.b[1:]
	return t
}

// skip skips spaces and comments.
func (s *scanner) skip() {
	for len(s.b) > 0 {
		switch c := s.b[0]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ';' || c == 0:
			s.b = s.b[1:]
		case c == '#', bytes.HasPrefix(s.b, []byte("--")):
			i := bytes.IndexByte(s.b, '\n')
			if i < 0 {
				i = len(s.b) - 1
			}
			s.b = s.b[i+1:]
		case bytes.HasPrefix(s.b, []byte("/*")):
			i := bytes.Index(s.b[2:], []byte("*/"))
			if i < 0 {
				s.b = nil
				return
			}
			s.b = s.b[i+4:]
		default:
			return
		}
	}
}

// quoted takes up to the closing quote; a doubled one or one behind a backslash is
// none.
func (s *scanner) quoted(q byte, k kind) token {
	for i := 1; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			if q == '\'' {
				i++
			}
		case q:
			if i+1 < len(s.b) && s.b[i+1] == q {
				i++
				continue
			}
			t := token{kind: k, text: s.b[:i+1]}
			s.b = s.b[i+1:]
			return t
		}
	}
	s.b = nil
	return token{} // cut in the middle of a literal
}

// dollar takes $tag$ … $tag$.
func (s *scanner) dollar() token {
	i := bytes.IndexByte(s.b[1:], '$')
	if i < 0 {
		s.b = nil
		return token{}
	}
	tag := s.b[:i+2]
	j := bytes.Index(s.b[len(tag):], tag)
	if j < 0 {
		s.b = nil
		return token{}
	}
	s.b = s.b[2*len(tag)+j:]
	return token{kind: literal, text: tag}
}

// identifier takes a name with its parts: a, "a", a.b, `a`.`b`.
func (s *scanner) identifier() token {
	start, n := s.b, 0
	for {
		if len(s.b) == 0 {
			break
		}
		before := len(s.b)
		if c := s.b[0]; c == '"' || c == '`' {
			if t := s.quoted(c, name); t.kind == end {
				return token{}
			}
		} else {
			s.run(name)
		}
		if n += before - len(s.b); len(s.b) < 2 || s.b[0] != '.' || !letter(s.b[1]) && s.b[1] != '"' && s.b[1] != '`' {
			break
		}
		s.b = s.b[1:]
		n++
	}
	t := token{kind: name, text: start[:n]}
	if n <= len(t.up) {
		t.n = n
		for i, c := range t.text {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			t.up[i] = c
		}
	}
	return t
}

// run takes letters, digits and what else is part of a word.
func (s *scanner) run(k kind) token {
	i := 0
	for i < len(s.b) && (letter(s.b[i]) || digit(s.b[i]) || s.b[i] == '$' || k == literal && s.b[i] == '.') {
		i++
	}
	i = max(i, 1)
	t := token{kind: k, text: s.b[:i]}
	s.b = s.b[i:]
	return t
}

func letter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= 0x80 || c == '@'
}
