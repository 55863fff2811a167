package tls

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// members looks at every process of a group.
func (m *Manager) members(g Group) {
	f, err := os.Open(filepath.Join(g.Dir, "cgroup.procs"))
	if err != nil {
		m.failed("list a control group", err)
		return
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if pid, err := strconv.ParseUint(sc.Text(), 10, 32); err == nil && pid != 0 {
			m.visit(uint32(pid))
		}
	}
	if err := sc.Err(); !errors.Is(err, syscall.ENODEV) && !errors.Is(err, syscall.EOPNOTSUPP) { // gone; threaded
		m.failed("list a control group", err)
	}
}

// visit sees to the program and the libraries of a process, other than this one.
func (m *Manager) visit(pid uint32) {
	if pid == m.self {
		return
	}
	m.counters.visits.Add(1)
	dir := filepath.Join(m.cfg.Proc, strconv.FormatUint(uint64(pid), 10))
	exe := filepath.Join(dir, "exe")
	name, err := os.Readlink(exe)
	if err != nil {
		if !errors.Is(err, syscall.ESRCH) {
			m.failed("look at a process", err)
		}
		return
	}
	m.consider(exe, name)
	maps, err := os.Open(filepath.Join(dir, "maps"))
	if err != nil {
		m.failed("look at a process", err)
		return
	}
	defer maps.Close()
	libs, err := libraries(maps)
	if !errors.Is(err, syscall.ESRCH) {
		m.failed("look at a process", err)
	}
	for _, l := range libs {
		path := filepath.Join(dir, "root", l.path)
		if l.gone {
			path = filepath.Join(dir, "map_files", l.area)
		}
		m.consider(path, l.path)
	}
}

// consider puts probes into a file, if it has TLS functions and no probes yet.
func (m *Manager) consider(path, name string) {
	id, err := identify(path)
	if err != nil {
		m.failed("look at a file", err)
		return
	}
	if f := m.files[id]; f != nil {
		f.used = true
		return
	}
	if _, ok := m.nothing[id]; ok {
		return
	}
	p, err := inspect(path)
	switch {
	case errors.Is(err, errNothing):
		m.nothing[id] = struct{}{}
		return
	case errors.Is(err, os.ErrNotExist):
		return
	case err == nil && len(m.files) >= m.cfg.MaxFiles:
		m.counters.refused.Add(1)
		return
	}
	var f *file
	if err == nil {
		f, err = attach(m.kernel, path, p)
	}
	if err != nil {
		m.nothing[id] = struct{}{} // it will not be different next time
		m.counters.unattached.Add(1)
		m.cfg.Log.Warn("can't look inside TLS", "file", name, "err", err)
		return
	}
	f.name, f.used = name, true
	m.files[id] = f
	m.counters.attached.Add(1)
	m.cfg.Log.Info("inside TLS", "file", name, "kind", f.kind, "probes", len(f.links))
}
