package tls

import (
	"debug/elf"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// golang are the functions of crypto/tls, the required first. The handshakes are
// run within the goroutine that asks for them.
var golang = []struct {
	name            string
	entry, returned string
	required        bool
}{
	{"crypto/tls.(*Conn).Read", "go_read", "go_return", true},
	{"crypto/tls.(*Conn).Write", "go_write", "go_return", true},
	{"crypto/tls.(*Conn).clientHandshake", "go_handshake", "go_handshake_return", false},
	{"crypto/tls.(*Conn).serverHandshake", "go_handshake", "go_handshake_return", false},
}

// maxFunction bounds the code of one function that is read, octets.
const maxFunction = 1 << 18

func inspectGo(f *elf.File) (plan, error) {
	t, err := openTable(f)
	if err != nil {
		return plan{}, err
	}
	p := plan{kind: Go}
	for _, fn := range golang {
		r, ok := t.find(fn.name)
		switch {
		case !ok && fn.required:
			return plan{}, errNothing // it may serve nothing by TLS
		case !ok:
			continue
		}
		if err := p.add(f, t, r, fn.entry, fn.returned); err != nil {
			return plan{}, fmt.Errorf("%s: %w", fn.name, err)
		}
	}
	return p, nil
}

// add plans a probe at a function's entry and at each of its RET instructions.
func (p *plan) add(f *elf.File, t *table, r span, entry, returned string) error {
	if r.end <= r.start || r.end-r.start > maxFunction {
		return fmt.Errorf("%d octets are no function", int64(r.end)-int64(r.start))
	}
	code := make([]byte, r.end-r.start)
	if err := readCode(f, t.text+r.start, code); err != nil {
		return err
	}
	rets, err := returns(code)
	if err != nil {
		return err
	}
	off, ok := fileOffset(f, t.text+r.start)
	if !ok {
		return fmt.Errorf("%#x is not in the file", t.text+r.start)
	}
	p.points = append(p.points, point{program: entry, offset: off + begun(code)})
	for _, ret := range rets {
		p.points = append(p.points, point{program: returned, offset: off + ret})
	}
	return nil
}

// begun is where a function has begun for good: behind the look at its stack's end,
// which begins it anew when the stack had to grow. There stands PUSH RBP, which the
// kernel emulates: half the cost of an instruction that it has to step over. The
// arguments are still where they were.
func begun(code []byte) uint64 {
	at := 0
	for range 4 {
		in, err := x86asm.Decode(code[at:], 64)
		if err != nil {
			return 0
		}
		switch in.Op {
		case x86asm.LEA, x86asm.CMP, x86asm.JBE:
			at += in.Len
		case x86asm.PUSH:
			if in.Args[0] == x86asm.RBP {
				return uint64(at)
			}
			return 0
		default:
			return 0
		}
	}
	return 0
}

// returns finds the RET instructions in a function's code. Code that can't be
// decoded is an error: what follows would be guessed.
func returns(code []byte) (out []uint64, err error) {
	for at := 0; at < len(code); {
		in, err := x86asm.Decode(code[at:], 64)
		if err != nil {
			return nil, fmt.Errorf("decode instruction at %#x: %w", at, err)
		}
		if in.Op == x86asm.RET {
			out = append(out, uint64(at))
		}
		at += in.Len
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no RET in %d octets", len(code))
	}
	return out, nil
}

// readCode reads what is loaded at an address.
func readCode(f *elf.File, addr uint64, b []byte) error {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && addr >= p.Vaddr && addr-p.Vaddr < p.Filesz {
			_, err := p.ReadAt(b, int64(addr-p.Vaddr))
			return err
		}
	}
	return fmt.Errorf("%#x is not code of the file", addr)
}
