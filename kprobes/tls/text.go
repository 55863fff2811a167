package tls

import (
	"bytes"
	"debug/elf"
	"errors"
)

// Go's functions begin with a look at the stack's end; of large frames after the
// computation of where they would end.
var (
	smallFrame = []byte{0x49, 0x3b, 0x66, 0x10} // cmp rsp, [r14+16]
	largeFrame = []byte{0x4d, 0x3b, 0x66, 0x10} // cmp r12, [r14+16]
	lea8       = []byte{0x4c, 0x8d, 0x64, 0x24} // lea r12, [rsp-n], 5 octets
	lea32      = []byte{0x4c, 0x8d, 0xa4, 0x24} // the same, 8 octets
)

// beginsFunction says whether code begins a function of Go with a frame.
func beginsFunction(code []byte) bool {
	switch {
	case bytes.HasPrefix(code, smallFrame):
		return true
	case bytes.HasPrefix(code, lea8) && len(code) > 5:
		return bytes.HasPrefix(code[5:], largeFrame)
	case bytes.HasPrefix(code, lea32) && len(code) > 8:
		return bytes.HasPrefix(code[8:], largeFrame)
	}
	return false
}

const (
	maxText = 1 << 29 // octets of code
	sampled = 64      // functions
	// align is that of Go's first function, where others' code precedes it.
	align = 16
)

// locate finds out where Go's code begins: at the beginning of the code, or, where
// there is C too, wherever the linker put it. Known functions tell which it is:
// most must begin there as functions begin.
func (t *table) locate(f *elf.File, header uint64) error {
	s := f.Section(".text")
	if s == nil || s.Size > maxText {
		return errNothing
	}
	var some []span
	t.each("crypto/tls.", func(_ []byte, r span) bool {
		some = append(some, r)
		return len(some) < sampled
	})
	if len(some) == 0 {
		return errNothing
	}
	code, err := s.Data()
	if err != nil {
		return err
	}
	try := func(addr uint64) bool {
		t.text = addr
		return addr >= s.Addr && fits(code, addr-s.Addr, some)
	}
	if try(s.Addr) || try(header) {
		return nil
	}
	for addr := s.Addr; addr < s.Addr+s.Size; addr += align {
		if try(addr) {
			return nil
		}
	}
	return errors.New("the code of Go is not where its function table says")
}

// fits says whether most functions begin at their places, if Go's code begins at
// start. A wrong start fails within a few looks.
func fits(code []byte, start uint64, some []span) bool {
	bad := 0
	for _, r := range some {
		at := start + r.start
		if at >= uint64(len(code)) || !beginsFunction(code[at:]) {
			if bad++; bad > len(some)/2 {
				return false
			}
		}
	}
	return true
}
