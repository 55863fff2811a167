package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/weir-probe/weir/sink"
)

// Stats counts what happened since Open; those marked gauge are of now.
type Stats struct {
	Segments       uint64 // gauge
	DiskBytes      uint64 // gauge
	MemoryBytes    uint64 // gauge: raw rows waiting in memory
	MemoryRows     uint64 // gauge
	OldestUnix     int64  // gauge: newest row of the oldest batch on disk, unix ns; 0 = none
	Rows           uint64 // appended
	RawBytes       uint64 // appended, as text
	WrittenBytes   uint64 // on disk, compressed
	Records        uint64
	TornBytes      uint64 // cut off at Open: a write that a crash interrupted
	CorruptBytes   uint64 // stepped over
	CorruptRecords uint64 // checksum wrong
	DroppedSize    uint64 // segments removed for MaxBytes
	DroppedAge     uint64 // segments removed for MaxAge
	DroppedFull    uint64 // segments removed because the disk was full
	DroppedMemory  uint64 // rows that left memory for MemoryBytes
	RefusedRows    uint64 // longer than a record may be
	DiskErrors     uint64 // writes that failed
	SyncErrors     uint64
	CursorErrors   uint64 // places of sinks that could not be kept on disk
	Lost           uint64 // rows not delivered to some sink and gone for it (sum over Queues)
}

// waiting is a batch in memory: while the disk cannot be written, or without one.
type waiting struct {
	batch sink.Batch
	base  count
	seq   uint64 // order of arrival over all streams
}

func (w *waiting) end() count {
	return count{w.base.rows + uint64(w.batch.Rows), w.base.bytes + uint64(len(w.batch.Lines))}
}

// Journal is open for writing. Its methods are safe for concurrent use.
type Journal struct {
	cfg  Config
	log  *slog.Logger
	lock *os.File

	write   sync.Mutex // one writer: holds what follows
	enc     *encoder
	active  *os.File  // of segment into; nil until the next Append
	into    *segment  // the last of segs, unless somebody removed its file
	failed  time.Time // of the last write that did, zero = the last one succeeded
	trouble *sink.LimitedLog
	retry   bool // at once
	dirty   bool // written since the last sync
	lastSeq uint64

	mu       sync.Mutex              // what readers see
	segs     []*segment              // oldest first
	total    counts                  // appended, whether or not still here
	mem      [sink.Streams][]waiting // oldest first, newer than every segment
	memBytes int64
	memSeq   uint64
	queues   []*Queue
	wake     chan struct{} // closed at the next Append
	closed   bool
	stats    Stats
}

// Open opens the journal in cfg.Dir for writing, or one in memory where that is
// empty, and repairs what a crash left.
func Open(cfg Config) (*Journal, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	enc, err := newEncoder()
	if err != nil {
		return nil, err
	}
	j := &Journal{cfg: cfg, log: cfg.Logger, enc: enc, wake: make(chan struct{}), trouble: sink.NewLimitedLog(cfg.Logger, time.Minute)}
	if cfg.Dir == "" {
		return j, nil
	}
	if j.lock, err = claim(cfg.Dir); err != nil {
		return nil, err
	}
	if err := j.recover(); err != nil {
		j.lock.Close()
		return nil, err
	}
	return j, nil
}

// recover takes stock of the folder.
func (j *Journal) recover() error {
	segs, err := list(j.cfg.Dir)
	if err != nil {
		return err
	}
	for _, g := range segs {
		if err := j.recoverSegment(g); err != nil {
			return err
		}
		j.lastSeq = g.seq
	}
	// A cursor may know more rows than the segments: they were delivered and
	// then lost in a power cut, or somebody removed the files. Numbers go on
	// after them, or new rows would pass for delivered ones.
	for _, c := range readCursors(j.cfg.Dir) {
		t := &j.total[c.stream]
		t.rows, t.bytes = max(t.rows, c.Rows), max(t.bytes, c.Bytes)
		j.lastSeq = max(j.lastSeq, c.Segment)
	}
	j.enforce()
	return nil
}

func (j *Journal) recoverSegment(g *segment) error {
	sealed, d, err := g.inspect(j.total)
	if err != nil {
		return err
	}
	j.stats.TornBytes += uint64(d.torn)
	j.stats.CorruptBytes += uint64(d.corrupt)
	j.stats.CorruptRecords += uint64(d.records)
	if d.torn > 0 {
		j.log.Warn("journal: a write was interrupted, its rows are cut off", "file", g.path, "offset", g.size, "bytes", d.torn)
	}
	if d.corrupt > 0 || d.records > 0 {
		j.log.Error("journal: segment is damaged, stepping over it", "file", g.path, "bytes", d.corrupt, "records", d.records)
	}
	if g.end == g.base && g.span == (span{}) && !sealed { // begun, nothing written
		if err := os.Remove(g.path); err != nil {
			return fmt.Errorf("remove empty segment: %w", err)
		}
		return nil
	}
	if !sealed {
		if err := g.finish(); err != nil {
			return err
		}
	}
	for s, c := range g.end {
		j.total[s].rows = max(j.total[s].rows, c.rows)
		j.total[s].bytes = max(j.total[s].bytes, c.bytes)
	}
	j.segs = append(j.segs, g)
	return nil
}

// finish cuts off what is torn and seals a segment that a process before us left.
func (g *segment) finish() error {
	f, err := os.OpenFile(g.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("repair segment: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(g.size); err != nil {
		return fmt.Errorf("cut off torn record of %s: %w", g.path, err)
	}
	return g.seal(f) // without a seal it is read through again next time
}

func (g *segment) seal(f *os.File) error {
	n, err := f.WriteAt(seal{g.end, g.span}.put(g.seq), g.size)
	if err != nil {
		return errors.Join(fmt.Errorf("seal segment: %w", err), f.Truncate(g.size))
	}
	g.size += int64(n)
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync segment: %w", err)
	}
	return nil
}

// Append adds a batch; it does not keep b.Lines. The error says that rows were
// lost: they were refused, or the journal is closed. A disk that cannot be
// written is no error here, rows wait in memory then; see Stats.
func (j *Journal) Append(b *sink.Batch) error {
	j.write.Lock()
	defer j.write.Unlock()
	if j.isClosed() {
		return fmt.Errorf("append to journal: %w", os.ErrClosed)
	}
	if b.Stream >= sink.Streams {
		return fmt.Errorf("append to journal: unknown stream %d", b.Stream)
	}
	var refused int
	for rest := b.Lines; len(rest) > 0; {
		n := cut(rest, recordBytes)
		piece := sink.Batch{Stream: b.Stream, Time: b.Time, Lines: rest[:n]}
		rest = rest[n:]
		piece.Rows = bytes.Count(piece.Lines, []byte{'\n'})
		if n > maxRaw || piece.Rows == 0 {
			refused++
			continue
		}
		j.appendPiece(piece)
	}
	if j.dirty && j.cfg.Sync == SyncAppend {
		j.sync()
	}
	j.announce()
	if refused > 0 {
		j.mu.Lock()
		j.stats.RefusedRows += uint64(refused)
		j.mu.Unlock()
		return fmt.Errorf("append to journal: %d rows refused: longer than %d bytes or not ended by a newline", refused, maxRaw)
	}
	return nil
}

// cut says how many octets of lines make the next record: whole lines of at
// most limit together, or one that is longer.
func cut(lines []byte, limit int) int {
	if len(lines) <= limit {
		if i := bytes.LastIndexByte(lines, '\n'); i >= 0 {
			return i + 1
		}
		return len(lines)
	}
	if i := bytes.LastIndexByte(lines[:limit], '\n'); i >= 0 {
		return i + 1
	}
	if i := bytes.IndexByte(lines, '\n'); i >= 0 {
		return i + 1
	}
	return len(lines)
}

// appendPiece puts one record on disk, or in memory when that fails.
func (j *Journal) appendPiece(b sink.Batch) {
	j.mu.Lock()
	base := j.total[b.Stream]
	j.stats.Rows += uint64(b.Rows)
	j.stats.RawBytes += uint64(len(b.Lines))
	j.mu.Unlock()
	w := waiting{batch: b, base: base}
	if j.cfg.Dir != "" && j.writeWaiting() && j.writeRecord(&w) {
		return
	}
	w.batch.Lines = bytes.Clone(b.Lines)
	j.remember(w)
}

// announce wakes every queue that waits for rows.
func (j *Journal) announce() {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.wake)
	j.wake = make(chan struct{})
}

func (j *Journal) isClosed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closed
}

// Stats of now.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Segments = uint64(len(j.segs))
	for _, g := range j.segs {
		s.DiskBytes += uint64(g.size)
	}
	if len(j.segs) > 0 {
		for _, p := range j.segs[0].span {
			if p.from != 0 && (s.OldestUnix == 0 || p.from < s.OldestUnix) {
				s.OldestUnix = p.from
			}
		}
	}
	s.MemoryBytes = uint64(j.memBytes)
	for _, m := range j.mem {
		for i := range m {
			s.MemoryRows += uint64(m[i].batch.Rows)
		}
	}
	for _, q := range j.queues {
		s.Lost += q.lost
	}
	return s
}

// Close seals the journal and wakes every queue. What waits in memory is tried
// once more; what does not get to the disk then is lost and said so.
func (j *Journal) Close() error {
	j.write.Lock()
	defer j.write.Unlock()
	if j.isClosed() {
		return nil
	}
	var errs []error
	if j.cfg.Dir != "" {
		j.retry = true // however short ago it failed
		if !j.writeWaiting() {
			errs = append(errs, fmt.Errorf("close journal: %d rows could not be written to %s", j.Stats().MemoryRows, j.cfg.Dir))
		}
		if err := j.sealActive(); err != nil {
			errs = append(errs, err)
		}
		errs = append(errs, j.lock.Close())
	}
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.announce()
	return errors.Join(errs...)
}
