package lineproto

import (
	"math"
	"net/netip"
	"strconv"
	"unicode/utf8"
)

// Stats counts what the encoder had to change or leave out.
type Stats struct {
	Rows          uint64 // complete rows
	EmptyRows     uint64 // rows without a field or measurement, not written
	SkippedFields uint64 // NaN, Inf, or an empty key
	Clamped       uint64 // unsigned values above MaxInt64
	Cleaned       uint64 // tags, keys and strings with replaced characters or cut to length
}

// Tag is one key and value of a tag set.
type Tag struct{ Key, Value string }

// Encoder appends rows to a buffer it owns:
//
//	e.Begin("flow", tags); e.Int("opened", 1); e.End(ns)
//
// The zero value is ready. Not safe for concurrent use.
type Encoder struct {
	buf    []byte
	row    int // where the row being written begins
	fields int
	valid  bool
	stats  Stats
}

// Bytes returns the encoded rows, each ending in '\n'; valid until the next
// call of any other method.
func (e *Encoder) Bytes() []byte { return e.buf }

// Len returns the length of Bytes.
func (e *Encoder) Len() int { return len(e.buf) }

// Stats returns the counts since the encoder was made.
func (e *Encoder) Stats() Stats { return e.stats }

// Reset starts over, appending to buf[:0], and returns what was encoded before,
// which now belongs to the caller.
func (e *Encoder) Reset(buf []byte) []byte {
	old := e.buf
	e.buf = buf[:0]
	return old
}

// AppendTags appends a tag set in the form Begin takes: ",k=v,k=v", sorted by
// key (in place, in tags), values cleaned and escaped, empty values and
// repeated keys left out.
func (e *Encoder) AppendTags(dst []byte, tags []Tag) []byte {
	sortTags(tags)
	last := ""
	for i := range tags {
		k, v := e.clean(tags[i].Key), e.clean(tags[i].Value)
		if k == "" || v == "" || k == last {
			continue
		}
		last = k
		dst = append(dst, ',')
		dst = appendEscaped(dst, k)
		dst = append(dst, '=')
		dst = appendEscaped(dst, v)
	}
	return dst
}

// sortTags is an insertion sort: sets are small and often sorted already, and
// sort.Slice allocates.
func sortTags(tags []Tag) {
	for i := 1; i < len(tags); i++ {
		for j := i; j > 0 && tags[j].Key < tags[j-1].Key; j-- {
			tags[j], tags[j-1] = tags[j-1], tags[j]
		}
	}
}

// Begin starts a row. tags comes from AppendTags; it is the caller's to keep
// for the next row of the series.
func (e *Encoder) Begin(measurement string, tags []byte) {
	e.row, e.fields = len(e.buf), 0
	m := e.clean(measurement)
	e.valid = m != ""
	if e.valid && m[0] == '#' { // would be a comment
		e.buf = append(e.buf, substitute)
		m = m[1:]
		e.stats.Cleaned++
	}
	e.buf = appendMeasurement(e.buf, m)
	e.buf = append(e.buf, tags...)
}

// End finishes the row with its time in unix ns, or takes it back when it has
// no field, and says which.
func (e *Encoder) End(ns int64) bool {
	if e.fields == 0 || !e.valid {
		e.buf = e.buf[:e.row]
		e.stats.EmptyRows++
		return false
	}
	e.buf = append(e.buf, ' ')
	e.buf = strconv.AppendInt(e.buf, ns, 10)
	e.buf = append(e.buf, '\n')
	e.stats.Rows++
	return true
}

// key begins a field; it says whether there is one to write.
func (e *Encoder) key(k string) bool {
	k = e.clean(k)
	if k == "" {
		e.stats.SkippedFields++
		return false
	}
	sep := byte(',')
	if e.fields == 0 {
		sep = ' '
	}
	e.fields++
	e.buf = append(e.buf, sep)
	e.buf = appendEscaped(e.buf, k)
	e.buf = append(e.buf, '=')
	return true
}

// Int writes an integer field.
func (e *Encoder) Int(k string, v int64) {
	if !e.key(k) {
		return
	}
	e.buf = strconv.AppendInt(e.buf, v, 10)
	e.buf = append(e.buf, 'i')
}

// Uint writes an unsigned value as the signed integer field it has to be
// (influxd 1.x refuses unsigned ones), clamped to MaxInt64.
func (e *Encoder) Uint(k string, v uint64) {
	if v > math.MaxInt64 {
		v = math.MaxInt64
		e.stats.Clamped++
	}
	e.Int(k, int64(v))
}

// Float writes a float field; NaN and Inf are left out.
func (e *Encoder) Float(k string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		e.stats.SkippedFields++
		return
	}
	if !e.key(k) {
		return
	}
	e.buf = strconv.AppendFloat(e.buf, v, 'g', -1, 64)
}

// Bool writes a boolean field.
func (e *Encoder) Bool(k string, v bool) {
	if !e.key(k) {
		return
	}
	e.buf = strconv.AppendBool(e.buf, v)
}

// String writes a string field: at most MaxString octets, line breaks and
// other control characters as spaces, invalid UTF-8 as '_'.
func (e *Encoder) String(k, v string) {
	if !e.key(k) {
		return
	}
	short := cut(v, MaxString)
	changed := len(short) != len(v)
	e.buf = append(e.buf, '"')
	for i := 0; i < len(short); {
		c := short[i]
		if c >= ' ' && c < 0x7f {
			if c == '"' || c == '\\' {
				e.buf = append(e.buf, '\\')
			}
			e.buf = append(e.buf, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(short[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			e.buf = append(e.buf, substitute)
			changed = true
		case control(r, n):
			e.buf = append(e.buf, ' ')
			changed = true
		default:
			e.buf = append(e.buf, short[i:i+n]...)
		}
		i += n
	}
	e.buf = append(e.buf, '"')
	if changed {
		e.stats.Cleaned++
	}
}

// Addr writes an IP address as a string field. Its zone, which could hold
// anything, is dropped.
func (e *Encoder) Addr(k string, a netip.Addr) {
	if !a.IsValid() || !e.key(k) {
		return
	}
	e.buf = append(e.buf, '"')
	e.buf = a.WithZone("").AppendTo(e.buf)
	e.buf = append(e.buf, '"')
}

func (e *Encoder) clean(s string) string {
	if tagIsClean(s) {
		return s
	}
	e.stats.Cleaned++
	return CleanTag(s)
}

func appendEscaped(dst []byte, s string) []byte {
	from := 0
	for i := range len(s) {
		switch s[i] {
		case ',', '=', ' ':
			dst = append(append(dst, s[from:i]...), '\\')
			from = i
		}
	}
	return append(dst, s[from:]...)
}

// appendMeasurement escapes what a measurement needs: an equals sign stands as it is.
func appendMeasurement(dst []byte, s string) []byte {
	from := 0
	for i := range len(s) {
		switch s[i] {
		case ',', ' ':
			dst = append(append(dst, s[from:i]...), '\\')
			from = i
		}
	}
	return append(dst, s[from:]...)
}
