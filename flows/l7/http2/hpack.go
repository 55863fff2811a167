package http2

import (
	"unsafe"

	"golang.org/x/net/http2/hpack"
)

// field is a header field that matters.
type field uint8

const (
	other field = iota
	method
	path
	authority
	host
	status
	contentType
	grpcStatus
	protocol // RFC 8441: extended CONNECT
	numFields
	lostField // an entry of which the name is not known
)

func fieldOf(name []byte) field {
	switch string(name) {
	case ":method":
		return method
	case ":path":
		return path
	case ":authority":
		return authority
	case "host":
		return host
	case ":status":
		return status
	case "content-type":
		return contentType
	case "grpc-status":
		return grpcStatus
	case ":protocol":
		return protocol
	}
	return other
}

const (
	maxValue   = 256 // octets kept of a value
	maxEntries = 128 // as many as a table of the usual 4096 octets can hold
)

// value is one of a field; more says that it went on.
type value struct {
	b         []byte
	set, more bool
}

func (v *value) keep(b []byte, more bool) {
	if len(b) > maxValue {
		b, more = b[:maxValue], true
	}
	v.b, v.set, v.more = append(v.b[:0], b...), true, more
}

// Write is how the Huffman decoder gives what it has decoded.
func (v *value) Write(b []byte) (int, error) {
	v.keep(b, false)
	return len(b), nil
}

// entry is one of the dynamic table: a field that matters with its value.
type entry struct {
	field field
	value value
}

var static = staticTable()

// staticTable reads the static table (RFC 7541 appendix A) out of a decoder.
func staticTable() (all [62]entry) {
	i := 1
	d := hpack.NewDecoder(0, func(f hpack.HeaderField) {
		all[i].field = fieldOf([]byte(f.Name))
		all[i].value.keep([]byte(f.Value), false)
	})
	for ; i < len(all); i++ {
		if _, err := d.Write([]byte{0x80 | byte(i)}); err != nil {
			panic(err) // not input: the table is that of the library
		}
	}
	return all
}

// decoder reads the header blocks of one direction. fields is what the block had,
// unknown says that it had fields which could not be read.
type decoder struct {
	ring    []entry // the newest entries of the dynamic table
	newest  int
	n       int
	fields  [numFields]value
	unknown bool
	name    value
	text    value
	room    *room // of the connection

	doubt   bool // entries may have been added that were not seen
	dynamic int  // references of the block to the dynamic table
	ownType bool // the block has a content type of its own, not of the table
}

// forget says that entries may have been added that were not seen.
func (d *decoder) forget() { d.n, d.doubt = 0, false }

// begin empties the fields.
func (d *decoder) begin() {
	d.unknown, d.dynamic, d.ownType = false, 0, false
	for i := range d.fields {
		d.fields[i].set = false
	}
}

// add makes room for the newest entry.
func (d *decoder) add() *entry {
	if d.n == len(d.ring) && d.n < maxEntries {
		more := min(max(16, 2*d.n), maxEntries)
		// Without room the table forgets its oldest sooner.
		if d.n > 0 && !d.room.take((more-d.n)*int(unsafe.Sizeof(entry{}))) {
			return d.next()
		}
		ring := make([]entry, more)
		for i := range d.n { // newest last
			ring[i] = d.ring[(d.newest-d.n+1+i+len(d.ring))%len(d.ring)]
		}
		d.ring, d.newest = ring, d.n-1
	}
	return d.next()
}

// next is the slot of the newest entry.
func (d *decoder) next() *entry {
	d.newest = (d.newest + 1) % len(d.ring)
	d.n = min(d.n+1, len(d.ring))
	return &d.ring[d.newest]
}

// refer returns the entry that the block refers to; nil: it is not known.
func (d *decoder) refer(i uint64) *entry {
	if i >= uint64(len(static)) {
		d.dynamic++
	}
	return d.at(i)
}

// at returns an entry by its index; nil: it is not known.
func (d *decoder) at(i uint64) *entry {
	if i < uint64(len(static)) {
		return &static[i]
	}
	if i -= uint64(len(static)); i < uint64(d.n) {
		return &d.ring[(d.newest-int(i)+len(d.ring))%len(d.ring)]
	}
	return nil
}

// proven says whether the block of a response that must have a content type shows that
// nothing was added to the table since: its only reference is the type, and there is
// one of them in the table, so that this is where it was.
func (d *decoder) proven() bool {
	if d.unknown || d.ownType || d.dynamic != 1 || !isGRPC(&d.fields[contentType]) {
		return false
	}
	types := 0
	for i := range d.n {
		if f := d.at(uint64(len(static) + i)).field; f == contentType {
			types++
		} else if f == lostField {
			return false
		}
	}
	return types == 1
}

// block reads a header block; a malformed one is told as unknown, and what it
// added to the table is.
func (d *decoder) block(b []byte) {
	for len(b) > 0 {
		rest, ok := d.one(b)
		if !ok {
			d.unknown = true
			d.forget()
			return
		}
		b = rest
	}
}

// one reads a field representation (RFC 7541 section 6).
func (d *decoder) one(b []byte) (rest []byte, ok bool) {
	var bits uint
	switch c := b[0]; {
	case c&0x80 != 0:
		i, rest, ok := integer(b, 7)
		if !ok || i == 0 {
			return nil, false
		}
		if e := d.refer(i); e != nil {
			d.found(e.field, e.value.b, e.value.more)
		} else {
			d.unknown = true
		}
		return rest, true
	case c&0x40 != 0:
		bits = 6
	case c&0x20 != 0:
		_, rest, ok := integer(b, 5) // a size: nothing hangs on it here
		return rest, ok
	default:
		bits = 4
	}
	return d.literal(b, bits)
}

func (d *decoder) literal(b []byte, bits uint) (rest []byte, ok bool) {
	i, b, ok := integer(b, bits)
	if !ok {
		return nil, false
	}
	f := lostField
	if i == 0 {
		if b, ok = text(&d.name, b, true); !ok {
			return nil, false
		}
		f = fieldOf(d.name.b)
	} else if e := d.refer(i); e != nil {
		f = e.field
	}
	if b, ok = text(&d.text, b, f != other && f != lostField); !ok {
		return nil, false
	}
	d.ownType = d.ownType || f == contentType
	d.found(f, d.text.b, d.text.more)
	if bits == 6 {
		e := d.add()
		e.field = f
		if e.value.b, ok = d.room.grown(e.value.b[:0], len(d.text.b), maxValue); ok {
			e.value.keep(d.text.b, d.text.more)
		} else {
			e.field = lostField // that it is there is known
		}
	}
	return b, true
}

// found notes a field; the first of a name counts.
func (d *decoder) found(f field, b []byte, more bool) {
	switch {
	case f == lostField:
		d.unknown = true
	case f == other || d.fields[f].set:
	default:
		d.fields[f].keep(b, more)
	}
}

// integer reads one with a prefix of some bits (section 5.1). None that matters
// has more than 28 bits.
func integer(b []byte, bits uint) (n uint64, rest []byte, ok bool) {
	most := uint64(1)<<bits - 1
	n, b = uint64(b[0])&most, b[1:]
	if n < most {
		return n, b, true
	}
	for shift := uint(0); shift <= 21 && len(b) > 0; shift += 7 {
		c := b[0]
		b = b[1:]
		n += uint64(c&0x7f) << shift
		if c&0x80 == 0 {
			return n, b, true
		}
	}
	return 0, nil, false
}

// text reads a string literal (section 5.2) into v, its octets only if wanted.
func text(v *value, b []byte, wanted bool) (rest []byte, ok bool) {
	v.b, v.more = v.b[:0], false
	if len(b) == 0 {
		return nil, false
	}
	coded := b[0]&0x80 != 0
	n, b, ok := integer(b, 7)
	if !ok || n > uint64(len(b)) {
		return nil, false
	}
	if wanted {
		if !coded {
			v.keep(b[:n], false)
		} else if _, err := hpack.HuffmanDecode(v, b[:n]); err != nil {
			return nil, false
		}
	}
	return b[n:], true
}
