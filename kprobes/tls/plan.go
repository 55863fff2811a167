package tls

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// point is one place in a file where a program is to run.
type point struct {
	program string
	offset  uint64 // in the file
	ret     bool   // when the function that begins there returns
}

// plan says what a file is and where its probes go.
type plan struct {
	kind   Kind
	points []point
}

// Kind is what a file with probes is.
type Kind string

// The kinds of files.
const (
	OpenSSL Kind = "openssl"
	Go      Kind = "go"
)

// errNothing: the file has no TLS functions that are known here.
var errNothing = errors.New("no TLS functions")

// inspect plans the probes of a file. It is any process's file, so whatever is in
// it must do no harm.
func inspect(path string) (p plan, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read ELF: %v", r)
		}
	}()
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be a FIFO by now
	if err != nil {
		return plan{}, err
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		return plan{}, errors.Join(errNothing, err)
	}
	f, err := elf.NewFile(file)
	if err != nil {
		return plan{}, errors.Join(errNothing, err)
	}
	if f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return plan{}, errNothing
	}
	if f.Section(".go.buildinfo") != nil {
		return inspectGo(f)
	}
	return inspectOpenSSL(f)
}

// fileOffset is where the code at an address stands in the file.
func fileOffset(f *elf.File, addr uint64) (uint64, bool) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && addr >= p.Vaddr && addr-p.Vaddr < p.Filesz {
			return addr - p.Vaddr + p.Off, true
		}
	}
	return 0, false
}

// openssl are the functions of OpenSSL's API, the required first: these have had
// the same arguments since 0.9, and 1.1.1 the ones with _ex. BoringSSL has some.
var openssl = []struct {
	name            string
	entry, returned string
	required        bool
}{
	{"SSL_read", "ssl_read", "ssl_return", true},
	{"SSL_write", "ssl_write", "ssl_return", true},
	{"SSL_read_ex", "ssl_read_ex", "ssl_return", false},
	{"SSL_write_ex", "ssl_write_ex", "ssl_return", false},
	{"SSL_do_handshake", "ssl_handshake", "ssl_handshake_return", false},
	{"SSL_free", "ssl_free", "", false},
}

func inspectOpenSSL(f *elf.File) (plan, error) {
	at, err := functions(f)
	if err != nil {
		return plan{}, err
	}
	p := plan{kind: OpenSSL}
	for _, fn := range openssl {
		off, ok := at[fn.name]
		switch {
		case !ok && fn.required:
			return plan{}, errNothing
		case !ok:
			continue
		}
		p.points = append(p.points, point{program: fn.entry, offset: off})
		if fn.returned != "" {
			p.points = append(p.points, point{program: fn.returned, offset: off, ret: true})
		}
	}
	return p, nil
}

// functions finds OpenSSL's functions among the symbols that a file defines.
func functions(f *elf.File) (map[string]uint64, error) {
	at := map[string]uint64{}
	for _, read := range []func() ([]elf.Symbol, error){f.DynamicSymbols, f.Symbols} {
		symbols, err := read()
		if errors.Is(err, elf.ErrNoSymbols) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range symbols {
			s := &symbols[i]
			if elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Section == elf.SHN_UNDEF {
				continue
			}
			for _, fn := range openssl {
				if fn.name != s.Name {
					continue
				}
				if off, ok := fileOffset(f, s.Value); ok {
					at[fn.name] = off
				}
			}
		}
	}
	return at, nil
}
