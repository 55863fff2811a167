package sink

import "bytes"

// parts is a batch on its way, in pieces of whole lines.
type parts struct {
	part   Batch
	rest   [][]byte // next piece last
	splits int
}

// maxSplits bounds the requests that one batch can cost: enough to single out
// four bad rows of 5000. A batch worse than that loses the pieces with bad rows.
const maxSplits = 64

func newParts(b *Batch) *parts {
	return &parts{part: *b, rest: [][]byte{b.Lines}}
}

func (p *parts) next() (*Batch, bool) {
	if len(p.rest) == 0 {
		return nil, false
	}
	if lines := p.rest[len(p.rest)-1]; len(lines) != len(p.part.Lines) {
		p.part.Lines = lines
		p.part.Rows = bytes.Count(lines, []byte{'\n'})
	}
	return &p.part, true
}

func (p *parts) done() {
	p.rest = p.rest[:len(p.rest)-1]
	p.part.Lines = nil
}

// split is halve for a piece that was refused, which is done so often only.
func (p *parts) split() bool {
	if p.splits >= maxSplits || !p.halve() {
		return false
	}
	p.splits++
	return true
}

// halve makes two of the next piece, at a line border; false: it is one line.
func (p *parts) halve() bool {
	lines := p.rest[len(p.rest)-1]
	i := bytes.LastIndexByte(lines[:len(lines)/2], '\n') + 1
	if i == 0 {
		i = bytes.IndexByte(lines, '\n') + 1
	}
	if i == 0 || i >= len(lines) {
		return false
	}
	p.rest[len(p.rest)-1] = lines[i:]
	p.rest = append(p.rest, lines[:i])
	p.part.Lines = nil
	return true
}
