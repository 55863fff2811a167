package process

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// users maps the host's UIDs to names. A container's users appear as the host
// sees them, which for most is a bare number. Reading is safe from any goroutine;
// reload belongs to one.
type users struct {
	path  string
	mtime time.Time
	names atomic.Pointer[map[uint32]string]
}

func newUsers(path string) *users {
	u := &users{path: path}
	u.names.Store(&map[uint32]string{})
	return u
}

// name returns the user's name, or the number where it has none.
func (u *users) name(uid uint32) string {
	if n, ok := (*u.names.Load())[uid]; ok {
		return n
	}
	return strconv.FormatUint(uint64(uid), 10)
}

// reload reads the file again when it changed. A missing file leaves numbers.
func (u *users) reload() {
	fi, err := os.Stat(u.path)
	if err != nil || fi.ModTime().Equal(u.mtime) {
		return
	}
	b, err := readLimited(u.path, 16<<20)
	if err != nil {
		return
	}
	names := parsePasswd(string(b))
	u.names.Store(&names)
	u.mtime = fi.ModTime()
}

// parsePasswd reads passwd(5); of several names for a UID the first counts.
func parsePasswd(s string) map[uint32]string {
	names := map[uint32]string{}
	for line := range strings.Lines(s) {
		f := strings.SplitN(line, ":", 4)
		if len(f) < 4 || f[0] == "" {
			continue
		}
		uid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			continue
		}
		if _, ok := names[uint32(uid)]; !ok {
			names[uint32(uid)] = clip(clean(f[0]), 64)
		}
	}
	return names
}
