package usage

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxFile is the most that is read of a file; memory.stat has some 3 KiB, a line of
// io.stat 100 octets per device.
const maxFile = 64 << 10

// reader reads small files into memory of its own, some thousands of them each
// interval: os.ReadFile would allocate for each.
type reader struct {
	path []byte
	buf  [maxFile]byte
	stat unix.Stat_t
}

// read returns the file at r.path+name, valid until the next call. ENOENT, ENODEV
// and EOPNOTSUPP say that there is no such file (any more), or that the kernel was
// told not to have it; EFBIG that it is larger than the buffer.
func (r *reader) read(name string) ([]byte, error) {
	fd, err := r.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for size := 0; size < len(r.buf); {
		n, err := unix.Read(fd, r.buf[size:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return r.buf[:size], nil
		default:
			size += n
		}
	}
	return nil, unix.EFBIG
}

// size returns the size of the file at r.path+name, 0 where it has none: of the
// directory fd of a process it is how many files it has open, since Linux 6.2.
func (r *reader) size(name string) uint64 {
	fd, err := r.open(name, unix.O_PATH)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	if unix.Fstat(fd, &r.stat) != nil {
		return 0
	}
	return uint64(max(r.stat.Size, 0))
}

// open is unix.Open of r.path+name, without the copy that makes of it.
func (r *reader) open(name string, flags int) (int, error) {
	n := len(r.path)
	path := append(append(append(r.path, '/'), name...), 0)
	r.path = path[:n]
	here := unix.AT_FDCWD
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(here), uintptr(unsafe.Pointer(&path[0])), uintptr(flags|unix.O_CLOEXEC), 0, 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

// missing says whether an error means that there is no such file.
func missing(err error) bool {
	return err == unix.ENOENT || err == unix.ENODEV || err == unix.EOPNOTSUPP || err == unix.ENOTDIR
}
