package tls

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cilium/ebpf/link"
)

// fileID identifies a file, not one of its names.
type fileID struct{ dev, ino uint64 }

func identify(path string) (fileID, error) {
	st, err := os.Stat(path)
	if err != nil {
		return fileID{}, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, errors.New("no inode")
	}
	return fileID{dev: uint64(sys.Dev), ino: sys.Ino}, nil
}

// file is a library or a program with probes.
type file struct {
	name   string // as the process knows it that led here
	kind   Kind
	links  []link.Link
	used   bool // by a process seen in this round
	unused int  // rounds since
}

// attach puts the probes of p into the file.
func attach(k Kernel, path string, p plan) (*file, error) {
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, err
	}
	f := &file{name: path, kind: p.kind}
	for _, at := range p.points {
		prog := k.UserProgram(at.program)
		if prog == nil {
			return nil, errors.Join(fmt.Errorf("program %s is not loaded", at.program), f.close())
		}
		probe := ex.Uprobe
		if at.ret {
			probe = ex.Uretprobe
		}
		l, err := probe("", prog, &link.UprobeOptions{Address: at.offset})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("probe %s at %#x: %w", at.program, at.offset, err), f.close())
		}
		f.links = append(f.links, l)
	}
	return f, nil
}

func (f *file) close() error {
	var errs []error
	for _, l := range f.links {
		errs = append(errs, l.Close())
	}
	f.links = nil
	return errors.Join(errs...)
}
