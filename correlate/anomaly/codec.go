package anomaly

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/weir-probe/weir/flows"
)

// codec writes values, or reads them back, by the same calls: what is written is what
// is read. After an error every call does nothing.
type codec struct {
	b       []byte
	reading bool
	version uint16 // of what is read or written
	err     error
}

var (
	errShort = errors.New("it ends too early")
	errRange = errors.New("a value in it is impossible")
)

// field writes or reads n octets.
func (c *codec) field(n int) []byte {
	if c.err != nil {
		return nil
	}
	if !c.reading {
		c.b = append(c.b, make([]byte, n)...)
		return c.b[len(c.b)-n:]
	}
	if len(c.b) < n {
		c.err = errShort
		return nil
	}
	f := c.b[:n]
	c.b = c.b[n:]
	return f
}

// number is any integer that fits n octets.
func number[T ~int8 | ~int16 | ~int32 | ~int64 | ~int | ~uint8 | ~uint16 | ~uint32 | ~uint64](c *codec, v *T, n int) {
	f := c.field(n)
	if f == nil {
		return
	}
	var w [8]byte
	if c.reading {
		copy(w[:], f)
		x := binary.LittleEndian.Uint64(w[:])
		shift := 64 - 8*n
		if T(0)-1 < 0 { // a signed one keeps its sign
			*v = T(int64(x<<shift) >> shift)
		} else {
			*v = T(x)
		}
		return
	}
	binary.LittleEndian.PutUint64(w[:], uint64(*v))
	copy(f, w[:n])
}

// below is a number that must be less than limit.
func below[T ~uint8 | ~uint16 | ~uint32 | ~int](c *codec, v *T, n int, limit T) {
	number(c, v, n)
	if c.err == nil && (*v < 0 || *v >= limit) {
		c.err = errRange
	}
}

func (c *codec) float(v *float64) {
	x := math.Float64bits(*v)
	number(c, &x, 8)
	if *v = math.Float64frombits(x); math.IsNaN(*v) || math.IsInf(*v, 0) {
		c.fail()
	}
}

func (c *codec) flag(v *bool) {
	var x uint8
	if *v {
		x = 1
	}
	below(c, &x, 1, 2)
	*v = x == 1
}

// maxText bounds a string, octets.
const maxText = 4096

func (c *codec) text(v *string) {
	n := min(len(*v), maxText)
	below(c, &n, 2, maxText+1)
	f := c.field(n)
	if f == nil {
		return
	}
	if c.reading {
		*v = string(f)
	} else {
		copy(f, *v)
	}
}

func (c *codec) addr(a *flows.Addr) {
	if f := c.field(len(a)); f == nil {
		return
	} else if c.reading {
		copy(a[:], f)
	} else {
		copy(f, a[:])
	}
}

func (c *codec) fail() {
	if c.err == nil {
		c.err = errRange
	}
}
