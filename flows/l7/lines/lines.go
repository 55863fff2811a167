// Package lines collects the lines of a text protocol from pieces of any size.
package lines

import "bytes"

// Line is a line that may come in pieces. Set Max before use.
type Line struct {
	// Max bounds the octets kept of a line; the rest of a longer one is counted.
	Max  int
	buf  []byte
	size int
}

// Take takes octets of b up to the end of the line and returns how many, and
// whether the line has ended. Then line is its beginning without CRLF, valid until
// the next call, and size how long it was with it.
func (l *Line) Take(b []byte) (n int, line []byte, size int, ended bool) {
	end := bytes.IndexByte(b, '\n')
	if end >= 0 && l.size == 0 && end <= l.Max {
		return end + 1, bytes.TrimSuffix(b[:end], []byte{'\r'}), end + 1, true
	}
	n = len(b)
	if end >= 0 {
		n = end + 1
	}
	l.buf = append(l.buf, b[:min(n, l.Max-len(l.buf))]...)
	l.size += n
	if end < 0 {
		return n, nil, 0, false
	}
	line, size = l.buf, l.size
	if len(line) == size {
		line = bytes.TrimSuffix(line[:size-1], []byte{'\r'})
	}
	l.Reset()
	return n, line, size, true
}

// Began says whether there are octets of a line that has not ended.
func (l *Line) Began() bool { return l.size > 0 }

// Beginning returns what is kept of the line that has not ended.
func (l *Line) Beginning() []byte { return l.buf }

// Reset drops the line that has not ended.
func (l *Line) Reset() { l.buf, l.size = l.buf[:0], 0 }

// Word returns the first word of line and what comes after it and the spaces.
func Word(line []byte) (word, rest []byte) {
	line = bytes.TrimLeft(line, " \t")
	i := bytes.IndexAny(line, " \t")
	if i < 0 {
		return line, nil
	}
	return line[:i], bytes.TrimLeft(line[i:], " \t")
}

// Number reads decimal digits, fewer than 16.
func Number(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 15 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}
