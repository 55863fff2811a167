package conntrack

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
)

// Full counts the packets that were dropped because the connection they would have
// begun found no room in a namespace's table, from the file nf_conntrack of its
// /proc/net/stat. Not safe for concurrent use.
type Full struct {
	path  string
	buf   []byte
	last  uint64
	known bool
}

// NewFull returns a Full that counts from the first call of New on.
func NewFull(path string) *Full { return &Full{path: path, buf: make([]byte, 0, 8<<10)} }

// New returns how many there were since the last call, 0 where that can't be known.
func (f *Full) New() uint64 {
	now, err := f.read()
	if err != nil {
		return 0 // no conntrack, or not by this file (CONFIG_NF_CONNTRACK_PROCFS)
	}
	last, known := f.last, f.known
	f.last, f.known = now, true
	if !known || now < last {
		return 0
	}
	return now - last
}

var errNoDrops = errors.New("no column of drops")

func (f *Full) read() (uint64, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	f.buf = f.buf[:0]
	for {
		if len(f.buf) == cap(f.buf) {
			f.buf = append(f.buf, 0)[:len(f.buf)]
		}
		n, err := file.Read(f.buf[len(f.buf):cap(f.buf)])
		f.buf = f.buf[:len(f.buf)+n]
		if errors.Is(err, io.EOF) {
			return sumDrops(f.buf)
		}
		if err != nil {
			return 0, err
		}
	}
}

// sumDrops adds up the column `drop` of a table with a heading, a line per CPU and
// numbers in base 16.
func sumDrops(table []byte) (sum uint64, err error) {
	head, rest, _ := bytes.Cut(table, []byte{'\n'})
	column := -1
	for i, name := range bytes.Fields(head) {
		if string(name) == "drop" {
			column = i
		}
	}
	if column < 0 {
		return 0, errNoDrops
	}
	for line := range bytes.Lines(rest) {
		cells := bytes.Fields(line)
		if column >= len(cells) {
			return 0, errNoDrops
		}
		n, err := strconv.ParseUint(string(cells[column]), 16, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
