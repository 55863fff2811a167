package journal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
)

// removals are what somebody may do to the folder of a journal in use.
var removals = map[string]func(dir string) error{
	"removed": os.RemoveAll,
	"renamed": func(dir string) error { return os.Rename(dir, dir+".old") },
	"emptied": func(dir string) error {
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
		return err
	},
	"segments removed": func(dir string) error {
		segs, err := filepath.Glob(filepath.Join(dir, "*.weirj"))
		for _, s := range segs {
			err = errors.Join(err, os.Remove(s))
		}
		return err
	},
}

// TestFolderGone: what was in it is counted as lost, unless a reader had it open; what
// comes afterwards is on disk again, and the folder is still nobody else's.
func TestFolderGone(t *testing.T) {
	for name, remove := range removals {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "journal")
			var log bytes.Buffer
			j := open(t, journal.Config{Dir: dir, Logger: logTo(&log)})
			reading, late := queue(t, j, "reading", sink.Main), queue(t, j, "late", sink.Main)
			queue(t, j, "away", sink.Main)
			add(t, j, batch(sink.Main, 0, 100))
			take(t, reading, sink.Limit{Rows: 100}) // has the file open
			if err := reading.Ack(); err != nil {
				t.Fatal(err)
			}
			add(t, j, batch(sink.Main, 100, 100))
			if err := remove(dir); err != nil {
				t.Fatal(err)
			}
			if b := take(t, late, sink.Limit{}); b != nil {
				t.Errorf("%d rows of a file that is gone", b.Rows)
			}
			for i := range 3 {
				add(t, j, batch(sink.Main, 200+100*i, 100))
			}
			if got := drain(t, reading, sink.Limit{}); !bytes.HasSuffix(got, lines(200, 300)) {
				t.Errorf("a reader got %d rows", bytes.Count(got, []byte{'\n'}))
			}
			if got := drain(t, late, sink.Limit{}); !bytes.Equal(got, lines(200, 300)) || late.Depth().Lost != 200 {
				t.Errorf("the other got %d rows, %d are counted as lost of 200", bytes.Count(got, []byte{'\n'}), late.Depth().Lost)
			}
			if s := j.Stats(); s.MemoryRows != 0 {
				t.Errorf("%d rows wait in memory, as if there were no disk", s.MemoryRows)
			}
			if _, err := journal.Open(journal.Config{Dir: dir}); !errors.Is(err, journal.ErrLocked) {
				t.Errorf("a second writer: %v", err)
			}
			if !strings.Contains(log.String(), "somebody removed it") {
				t.Errorf("the log does not tell: %s", &log)
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
			j = open(t, journal.Config{Dir: dir})
			if got := drain(t, queue(t, j, "away", sink.Main), sink.Limit{}); !bytes.Equal(got, lines(200, 300)) {
				t.Errorf("after a restart %d rows come", bytes.Count(got, []byte{'\n'}))
			}
		})
	}
}

// TestSegmentNumberTaken: a file of somebody else's in the place of the next segment
// costs a second, not the disk.
func TestSegmentNumberTaken(t *testing.T) {
	dir, now := t.TempDir(), zero
	j := open(t, journal.Config{Dir: dir, Now: nowOf(&now)})
	q := queue(t, j, "a", sink.Main)
	if err := os.WriteFile(filepath.Join(dir, "0000000000000001.weirj"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		add(t, j, batch(sink.Main, 100*i, 100))
		now = now.Add(2 * time.Second)
	}
	if got := drain(t, q, sink.Limit{}); !bytes.Equal(got, lines(0, 300)) || j.Stats().MemoryRows != 0 {
		t.Errorf("%d rows came, %d wait in memory", bytes.Count(got, []byte{'\n'}), j.Stats().MemoryRows)
	}
}

// TestCloseTriesOnceMore: what waits in memory gets to the disk at the end, however
// short ago that failed.
func TestCloseTriesOnceMore(t *testing.T) {
	dir, now := t.TempDir(), zero
	j, err := journal.Open(journal.Config{Dir: dir, Now: nowOf(&now)})
	if err != nil {
		t.Fatal(err)
	}
	queue(t, j, "a", sink.Main)
	if err := os.WriteFile(filepath.Join(dir, "0000000000000001.weirj"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	add(t, j, batch(sink.Main, 0, 100))
	if s := j.Stats(); s.MemoryRows != 100 {
		t.Fatalf("%d rows wait in memory", s.MemoryRows)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	j = open(t, journal.Config{Dir: dir})
	if got := drain(t, queue(t, j, "a", sink.Main), sink.Limit{}); !bytes.Equal(got, lines(0, 100)) {
		t.Errorf("%d rows are there after a restart", bytes.Count(got, []byte{'\n'}))
	}
}

// TestLockFileRemoved: who removes the lock of a journal in use lets a second writer in;
// the first one steps back into memory, and loses nothing.
func TestLockFileRemoved(t *testing.T) {
	dir, now := t.TempDir(), zero
	var log bytes.Buffer
	j := open(t, journal.Config{Dir: dir, SegmentBytes: 64 << 10, Now: nowOf(&now), Logger: logTo(&log)})
	q := queue(t, j, "a", sink.Main)
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	second, err := journal.Open(journal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, batch(sink.Main, 0, 100))
	if s := j.Stats(); s.MemoryRows != 100 || !strings.Contains(log.String(), "belongs to process") {
		t.Errorf("%d rows in memory, log %s", s.MemoryRows, &log)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	add(t, j, batch(sink.Main, 100, 100))
	if got := drain(t, q, sink.Limit{}); !bytes.Equal(got, lines(0, 200)) || j.Stats().MemoryRows != 0 {
		t.Errorf("%d rows came, %d wait in memory", bytes.Count(got, []byte{'\n'}), j.Stats().MemoryRows)
	}
}

// TestCapChanged: a journal that is opened with a smaller cap gives up its oldest rows,
// and each sink knows at once how many; with a larger one nothing goes.
func TestCapChanged(t *testing.T) {
	const n, each = 200, 500
	for _, c := range []struct {
		name string
		cap  int64
		lost bool
	}{{"smaller", 256 << 10, true}, {"larger", 4 << 20, false}, {"much smaller than a segment", 4 * 64 << 10, true}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			segment := int64(64 << 10)
			if strings.HasPrefix(c.name, "much") {
				segment = 1 << 20
			}
			j, err := journal.Open(journal.Config{Dir: dir, MaxBytes: 4 << 20, SegmentBytes: segment})
			if err != nil {
				t.Fatal(err)
			}
			q, err := j.Queue("away", sink.Main)
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				add(t, j, batch(sink.Main, each*i, each))
			}
			if j.Stats().DroppedSize != 0 {
				t.Fatal("the first cap is too small for the test")
			}
			q.Close()
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = open(t, journal.Config{Dir: dir, MaxBytes: c.cap})
			q = queue(t, j, "away", sink.Main)
			d := q.Depth()
			if d.Lost+d.Rows != n*each || (d.Lost > 0) != c.lost || j.Stats().Lost != d.Lost {
				t.Errorf("%d rows wait and %d are lost of %d", d.Rows, d.Lost, n*each)
			}
			if s := j.Stats(); int64(s.DiskBytes) > c.cap {
				t.Errorf("%d bytes on disk", s.DiskBytes)
			}
			add(t, j, batch(sink.Main, n*each, each))
			if got := drain(t, q, sink.Limit{}); !bytes.Equal(got, lines(int(d.Lost), (n+1)*each-int(d.Lost))) || q.Depth().Lost != d.Lost {
				t.Errorf("%d rows came, %d are lost of %d", bytes.Count(got, []byte{'\n'}), q.Depth().Lost, (n+1)*each)
			}
		})
	}
}
