package redis

import (
	"bytes"

	"github.com/weir-probe/weir/flows/l7/lines"
)

const (
	maxText  = 64      // octets kept of a line or of a bulk string
	maxDepth = 32      // of arrays in arrays; clients stop at 9 or so
	maxSize  = 1 << 40 // of a bulk string or an array
)

// event is what reading has come to.
type event uint8

const (
	more    event = iota // all octets are taken
	element              // an element of the value ended
	whole                // the value ended, with its last element
	broken               // this is not RESP
)

// reader reads one direction value by value, in pieces of any size.
type reader struct {
	// inline marks the direction of requests: what is no array is a line of words.
	inline bool
	// began says that octets of a value have been taken; top is its first, null that
	// it is one of the nulls, count the elements it announced.
	began bool
	top   byte
	null  bool
	count int64
	// The element that ended: its type, how deep it is (0: the value itself), which
	// of those beside it, and its beginning. short marks a text with a hole in it.
	typ   byte
	depth int
	index int64
	text  []byte
	size  int64
	short bool

	buf    [maxText]byte
	inLine bool
	skip   int64 // of a bulk string: octets left, with its CRLF
	level  int
	left   [maxDepth]int64
	of     [maxDepth]int64
	attr   uint32 // bit n: level n+1 is an attribute, not an element
}

// next takes octets of b until an element ends, and returns how many.
func (r *reader) next(b []byte) (int, event) {
	taken := 0
	for taken < len(b) {
		if !r.began {
			r.began, r.top, r.null, r.count = true, b[taken], false, 0
			r.inLine, r.skip, r.level, r.attr = false, 0, 0, 0
		}
		if r.skip > 0 {
			n, ok := r.bulk(b[taken:])
			taken += n
			if !ok {
				return taken, broken
			}
			if r.skip == 0 {
				return taken, r.ended()
			}
			continue
		}
		if !r.inLine {
			r.text, r.size, r.short, r.inLine = r.buf[:0], 0, false, true
		}
		end := bytes.IndexByte(b[taken:], '\n')
		line := b[taken:]
		if end >= 0 {
			line = line[:end]
		}
		r.text = append(r.text, line[:min(len(line), maxText-len(r.text))]...)
		r.size += int64(len(line))
		taken += len(line)
		if end < 0 {
			continue
		}
		taken++
		r.inLine = false
		if ev := r.line(); ev != more {
			return taken, ev
		}
	}
	return taken, more
}

// bulk takes octets of a bulk string and the CRLF after it.
func (r *reader) bulk(b []byte) (taken int, ok bool) {
	n := min(int64(len(b)), r.skip-2)
	if n > 0 {
		keep := min(n, int64(maxText-len(r.text)))
		if !r.short {
			r.text = append(r.text, b[:keep]...)
		}
		r.skip -= n
		b = b[n:]
	} else {
		n = 0
	}
	for len(b) > 0 && r.skip > 0 {
		if b[0] != "\n\r"[r.skip-1] {
			return int(n), false
		}
		b = b[1:]
		r.skip--
		n++
	}
	return int(n), true
}

// gap says that n octets are missing, and returns whether the place is kept: all
// of them belong to one bulk string.
func (r *reader) gap(n int64) bool {
	if !r.began || r.skip == 0 || n < 0 || n > r.skip {
		return false
	}
	if int64(len(r.text)) < min(r.size, maxText) {
		r.short = true
	}
	r.skip -= n
	return true
}

// line takes the line in text, which has ended.
func (r *reader) line() event {
	if n := len(r.text); r.size <= maxText && n > 0 && r.text[n-1] == '\r' {
		r.text = r.text[:n-1]
	}
	if len(r.text) == 0 {
		if r.inline && r.level == 0 {
			r.began = false // an empty line is nothing, Redis says
			return more
		}
		return broken
	}
	r.typ = r.text[0]
	if r.inline && (r.level == 0 && r.typ != '*' || r.level > 0 && r.typ != '$') {
		if r.level > 0 || !isWord(r.text) {
			return broken
		}
		r.typ = 0
		return r.ended()
	}
	switch r.typ {
	case '+', '-', ':', ',', '#', '(', '_':
		if r.typ == '_' && r.level == 0 {
			r.null = true
		}
		r.text = r.text[1:]
		return r.ended()
	}
	size, ok := number(r.text[1:])
	if !ok {
		return broken
	}
	switch r.typ {
	case '$', '=', '!':
		if size < 0 {
			r.null = r.null || r.level == 0
			r.text = r.text[:0]
			return r.ended()
		}
		r.text, r.size, r.skip = r.buf[:0], size, size+2
		return more
	case '*', '~', '>', '%', '|':
		return r.aggregate(size)
	}
	return broken
}

// aggregate begins an array or its like with size elements or pairs.
func (r *reader) aggregate(size int64) event {
	if r.typ == '%' || r.typ == '|' {
		size *= 2
	}
	attribute := r.typ == '|'
	if r.level == 0 && !attribute {
		r.count = size
	}
	if size <= 0 {
		r.null = r.null || r.level == 0 && size < 0
		if attribute {
			r.attributeEnded()
			return more
		}
		r.text = r.text[:0]
		return r.ended()
	}
	if r.level == maxDepth {
		return broken
	}
	r.left[r.level], r.of[r.level] = size, size
	r.attr &^= 1 << r.level
	if attribute {
		r.attr |= 1 << r.level
	}
	r.level++
	return more
}

// attributeEnded makes the next element the value, if the attribute was before it.
func (r *reader) attributeEnded() {
	if r.level == 0 {
		r.began = false
	}
}

// ended counts the element that ended, and what ends with it.
func (r *reader) ended() event {
	r.depth, r.index = r.level, 0
	if r.level > 0 {
		r.index = r.of[r.level-1] - r.left[r.level-1]
	}
	for r.level > 0 {
		r.left[r.level-1]--
		if r.left[r.level-1] > 0 {
			return element
		}
		r.level--
		if r.attr&(1<<r.level) != 0 {
			r.attributeEnded()
			return element
		}
	}
	r.began = false
	return whole
}

// number reads the decimal number after a type octet; -1 is allowed.
func number(b []byte) (int64, bool) {
	if string(b) == "-1" {
		return -1, true
	}
	n, ok := lines.Number(b)
	return n, ok && len(b) <= 13 && n <= maxSize
}

// isWord says whether a line can be an inline command: it begins with a letter.
func isWord(line []byte) bool {
	c := line[0] | 0x20
	return 'a' <= c && c <= 'z'
}
