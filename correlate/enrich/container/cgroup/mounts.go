package cgroup

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Hierarchy is one tree of control groups; ids are unique inside it only.
type Hierarchy uint8

// The two hierarchies the kernel side reports ids of.
const (
	Unified Hierarchy = iota // v2
	Legacy                   // the v1 hierarchy of one controller, see Config
)

func (h Hierarchy) String() string {
	if h == Unified {
		return "v2"
	}
	return "v1"
}

// Mount is where a hierarchy can be read.
type Mount struct {
	Hierarchy Hierarchy
	Dir       string
	// Prefix is the path of Dir inside the hierarchy: "" for its root.
	Prefix string
	View   View
}

// View is how much of its hierarchy a mount shows.
type View uint8

// From least to most. What is Relative is below a group that is not known: its
// paths say nothing, and it is not walked.
const (
	Relative View = iota
	Part
	Whole
)

// initialNamespace is the inode of the initial cgroup namespace
// (PROC_CGROUP_INIT_INO, include/linux/proc_ns.h).
const initialNamespace = "cgroup:[4026531835]"

// rootInode is the inode of every hierarchy's root: kernfs numbers from 1.
const rootInode = 1

// Find returns where the unified hierarchy and the v1 hierarchy of controller can
// be read, as whole as it gets: the probe may run in a container with a mount
// that begins at the container's own group, and then the host's is looked for
// through its first process, or its first thread (needs the host's PID
// namespace). proc is /proc.
func Find(proc, controller string) ([]Mount, error) {
	all, err := mounts(proc+"/self", "", controller)
	if err != nil {
		return nil, err
	}
	for _, pid := range []string{"/1", "/2"} {
		host, _ := mounts(proc+pid, proc+pid+"/root", controller) // an extra chance: own may do
		all = append(all, host...)
	}
	ns, err := os.Readlink(proc + "/self/ns/cgroup")
	return choose(all, err != nil || ns == initialNamespace), nil
}

// choose takes the mount of each hierarchy that shows the most of it. Inside a
// cgroup namespace only a hierarchy's true root tells where it is.
func choose(all []Mount, initial bool) []Mount {
	var out []Mount
	for _, h := range []Hierarchy{Unified, Legacy} {
		best := Mount{}
		for _, m := range all {
			id, err := inode(m.Dir)
			switch {
			case err != nil || m.Hierarchy != h:
				continue
			case id == rootInode:
				m.Prefix, m.View = "", Whole
			case initial:
				m.View = Part
			}
			if best.Dir == "" || m.View > best.View || m.View == best.View && len(m.Prefix) < len(best.Prefix) {
				best = m
			}
		}
		if best.Dir != "" {
			out = append(out, best)
		}
	}
	return out
}

// mounts lists the hierarchies mounted for the process whose directory in /proc
// is given, as seen through root.
func mounts(process, root, controller string) ([]Mount, error) {
	f, err := os.Open(process + "/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts of control groups: %w", err)
	}
	defer f.Close()
	ms, err := parseMounts(f, controller)
	for i := range ms {
		ms[i].Dir = root + ms[i].Dir
	}
	return ms, err
}

// parseMounts reads a mountinfo file (proc(5)).
func parseMounts(r io.Reader, controller string) ([]Mount, error) {
	var ms []Mount
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		m, ok := parseMount(sc.Text(), controller)
		if !ok {
			continue
		}
		ms = append(ms, m)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("read mounts of control groups: %w", err)
	}
	return ms, nil
}

// parseMount reads "31 23 0:28 ROOT DIR opts [optional…] - fstype source superopts".
func parseMount(line, controller string) (Mount, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 6 || len(r) < 3 {
		return Mount{}, false
	}
	m := Mount{Dir: unoctal(l[4]), Prefix: strings.TrimSuffix(unoctal(l[3]), "/")}
	switch {
	case r[0] == "cgroup2":
		m.Hierarchy = Unified
	case r[0] == "cgroup" && slices.Contains(strings.Split(r[2], ","), controller):
		m.Hierarchy = Legacy
	default:
		return Mount{}, false
	}
	return m, true
}

// unoctal undoes the kernel's \040 for a space.
func unoctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
