package http1

import (
	"bytes"

	"github.com/weir-probe/weir/flows/l7"
)

// methods are those that a request line is known by before its end (RFC 9110, RFC
// 5789, RFC 4918).
var methods = map[string]bool{
	"GET": true, "HEAD": true, "POST": true, "PUT": true, "DELETE": true, "CONNECT": true, "OPTIONS": true, "TRACE": true, "PATCH": true,
	"PROPFIND": true, "PROPPATCH": true, "MKCOL": true, "COPY": true, "MOVE": true, "LOCK": true, "UNLOCK": true, "REPORT": true, "PURGE": true,
}

// maxMethod bounds a method's length.
const maxMethod = 20

// Match says Yes to a whole request line of HTTP/1 and to the beginning of a status
// line.
func Match(d l7.Dir, b []byte) l7.Verdict {
	if d == l7.ToClient {
		return matchStatus(b)
	}
	b = bytes.TrimLeft(b, "\r\n")
	line, _, ended := bytes.Cut(b, []byte{'\n'})
	i := bytes.IndexByte(line, ' ')
	if i < 0 {
		if len(line) > maxMethod || ended || !token(line) {
			return l7.No
		}
		return l7.Maybe
	}
	if i == 0 || i > maxMethod || !token(line[:i]) {
		return l7.No
	}
	known := methods[string(line[:i])]
	if !ended {
		if known && len(line) > i+1 && (line[i+1] == '/' || len(line) > 64) {
			return l7.Yes // a target longer than what was copied
		}
		return l7.Maybe
	}
	line = bytes.TrimRight(line, "\r")
	if j := bytes.LastIndex(line, []byte(" HTTP/1.")); j > i-1 && len(line) == j+9 {
		return l7.Yes
	}
	return l7.No
}

func matchStatus(b []byte) l7.Verdict {
	const start = "HTTP/1."
	if len(b) < len(start)+5 {
		if bytes.HasPrefix([]byte(start), b[:min(len(b), len(start))]) {
			return l7.Maybe
		}
		return l7.No
	}
	if string(b[:len(start)]) != start || b[8] != ' ' {
		return l7.No
	}
	if _, ok := code(b[9:]); !ok {
		return l7.No
	}
	return l7.Yes
}

// token says whether b could be a method: upper-case letters.
func token(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// code reads the three digits of a status code.
func code(b []byte) (int, bool) {
	if len(b) < 3 {
		return 0, false
	}
	n := 0
	for _, c := range b[:3] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, n >= 100 && n < 600
}
