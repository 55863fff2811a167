package memcached

import (
	"bytes"
	"strings"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/lines"
)

// Match says Yes to a storage or meta command, to a header of the binary protocol
// whose lengths fit its opcode, and to what only this server answers. Requests of
// one word and keys could be inline commands of Redis: Maybe.
func Match(d l7.Dir, b []byte) l7.Verdict {
	if len(b) == 0 {
		return l7.Maybe
	}
	if b[0] == magicRequest || b[0] == magicAnswer {
		return matchBinary(d, b)
	}
	line, _, ended := bytes.Cut(b, []byte("\r\n"))
	if d == l7.ToServer {
		return matchCommand(line, ended)
	}
	return matchAnswer(line, ended)
}

func matchCommand(line []byte, ended bool) l7.Verdict {
	word, rest := lines.Word(line)
	c, ok := textCommands[string(word)]
	if !ok && !ended && len(word) == len(line) {
		for command := range textCommands {
			if strings.HasPrefix(command, string(word)) {
				return l7.Maybe
			}
		}
	}
	if !ok {
		return l7.No
	}
	if !ended {
		return l7.Maybe
	}
	if bytes.Contains(rest, []byte("HTTP/")) {
		return l7.No
	}
	var words [8][]byte
	n := 0
	for ; len(rest) > 0 && n < len(words); n++ {
		words[n], rest = lines.Word(rest)
	}
	if c.bytes > 0 && n >= c.bytes {
		for _, w := range words[1:c.bytes] {
			if _, ok := lines.Number(bytes.TrimPrefix(w, []byte{'-'})); !ok {
				return l7.Maybe
			}
		}
		return l7.Yes
	}
	if c.kind&meta != 0 && (n >= 1 || c.name == "mn") {
		return l7.Yes
	}
	return l7.Maybe
}

func matchAnswer(line []byte, ended bool) l7.Verdict {
	if !ended {
		if len(line) > maxLine {
			return l7.No
		}
		return l7.Maybe
	}
	word, rest := lines.Word(line)
	switch string(word) {
	case "STORED", "NOT_STORED", "EXISTS", "NOT_FOUND", "DELETED", "TOUCHED", "END", "HD", "EN", "NF", "NS", "MN":
		if len(rest) == 0 || len(word) == 2 {
			return l7.Yes
		}
	case "VALUE":
		_, rest = lines.Word(rest)
		for range 2 {
			word, rest = lines.Word(rest)
			if _, ok := lines.Number(word); !ok {
				return l7.No
			}
		}
		return l7.Yes
	case "VA":
		if word, _ = lines.Word(rest); len(word) > 0 {
			if _, ok := lines.Number(word); ok {
				return l7.Yes
			}
		}
	case "STAT":
		return l7.Yes
	case "VERSION", "OK", "ERROR", "CLIENT_ERROR", "SERVER_ERROR":
		return l7.Maybe
	}
	if _, ok := lines.Number(line); ok {
		return l7.Maybe
	}
	return l7.No
}

func matchBinary(d l7.Dir, b []byte) l7.Verdict {
	if len(b) < headerSize {
		return l7.Maybe
	}
	h := parseHeader(b)
	if !h.sound() || int(h.opcode) >= len(opcodes) || opcodes[h.opcode].name == "" {
		return l7.No
	}
	if d == l7.ToClient {
		word, _ := binaryStatus(h.status)
		if h.magic != magicAnswer || word == "ERROR" {
			return l7.No
		}
		return l7.Yes
	}
	c := opcodes[h.opcode]
	if h.magic != magicRequest || h.status != 0 || h.extras != c.extras && h.opcode != 0x08 && h.opcode != 0x18 {
		return l7.No
	}
	if c.key != (h.key > 0) && h.opcode != opStat {
		return l7.No
	}
	return l7.Yes
}
