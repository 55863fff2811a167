package selftest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows/clock"
)

// Truth is one end of one connection, or of one datagram exchange, as the
// process that lived it tells it.
type Truth struct {
	ID        uint64         `json:"id"`                  // of the connection: chosen by its client, sent as its first octets
	Situation string         `json:"situation,omitempty"` // of the client; the server does not know
	Role      Role           `json:"role"`
	Proto     string         `json:"proto"` // tcp or udp
	User      Process        `json:"user"`
	Creator   Process        `json:"creator"` // who connected or accepted; the zero Process where it is User
	NetNS     uint32         `json:"netns"`
	Container string         `json:"container,omitempty"`
	Local     netip.AddrPort `json:"local"`
	Remote    netip.AddrPort `json:"remote"`
	Sent      int64          `json:"sent"`
	Received  int64          `json:"received"`
	Start     int64          `json:"start"` // unix ns, before connect or after accept
	End       int64          `json:"end"`
	Refused   bool           `json:"refused,omitempty"`
	Err       string         `json:"err,omitempty"` // what went wrong in the workload itself
}

// Role is which end of a connection a process was.
type Role uint8

// The ends, as indices.
const (
	Client Role = iota
	Server
)

func (r Role) String() string { return [...]string{"client", "server"}[r] }

// Process is a process as /proc shows it: its start is exact to a clock tick.
type Process struct {
	PID   int64 `json:"pid,omitempty"`
	Start int64 `json:"start,omitempty"` // unix ns
}

// tick is the resolution of process starts in /proc (USER_HZ is 100 everywhere).
const tick = int64(time.Second) / 100

// self is the calling process.
func self() (Process, error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return Process{}, fmt.Errorf("read the own start: %w", err)
	}
	ticks, err := startTicks(stat)
	if err != nil {
		return Process{}, err
	}
	var c clock.Clock
	if err := c.Refresh(); err != nil {
		return Process{}, err
	}
	return Process{PID: int64(os.Getpid()), Start: c.Unix(uint64(ticks * tick))}, nil
}

// startTicks is field 22 of proc_pid_stat(5); field 2 may hold any character.
func startTicks(stat []byte) (int64, error) {
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 20 {
		return 0, errors.New("read the own start: /proc/self/stat is too short")
	}
	return strconv.ParseInt(string(f[19]), 10, 64)
}

// ownNetNS is the inode of the calling process's network namespace.
func ownNetNS() uint32 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/net", &st) != nil {
		return 0
	}
	return uint32(st.Ino)
}

// recorder collects what a worker did; it costs nothing but memory until Close.
type recorder struct {
	mu   sync.Mutex
	all  []Truth
	path string
	base Truth // what all have in common
}

func newRecorder(path, container string) (*recorder, error) {
	me, err := self()
	if err != nil {
		return nil, err
	}
	return &recorder{path: path, base: Truth{User: me, NetNS: ownNetNS(), Container: container}}, nil
}

// begin starts a record; the caller fills it and adds it at its end.
func (r *recorder) begin(role Role, proto string) Truth {
	t := r.base
	t.Role, t.Proto, t.Start = role, proto, time.Now().UnixNano()
	return t
}

func (r *recorder) add(t *Truth) {
	if t.End == 0 {
		t.End = time.Now().UnixNano()
	}
	r.mu.Lock()
	r.all = append(r.all, *t)
	r.mu.Unlock()
}

// Close appends everything to the file; processes may share one, as long as each
// writes less than a page or has it to itself.
func (r *recorder) Close() error {
	f, err := os.OpenFile(r.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the truth: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<16)
	enc := json.NewEncoder(w)
	for i := range r.all {
		if err = enc.Encode(&r.all[i]); err != nil {
			break
		}
	}
	if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("write the truth: %w", err)
	}
	return nil
}

// readTruth reads what workers wrote.
func readTruth(path string) ([]Truth, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // it had nothing to say
	}
	if err != nil {
		return nil, fmt.Errorf("read the truth: %w", err)
	}
	defer f.Close()
	var all []Truth
	d := json.NewDecoder(bufio.NewReaderSize(f, 1<<16))
	for d.More() {
		var t Truth
		if err := d.Decode(&t); err != nil {
			return nil, fmt.Errorf("read the truth in %s: %w", path, err)
		}
		all = append(all, t)
	}
	return all, nil
}
