package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("WEIR_TEST_JOURNAL_WRITER"); dir != "" {
		writeForEver(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// lines makes n rows numbered from first.
func lines(first, n int) []byte {
	var b bytes.Buffer
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&b, "flow,host=probe-1,client=shop/web,server=shop/db,server_port=5432 to_server_bytes=%di,opened=%di,rtt_avg_seconds=0.00%d %d\n", i*1337%9973, i%7, i%9, 1_790_000_000_000_000_000+int64(i))
	}
	return b.Bytes()
}

func batch(s sink.Stream, first, n int) *sink.Batch {
	return &sink.Batch{Stream: s, Time: int64(1_000_000 + first), Rows: n, Lines: lines(first, n)}
}

func open(t testing.TB, cfg journal.Config) *journal.Journal {
	t.Helper()
	j, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return j
}

func queue(t testing.TB, j *journal.Journal, name string, s sink.Stream) *journal.Queue {
	t.Helper()
	q, err := j.Queue(name, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func add(t testing.TB, j *journal.Journal, b *sink.Batch) {
	t.Helper()
	if err := j.Append(b); err != nil {
		t.Fatal(err)
	}
}

// drain takes and acknowledges everything that waits.
func drain(t testing.TB, q *journal.Queue, limit sink.Limit) []byte {
	t.Helper()
	var got []byte
	for q.Depth().Rows > 0 {
		b := take(t, q, limit)
		if b == nil {
			break
		}
		got = append(got, b.Lines...)
		if err := q.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// take returns nil when nothing comes.
func take(t testing.TB, q *journal.Queue, limit sink.Limit) *sink.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	b, err := q.Take(ctx, limit)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// both runs a test on disk and in memory: one interface, one behaviour.
func both(t *testing.T, f func(t *testing.T, cfg journal.Config)) {
	t.Run("disk", func(t *testing.T) { f(t, journal.Config{Dir: t.TempDir()}) })
	t.Run("memory", func(t *testing.T) { f(t, journal.Config{}) })
}

func TestDeliversInOrderAndMerges(t *testing.T) {
	both(t, func(t *testing.T, cfg journal.Config) {
		j := open(t, cfg)
		main, log := queue(t, j, "a", sink.Main), queue(t, j, "a", sink.Log)
		for i := range 20 {
			add(t, j, batch(sink.Main, 10*i, 10))
			add(t, j, batch(sink.Log, 1000+5*i, 5))
		}
		if d := main.Depth(); d.Rows != 200 || d.Bytes != uint64(len(lines(0, 200))) {
			t.Errorf("depth %+v", d)
		}
		b := take(t, main, sink.Limit{Rows: 45})
		if b.Rows != 40 || b.Time != 1_000_030 || !bytes.Equal(b.Lines, lines(0, 40)) {
			t.Fatalf("got %d rows, time %d", b.Rows, b.Time)
		}
		if got := main.Depth().Oldest.UnixNano(); got != 1_000_000 {
			t.Errorf("oldest is %d", got)
		}
		if again := take(t, main, sink.Limit{Rows: 5}); again.Rows != 10 || !bytes.Equal(again.Lines, lines(0, 10)) {
			t.Errorf("without Ack the same rows must come again, a whole batch at least; got %d", again.Rows)
		}
		if got := drain(t, main, sink.Limit{Bytes: 3000}); !bytes.Equal(got, lines(0, 200)) {
			t.Errorf("main: %d bytes differ", len(got))
		}
		if got := drain(t, log, sink.Limit{}); !bytes.Equal(got, lines(1000, 100)) {
			t.Errorf("log: %d bytes differ", len(got))
		}
		if d := main.Depth(); d != (sink.Depth{}) {
			t.Errorf("depth after all is %+v", d)
		}
	})
}

func TestTakeWaitsForAppend(t *testing.T) {
	both(t, func(t *testing.T, cfg journal.Config) {
		j := open(t, cfg)
		q := queue(t, j, "a", sink.Main)
		got := make(chan int)
		go func() {
			b, err := q.Take(t.Context(), sink.Limit{})
			if err != nil {
				t.Error(err)
				close(got)
				return
			}
			got <- b.Rows
		}()
		add(t, j, batch(sink.Log, 0, 3))
		add(t, j, batch(sink.Main, 0, 7))
		if n := <-got; n != 7 {
			t.Errorf("got %d rows", n)
		}
	})
}

func TestCloseEndsTakers(t *testing.T) {
	both(t, func(t *testing.T, cfg journal.Config) {
		j := open(t, cfg)
		q := queue(t, j, "a", sink.Main)
		done := make(chan error)
		go func() {
			_, err := q.Take(t.Context(), sink.Limit{})
			done <- err
		}()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if err := j.Append(batch(sink.Main, 0, 1)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("append after close: %v", err)
		}
	})
}

func TestNewSinkStartsAtTheEnd(t *testing.T) {
	both(t, func(t *testing.T, cfg journal.Config) {
		j := open(t, cfg)
		add(t, j, batch(sink.Main, 0, 10))
		q := queue(t, j, "late", sink.Main)
		add(t, j, batch(sink.Main, 10, 5))
		if got := drain(t, q, sink.Limit{}); !bytes.Equal(got, lines(10, 5)) {
			t.Errorf("got %q", got)
		}
		if _, err := j.Queue("late", sink.Main); err == nil {
			t.Error("two sinks of one name are no error")
		}
	})
}

func TestGoesOnAfterRestart(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		j, err := journal.Open(journal.Config{Dir: dir, Sync: journal.SyncSegment})
		if err != nil {
			t.Fatal(err)
		}
		q, err := j.Queue("file:/var/log/x y.lp", sink.Main)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if d := q.Depth(); d.Rows != 10 {
				t.Errorf("start %d: %d rows wait, want 10", i, d.Rows)
			}
			b := take(t, q, sink.Limit{Rows: 10})
			if !bytes.Equal(b.Lines, lines(20*i-10, 10)) {
				t.Errorf("start %d: did not go on after the acknowledged", i)
			}
			q.Ack()
		}
		add(t, j, batch(sink.Main, 20*i, 10))
		add(t, j, batch(sink.Main, 20*i+10, 10))
		if b := take(t, q, sink.Limit{Rows: 10}); !bytes.Equal(b.Lines, lines(20*i, 10)) {
			t.Errorf("start %d: wrong rows", i)
		}
		if err := q.Ack(); err != nil {
			t.Fatal(err)
		}
		take(t, q, sink.Limit{Rows: 10}) // taken, not acknowledged
		q.Close()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSizeLimitDropsOldestAndCounts(t *testing.T) {
	j := open(t, journal.Config{Dir: t.TempDir(), MaxBytes: 256 << 10, SegmentBytes: 64 << 10})
	q := queue(t, j, "down", sink.Main)
	const n, each = 400, 500
	for i := range n {
		add(t, j, batch(sink.Main, each*i, each))
	}
	s := j.Stats()
	if s.DiskBytes > 256<<10+64<<10 || s.DroppedSize == 0 {
		t.Fatalf("%d bytes on disk, %d segments dropped", s.DiskBytes, s.DroppedSize)
	}
	d := q.Depth()
	if d.Lost == 0 || d.Lost+d.Rows != n*each || s.Lost != d.Lost {
		t.Errorf("lost %d + waiting %d are not the %d appended", d.Lost, d.Rows, n*each)
	}
	want := lines(int(d.Lost), n*each-int(d.Lost))
	if got := drain(t, q, sink.Limit{Rows: 5000}); !bytes.Equal(got, want) {
		t.Errorf("what is left is not the newest: got %d bytes, want %d", len(got), len(want))
	}
	if after := q.Depth(); after.Lost != d.Lost {
		t.Errorf("lost %d became %d while reading", d.Lost, after.Lost)
	}
}

func TestTakenRowsAreNotLost(t *testing.T) {
	j := open(t, journal.Config{Dir: t.TempDir(), MaxBytes: 256 << 10, SegmentBytes: 64 << 10})
	q := queue(t, j, "slow", sink.Main)
	add(t, j, batch(sink.Main, 0, 500))
	if b := take(t, q, sink.Limit{}); b.Rows != 500 {
		t.Fatal(b.Rows)
	}
	for i := 1; i < 300; i++ {
		add(t, j, batch(sink.Main, 500*i, 500))
	}
	if err := q.Ack(); err != nil {
		t.Fatal(err)
	}
	d := q.Depth()
	rest := drain(t, q, sink.Limit{})
	if got := 500 + d.Lost + uint64(bytes.Count(rest, []byte{'\n'})); got != 300*500 {
		t.Errorf("delivered and lost are %d rows of %d", got, 300*500)
	}
}

func TestAgeLimit(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	j := open(t, journal.Config{Dir: t.TempDir(), MaxAge: 16 * time.Hour, Now: func() time.Time { return now }})
	for i := range 40 {
		add(t, j, batch(sink.Main, i, 1))
		now = now.Add(time.Hour)
	}
	if s := j.Stats(); s.DroppedAge < 20 || s.Segments < 15 || s.Segments > 20 {
		t.Errorf("%d segments, %d dropped for their age", s.Segments, s.DroppedAge)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	j := open(t, journal.Config{MemoryBytes: 100 << 10})
	q := queue(t, j, "down", sink.Main)
	for i := range 200 {
		add(t, j, batch(sink.Main, 20*i, 20))
	}
	s, d := j.Stats(), q.Depth()
	if s.MemoryBytes > 100<<10 || s.DroppedMemory == 0 {
		t.Errorf("%+v", s)
	}
	if d.Lost+d.Rows != 4000 || d.Lost != s.DroppedMemory {
		t.Errorf("lost %d + waiting %d are not 4000", d.Lost, d.Rows)
	}
	if got := drain(t, q, sink.Limit{Rows: 100}); !bytes.Equal(got, lines(int(d.Lost), int(d.Rows))) {
		t.Error("what is left is not the newest, in order")
	}
	if s := j.Stats(); s.MemoryBytes > 100<<10/4+20<<10 {
		t.Errorf("%d bytes stay in memory after delivery", s.MemoryBytes)
	}
}

func TestBigBatchBecomesRecordsOfWholeLines(t *testing.T) {
	j := open(t, journal.Config{Dir: t.TempDir()})
	q := queue(t, j, "a", sink.Main)
	add(t, j, batch(sink.Main, 0, 30000))
	b := take(t, q, sink.Limit{})
	if b.Rows != 30000 {
		t.Errorf("got %d rows without a limit", b.Rows)
	}
	b = take(t, q, sink.Limit{Rows: 10, Bytes: 10})
	if len(b.Lines) > 1<<20 || b.Lines[len(b.Lines)-1] != '\n' || b.Rows != bytes.Count(b.Lines, []byte{'\n'}) {
		t.Errorf("%d bytes, %d rows", len(b.Lines), b.Rows)
	}
	if got := drain(t, q, sink.Limit{}); !bytes.Equal(got, lines(0, 30000)) {
		t.Error("lines differ")
	}
	if err := j.Append(&sink.Batch{Rows: 1, Lines: bytes.Repeat([]byte{'x'}, 17<<20)}); err == nil {
		t.Error("a row of 17 MiB is no error")
	}
	if s := j.Stats(); s.RefusedRows != 1 {
		t.Errorf("refused %d", s.RefusedRows)
	}
}

func TestQueryFindsTimeRange(t *testing.T) {
	both(t, func(t *testing.T, cfg journal.Config) {
		cfg.MaxBytes, cfg.SegmentBytes = 4<<20, 64<<10
		j := open(t, cfg)
		for i := range 100 {
			add(t, j, batch(sink.Main, 100*i, 100))
			add(t, j, batch(sink.Log, 100*i, 1))
		}
		check := func(name string, query func(from, to time.Time, s sink.Stream, fn func(*sink.Batch) error) error) {
			var got []int64
			err := query(time.Unix(0, 1_002_000), time.Unix(0, 1_002_300), sink.Main, func(b *sink.Batch) error {
				got = append(got, b.Time)
				if !bytes.Equal(b.Lines, lines(int(b.Time-1_000_000), 100)) {
					t.Errorf("%s: lines of %d differ", name, b.Time)
				}
				return nil
			})
			if err != nil || !slices.Equal(got, []int64{1_002_000, 1_002_100, 1_002_200, 1_002_300}) {
				t.Errorf("%s: got %v, %v", name, got, err)
			}
			stop := errors.New("enough")
			if err := query(time.Unix(0, 0), time.Unix(1, 0), sink.Log, func(*sink.Batch) error { return stop }); err != stop {
				t.Errorf("%s: the callback's error came back as %v", name, err)
			}
		}
		check("journal", j.Query)
		if cfg.Dir != "" { // as another process sees it, while it is being written
			h, err := journal.OpenHistory(cfg.Dir)
			if err != nil {
				t.Fatal(err)
			}
			check("history", h.Query)
		}
	})
}

func TestSecondWriterIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, journal.Config{Dir: dir})
	_, err := journal.Open(journal.Config{Dir: dir})
	if !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), "--journal DIR") {
		t.Errorf("got %v", err)
	}
}

func TestUnreadableCursorDeliversAgain(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(journal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	q, err := j.Queue("a", sink.Main)
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, batch(sink.Main, 0, 10))
	drain(t, q, sink.Limit{})
	q.Close()
	j.Close()
	files, _ := filepath.Glob(filepath.Join(dir, "cursors", "*"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	if err := os.WriteFile(files[0], []byte(`{"rows":`), 0o640); err != nil {
		t.Fatal(err)
	}
	j = open(t, journal.Config{Dir: dir})
	q = queue(t, j, "a", sink.Main)
	if got := drain(t, q, sink.Limit{}); !bytes.Equal(got, lines(0, 10)) {
		t.Errorf("got %q", got)
	}
}

func TestRemovedSegmentsDoNotHideNewRows(t *testing.T) {
	dir := t.TempDir()
	j, _ := journal.Open(journal.Config{Dir: dir})
	q, _ := j.Queue("a", sink.Main)
	add(t, j, batch(sink.Main, 0, 1000))
	drain(t, q, sink.Limit{})
	q.Close()
	j.Close()
	segs, _ := filepath.Glob(filepath.Join(dir, "*.weirj"))
	for _, s := range segs {
		os.Remove(s)
	}
	j = open(t, journal.Config{Dir: dir})
	q = queue(t, j, "a", sink.Main)
	add(t, j, batch(sink.Main, 5000, 10))
	if got := drain(t, q, sink.Limit{}); !bytes.Equal(got, lines(5000, 10)) || q.Depth().Lost != 0 {
		t.Errorf("got %q, lost %d", got, q.Depth().Lost)
	}
}

func TestConfig(t *testing.T) {
	if err := journal.DefaultConfig("x").Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []journal.Config{{MaxBytes: -1}, {MaxBytes: 1000}, {MaxAge: time.Second}, {Sync: 9}} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}
