// Package sinktest holds what every sink.Sink must do (Run), and a sink whose
// answers are scripted, for tests of what stands before one.
package sinktest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
)

// Subject is a sink under test.
type Subject struct {
	Sink sink.Sink
	// Lines returns what has arrived of a stream, in order of arrival where the
	// place keeps one, without line ends. A place that mixes the streams may
	// return the lines of both.
	Lines func(sink.Stream) []string
}

// Base is the time of the first line that Batch makes: now, by the second, so
// that no retention policy minds.
var Base = time.Now().Truncate(time.Second).UnixNano()

// Batch makes n lines of measurement m, numbered from first.
func Batch(s sink.Stream, m string, first, n int) *sink.Batch {
	var b bytes.Buffer
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&b, "%s,host=a v=%di %d\n", m, i, Base+int64(i))
	}
	return &sink.Batch{Stream: s, Time: Base + int64(first+n-1), Rows: n, Lines: b.Bytes()}
}

// Run holds a sink to its contract. make is called once for each part.
func Run(t *testing.T, make func(t *testing.T) Subject) {
	ctx := func(t *testing.T) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		t.Cleanup(cancel)
		return ctx
	}
	t.Run("writes arrive in order", func(t *testing.T) {
		s := make(t)
		for i := range 3 {
			if err := s.Sink.Write(ctx(t), Batch(sink.Main, "m", 10*i, 10)); err != nil {
				t.Fatal(err)
			}
		}
		want := strings.Split(strings.TrimSpace(string(Batch(sink.Main, "m", 0, 30).Lines)), "\n")
		if got := s.Lines(sink.Main); !slices.Equal(got, want) {
			t.Errorf("got %d lines %.200q, want %d", len(got), got, len(want))
		}
	})
	t.Run("does not keep the lines", func(t *testing.T) {
		s := make(t)
		b := Batch(sink.Main, "m", 0, 5)
		want := strings.Split(strings.TrimSpace(string(b.Lines)), "\n")
		if err := s.Sink.Write(ctx(t), b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Lines {
			b.Lines[i] = 'x'
		}
		if got := s.Lines(sink.Main); !slices.Equal(got, want) {
			t.Errorf("got %.200q, want %.200q", got, want)
		}
	})
	t.Run("streams at once", func(t *testing.T) {
		s := make(t)
		var wg sync.WaitGroup
		for _, st := range []sink.Stream{sink.Main, sink.Log} {
			wg.Go(func() {
				for i := range 10 {
					if err := s.Sink.Write(ctx(t), Batch(st, "m_"+st.String(), 10*i, 10)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for _, st := range []sink.Stream{sink.Main, sink.Log} {
			m := "m_" + st.String()
			want := strings.Split(strings.TrimSpace(string(Batch(st, m, 0, 100).Lines)), "\n")
			got := slices.DeleteFunc(s.Lines(st), func(l string) bool { return !strings.HasPrefix(l, m+",") })
			if !slices.Equal(got, want) {
				t.Errorf("stream %v: got %d lines %.200q, want %d", st, len(got), got, len(want))
			}
		}
	})
	t.Run("empty batch", func(t *testing.T) {
		s := make(t)
		if err := s.Sink.Write(ctx(t), &sink.Batch{}); err != nil {
			t.Errorf("an empty batch is no error: %v", err)
		}
	})
	t.Run("context ended", func(t *testing.T) {
		s := make(t)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Sink.Write(ended, Batch(sink.Main, "m", 0, 1)); err == nil {
			t.Error("a write with an ended context succeeded")
		}
	})
	t.Run("name and close", func(t *testing.T) {
		s := make(t)
		if name := s.Sink.Name(); name == "" || name != s.Sink.Name() {
			t.Errorf("name %q is empty or not stable", name)
		}
		for range 2 {
			if err := s.Sink.Close(ctx(t)); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if err := s.Sink.Write(ctx(t), Batch(sink.Main, "m", 0, 1)); err == nil {
			t.Error("a write after close succeeded")
		}
	})
}

// Scripted is a sink that answers each Write with what its Answer says, and
// keeps the lines of those that it accepts.
type Scripted struct {
	// Answer is asked under a lock, with the number of the call from 0; nil
	// accepts all.
	Answer func(call int, b *sink.Batch) error

	mu    sync.Mutex
	calls int
	lines []string
}

// Name of the sink.
func (*Scripted) Name() string { return "scripted" }

// Write answers as the script says.
func (s *Scripted) Write(ctx context.Context, b *sink.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	call := s.calls
	s.calls++
	if s.Answer != nil {
		if err := s.Answer(call, b); err != nil {
			return err
		}
	}
	s.lines = append(s.lines, strings.Split(strings.TrimSpace(string(b.Lines)), "\n")...)
	return nil
}

// Close does nothing.
func (*Scripted) Close(context.Context) error { return nil }

// Lines accepted so far.
func (s *Scripted) Lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// Calls of Write so far.
func (s *Scripted) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}
