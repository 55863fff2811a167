package memcached

import (
	"hash/maphash"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/lines"
	"github.com/weir-probe/weir/flows/l7/open"
)

// How a request is answered (open.Request.Kind).
const (
	quiet  = 1 << iota // only if the result is worth it
	silent             // not at all
	reads              // HIT or MISS
	meta               // by a line of two letters
	watch              // by OK, then lines for ever
)

// request is a request that has been read so far.
type request struct {
	name      string
	kind      uint8
	id        uint64 // binary: opcode and opaque; meta: a hash of the opaque
	streaming bool
}

// textCommands are the commands of the text protocol. value says that a value
// follows the line, bytes which word of it is the length.
var textCommands = map[string]struct {
	name  string
	kind  uint8
	bytes int
}{
	"get": {"get", reads, 0}, "gets": {"gets", reads, 0}, "gat": {"gat", reads, 0}, "gats": {"gats", reads, 0},
	"set": {"set", 0, 4}, "add": {"add", 0, 4}, "replace": {"replace", 0, 4},
	"append": {"append", 0, 4}, "prepend": {"prepend", 0, 4}, "cas": {"cas", 0, 4},
	"delete": {"delete", 0, 0}, "incr": {"incr", 0, 0}, "decr": {"decr", 0, 0}, "touch": {"touch", 0, 0},
	"mg": {"mg", meta | reads, 0}, "ms": {"ms", meta, 2}, "md": {"md", meta, 0}, "ma": {"ma", meta, 0},
	"me": {"me", meta | reads, 0}, "mn": {"mn", meta, 0},
	"stats": {"stats", 0, 0}, "version": {"version", 0, 0}, "verbosity": {"verbosity", 0, 0},
	"flush_all": {"flush_all", 0, 0}, "cache_memlimit": {"cache_memlimit", 0, 0}, "slabs": {"slabs", 0, 0},
	"lru": {"lru", 0, 0}, "lru_crawler": {"lru_crawler", 0, 0}, "watch": {"watch", watch, 0},
	"refresh_certs": {"refresh_certs", 0, 0}, "extstore": {"extstore", 0, 0},
	"quit": {"quit", silent, 0}, "shutdown": {"shutdown", silent, 0},
}

// statuses are the first words of answers that end one, with what they say; the
// meta commands' are in metaStatus.
var statuses = map[string]string{
	"STORED": "STORED", "NOT_STORED": "NOT_STORED", "EXISTS": "EXISTS", "NOT_FOUND": "NOT_FOUND",
	"DELETED": "DELETED", "TOUCHED": "TOUCHED", "OK": "OK", "RESET": "RESET", "VERSION": "OK",
	"ERROR": "ERROR", "CLIENT_ERROR": "CLIENT_ERROR", "SERVER_ERROR": "SERVER_ERROR",
	"BUSY": "BUSY", "BADCLASS": "BADCLASS", "NOSPARE": "NOSPARE", "NOTFULL": "NOTFULL",
	"UNSAFE": "UNSAFE", "SAME": "SAME",
}

// takeLine takes octets of a text line.
func (p *parser) takeLine(d l7.Dir, b []byte, t int64) int {
	s := &p.stream[d]
	n, line, size, ended := s.line.Take(b)
	s.octets += uint64(n)
	if !ended {
		return n
	}
	if d == l7.ToClient {
		p.answerLine(line, t)
		return n
	}
	r, body := p.command(line, size > len(line)+2)
	if body < 0 {
		p.lose(d, t)
		return n
	}
	if body > 0 {
		p.request, s.body = r, body
		return n
	}
	p.push(r, t)
	return n
}

// command reads a request line, of which cut says that the end is missing, and
// returns how long the value after it is, with its CRLF; negative if this is no
// request at all.
func (p *parser) command(line []byte, cut bool) (r request, body int64) {
	word, rest := lines.Word(line)
	for _, c := range word {
		if (c < 'a' || c > 'z') && c != '_' {
			return r, -1
		}
	}
	c, ok := textCommands[string(word)]
	if !ok {
		return request{name: open.Other}, 0
	}
	r = request{name: c.name, kind: c.kind}
	r.streaming = c.kind&watch != 0
	for i := 1; len(rest) > 0; i++ {
		word, rest = lines.Word(rest)
		switch {
		case i == c.bytes:
			if size, ok := lines.Number(word); ok {
				body = size + 2
			}
		case c.kind&meta != 0 && i > 1 && len(word) == 1 && word[0] == 'q':
			r.kind |= quiet
		case c.kind&meta != 0 && i > 1 && word[0] == 'O':
			r.id = maphash.Bytes(p.seed, word)
		case i == 1 && c.name == "lru_crawler" && string(word) == "metadump":
			r.streaming = true
		}
	}
	if !cut && c.kind&(meta|reads) == 0 && string(word) == "noreply" {
		r.kind |= silent
	}
	return r, body
}

// answerLine takes a line of the server.
func (p *parser) answerLine(line []byte, t int64) {
	s := &p.stream[l7.ToClient]
	word, rest := lines.Word(line)
	if p.watching {
		p.tell.Tell(&open.Request{Operation: "push watch", Streaming: true}, l7.OneWay,
			open.Answer{First: s.first, Last: t, Octets: s.octets})
		s.first = 0
		return
	}
	switch string(word) {
	case "VALUE":
		p.valueLine(rest, t)
		return
	case "VA", "HD", "EN", "NF", "NS", "EX", "MN", "ME":
		if string(word) != "VA" {
			p.metaAnswer(line, t)
			return
		}
		size, _ := lines.Word(rest)
		n, ok := lines.Number(size)
		if !ok {
			p.lose(l7.ToClient, t)
			return
		}
		p.value = append(p.value[:0], line...)
		s.body = n + 2
		return
	case "END":
		p.textAnswer("END", t)
		return
	}
	if status, ok := statuses[string(word)]; ok {
		p.textAnswer(status, t)
		return
	}
	if _, ok := lines.Number(word); ok {
		p.textAnswer("OK", t) // of incr and decr
		return
	}
	// STAT, ITEM, key=…: a line of a listing, which END ends.
	if q := p.open.Front(); q == nil || q.Kind&(reads|meta) != 0 {
		p.lose(l7.ToClient, t)
	}
}

// valueLine takes VALUE key flags bytes [cas].
func (p *parser) valueLine(rest []byte, t int64) {
	_, rest = lines.Word(rest)
	_, rest = lines.Word(rest)
	word, _ := lines.Word(rest)
	n, ok := lines.Number(word)
	if !ok {
		p.lose(l7.ToClient, t)
		return
	}
	p.hit = true
	p.value = p.value[:0]
	p.stream[l7.ToClient].body = n + 2
}

// textAnswer takes the line that ends an answer of other than a meta command.
func (p *parser) textAnswer(status string, t int64) {
	a := open.Answer{Status: status}
	switch status {
	case "ERROR", "CLIENT_ERROR", "SERVER_ERROR":
		a.Failed = true
	}
	i := p.candidate(status, a.Failed)
	if i < 0 {
		p.lose(l7.ToClient, t)
		return
	}
	if status == "END" {
		a.Status = "OK"
		if i < p.open.Len() && p.open.At(i).Kind&reads != 0 {
			a.Status = "MISS"
			if p.hit {
				a.Status = "HIT"
			}
		}
	}
	watched := i < p.open.Len() && p.open.At(i).Kind&watch != 0 && !a.Failed
	p.answered(i, a, t)
	p.watching = watched
}

// metaAnswer takes the line of a meta command's answer whose value, if any, has
// passed.
func (p *parser) metaAnswer(line []byte, t int64) {
	code, rest := lines.Word(line)
	i := -1
	for len(rest) > 0 {
		var flag []byte
		if flag, rest = lines.Word(rest); flag[0] == 'O' {
			i = p.open.Find(maphash.Bytes(p.seed, flag))
		}
	}
	if i < 0 {
		i = p.candidate(string(code), false)
	}
	if i < 0 {
		p.lose(l7.ToClient, t)
		return
	}
	var a open.Answer
	if i < p.open.Len() {
		a.Status = metaStatus(p.open.At(i).Operation, string(code))
	}
	p.answered(i, a, t)
	p.value = p.value[:0]
}

// candidate returns which open request an answer without an id belongs to: the
// first that can have it, where those before it were quiet; the length of the list
// if it is empty. It returns -1 where the answer fits nothing that is due, or two
// that are to be told apart.
func (p *parser) candidate(code string, anyCommand bool) int {
	found := -1
	for i := range p.open.Len() {
		q := p.open.At(i)
		due := q.Kind&quiet == 0
		if anyCommand || answers(q, code) {
			if found < 0 {
				found = i
			} else if due || q.Operation != p.open.At(found).Operation {
				return -1
			}
		}
		if due {
			return found
		}
	}
	if found < 0 && p.open.Len() > 0 {
		return -1
	}
	return max(found, 0)
}

// answers says whether an answer with that code can be one to q: of its command,
// and not what it is quiet about.
func answers(q *open.Request, code string) bool {
	if q.Kind&meta == 0 {
		return metaStatus("mg", code) == "" && metaStatus("ms", code) == ""
	}
	if metaStatus(q.Operation, code) == "" {
		return false
	}
	if q.Kind&quiet == 0 {
		return true
	}
	switch q.Operation {
	case "mg":
		return code != "EN"
	case "ms", "ma":
		return code != "HD"
	case "md":
		return code != "HD" && code != "NF"
	}
	return true
}

// metaStatus returns the status of a meta command's answer; "" if the command has
// no such answer.
func metaStatus(command, code string) string {
	switch command + " " + code {
	case "mg VA", "mg HD", "me ME":
		return "HIT"
	case "mg EN", "me EN":
		return "MISS"
	case "ms HD":
		return "STORED"
	case "md HD":
		return "DELETED"
	case "ma HD", "ma VA", "mn MN":
		return "OK"
	case "ms NS", "ma NS":
		return "NOT_STORED"
	case "ms EX", "md EX", "ma EX":
		return "EXISTS"
	case "ms NF", "md NF", "ma NF":
		return "NOT_FOUND"
	}
	return ""
}
