package usage

import (
	"bytes"
	"math/bits"
)

// parser reads one file into r; false says that the file is not what it should be,
// and nothing of r may be used. It allocates nothing.
type parser func(b []byte, r *Reading) bool

// keyed is a line "key number" that is wanted, in units of scale.
type keyed struct {
	key   string
	value Value
	scale uint64
}

// pairs reads files of lines "key number" (cpu.stat, memory.stat, memory.events).
func pairs(wanted ...keyed) parser {
	return func(b []byte, r *Reading) bool {
		ok := false
		for len(b) > 0 {
			var line, key []byte
			line, b = cut(b, '\n')
			if key, line = cut(line, ' '); len(line) == 0 {
				continue
			}
			ok = true
			for i := range wanted {
				w := &wanted[i]
				if string(key) != w.key {
					continue
				}
				n, good := scaled(line, w.scale)
				if !good {
					return false
				}
				r.Set(w.value, n)
			}
		}
		return ok
	}
}

// single reads a file of one number; "max", "-1" and what is too large to be meant
// (v1 writes a limit that there is not as the largest number of pages) are no value.
func single(v Value) parser {
	return func(b []byte, r *Reading) bool {
		b = bytes.TrimRight(b, "\n")
		if string(b) == "max" || string(b) == "-1" {
			return true
		}
		n, ok := number(b)
		if ok && n < unlimited {
			r.Set(v, n)
		}
		return ok
	}
}

// unlimited is where memory limits of v1 begin to mean none.
const unlimited = 1 << 62

// memoryStatV1 reads memory.stat of v1, whose own limits end at the one around it.
func memoryStatV1(b []byte, r *Reading) bool {
	if !hierarchical(b, r) {
		return false
	}
	if r.v[MemoryLimit] >= unlimited {
		r.v[MemoryLimit] = 0
		r.has &^= 1 << MemoryLimit
	}
	return true
}

var hierarchical = pairs(keyed{"total_inactive_file", inactiveFile, 1}, keyed{"hierarchical_memory_limit", MemoryLimit, 1})

// cpuMax reads "quota period" of v2, in µs; "max period" is no quota.
func cpuMax(b []byte, r *Reading) bool {
	quota, period := cut(bytes.TrimRight(b, "\n"), ' ')
	p, ok := number(period)
	if !ok {
		return false
	}
	if string(quota) == "max" {
		return true
	}
	q, ok := number(quota)
	r.Set(quotaTime, q)
	r.Set(quotaPeriod, p)
	return ok
}

// pressure reads "some avg10=… total=µs" and the same of "full" (older kernels have
// none of the CPU).
func pressure(some, full Value) parser {
	return func(b []byte, r *Reading) bool {
		ok := false
		for len(b) > 0 {
			var line, kind []byte
			line, b = cut(b, '\n')
			kind, line = cut(line, ' ')
			v := some
			switch string(kind) {
			case "some":
			case "full":
				v = full
			default:
				continue
			}
			i := bytes.LastIndex(line, []byte("total="))
			if i < 0 {
				return false
			}
			n, good := scaled(line[i+len("total="):], 1000)
			if !good {
				return false
			}
			r.Set(v, n)
			ok = true
		}
		return ok
	}
}

// blkio reads lines "8:0 Read number" of v1 and adds up the devices.
func blkio(read, write Value) parser {
	return func(b []byte, r *Reading) bool {
		var sum [2]uint64
		for len(b) > 0 {
			var line, kind []byte
			line, b = cut(b, '\n')
			_, line = cut(line, ' ') // the device, or Total
			kind, line = cut(line, ' ')
			i := 0
			switch string(kind) {
			case "Read":
			case "Write":
				i = 1
			default:
				continue
			}
			if !addTo(&sum[i], line) {
				return false
			}
		}
		r.Set(read, sum[0])
		r.Set(write, sum[1])
		return true
	}
}

// ioStat reads lines "8:0 rbytes=n wbytes=n rios=n wios=n …" of v2 and adds up the
// devices. A device without figures has none.
func ioStat(b []byte, r *Reading) bool {
	var sum [4]uint64
	for len(b) > 0 {
		var line, word []byte
		line, b = cut(b, '\n')
		for len(line) > 0 {
			word, line = cut(line, ' ')
			key, n := cut(word, '=')
			i := 0
			switch string(key) {
			case "rbytes":
			case "wbytes":
				i = 1
			case "rios":
				i = 2
			case "wios":
				i = 3
			default:
				continue
			}
			if !addTo(&sum[i], n) {
				return false
			}
		}
	}
	for i, v := range [...]Value{ReadOctets, WriteOctets, Reads, Writes} {
		r.Set(v, sum[i])
	}
	return true
}

func addTo(sum *uint64, digits []byte) bool {
	n, ok := number(digits)
	if !ok || *sum+n < n {
		return false
	}
	*sum += n
	return true
}

// scaled is a number of units of scale.
func scaled(b []byte, scale uint64) (uint64, bool) {
	n, ok := number(b)
	hi, lo := bits.Mul64(n, scale)
	return lo, ok && hi == 0
}

// number reads decimal digits and nothing else.
func number(b []byte) (uint64, bool) {
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		hi, lo := bits.Mul64(n, 10)
		lo, carry := bits.Add64(lo, uint64(c-'0'), 0)
		if hi != 0 || carry != 0 {
			return 0, false
		}
		n = lo
	}
	return n, len(b) > 0
}

// cut divides b at the first sep, as bytes.Cut does.
func cut(b []byte, sep byte) (before, after []byte) {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}
