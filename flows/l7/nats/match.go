package nats

import (
	"bytes"
	"strings"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/lines"
)

// Match says Yes to a whole line of what only NATS says. PING is Redis's, too, and
// +OK and -ERR Redis's and POP3's: Maybe.
func Match(d l7.Dir, b []byte) l7.Verdict {
	if len(b) == 0 {
		return l7.Maybe
	}
	line, _, ended := bytes.Cut(b, []byte("\r\n"))
	if !ended {
		line = bytes.TrimSuffix(line, []byte{'\r'})
	}
	word, rest := lines.Word(line)
	verb := verbOf(word)
	if verb == "" {
		if !ended && len(word) == len(line) && beginsVerb(word) {
			return l7.Maybe
		}
		return l7.No
	}
	sure := false
	switch verb {
	case "CONNECT", "INFO":
		if !bytes.HasPrefix(rest, []byte{'{'}) {
			return undecided(ended || len(rest) > 0)
		}
		// A long one does not end in what was copied.
		sure = (verb == "INFO") == (d == l7.ToClient)
		if sure && bytes.HasPrefix(rest, []byte(`{"`)) {
			return l7.Yes
		}
	case "PUB", "HPUB", "SUB", "UNSUB":
		sure = d == l7.ToServer && sized(verb, rest)
	case "MSG", "HMSG":
		sure = d == l7.ToClient && sized(verb, rest)
	case "+OK", "-ERR":
		if d == l7.ToServer || verb == "+OK" && len(rest) > 0 {
			return l7.No
		}
		if verb == "-ERR" && ended && errorStatus(rest) != "error" && rest[0] == '\'' {
			return l7.Yes
		}
		return l7.Maybe
	case "PING", "PONG":
		if len(rest) > 0 {
			return l7.No
		}
		if ended && verb == "PONG" && d == l7.ToClient {
			return l7.Yes // Redis says +PONG
		}
		return l7.Maybe
	}
	if !ended {
		return l7.Maybe
	}
	if sure {
		return l7.Yes
	}
	return l7.No
}

// beginsVerb says whether word is the beginning of a verb.
func beginsVerb(word []byte) bool {
	for _, verb := range []string{"CONNECT", "INFO", "HPUB", "HMSG", "UNSUB", "PUB", "SUB", "MSG", "PING", "PONG", "+OK", "-ERR"} {
		if len(word) < len(verb) && strings.EqualFold(verb[:len(word)], string(word)) {
			return true
		}
	}
	return false
}

func undecided(ended bool) l7.Verdict {
	if ended {
		return l7.No
	}
	return l7.Maybe
}

// sized says whether a line has as many words as its verb wants, and numbers where
// they are to be.
func sized(verb string, rest []byte) bool {
	var words [5][]byte
	n := 0
	for ; len(rest) > 0 && n < len(words); n++ {
		words[n], rest = lines.Word(rest)
	}
	least, most, numbers := 2, 3, 1
	switch verb {
	case "SUB":
		return n == 2 || n == 3
	case "UNSUB":
		return n == 1 || n == 2
	case "HPUB":
		least, most, numbers = 3, 4, 2
	case "MSG":
		least, most = 3, 4
	case "HMSG":
		least, most, numbers = 4, 5, 2
	}
	if n < least || n > most || len(rest) > 0 {
		return false
	}
	for _, w := range words[n-numbers : n] {
		if _, ok := lines.Number(w); !ok {
			return false
		}
	}
	return true
}
