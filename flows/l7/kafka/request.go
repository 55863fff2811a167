package kafka

import (
	"encoding/binary"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/open"
)

// request reads the request in s, and whether it will be answered.
func (p *parser) request(s *stream) (q open.Request, answered bool) {
	q = open.Request{Operation: open.Other, First: s.First, Octets: s.Octets, Kind: 255}
	if len(s.Head) < 12 {
		q.Unknown = true
		return q, true
	}
	c := cursor{b: s.Body()}
	key := int(c.int16())
	c.version = c.int16()
	q.ID, q.Version = uint64(uint32(c.int32())), c.version
	if key < 0 || key >= len(apis) || apis[key].name == "" {
		return q, true
	}
	q.Kind, q.Operation = uint8(key), apis[key].name
	if c.version > apis[key].newest {
		q.Streaming = key == fetch || key == shareFetch
		return q, true
	}
	if key != controlledShutdown || c.version > 0 {
		c.string() // the client's id, never compact
	}
	c.flexible = apis[key].isFlexible(c.version)
	c.tags()
	switch key {
	case produce:
		return p.produce(q, &c)
	case fetch:
		p.fetch(&q, &c)
	case joinGroup, syncGroup, shareFetch:
		q.Streaming = true
	}
	return q, true
}

// produce reads acks and the topic, if there is one.
func (p *parser) produce(q open.Request, c *cursor) (open.Request, bool) {
	if c.version >= 3 {
		c.string() // the transaction's id
	}
	acks := c.int16()
	c.take(4) // how long to wait for them, ms
	if c.short {
		q.Unknown = true // whether it is answered was not copied
		return q, true
	}
	if c.version <= 12 {
		p.topic(&q, c)
	}
	return q, acks != 0
}

// fetch reads whether the broker is to wait for data, and the topic, if there is
// one.
func (p *parser) fetch(q *open.Request, c *cursor) {
	if c.version <= 14 {
		c.take(4) // the replica's id
	}
	wait, least := c.int32(), c.int32()
	q.Streaming = c.short || wait > 0 && least > 0
	if c.version > 12 {
		return
	}
	if c.version >= 3 {
		c.take(4) // most octets
	}
	if c.version >= 4 {
		c.take(1) // isolation
	}
	if c.version >= 7 {
		c.take(8) // session and epoch
	}
	p.topic(q, c)
}

// topic adds the topic to the operation if it is the only one.
func (p *parser) topic(q *open.Request, c *cursor) {
	if c.length(4) != 1 {
		return
	}
	topic := c.string()
	if c.short || len(topic) == 0 || len(q.Operation)+1+len(topic) > l7.MaxOperation {
		return
	}
	for _, b := range topic {
		letter := 'a' <= b|0x20 && b|0x20 <= 'z'
		if !letter && (b < '0' || b > '9') && b != '.' && b != '_' && b != '-' {
			return
		}
	}
	p.name = append(append(append(p.name[:0], q.Operation...), ' '), topic...)
	if name, ok := p.names.Intern(p.name, maxNames); ok {
		q.Operation = name
	}
}

// sensible says whether b begins a request of size octets: a key and version there
// are, and a client id that fits and can be read.
func sensible(b []byte, size int64) bool {
	key, version := binary.BigEndian.Uint16(b), int16(binary.BigEndian.Uint16(b[2:]))
	if int(key) >= len(apis) || apis[key].name == "" || version < 0 || version > apis[key].newest+2 {
		return false
	}
	if size == 8 {
		return key == controlledShutdown && version == 0
	}
	if size < 10 {
		return false
	}
	if len(b) < 10 {
		return true
	}
	id := int(int16(binary.BigEndian.Uint16(b[8:])))
	if id < -1 || int64(10+max(id, 0)) > size {
		return false
	}
	for _, c := range b[10:min(len(b), 10+max(id, 0))] {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// Match says Yes to a request whose header makes sense: a length, an api key and
// version there are, and a client id that can be read. Responses have nothing to
// be known by: Maybe where the length can be one.
func Match(d l7.Dir, b []byte) l7.Verdict {
	if len(b) == 0 || len(b) < 4 && b[0] == 0 {
		return l7.Maybe
	}
	if len(b) < 4 {
		return l7.No // a frame that large does not come in pieces that small
	}
	size := int64(binary.BigEndian.Uint32(b))
	if d == l7.ToClient {
		if size < 4 || size > maxResponse {
			return l7.No
		}
		return l7.Maybe
	}
	if size < 8 || size > maxRequest {
		return l7.No
	}
	if len(b) < 14 {
		return l7.Maybe
	}
	if !sensible(b[4:], size) {
		return l7.No
	}
	// The id of a client is its only text: without one, the first request of a
	// connection is enough if it comes alone.
	if id := int16(binary.BigEndian.Uint16(b[12:])); id <= 0 && (size != int64(len(b)-4) || b[4] != 0 || b[5] != apiVersions && b[5] != metadata) {
		return l7.Maybe
	}
	return l7.Yes
}
