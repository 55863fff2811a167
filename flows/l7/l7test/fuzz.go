package l7test

import (
	"testing"

	"github.com/weir-probe/weir/flows/l7"
)

// Kinds of chunks in what a fuzzer invents.
const (
	fuzzHole    = 6
	fuzzUnknown = 7 // a hole of unknown length
)

// Fuzz is the fuzz target of a parser: from rules and the captures in testdata a
// fuzzer makes other conversations. What is told of them is within bounds, and passes
// what is to be checked beside.
func Fuzz(f *testing.F, spec l7.Spec, rules []Rule, also ...func(*testing.T, []Message)) {
	for _, r := range rules {
		f.Add(seed(Script(f, r.Script)))
	}
	for _, connections := range Captures(f) {
		for _, chunks := range connections {
			f.Add(seed(chunks))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		told := bounded(t, spec, invented(data))
		for _, check := range also {
			check(t, told)
		}
	})
}

// Hostile is what a fuzz target does with two streams: they come in pieces of cut+1
// octets, turn about, with holes where cut is a multiple of three.
func Hostile(t *testing.T, spec l7.Spec, up, down []byte, cut uint8) {
	var chunks []Chunk
	streams := [2][]byte{up, down}
	for d := l7.ToServer; len(streams[0])+len(streams[1]) > 0; d ^= 1 {
		b := streams[d]
		k := min(int(cut)+1, len(b))
		chunks = append(chunks, Chunk{Chunk: l7.Chunk{Dir: d, Turn: true, Time: 1, Data: b[:k]}})
		streams[d] = b[k:]
		if cut%3 == 0 {
			chunks = append(chunks, Chunk{Chunk: l7.Chunk{Dir: d, Time: 1}, Hole: int64(cut)})
		}
	}
	bounded(t, spec, chunks)
}

// bounded checks that a parser tells no more of chunks than there is, with names that
// are not too long, and that no answer is to nothing.
func bounded(t *testing.T, spec l7.Spec, chunks []Chunk) []Message {
	for _, c := range chunks {
		if c.Hole == 0 {
			spec.Match(c.Dir, c.Data)
		}
	}
	told := Run(spec, chunks)
	if n := octets(chunks) + len(chunks); len(told) > n {
		t.Fatalf("%d messages of %d octets and holes", len(told), n)
	}
	for i := range told {
		m := &told[i]
		if len(m.Operation) > l7.MaxOperation || len(m.Status) > l7.MaxStatus || len(m.Host) > l7.MaxHost {
			t.Fatalf("a name is too long: %v", m)
		}
		if m.answered() && m.Operation == "" {
			t.Fatalf("an answer to nothing: %v", m)
		}
	}
	return told
}

// invented reads what a fuzzer makes: chunks of direction and kind, a length of two
// octets, and payload.
func invented(data []byte) []Chunk {
	var all []Chunk
	for len(data) > 2 {
		kind, n := data[0]>>1&7, int(data[1])|int(data[2])<<8
		c := Chunk{Chunk: l7.Chunk{Dir: l7.Dir(data[0] & 1)}}
		data = data[3:]
		switch kind {
		case fuzzHole:
			c.Hole = int64(n)
		case fuzzUnknown:
			c.Hole = -1
		default:
			n = min(n, len(data))
			c.Data, data = data[:n:n], data[n:]
		}
		all = append(all, c)
	}
	return Talk(all...)
}

// seed is the inverse of invented: what is longer than its lengths can say is split.
func seed(chunks []Chunk) []byte {
	const most = 1<<16 - 1
	var b []byte
	for _, c := range chunks {
		head := func(kind byte, n int) { b = append(b, byte(c.Dir)|kind<<1, byte(n), byte(n>>8)) }
		switch {
		case c.Hole < 0:
			head(fuzzUnknown, 0)
		case c.Hole > 0:
			head(fuzzHole, int(min(c.Hole, most)))
		}
		for data := c.Data; len(data) > 0; {
			n := min(len(data), most)
			head(0, n)
			b = append(b, data[:n]...)
			data = data[n:]
		}
	}
	return b
}
