package kafka

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// api is a request of the protocol.
type api struct {
	name     string
	newest   int16 // version known
	flexible int16 // first version with tagged fields
	layout   []step
}

func (a *api) isFlexible(version int16) bool { return a.flexible >= 0 && version >= a.flexible }

// step is a field of a message, in the versions from to to.
type step struct {
	field    byte // see compile
	size     int  // of a fixed one
	from, to int16
	end      int // of an array: how many steps on the one after its ] is
}

// compile reads a layout: fields in their order, each with the versions that have
// it behind an @. A number is a field of so many octets, s a string, b records,
// iN an array of numbers, e an error code, [ ] an array of structures; a dot says
// that what follows is not known.
func compile(layout string) []step {
	var steps []step
	var arrays []int
	for word := range strings.FieldsSeq(layout) {
		word, versions, _ := strings.Cut(word, "@")
		s := step{field: word[0], to: 1<<15 - 1}
		if versions != "" {
			from, to, ranged := strings.Cut(versions, "-")
			s.from = int16(number(from))
			if ranged {
				s.to = int16(number(to))
			}
		}
		switch {
		case word[0] >= '1' && word[0] <= '9':
			s.field, s.size = 'n', number(word)
		case word[0] == 'i':
			s.size = number(word[1:])
		case word == "[":
			arrays = append(arrays, len(steps))
		case word == "]":
			array := arrays[len(arrays)-1]
			steps[array].end = len(steps) + 1 - array
			arrays = arrays[:len(arrays)-1]
		}
		steps = append(steps, s)
	}
	for _, i := range arrays {
		steps[i].end = len(steps) - i
	}
	return steps
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic("kafka: layout: " + err.Error()) // of a constant of this package
	}
	return n
}

// cursor reads the beginning of a message. Reading beyond what is there makes it
// short, and then everything is 0.
type cursor struct {
	b        []byte
	flexible bool
	version  int16
	short    bool
	depth    int
	deep     bool // an error code in an array has been read
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.short, c.b = true, nil
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) int16() int16 {
	if b := c.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if b := c.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// uvarint reads an unsigned varint of at most 32 bits.
func (c *cursor) uvarint() int {
	n, size := binary.Uvarint(c.b[:min(len(c.b), 5)])
	if size <= 0 || n > 1<<31-1 {
		c.short, c.b = true, nil
		return 0
	}
	c.b = c.b[size:]
	return int(n)
}

// length reads the length of a string or an array, wide octets long where it is
// not compact; -1 is null.
func (c *cursor) length(wide int) int {
	switch {
	case c.flexible:
		return c.uvarint() - 1
	case wide == 2:
		return int(c.int16())
	}
	return int(c.int32())
}

func (c *cursor) string() []byte { return c.take(max(0, c.length(2))) }

// tags skips the tagged fields at the end of a structure.
func (c *cursor) tags() {
	if !c.flexible {
		return
	}
	for n := c.uvarint(); n > 0 && !c.short; n-- {
		c.uvarint()
		c.take(c.uvarint())
	}
}

// firstError walks through a response and returns the first error code that is not
// 0. sure says that the code is the response's: of a long one, of which limited says
// that no more is looked at, the first element of the array must have had its code.
func (c *cursor) firstError(steps []step, limited bool) (code int16, sure bool) {
	code, stopped := c.walk(steps)
	return code, code != 0 || stopped || !c.short || limited && c.deep
}

// walk returns at the first error code that is not 0, or stopped at a dot.
func (c *cursor) walk(steps []step) (code int16, stopped bool) {
	for i := 0; i < len(steps) && !c.short; i++ {
		s := &steps[i]
		if s.from > c.version || s.to < c.version {
			if s.field == '[' {
				i += s.end - 1
			}
			continue
		}
		switch s.field {
		case 'n':
			c.take(s.size)
		case 's':
			c.string()
		case 'b':
			c.take(max(0, c.length(4)))
		case 'i':
			if n := c.length(4); n > 0 {
				c.take(min(n, len(c.b)+1) * s.size)
			}
		case 'e':
			code := c.int16()
			c.deep = c.deep || c.depth > 0 && !c.short
			if code != 0 {
				return code, false
			}
		case '.':
			return 0, true
		case '[':
			c.depth++
			for n := c.length(4); n > 0 && !c.short; n-- {
				// Each element has an octet at least, or this would not end.
				before := len(c.b)
				if code, stopped := c.walk(steps[i+1 : i+s.end]); code != 0 || stopped {
					return code, stopped
				}
				if len(c.b) == before {
					c.short = true
				}
			}
			c.depth--
			i += s.end - 1
		case ']':
			c.tags()
		}
	}
	return 0, false
}
