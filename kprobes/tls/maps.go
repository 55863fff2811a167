package tls

import (
	"bufio"
	"io"
	"path"
	"strings"
)

// library is a shared library that a process has mapped, as /proc/PID/maps names it.
type library struct {
	path string // in the process's root
	area string // its directory entry in map_files
	gone bool   // no file has that name any more
}

// libraries returns what may be OpenSSL among the mapped code of a process.
func libraries(maps io.Reader) (out []library, err error) {
	sc := bufio.NewScanner(maps)
	for sc.Scan() {
		// 7f1160a57000-7f1160ab2000 r-xp 0001f000 fe:00 1234    /usr/lib/libssl.so.3
		line := sc.Text()
		slash := strings.IndexByte(line, '/')
		if slash < 0 {
			continue
		}
		name, gone := strings.CutSuffix(line[slash:], " (deleted)")
		head := strings.Fields(line[:slash])
		if len(head) != 5 || !strings.Contains(head[1], "x") || !mayBeOpenSSL(path.Base(name)) {
			continue
		}
		out = append(out, library{path: name, area: head[0], gone: gone})
	}
	return out, sc.Err()
}

// mayBeOpenSSL: libssl.so.3, and libssl-1f2e3d4c.so.1.1 of a Python wheel.
func mayBeOpenSSL(name string) bool {
	return strings.HasPrefix(name, "libssl") && strings.Contains(name, ".so")
}
