package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// abandon gives up the active segment when its file is not in the folder any more:
// what is written there nobody finds again. Readers that have it open read it to its
// end. Caller holds j.write.
func (j *Journal) abandon() {
	if j.active == nil {
		return
	}
	mine, err := j.active.Stat()
	if err != nil {
		return
	}
	there, err := os.Stat(j.into.path)
	if err == nil && os.SameFile(mine, there) || err != nil && !errors.Is(err, os.ErrNotExist) {
		return
	}
	j.log.Error("journal: the segment being written is gone, somebody removed it", "file", j.into.path)
	j.active.Close()
	j.active, j.dirty = nil, false
}

// settle makes sure that the folder is there and this process's: somebody may have
// removed it, or the lock in it. Caller holds j.write.
func (j *Journal) settle() error {
	mine, err := j.lock.Stat()
	if err != nil {
		return fmt.Errorf("lock journal: %w", err)
	}
	if there, err := os.Stat(lockPath(j.cfg.Dir)); err == nil && os.SameFile(mine, there) {
		return nil
	}
	lock, err := claim(j.cfg.Dir)
	if err != nil {
		return err
	}
	j.lock.Close()
	j.lock = lock
	j.mu.Lock()
	queues, places := j.queues, make([]place, len(j.queues))
	for i, q := range queues {
		places[i] = q.cur
	}
	j.mu.Unlock()
	for i, q := range queues {
		_ = q.save(places[i]) // is counted
	}
	j.log.Warn("journal: the folder was removed, going on in a new one", "dir", j.cfg.Dir)
	return nil
}

// claim makes the folder where it is not there, and takes it for this process.
func claim(dir string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Join(dir, cursorDir), 0o750); err != nil {
		return nil, fmt.Errorf("create journal: %w; name a writable folder with --journal DIR, or none with --journal ''", err)
	}
	return lockDir(dir)
}

func lockPath(dir string) string { return filepath.Join(dir, "lock") }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// lockDir takes the folder for this process, until the file is closed.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(lockPath(dir), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock journal: %w; name a writable folder with --journal DIR, or none with --journal ''", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock journal %s: %w", dir, err)
		}
		return nil, fmt.Errorf("%w: %s belongs to process %s: stop that one, or give this one a folder of its own with --journal DIR",
			ErrLocked, dir, pidOf(holder[:n]))
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
		_ = err // only for the message above
	}
	return f, nil
}

// ErrLocked says that another process writes this journal.
var ErrLocked = errors.New("journal is in use")

func pidOf(b []byte) string {
	for i, c := range b {
		if c < '0' || c > '9' {
			b = b[:i]
			break
		}
	}
	if len(b) == 0 {
		return "unknown"
	}
	return string(b)
}
