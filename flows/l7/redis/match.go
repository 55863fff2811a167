package redis

import (
	"bytes"
	"strings"

	"github.com/weir-probe/weir/flows/l7"
)

// Match says Yes to an array of bulk strings that begins with a word, and to what
// only RESP answers. Inline commands and the short answers are also memcached's,
// NATS's or POP3's: Maybe.
func Match(d l7.Dir, b []byte) l7.Verdict {
	if len(b) == 0 {
		return l7.Maybe
	}
	if d == l7.ToServer {
		return matchRequest(b)
	}
	return matchAnswer(b)
}

func matchRequest(b []byte) l7.Verdict {
	if b[0] != '*' {
		line, _, ended := bytes.Cut(b, []byte("\r\n"))
		word, _, _ := bytes.Cut(line, []byte(" "))
		if !ended || len(word) == 0 || len(word) > maxText || bytes.Contains(line, []byte(" HTTP/")) {
			return l7.No
		}
		var up [maxText]byte
		if _, ok := commands[string(up[:upper(&up, word)])]; ok {
			return l7.Maybe
		}
		return l7.No
	}
	count, rest, v := header(b, '*')
	if v != l7.Yes || count < 1 {
		return min(v, l7.Maybe)
	}
	if len(rest) == 0 {
		return l7.Maybe
	}
	size, rest, v := header(rest, '$')
	if v != l7.Yes || size < 2 || size > maxText {
		if v == l7.Maybe {
			return l7.Maybe
		}
		return l7.No
	}
	word := rest[:min(int64(len(rest)), size)]
	for _, c := range word {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && c != '.' && c != '_' && c != '-' && (c < '0' || c > '9') {
			return l7.No
		}
	}
	if int64(len(word)) < size {
		return l7.Maybe
	}
	return l7.Yes
}

func matchAnswer(b []byte) l7.Verdict {
	switch b[0] {
	case '$', '*', '%', '~', '>':
		n, rest, v := header(b, b[0])
		if v != l7.Yes {
			return v
		}
		if b[0] == '$' || n <= 0 {
			return l7.Yes
		}
		if len(rest) == 0 {
			return l7.Maybe
		}
		if bytes.IndexByte([]byte("$*:+-_,#(!=%~|"), rest[0]) < 0 {
			return l7.No
		}
		return l7.Yes
	case '-':
		word, text, spaced := bytes.Cut(b[1:], []byte(" "))
		_, ok := statuses[string(word)]
		switch {
		case !spaced:
			return beginsStatus(word)
		case !ok || string(word) == "ERR" && bytes.HasPrefix(text, []byte("'")): // NATS
			return l7.No
		case string(word) == "ERR":
			return l7.Maybe
		}
		return l7.Yes
	case '+':
		line, _, ended := bytes.Cut(b, []byte("\r\n"))
		switch {
		case ended && string(line) == "+PONG":
			return l7.Yes
		case ended && string(line) == "+OK", len(line) < len("+PONG\r\n") && bytes.HasPrefix([]byte("+PONG\r\n"), line):
			return l7.Maybe
		}
	case ':':
		if _, _, v := header(b, ':'); v != l7.No {
			return l7.Maybe
		}
	}
	return l7.No
}

// beginsStatus judges the beginning of the first word of an error.
func beginsStatus(word []byte) l7.Verdict {
	for status := range statuses {
		if strings.HasPrefix(status, string(word)) {
			return l7.Maybe
		}
	}
	return l7.No
}

// header reads a type octet, a number and CRLF.
func header(b []byte, typ byte) (n int64, rest []byte, v l7.Verdict) {
	if b[0] != typ {
		return 0, nil, l7.No
	}
	line, rest, ended := bytes.Cut(b[1:], []byte("\r\n"))
	if !ended {
		if len(line) > 14 {
			return 0, nil, l7.No
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 || string(line) == "-" {
			return 0, nil, l7.Maybe
		}
	}
	n, ok := number(line)
	if !ok {
		return 0, nil, l7.No
	}
	if !ended {
		return 0, nil, l7.Maybe
	}
	return n, rest, l7.Yes
}
