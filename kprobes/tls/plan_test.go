package tls

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLibraries(t *testing.T) {
	const maps = `55d0f1a00000-55d0f1b00000 r-xp 00000000 fe:00 10    /usr/sbin/nginx
7f1160a40000-7f1160a57000 r--p 00000000 fe:00 1234                       /usr/lib/x86_64-linux-gnu/libssl.so.3
7f1160a57000-7f1160ab2000 r-xp 0001f000 fe:00 1234                       /usr/lib/x86_64-linux-gnu/libssl.so.3
7f1160b57000-7f1160bb2000 r-xp 0001f000 fe:00 1235                       /opt/a b/libssl-1f2e.so.1.1 (deleted)
7f1160c57000-7f1160cb2000 r-xp 0001f000 fe:00 1236                       /usr/lib/libcrypto.so.3
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
7ffc00100000-7ffc00121000 r-xp 00000000 00:00 0
bad line /usr/lib/libssl.so.3
`
	got, err := libraries(strings.NewReader(maps))
	want := []library{
		{path: "/usr/lib/x86_64-linux-gnu/libssl.so.3", area: "7f1160a57000-7f1160ab2000"},
		{path: "/opt/a b/libssl-1f2e.so.1.1", area: "7f1160b57000-7f1160bb2000", gone: true},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReturns(t *testing.T) {
	code := []byte{
		0x49, 0x3b, 0x66, 0x10, // cmp rsp, [r14+16]
		0x74, 0x01, // je +1
		0xc3,                            // ret
		0x48, 0xc7, 0xc0, 0xc3, 0, 0, 0, // mov rax, 0xc3: no ret
		0xc3,
		0xcc, 0xcc,
	}
	got, err := returns(code)
	if err != nil || !slices.Equal(got, []uint64{6, 14}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, {0x90}, {0xc3, 0x06}} {
		if got, err := returns(bad); err == nil {
			t.Errorf("%x: %v", bad, got)
		}
	}
}

func TestBegun(t *testing.T) {
	for _, c := range []struct {
		code []byte
		want uint64
	}{
		{[]byte{0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55, 0xc3}, 6},
		{[]byte{0x4c, 0x8d, 0x64, 0x24, 0xb8, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0x93, 7, 0, 0, 0x55, 0xc3}, 15},
		{[]byte{0x55, 0xc3}, 0},
		{[]byte{0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x90, 0x55}, 0}, // something else comes first
		{[]byte{0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x53}, 0},
		{nil, 0},
	} {
		if got := begun(c.code); got != c.want {
			t.Errorf("%x: %d, want %d", c.code, got, c.want)
		}
	}
}

// goProgram builds testdata/server with these flags.
func goProgram(t testing.TB, cgo string, args ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "server")
	cmd := exec.Command("go", append(append([]string{"build", "-o", out}, args...), "./testdata/server")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("go build: %v: %s", err, b)
	}
	return out
}

// builds are the ways in which a Go program may be linked.
var builds = []struct {
	name, cgo string
	args      []string
}{
	{"plain", "0", nil},
	{"stripped", "0", []string{"-ldflags=-s -w"}},
	{"pie stripped", "0", []string{"-buildmode=pie", "-ldflags=-s -w"}},
	{"cgo stripped", "1", []string{"-ldflags=-s -w -linkmode=external", "-tags=withcgo"}},
}

// TestInspectGo: the function table alone tells where functions are, as the symbols
// and the standard library's reader of the table do.
func TestInspectGo(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			path := goProgram(t, b.cgo, b.args...)
			p, err := inspect(path)
			if err != nil {
				t.Fatal(err)
			}
			entries, rets := map[string]int{}, map[string]int{}
			for _, at := range p.points {
				if strings.HasSuffix(at.program, "return") {
					rets[at.program]++
				} else {
					entries[at.program]++
				}
				if at.ret {
					t.Errorf("a return probe on Go: %+v", at)
				}
			}
			if p.kind != Go || entries["go_read"] != 1 || entries["go_write"] != 1 || entries["go_handshake"] != 2 || rets["go_return"] < 4 || rets["go_handshake_return"] < 2 {
				t.Errorf("%v, %v of %s", entries, rets, p.kind)
			}
			code, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range p.points {
				if rest := code[at.offset:]; strings.HasSuffix(at.program, "return") && rest[0] != 0xc3 || !strings.HasSuffix(at.program, "return") && rest[0] != 0x55 {
					t.Errorf("%s at %#x is at %x", at.program, at.offset, rest[:8])
				}
			}
			compareGosym(t, path)
		})
	}
}

// compareGosym compares with debug/gosym, an independent reader.
func compareGosym(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	own, err := openTable(f)
	if err != nil {
		t.Fatal(err)
	}
	s := f.Section(".gopclntab")
	if s == nil {
		s = f.Section(".data.rel.ro.gopclntab")
	}
	data, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := gosym.NewTable(nil, gosym.NewLineTable(data, own.text))
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range golang {
		a, ok := own.find(fn.name)
		b := theirs.LookupFunc(fn.name)
		if !ok || b == nil || own.text+a.start != b.Entry || own.text+a.end != b.End {
			t.Errorf("%s: %#x to %#x, gosym says %+v", fn.name, own.text+a.start, own.text+a.end, b)
		}
	}
}

// TestInspectOthers: what has no TLS functions has no probes, and no error either.
func TestInspectOthers(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "libssl.so.3")
	if err := os.WriteFile(text, []byte("no ELF"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, dir, "/bin/sh"} {
		if p, err := inspect(path); !errors.Is(err, errNothing) {
			t.Errorf("%s: %+v, %v", path, p, err)
		}
	}
	if _, err := inspect(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// FuzzTable: a table may say anything, it is somebody else's file.
func FuzzTable(f *testing.F) {
	b := make([]byte, headerSize+64)
	binary.LittleEndian.PutUint32(b, magic120)
	b[7] = 8
	binary.LittleEndian.PutUint64(b[8:], 2)
	binary.LittleEndian.PutUint64(b[8+3*8:], headerSize)
	binary.LittleEndian.PutUint64(b[8+7*8:], headerSize+8)
	copy(b[headerSize:], "a.b\x00")
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		table, _, err := parseTable(b)
		if err != nil {
			return
		}
		n := uint64(0)
		table.each("", func([]byte, span) bool { n++; return true })
		if n > table.funcs || n > uint64(len(b)) {
			t.Errorf("%d functions of %d in %d octets", n, table.funcs, len(b))
		}
		table.find("a.b")
	})
}

// FuzzReturns: any octets may stand where a function should be.
func FuzzReturns(f *testing.F) {
	f.Add([]byte{0x49, 0x3b, 0x66, 0x10, 0xc3})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := returns(b)
		if (err == nil) != (len(got) > 0) {
			t.Errorf("%v, %v", got, err)
		}
		for _, at := range got {
			if !bytes.Contains(b[at:min(int(at)+16, len(b))], []byte{0xc3}) && !bytes.Contains(b[at:min(int(at)+16, len(b))], []byte{0xc2}) {
				t.Errorf("no RET at %d of %x", at, b)
			}
		}
	})
}
