package process

import "strings"

// scanner walks the arguments of one command line and writes what may be shown.
// An argument may itself be a whole command (sh -c '…'), a header, a URL or a
// document, so each is read as text after its beginning was looked at.
type scanner struct {
	names  []string
	out    strings.Builder
	expect expectation
	flags  passFlags // of the program named last
	tool   bool      // the program named last has a login subcommand
}

// expectation is what the previous argument makes of the next.
type expectation uint8

const (
	anything expectation = iota
	aSecret
	aUser // user:password
)

// element handles one argument.
func (s *scanner) element(e string) {
	expected := s.expect
	s.expect = anything
	switch {
	case expected == aSecret:
		if s.announces(e) && s.flag(e) {
			return
		}
		s.program(e)
		s.redact()
		return
	case expected == aUser && !isFlag(e) && strings.ContainsAny(e, ":%"):
		s.user(e)
		return
	}
	if s.flag(e) {
		return
	}
	name := e[:runEnd(e, 0)]
	rest := e[len(name):]
	if rest != "" && s.secret(name) && (rest[0] == '=' || rest[0] == ':' && !isHostPort(name, rest)) {
		s.out.WriteString(name + rest[:1])
		s.redact()
		return
	}
	s.text(e)
}

// announces says whether e, found where a secret was expected, is rather the
// next option that takes one: a password option need not have a value.
func (s *scanner) announces(e string) bool {
	return isFlag(e) && (isUserFlag(e) || s.secret(e) || strings.IndexByte(s.flags.letters, e[1]) >= 0)
}

// flag handles an argument that is an option without '='.
func (s *scanner) flag(e string) bool {
	if !isFlag(e) {
		return false
	}
	if n := s.shortSecret(e); n > 0 {
		s.out.WriteString(e[:n])
		if n < len(e) {
			s.redact()
		}
		return true
	}
	if isUserFlag(e) {
		s.expect = aUser
		s.out.WriteString(e)
		return true
	}
	if len(e) > 2 && (e[1] == 'u' || e[1] == 'U') && strings.ContainsAny(e, ":%") {
		s.out.WriteString(e[:2])
		s.user(e[2:])
		return true
	}
	if strings.ContainsAny(e, "=: ") || !s.secret(strings.TrimLeft(e, "-")) {
		return false
	}
	// -pSecret1 is a value glued to an option of a program not known here.
	if e[1] != '-' && strings.ContainsAny(e, "0123456789") {
		s.out.WriteString(e[:2])
		s.redact()
		return true
	}
	if runEnd(e, 0) < len(e) {
		return false
	}
	s.out.WriteString(e)
	s.expect = aSecret
	return true
}

// shortSecret returns how much of e is a short option that carries a password
// for the program at hand, 0 when it is none.
func (s *scanner) shortSecret(e string) int {
	if len(e) < 2 || e[0] != '-' || strings.IndexByte(s.flags.letters, e[1]) < 0 {
		return 0
	}
	if len(e) == 2 && s.flags.separate {
		s.expect = aSecret
	}
	return 2
}

// user writes user:password without the password.
func (s *scanner) user(e string) {
	if i := strings.IndexAny(e, ":%"); i >= 0 {
		s.out.WriteString(e[:i+1])
		s.redact()
		return
	}
	s.out.WriteString(e)
}

func (s *scanner) redact() { s.out.WriteString(Redacted) }

func (s *scanner) secret(name string) bool { return isSecret(name, s.names) }

// text handles whatever else: words, quotes and separators in any order.
func (s *scanner) text(e string) {
	t := text{e: e, shell: strings.ContainsAny(e, " \t\r\n")}
	for i := 0; i < len(e); {
		if s.expect != anything && !isSpace(e[i]) {
			if j := s.expected(&t, i); j > i {
				i = j
				continue
			}
		}
		if t.atWord(i) {
			if j := s.word(&t, i); j > i {
				i = j
				continue
			}
		}
		if !isName(e[i]) {
			t.quoted(i)
			s.out.WriteByte(e[i])
			i++
			continue
		}
		i = s.run(&t, i)
	}
	if t.shell && s.expect == aUser {
		s.expect = anything
	}
}

// expected hides the word that a flag before it announced.
func (s *scanner) expected(t *text, i int) int {
	j := t.wordEnd(i)
	word := t.e[i:j]
	expected := s.expect
	s.expect = anything
	switch {
	case expected == aUser && strings.ContainsAny(word, ":%"):
		s.user(word)
	case expected == aUser:
		return i
	case s.announces(word) && s.flag(word):
	default:
		s.program(word)
		s.redact()
	}
	return j
}

// word handles what is special at the beginning of a word; it returns i when
// nothing is.
func (s *scanner) word(t *text, i int) int {
	j := t.wordEnd(i)
	word := t.e[i:j]
	s.program(word)
	if !t.shell {
		if isAWSSecret(word) {
			s.redact()
			return j
		}
		return i
	}
	if isFlag(word) && !strings.ContainsAny(word, "=:") && s.flag(word) {
		return j
	}
	if isFlag(word) && len(word) > 2 && (word[1] == 'u' || word[1] == 'U') && s.flag(word) {
		return j
	}
	if isAWSSecret(strings.Trim(word, `"'`)) {
		s.redact()
		return j
	}
	return i
}

// program notes which program the following options belong to.
func (s *scanner) program(word string) {
	name := strings.Trim(base(word), `"'`)
	if f, ok := clients[name]; ok {
		s.flags, s.tool = f, false
	} else if loginTools[name] {
		s.tool = true
	} else if s.tool && name == "login" {
		s.flags = passFlags{"p", true}
	}
}

// run handles a name at i and what follows it; it returns where to go on.
func (s *scanner) run(t *text, i int) int {
	e := t.e
	end := runEnd(e, i)
	name := e[i:end]
	if isCredential(name) {
		s.redact()
		return end
	}
	if strings.HasPrefix(e[end:], "://") {
		s.out.WriteString(e[i : end+3])
		return s.authority(e, end+3)
	}
	if strings.HasPrefix(name, "-----BEGIN") {
		s.out.WriteString(name)
		s.redact()
		return len(e)
	}
	k := end
	for k < len(e) && (e[k] == '"' || e[k] == '\'' || e[k] == '\\') {
		k++
	}
	for k < len(e) && isSpace(e[k]) {
		k++
	}
	if k < len(e) && (e[k] == '=' || e[k] == ':') && s.secret(name) && !(e[k] == ':' && isHostPort(name, e[k:])) {
		return s.value(t, i, k)
	}
	if isUserFlag(name) && end < len(e) && e[end] == '=' {
		s.out.WriteString(e[i : end+1])
		j := t.valueEnd(end+1, '=')
		s.user(e[end+1 : j])
		return j
	}
	if (strings.EqualFold(name, "bearer") || strings.EqualFold(name, "basic")) && k > end && k < len(e) {
		s.out.WriteString(e[i:k])
		s.redact()
		return t.valueEnd(k, '=')
	}
	if j := dsnPassword(e, end); j > 0 {
		s.out.WriteString(e[i : end+1])
		s.redact()
		return j
	}
	s.out.WriteString(name)
	return end
}

// value hides the value of the name at i whose separator is at k.
func (s *scanner) value(t *text, i, k int) int {
	e := t.e
	for q := i; q < k; q++ {
		t.quoted(q)
	}
	sep := e[k]
	v := k + 1
	for v < len(e) && (isSpace(e[v]) || e[v] == '>') {
		v++
	}
	s.out.WriteString(e[i:v])
	if v == len(e) {
		return v
	}
	s.redact()
	return t.valueEnd(v, sep)
}

// authority hides the password of user:password@host at i, just after "://".
func (s *scanner) authority(e string, i int) int {
	end := i
	for end < len(e) && !strings.ContainsRune("/?#'\"`\\", rune(e[end])) && !isSpace(e[end]) {
		end++
	}
	at := strings.LastIndexByte(e[i:end], '@')
	userinfo := e[i : i+max(at, 0)]
	if at < 0 {
		// A password with a slash in it, or a URL cut before its '@'.
		_, port, has := strings.Cut(e[i:end], ":")
		if !has || isDigits(port) || strings.HasPrefix(e[i:], "[") || strings.HasPrefix(port, "$") {
			s.out.WriteString(e[i:end])
			return end
		}
		word := end
		for word < len(e) && !isSpace(e[word]) && e[word] != '"' && e[word] != '\'' {
			word++
		}
		if far := strings.LastIndexByte(e[end:word], '@'); far >= 0 {
			userinfo, end = e[i:end+far], end+far
		} else {
			userinfo = e[i:end]
		}
	} else {
		end = i + at
	}
	name, _, has := strings.Cut(userinfo, ":")
	switch {
	case has:
		s.out.WriteString(name + ":")
		s.redact()
	case len(userinfo) >= 16: // a token in place of a name
		s.redact()
	default:
		s.out.WriteString(userinfo)
	}
	return end
}
