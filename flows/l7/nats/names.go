package nats

import (
	"bytes"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/open"
)

const (
	maxTemplates = 64
	maxTokens    = 3
	maxToken     = 24
)

// verbOf returns the verb as the protocol writes it; it may be in any case. An
// unknown one is "".
func verbOf(word []byte) string {
	var up [8]byte
	if len(word) == 0 || len(word) > len(up) {
		return ""
	}
	for i, c := range word {
		if 'a' <= c && c <= 'z' {
			c -= 0x20
		}
		up[i] = c
	}
	switch string(up[:len(word)]) {
	case "PUB":
		return "PUB"
	case "HPUB":
		return "HPUB"
	case "SUB":
		return "SUB"
	case "UNSUB":
		return "UNSUB"
	case "MSG":
		return "MSG"
	case "HMSG":
		return "HMSG"
	case "CONNECT":
		return "CONNECT"
	case "INFO":
		return "INFO"
	case "PING":
		return "PING"
	case "PONG":
		return "PONG"
	case "+OK":
		return "+OK"
	case "-ERR":
		return "-ERR"
	}
	return ""
}

// templates are the operations of a connection: a bounded set of names.
type templates struct {
	known open.Names
	buf   []byte
}

func newTemplates() templates {
	return templates{buf: make([]byte, 0, l7.MaxOperation)}
}

// operation returns verb and the template of subject. With headers or without, a
// message is told by the same verb.
func (t *templates) operation(verb string, subject []byte) string {
	switch verb {
	case "HPUB":
		verb = "PUB"
	case "HMSG":
		verb = "MSG"
	}
	t.buf = append(append(t.buf[:0], verb...), ' ')
	t.buf = template(t.buf, subject)
	if name, ok := t.known.Intern(t.buf, maxTemplates); ok {
		return name
	}
	switch verb {
	case "PUB":
		return "PUB >"
	case "MSG":
		return "MSG >"
	}
	return "SUB >"
}

// template appends what is kept of a subject.
func template(b, subject []byte) []byte {
	for _, inbox := range []string{"_INBOX.", "$JS.ACK.", "_R_."} {
		if bytes.HasPrefix(subject, []byte(inbox)) {
			return append(b, inbox[:len(inbox)-1]...)
		}
	}
	for n := 0; len(subject) > 0; n++ {
		if n == maxTokens {
			return append(b, ".>"...)
		}
		token, rest, _ := bytes.Cut(subject, []byte{'.'})
		subject = rest
		if n > 0 {
			b = append(b, '.')
		}
		if isName(token) {
			b = append(b, token...)
		} else {
			b = append(b, '*')
		}
	}
	return b
}

// isName says whether a token looks like a name that a programmer chose.
func isName(token []byte) bool {
	if len(token) == 0 || len(token) > maxToken {
		return false
	}
	for _, c := range token {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && c != '_' && c != '-' && c != '$' && c != '>' {
			return false
		}
	}
	return true
}

// errorStatuses are the beginnings of the texts of -ERR (server/errors.go and
// server/client.go of nats-server) as they are told.
var errorStatuses = []string{
	"Authorization Violation", "Authorization Timeout", "Authentication Timeout", "Authentication Expired",
	"User Authentication Expired", "User Authentication Revoked", "Account Authentication Expired",
	"Permissions Violation", "Unknown Protocol Operation", "Parser Error", "Invalid Subject",
	"Invalid Publish Subject", "Invalid Client Protocol", "Maximum Payload Violation",
	"Maximum Control Line Exceeded", "maximum connections exceeded", "maximum account", "maximum subscriptions exceeded",
	"Attempted To Connect To", "Secure Connection", "Stale Connection", "Slow Consumer", "Server Shutdown",
	"No Responders", "Message Headers Not Supported", "Connection Throttled", "Duplicate Client ID",
}

func errorStatus(text []byte) string {
	text = bytes.TrimLeft(text, "' ")
	for _, s := range errorStatuses {
		if len(text) >= len(s) && bytes.EqualFold(text[:len(s)], []byte(s)) {
			return s
		}
	}
	return "error"
}
