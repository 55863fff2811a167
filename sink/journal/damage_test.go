package journal_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/journal"
	"github.com/weir-probe/weir/test/machine"
)

// writeForEver is the body of the child that is killed: it tells each batch
// that Append returned for.
func writeForEver(dir string) {
	j, err := journal.Open(journal.Config{Dir: dir, SegmentBytes: 256 << 10})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		if err := j.Append(batch(sink.Main, 200*i, 200)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

func TestKilledWriterLosesNothing(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(journal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	q, err := j.Queue("a", sink.Main) // from the beginning
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
	j.Close()

	first := 0
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "WEIR_TEST_JOURNAL_WRITER="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		told, after := -1, 20+rand.IntN(60)
		in := bufio.NewScanner(out)
		for in.Scan() {
			if told, err = strconv.Atoi(in.Text()); err != nil {
				t.Fatal(in.Text())
			}
			if told == after {
				cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()

		j, err := journal.Open(journal.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		q, err := j.Queue("a", sink.Main)
		if err != nil {
			t.Fatal(err)
		}
		got := drain(t, q, sink.Limit{Rows: 5000})
		rows := bytes.Count(got, []byte{'\n'})
		if rows < 200*(told+1) || !bytes.Equal(got, lines(0, rows)) || q.Depth().Lost != 0 {
			t.Errorf("round %d: %d rows came back, %d were appended; lost %d", round, rows, 200*(told+1), q.Depth().Lost)
		}
		first += rows
		q.Close()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// written makes a journal of n batches of 100 rows in one segment, with a queue
// at its beginning, and returns the segment's path.
func written(t *testing.T, dir string, n int) string {
	t.Helper()
	j, err := journal.Open(journal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	q, err := j.Queue("a", sink.Main)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		add(t, j, batch(sink.Main, 100*i, 100))
	}
	q.Close()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	segs, _ := filepath.Glob(filepath.Join(dir, "*.weirj"))
	if len(segs) != 1 {
		t.Fatal(segs)
	}
	return segs[0]
}

func TestEveryBitMayFlip(t *testing.T) {
	dir := t.TempDir()
	path := written(t, dir, 8)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cursors, _ := filepath.Glob(filepath.Join(dir, "cursors", "*"))
	cursor, _ := os.ReadFile(cursors[0])
	r := rand.New(rand.NewPCG(1, 2))
	places := []int{0, 9, 40, 64, 68, 72, 76, 80, 90, 110, len(good) - 70, len(good) - 1}
	for range 60 {
		places = append(places, r.IntN(len(good)))
	}
	for _, at := range places {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << r.IntN(8)
		if err := errors.Join(os.WriteFile(path, bad, 0o640), os.WriteFile(cursors[0], cursor, 0o640)); err != nil {
			t.Fatal(err)
		}
		j, err := journal.Open(journal.Config{Dir: dir})
		if err != nil {
			t.Fatalf("bit at %d: %v", at, err)
		}
		q, err := j.Queue("a", sink.Main)
		if err != nil {
			t.Fatal(err)
		}
		got := drain(t, q, sink.Limit{})
		rows, lost := bytes.Count(got, []byte{'\n'}), int(q.Depth().Lost)
		for i := range 8 { // all that arrives is right, in order
			got = bytes.TrimPrefix(got, lines(100*i, 100))
		}
		if len(got) != 0 || rows < 700 || rows+lost != 800 {
			t.Errorf("bit at %d of %d: %d rows, %d lost of 800", at, len(good), rows, lost)
		}
		q.Close()
		j.Close()
		segs, _ := filepath.Glob(filepath.Join(dir, "*.weirj"))
		for _, s := range segs {
			os.Remove(s)
		}
	}
}

func TestTornTailIsCutOffAndCounted(t *testing.T) {
	dir := t.TempDir()
	path := written(t, dir, 5)
	good, _ := os.ReadFile(path)
	body := good[:len(good)-72] // without the seal: as a crash leaves it
	for _, cut := range []int{1, 30, 200, len(body) / 2} {
		if err := os.WriteFile(path, body[:len(body)-cut], 0o640); err != nil {
			t.Fatal(err)
		}
		j, err := journal.Open(journal.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if s := j.Stats(); s.TornBytes == 0 || s.CorruptBytes != 0 {
			t.Errorf("cut %d: torn %d, corrupt %d", cut, s.TornBytes, s.CorruptBytes)
		}
		add(t, j, batch(sink.Main, 9000, 100))
		n := 0
		err = j.Query(zero, never, sink.Main, func(b *sink.Batch) error { n += b.Rows; return nil })
		if err != nil || n >= 600 || n%100 != 0 || n < 100 {
			t.Errorf("cut %d: %d rows, %v", cut, n, err)
		}
		j.Close()
		segs, _ := filepath.Glob(filepath.Join(dir, "*.weirj"))
		for _, s := range segs {
			os.Remove(s)
		}
	}
}

func TestDiskFull(t *testing.T) {
	machine.Root(t, "mounts a small file system")
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	now := zero
	cfg := journal.Config{Dir: filepath.Join(dir, "j"), SegmentBytes: 128 << 10, Now: nowOf(&now)}
	j := open(t, cfg)
	q := queue(t, j, "a", sink.Main)
	// Full of our own history: the oldest goes, nothing waits.
	n := 0
	for ; j.Stats().DroppedFull < 3; n++ {
		if n > 2000 {
			t.Fatal("the disk does not get full")
		}
		add(t, j, batch(sink.Main, 500*n, 500))
	}
	// Full of something else: rows wait in memory and are delivered from there.
	hog, err := os.Create(filepath.Join(dir, "hog"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(hog, io.LimitReader(neverEnding{}, 2<<20))
	hog.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	for j.Stats().MemoryRows == 0 {
		if n > 4000 {
			t.Fatal("no row waits in memory")
		}
		add(t, j, batch(sink.Main, 500*n, 500))
		n++
		_, _ = appendTo(hog.Name())
	}
	lost := int(q.Depth().Lost)
	half := take(t, q, sink.Limit{Rows: 1 << 30})
	if half.Rows != 500*n-lost {
		t.Errorf("%d rows can be had of %d appended and %d lost: from disk and memory together", half.Rows, 500*n, lost)
	}
	// Room again: what waits goes to disk, in order, once.
	if err := os.Remove(hog.Name()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2e9)
	add(t, j, batch(sink.Main, 500*n, 500))
	n++
	if s := j.Stats(); s.MemoryRows != 0 {
		t.Errorf("%d rows still wait in memory", s.MemoryRows)
	}
	got := drain(t, q, sink.Limit{Rows: 5000})
	lost = int(q.Depth().Lost)
	if !bytes.Equal(got, lines(lost, 500*n-lost)) {
		t.Errorf("%d rows of %d came, %d lost", bytes.Count(got, []byte{'\n'}), 500*n, lost)
	}
}

// appendTo fills what a dropped segment set free.
func appendTo(path string) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(f, io.LimitReader(neverEnding{}, 2<<20))
}

type neverEnding struct{}

func (neverEnding) Read(b []byte) (int, error) { return len(b), nil }

func TestDamageIsLogged(t *testing.T) {
	dir := t.TempDir()
	path := written(t, dir, 3)
	b, _ := os.ReadFile(path)
	b[64+60] ^= 1 // in the first payload
	if err := os.WriteFile(path, b, 0o640); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	j := open(t, journal.Config{Dir: dir, Logger: logTo(&out)})
	q := queue(t, j, "a", sink.Main)
	drain(t, q, sink.Limit{})
	for _, want := range []string{path, "offset=64", "rows=100"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log does not say %q: %s", want, out.String())
		}
	}
	if s := j.Stats(); s.CorruptRecords != 1 {
		t.Errorf("corrupt records: %d", s.CorruptRecords)
	}
}
