package kprobes

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoot is an open directory of the v2 hierarchy that programs are attached to.
type cgroupRoot struct {
	dir  *os.File
	note string // what its user should know
}

// path names the directory even after it was unmounted again.
func (c *cgroupRoot) path() string { return fmt.Sprintf("/proc/self/fd/%d", c.dir.Fd()) }

var errNoCgroup2 = errors.New("no cgroup v2 hierarchy is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")

// openCgroupRoot finds the root of the v2 hierarchy, or mounts it for a moment.
func openCgroupRoot(cfg *Config) (*cgroupRoot, error) {
	path := cfg.CgroupRoot
	if path == "" {
		f, err := os.Open("/proc/self/mountinfo")
		if err != nil {
			return nil, fmt.Errorf("find the cgroup v2 mount: %w", err)
		}
		defer f.Close()
		path = findCgroup2(f)
	}
	if path == "" {
		if cfg.NoCgroupMount {
			return nil, errNoCgroup2
		}
		return mountCgroup2()
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open cgroup v2 root: %w", err)
	}
	root := &cgroupRoot{dir: dir}
	var st unix.Stat_t
	// kernfs gives the root of a hierarchy the id 1
	if err := unix.Fstat(int(dir.Fd()), &st); err == nil && st.Ino != 1 {
		root.note = path + " is not the root of the hierarchy, only sockets below it are seen: run in the host's cgroup namespace"
	}
	return root, nil
}

// findCgroup2 returns the mount point of the v2 hierarchy, its root preferred
// to a part of it; empty when there is none.
func findCgroup2(mountinfo io.Reader) string {
	found := ""
	sc := bufio.NewScanner(mountinfo)
	for sc.Scan() {
		// 36 35 0:30 /root /mount/point opts… - cgroup2 cgroup2 rw
		before, after, ok := strings.Cut(sc.Text(), " - ")
		f := strings.Fields(before)
		if !ok || len(f) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		point := unescapeMount(f[4])
		if f[3] == "/" {
			return point
		}
		if found == "" {
			found = point
		}
	}
	return found
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// mountCgroup2 mounts the hierarchy, opens it and detaches the mount again: the
// open directory is all that attaching needs, and nothing is left behind.
func mountCgroup2() (*cgroupRoot, error) {
	tmp, err := os.MkdirTemp("", "weir-cgroup-")
	if err != nil {
		return nil, fmt.Errorf("%w (mounting it privately: %w)", errNoCgroup2, err)
	}
	defer os.Remove(tmp)
	if err := unix.Mount("none", tmp, "cgroup2", 0, ""); err != nil {
		return nil, fmt.Errorf("%w (mounting it privately: %w)", errNoCgroup2, err)
	}
	defer unix.Unmount(tmp, unix.MNT_DETACH)
	dir, err := os.Open(tmp)
	if err != nil {
		return nil, fmt.Errorf("open private cgroup v2 mount: %w", err)
	}
	return &cgroupRoot{dir: dir, note: "cgroup v2 was not mounted: mounted privately"}, nil
}
