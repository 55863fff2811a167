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
}

// Mounts lists the unified hierarchy and the v1 hierarchy of controller found in
// a mountinfo file (proc(5)). Of several mounts of one hierarchy it takes the
// one nearest to the root.
func Mounts(mountinfo, controller string) ([]Mount, error) {
	f, err := os.Open(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("read mounts of control groups: %w", err)
	}
	defer f.Close()
	return parseMounts(f, controller)
}

func parseMounts(r io.Reader, controller string) ([]Mount, error) {
	best := map[Hierarchy]Mount{}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		m, ok := parseMount(sc.Text(), controller)
		if !ok {
			continue
		}
		if old, had := best[m.Hierarchy]; !had || len(m.Prefix) < len(old.Prefix) {
			best[m.Hierarchy] = m
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("read mounts of control groups: %w", err)
	}
	var ms []Mount
	for _, h := range []Hierarchy{Unified, Legacy} {
		if m, ok := best[h]; ok {
			ms = append(ms, m)
		}
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
