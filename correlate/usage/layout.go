package usage

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/weir-probe/weir/correlate/enrich/container/cgroup"
)

// file is one that is read of every group.
type file struct {
	name string
	// instead is read where there is no file of that name.
	instead string
	parse   parser
}

// controller is a subject of the kernel's: on v1 with a hierarchy of its own, or one
// shared with others.
type controller struct {
	name    string
	unified string // its name on v2
	subject string // for people
	v1, v2  []file
}

// What v2 has in every group, without a controller: the first always, the second
// where the kernel measures it.
const (
	always        = ""
	pressureFiles = "pressure"
)

// tick is one of the user clock, in ns: USER_HZ is 100 wherever Weir runs (proc(5)).
const tick = 1e9 / 100

// controllers are all that is read. Documentation/admin-guide/cgroup-v1/*.rst and
// cgroup-v2.rst describe the files.
var controllers = [...]controller{
	{name: "cpuacct", unified: always, subject: "CPU time", v1: []file{
		{"cpuacct.stat", "", pairs(keyed{"user", CPUUser, tick}, keyed{"system", CPUSystem, tick})},
	}, v2: []file{
		{"cpu.stat", "", pairs(keyed{"user_usec", CPUUser, 1000}, keyed{"system_usec", CPUSystem, 1000},
			keyed{"nr_periods", Periods, 1}, keyed{"nr_throttled", ThrottledPeriods, 1}, keyed{"throttled_usec", Throttled, 1000})},
	}},
	{name: "cpu", unified: "cpu", subject: "throttling", v1: []file{
		{"cpu.stat", "", pairs(keyed{"nr_periods", Periods, 1}, keyed{"nr_throttled", ThrottledPeriods, 1}, keyed{"throttled_time", Throttled, 1})},
		{"cpu.cfs_quota_us", "", single(quotaTime)},
		{"cpu.cfs_period_us", "", single(quotaPeriod)},
	}, v2: []file{
		{"cpu.max", "", cpuMax}, // its cpu.stat is read for CPU time
	}},
	{name: "memory", unified: "memory", subject: "memory", v1: []file{
		{"memory.usage_in_bytes", "", single(Memory)},
		{"memory.stat", "", memoryStatV1},
		{"memory.oom_control", "", pairs(keyed{"oom_kill", OOMKills, 1})},
	}, v2: []file{
		{"memory.current", "", single(Memory)},
		{"memory.max", "", single(MemoryLimit)},
		{"memory.stat", "", pairs(keyed{"inactive_file", inactiveFile, 1})},
		{"memory.events", "", pairs(keyed{"oom_kill", OOMKills, 1})},
	}},
	{name: "blkio", unified: "io", subject: "block I/O", v1: []file{
		{"blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes", blkio(ReadOctets, WriteOctets)},
		{"blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced", blkio(Reads, Writes)},
	}, v2: []file{
		{"io.stat", "", ioStat},
	}},
	{name: "pids", unified: "pids", subject: "processes", v1: []file{
		{"pids.current", "", single(PIDs)},
		{"pids.max", "", single(PIDLimit)},
	}, v2: []file{
		{"pids.current", "", single(PIDs)},
		{"pids.max", "", single(PIDLimit)},
	}},
	{name: "psi", unified: pressureFiles, subject: "pressure", v2: []file{
		{"cpu.pressure", "", pressure(CPUSome, CPUFull)},
		{"memory.pressure", "", pressure(MemorySome, MemoryFull)},
		{"io.pressure", "", pressure(IOSome, IOFull)},
	}},
}

// place is where the files of one controller are.
type place struct {
	dir    string // of the mount
	prefix string // what the mount leaves away of a group's path
	files  []file
	legacy bool
}

// Layout is where the files of every controller are read.
type Layout struct{ of [len(controllers)]place }

// FindLayout looks at the mounts of control groups; proc is /proc. What is not
// mounted, or mounted without its root, is not read.
func FindLayout(proc string) (*Layout, error) {
	l := new(Layout)
	found := false
	for i := range controllers {
		mounts, err := cgroup.Find(proc, controllers[i].name)
		if err != nil {
			return nil, err
		}
		for _, m := range mounts {
			if m.View != cgroup.Relative && offers(proc, m, &controllers[i]) && l.use(i, m) {
				found = true
			}
		}
	}
	if !found {
		return nil, errors.New("no control groups are mounted")
	}
	return l, nil
}

// offers says whether a mount has the files of a controller. A hierarchy of v1 was
// found by its controller; the one of v2 lists those that v1 has not taken.
func offers(proc string, m cgroup.Mount, c *controller) bool {
	switch {
	case m.Hierarchy == cgroup.Legacy || c.unified == always:
		return true
	case c.unified == pressureFiles:
		_, err := os.Stat(proc + "/" + pressureFiles)
		return err == nil
	}
	b, err := os.ReadFile(m.Dir + "/cgroup.controllers")
	return err == nil && slices.Contains(strings.Fields(string(b)), c.unified)
}

// use takes a mount for a controller. One that v1 has mounted v2 has not.
func (l *Layout) use(i int, m cgroup.Mount) bool {
	p := place{dir: m.Dir, prefix: m.Prefix, files: controllers[i].v2}
	if m.Hierarchy == cgroup.Legacy {
		p.files, p.legacy = controllers[i].v1, true
	}
	if len(p.files) == 0 {
		return false
	}
	l.of[i] = p
	return true
}

// Source says where one subject is read, for people.
type Source struct {
	Subject string // CPU time, throttling, memory, block I/O, processes, pressure
	From    string // v1, v2; empty: nowhere
}

// Sources lists the subjects.
func (l *Layout) Sources() []Source {
	var out []Source
	for i := range controllers {
		s := Source{Subject: controllers[i].subject}
		switch p := &l.of[i]; {
		case p.dir == "":
		case p.legacy:
			s.From = "v1"
		default:
			s.From = "v2"
		}
		out = append(out, s)
	}
	return out
}

// appendPath appends the directory of a group, false when the mount does not show it.
func (p *place) appendPath(dst []byte, group string) ([]byte, bool) {
	rest, ok := strings.CutPrefix(group, p.prefix)
	if !ok || p.dir == "" || rest != "" && rest[0] != '/' {
		return dst, false
	}
	return append(append(dst, p.dir...), rest...), true
}
