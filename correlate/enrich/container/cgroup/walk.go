package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// found is one directory of a hierarchy.
type found struct {
	key  key
	path string
}

// walk lists the groups of a mounted hierarchy, at most limit of them. A group
// that goes away meanwhile is not an error.
func walk(ctx context.Context, m Mount, limit int) ([]found, error) {
	var out []found
	err := filepath.WalkDir(m.Dir, func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if p == m.Dir {
				return err
			}
			return nil // gone
		}
		if !d.IsDir() {
			return nil
		}
		if len(out) >= limit {
			return fs.SkipAll
		}
		id, err := inode(p)
		if err != nil {
			return nil // gone
		}
		path := m.Prefix + p[len(m.Dir):]
		if path == "" {
			path = "/"
		}
		out = append(out, found{key{id, m.Hierarchy}, path})
		return nil
	})
	return out, err
}

func inode(p string) (uint64, error) {
	fi, err := os.Lstat(p)
	if err != nil {
		return 0, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	return st.Ino, nil
}
