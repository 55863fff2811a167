package mongodb

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/open"
)

// flags are those of the opMsg in s.
func flags(s *stream) uint32 { return binary.LittleEndian.Uint32(s.body()) }

// request reads the request in s, and whether it will be answered.
func (p *parser) request(s *stream) (q open.Request, answered bool) {
	q = open.Request{ID: s.id(), Operation: open.Other, First: s.First, Octets: s.Octets}
	b := s.body()
	switch op := s.op(); op {
	case opMsg:
		if len(b) < 4 {
			q.Unknown = true // whether it is answered was not copied
			return q, true
		}
		q.Streaming = flags(s)&exhaustAllowed != 0
		answered = flags(s)&moreToCome == 0
		if doc, ok := section(b[4:]); ok {
			p.command(&q, doc)
		}
		return q, answered
	case opCompressed:
		q.Kind = compressed
		return q, true
	case opKillCursors:
		q.Operation = "killCursors"
		return q, false
	default:
		if len(b) < 4 {
			return q, !op.oneWay()
		}
		namespace, rest, ok := bsoncore.ReadKeyBytes(b[4:])
		if !ok {
			return q, !op.oneWay()
		}
		p.legacy(&q, op, namespace, rest)
		return q, !op.oneWay()
	}
}

// legacy names a request of the forms before opMsg by its namespace,
// database.collection; what is asked of the collection $cmd is a command.
func (p *parser) legacy(q *open.Request, op opcode, namespace, rest []byte) {
	_, collection, _ := bytes.Cut(namespace, []byte("."))
	switch op {
	case opUpdate:
		q.Operation = "update"
	case opInsert:
		q.Operation = "insert"
	case opDelete:
		q.Operation = "delete"
	case opGetMore:
		q.Operation, q.Kind = "getMore", query
	case opQuery:
		if string(collection) == "$cmd" {
			if len(rest) > 8 {
				p.command(q, rest[8:]) // behind how many to skip and to return
			}
			return
		}
		q.Operation, q.Kind = "find", query
	}
	p.target(q, collection)
}

// section returns the document of the section of kind 0, which is the command.
func section(b []byte) (doc []byte, ok bool) {
	for len(b) > 0 {
		if b[0] == 0 {
			return b[1:], true
		}
		// A sequence of documents, its size and the name of the field it stands for.
		n, _, ok := bsoncore.ReadLength(b[1:])
		if !ok || n < 5 || int(n) > len(b)-1 {
			return nil, false
		}
		b = b[1+n:]
	}
	return nil, false
}

// command names a request by the first element of its document.
func (p *parser) command(q *open.Request, doc []byte) {
	w := walk(doc)
	if !w.next() {
		return
	}
	if string(w.key) == "$query" && w.typ == bsoncore.TypeEmbeddedDocument { // a command with options around it
		if w = walk(w.data); !w.next() {
			return
		}
	}
	c, ok := commands[string(w.key)]
	if !ok {
		return
	}
	q.Operation, q.Kind = c.name, c.kind
	if c.collection {
		p.target(q, w.text())
	}
	for c.waits != "" && w.next() {
		switch string(w.key) {
		case c.waits:
			q.Streaming = true
		case "collection":
			p.target(q, w.text())
		}
	}
}

// target adds the collection to the operation.
func (p *parser) target(q *open.Request, collection []byte) {
	if len(collection) == 0 || len(q.Operation)+1+len(collection) > l7.MaxOperation || !plain(collection) {
		return
	}
	p.name = append(append(append(p.name[:0], q.Operation...), ' '), collection...)
	if name, ok := p.names.Intern(p.name, maxNames); ok {
		q.Operation = name
	}
}

// plain says whether a name is made of letters, digits and . _ - $.
func plain(name []byte) bool {
	for _, b := range name {
		letter := 'a' <= b|0x20 && b|0x20 <= 'z'
		if !letter && (b < '0' || b > '9') && b != '.' && b != '_' && b != '-' && b != '$' {
			return false
		}
	}
	return true
}

// status reads the result of the reply in s to a request of a kind.
func (p *parser) status(a *open.Answer, s *stream, kind uint8) {
	r := result{kind: kind}
	if len(s.Head) < header {
		return
	}
	switch b := s.body(); s.op() {
	case opMsg:
		if len(b) < 4 {
			return
		}
		doc, _ := section(b[4:])
		r.read(doc)
	case opReply:
		if len(b) < 20 {
			return
		}
		r.old(binary.LittleEndian.Uint32(b), b[20:])
	}
	switch {
	case r.failed && (r.code != 0 || len(r.name) > 0):
		a.Status = p.word(&r)
	case r.failed && r.whole:
		a.Status = "error"
	case !r.failed && r.ok:
		a.Status = "ok"
	}
	a.Failed = r.failed
}

// word is the name of an error, else its number.
func (p *parser) word(r *result) string {
	if len(r.name) > 0 && len(r.name) <= l7.MaxStatus && plain(r.name) {
		if s, ok := p.words.Intern(r.name, maxNames); ok {
			return s
		}
	}
	if s, ok := codes[r.code]; ok {
		return s
	}
	p.name = strconv.AppendInt(p.name[:0], r.code, 10)
	if s, ok := p.words.Intern(p.name, maxNames); ok {
		return s
	}
	return "error"
}
