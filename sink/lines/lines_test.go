package lines_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/lines"
	"github.com/weir-probe/weir/sink/sinktest"
	"github.com/weir-probe/weir/test/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func split(b []byte) []string { return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") }

func TestConformance(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		sinktest.Run(t, func(t *testing.T) sinktest.Subject {
			path := filepath.Join(t.TempDir(), "out.lp")
			s, err := lines.File(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close(context.Background()) })
			return sinktest.Subject{Sink: s, Lines: func(sink.Stream) []string {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return split(b)
			}}
		})
	})
	t.Run("stdout", func(t *testing.T) {
		sinktest.Run(t, func(t *testing.T) sinktest.Subject {
			var out machine.Buffer
			return sinktest.Subject{Sink: lines.Writer("stdout", &out), Lines: func(sink.Stream) []string { return split([]byte(out.String())) }}
		})
	})
}

func TestModeAndAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.lp")
	for range 2 {
		s, err := lines.File(path)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name() != "file:"+path {
			t.Error(s.Name())
		}
		if err := s.Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 2)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if b, _ := os.ReadFile(path); len(split(b)) != 4 {
		t.Errorf("got %q", b)
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.lp")
	s, err := lines.File(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	write := func(first int) {
		t.Helper()
		if err := s.Write(t.Context(), sinktest.Batch(sink.Main, "m", first, 1)); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(2)
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(3)
	old, _ := os.ReadFile(path + ".1")
	now, _ := os.ReadFile(path)
	if len(split(old)) != 2 || len(split(now)) != 1 {
		t.Errorf("old %q, new %q", old, now)
	}
}

func TestRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", dir, pipe, filepath.Join(dir, "no", "such")} {
		if s, err := lines.File(path); err == nil {
			s.Close(t.Context())
			t.Errorf("%q was opened", path)
		}
	}
}

// TestFullDiskLeavesWholeLines: a write that fits only in part is taken back,
// and its repetition leaves each line once.
func TestFullDiskLeavesWholeLines(t *testing.T) {
	machine.Root(t, "mounts a small file system")
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	hog := filepath.Join(dir, "hog")
	if err := os.WriteFile(hog, make([]byte, 32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "out.lp")
	s, err := lines.File(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	if err := s.Write(t.Context(), sinktest.Batch(sink.Main, "m", 0, 10)); err != nil {
		t.Fatal(err)
	}
	big := sinktest.Batch(sink.Main, "m", 10, 1200)
	if err := s.Write(t.Context(), big); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if b, _ := os.ReadFile(path); len(split(b)) != 10 || b[len(b)-1] != '\n' {
		t.Errorf("%d lines, ends in %q", len(split(b)), b[len(b)-5:])
	}
	os.Remove(hog)
	if err := s.Write(t.Context(), big); err != nil {
		t.Fatal(err)
	}
	want := append(sinktest.Batch(sink.Main, "m", 0, 10).Lines, big.Lines...)
	if b, _ := os.ReadFile(path); !bytes.Equal(b, want) {
		t.Errorf("got %d bytes, want %d", len(b), len(want))
	}
}

// half takes a part of the first write only.
type half struct {
	bytes.Buffer
	broken bool
}

func (h *half) Write(b []byte) (int, error) {
	if !h.broken {
		h.broken = true
		n, _ := h.Buffer.Write(b[:len(b)/2+3])
		return n, io.ErrShortWrite
	}
	return h.Buffer.Write(b)
}

func TestBrokenLineOnAPipeIsEnded(t *testing.T) {
	out := &half{}
	s := lines.Writer("stdout", out)
	b := sinktest.Batch(sink.Main, "m", 0, 7)
	if err := s.Write(t.Context(), b); err == nil {
		t.Fatal("a short write is no error")
	}
	if err := s.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, l := range split(b.Lines) {
		known[l] = true
	}
	got := split(out.Bytes())
	for _, l := range got {
		if !known[l] {
			t.Errorf("line %q is none of ours", l)
		}
	}
	if len(got) < 10 {
		t.Errorf("%d lines", len(got))
	}
}

func TestBlockedPipeDoesNotBlockShutdown(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := lines.Writer("stdout", w)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Write(ctx, sinktest.Batch(sink.Main, "m", 0, 100000)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	r.Close() // lets the write end
	w.Close()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A write that ended after its caller had left is not done again.
func TestLateWriteIsNotRepeated(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := lines.Writer("stdout", w)
	first := sinktest.Batch(sink.Main, "m", 0, 10000) // more than the pipe holds
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Write(ctx, first); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(r)
		got <- b
	}()
	more := sinktest.Batch(sink.Main, "m", 0, 10010) // the same again, and what came since
	other := sinktest.Batch(sink.Log, "l", 0, 10)
	for _, b := range []*sink.Batch{other, more, more} { // the last was delivered: it is another
		if err := s.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	want := len(other.Lines) + 2*len(more.Lines)
	if b := <-got; len(b) != want {
		t.Errorf("%d octets, want %d", len(b), want)
	}
}
