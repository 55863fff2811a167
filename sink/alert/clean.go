package alert

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// How many octets of each part of an alert are told.
const (
	maxName     = 256
	maxMessage  = 1000
	maxEvidence = 4000
	maxCmdline  = 1000
)

// clean makes s one line of valid UTF-8 of at most limit octets that looks like what it
// is: no control characters, nothing that turns the direction of text.
func clean(s string, limit int) string {
	if len(s) > 4*limit { // what is cut is not worth being cleaned
		s = s[:4*limit]
	}
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c), unicode.IsControl(c), c == '\u2028', c == '\u2029':
			return ' '
		case unicode.Is(unicode.Cf, c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.TrimSpace(s)
	if len(s) <= limit {
		return s
	}
	s = s[:limit-len("…")]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// cleaned is a with what every receiver may show.
func (a *Alert) cleaned() Alert {
	c := *a
	c.Fingerprint = clean(a.Fingerprint, maxMessage)
	c.Client, c.Server = clean(a.Client, maxName), clean(a.Server, maxName)
	c.Message, c.Evidence = clean(a.Message, maxMessage), clean(a.Evidence, maxEvidence)
	for i := range c.Actors {
		p := &c.Actors[i]
		p.Container, p.Process, p.User = clean(p.Container, maxName), clean(p.Process, maxName), clean(p.User, maxName)
		p.Cmdline = clean(p.Cmdline, maxCmdline)
	}
	return c
}
