// Package lines writes line protocol as it is, to a file or to standard output:
// what `influx write` and any other reader of the format takes.
package lines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/weir-probe/weir/sink"
)

// Sink writes both streams to one place, whole batches at a time.
type Sink struct {
	name string
	path string // "" = a stream that we did not open

	turn   chan struct{} // holds one token: who has it owns what follows
	out    io.Writer
	file   *os.File // out, when it can be truncated
	torn   []byte   // the rest of a line that is out only in part
	late   [sink.Streams]late
	closed bool
}

// late is a write that went on when its caller had left with an error: the
// caller will bring these lines again, and they must not be there twice.
type late struct {
	left  atomic.Bool
	lines []byte // what was written
}

// File appends to path, which is created with mode 0640.
func File(path string) (*Sink, error) {
	if path == "" {
		return nil, errors.New("write lines: no file named: use --sink file:PATH")
	}
	s := newSink("file:" + path)
	s.path = path
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

// Writer writes to w, which stays open; name is stable, "stdout" for that.
func Writer(name string, w io.Writer) *Sink {
	s := newSink(name)
	s.out = w
	return s
}

func newSink(name string) *Sink {
	s := &Sink{name: name, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// open opens the file. Caller has the turn.
func (s *Sink) open() error {
	if st, err := os.Stat(s.path); err == nil && !st.Mode().IsRegular() && st.Mode()&fs.ModeCharDevice == 0 {
		return fmt.Errorf("write lines to %s: it is not a file but %s: name a file", s.path, kind(st.Mode()))
	}
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("write lines: %w", err)
	}
	s.out, s.file, s.torn = f, f, nil
	return nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// Name of the sink.
func (s *Sink) Name() string { return s.name }

// Write writes the batch with one call. When ctx ends first it returns, and the
// write goes on by itself: a pipe that nobody reads must not hold up a shutdown.
func (s *Sink) Write(ctx context.Context, b *sink.Batch) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	if s.closed {
		s.give()
		return fmt.Errorf("write lines to %s: %w", s.name, os.ErrClosed)
	}
	if len(b.Lines) == 0 {
		s.give()
		return nil
	}
	if s.file != nil { // the kernel answers for a file, soon
		defer s.give()
		return s.write(b.Lines)
	}
	p, written := &s.late[b.Stream], 0
	if p.left.Swap(false) && bytes.HasPrefix(b.Lines, p.lines) {
		written = len(p.lines)
	} else {
		p.lines = nil
	}
	if written == len(b.Lines) {
		s.give()
		return nil
	}
	done := make(chan error, 1)
	lines := bytes.Clone(b.Lines)
	go func() {
		defer s.give()
		err := s.write(lines[written:])
		if err == nil {
			p.lines = lines
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil && written > 0 {
			p.left.Store(true)
		}
		return err
	case <-ctx.Done():
		p.left.Store(true)
		return fmt.Errorf("write lines to %s: %w", s.name, ctx.Err())
	}
}

func (s *Sink) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("write lines to %s: %w", s.name, ctx.Err())
	}
}

func (s *Sink) give() { s.turn <- struct{}{} }

// write leaves whole lines, or remembers how to end a broken one.
func (s *Sink) write(lines []byte) error {
	if len(s.torn) > 0 {
		n, err := s.out.Write(s.torn)
		s.torn = s.torn[n:]
		if err != nil {
			return fmt.Errorf("write lines to %s: %w", s.name, err)
		}
	}
	n, err := s.out.Write(lines)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("write lines to %s: %w", s.name, err)
	if n == 0 || s.undo(n) {
		return err
	}
	if end := bytes.IndexByte(lines[n:], '\n'); end >= 0 && lines[n-1] != '\n' {
		s.torn = bytes.Clone(lines[n : n+end+1])
	}
	return err
}

// undo takes back the n octets just appended, where that is possible.
func (s *Sink) undo(n int) bool {
	if s.file == nil {
		return false
	}
	st, err := s.file.Stat()
	return err == nil && st.Mode().IsRegular() && s.file.Truncate(st.Size()-int64(n)) == nil
}

// Reopen closes the file and opens its path again, for log rotation: call it on
// SIGHUP. Of standard output it does nothing.
func (s *Sink) Reopen() error {
	<-s.turn
	defer s.give()
	if s.path == "" || s.closed {
		return nil
	}
	old := s.file
	if err := s.open(); err != nil {
		return err // the old file goes on
	}
	if err := old.Close(); err != nil {
		return fmt.Errorf("reopen %s: %w", s.name, err)
	}
	return nil
}

// Close syncs and closes the file.
func (s *Sink) Close(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.path == "" {
		return nil
	}
	err := s.file.Sync()
	if st, e := s.file.Stat(); e == nil && !st.Mode().IsRegular() {
		err = nil // a device cannot be synced
	}
	if err = errors.Join(err, s.file.Close()); err != nil {
		return fmt.Errorf("close %s: %w", s.name, err)
	}
	return nil
}
