package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weir-probe/weir/kprobes"
)

// tick is the unit of the start time in /proc/PID/stat, ns (USER_HZ is 100 on
// every architecture Linux runs on today).
const tick = 10_000_000

// pfKthread marks a kernel thread in field 9 of stat (PF_KTHREAD).
const pfKthread = 0x00200000

// errReused says that the PID belongs to another process than the one meant.
var errReused = errors.New("the PID was reused")

// errChanged says that the process went on to run other programs while it was read.
var errChanged = errors.New("the process runs one program after the other")

// attempts is how often a process that changes meanwhile is read.
const attempts = 3

// snapshot is what /proc says of a process.
type snapshot struct {
	pid, ppid uint32
	start     uint64 // ns of CLOCK_BOOTTIME, rounded down to a tick
	comm      string
	exe       string // may end in " (deleted)"
	args      Args
	kernel    bool
}

// sameStart says whether a start time read from /proc is the kernel's.
func sameStart(kernel, proc uint64) bool {
	a, b := kernel/tick, proc/tick
	return a == b || a+1 == b || b+1 == a
}

// readProcess reads /proc/PID and refuses a process other than id.
func readProcess(root string, id kprobes.ProcessID) (snapshot, error) {
	s, err := readAny(root, id.PID)
	if err == nil && !sameStart(id.Start, s.start) {
		err = errReused
	}
	return s, err
}

// readAny reads whatever process has that PID, the same process and program from
// the first file to the last.
func readAny(root string, pid uint32) (snapshot, error) {
	dir := filepath.Join(root, strconv.FormatUint(uint64(pid), 10))
	for i := range attempts {
		s, err := readOnce(dir, pid)
		if err != nil {
			return s, err
		}
		if len(s.args.Raw) == 0 && s.exe != "" && i < attempts-1 {
			time.Sleep(time.Millisecond) // in the middle of an exec: named already, without arguments yet
			continue
		}
		again, err := readStat(dir)
		if err != nil {
			return s, err
		}
		if again.start != s.start {
			return s, errReused
		}
		if exe, _ := os.Readlink(dir + "/exe"); exe == s.exe && again.comm == s.comm {
			return s, nil
		}
	}
	return snapshot{}, errChanged
}

func readOnce(dir string, pid uint32) (snapshot, error) {
	s, err := readStat(dir)
	if err != nil {
		return s, err
	}
	s.pid = pid
	if s.exe, err = os.Readlink(dir + "/exe"); err != nil && !s.kernel && !errors.Is(err, os.ErrNotExist) {
		return s, fmt.Errorf("read the executable of process %d (needs CAP_SYS_PTRACE): %w", pid, err)
	}
	if s.args.Raw, err = readLimited(dir+"/cmdline", maxArgs); err != nil {
		return s, err
	}
	s.args.Truncated = len(s.args.Raw) == maxArgs
	return s, nil
}

func readStat(dir string) (snapshot, error) {
	b, err := readLimited(dir+"/stat", 4096)
	if err != nil {
		return snapshot{}, err
	}
	return parseStat(b)
}

// parseStat reads proc_pid_stat(5). The name in parentheses may hold anything,
// parentheses and newlines included.
func parseStat(b []byte) (snapshot, error) {
	open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || shut < open {
		return snapshot{}, errors.New("read stat of a process: no name in it")
	}
	s := snapshot{comm: string(b[open+1 : shut])}
	f := bytes.Fields(b[shut+1:]) // f[0] is field 3
	if len(f) < 20 {
		return snapshot{}, errors.New("read stat of a process: too few fields")
	}
	ppid, err1 := strconv.ParseUint(string(f[1]), 10, 32)
	flags, err2 := strconv.ParseUint(string(f[6]), 10, 64)
	start, err3 := strconv.ParseUint(string(f[19]), 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return snapshot{}, fmt.Errorf("read stat of a process: %w", err)
	}
	s.ppid, s.start, s.kernel = uint32(ppid), start*tick, flags&pfKthread != 0
	return s, nil
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// listPIDs returns the processes there are, in no order.
func listPIDs(root string) ([]uint32, error) {
	d, err := os.Open(root)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer d.Close()
	var pids []uint32
	for {
		names, err := d.Readdirnames(1024)
		for _, n := range names {
			if pid, err := strconv.ParseUint(n, 10, 32); err == nil {
				pids = append(pids, uint32(pid))
			}
		}
		if err == io.EOF {
			return pids, nil
		}
		if err != nil {
			return pids, fmt.Errorf("list processes: %w", err)
		}
	}
}
