package journal

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/sink"
)

// retryDisk is how long a disk that failed is left alone: each try costs a
// system call or more, and rows are safe in memory meanwhile.
const retryDisk = time.Second

// writeRecord appends one record to the active segment; false: it could not, and
// the segment is as it was. Caller holds j.write.
func (j *Journal) writeRecord(w *waiting) bool {
	err := j.tryRecord(w)
	if err != nil && j.diskFailed(err) {
		err = j.tryRecord(w)
	}
	return err == nil
}

func (j *Journal) tryRecord(w *waiting) error {
	b := &w.batch
	if err := j.ready(int64(len(b.Lines))); err != nil {
		return err
	}
	g := j.into
	h := header{rows: uint32(b.Rows), stream: b.Stream, time: b.Time, base: w.base}
	rec := j.enc.record(h, b.Lines, g.seq)
	if _, err := j.active.WriteAt(rec, g.size); err != nil {
		// Half a record must not stay: later ones would stand behind it. If even
		// that fails, the next record is written over it.
		_ = j.active.Truncate(g.size)
		return fmt.Errorf("write record: %w", err)
	}
	j.published(g, w, int64(len(rec)))
	return nil
}

// published lets readers see a record that is in the file.
func (j *Journal) published(g *segment, w *waiting, n int64) {
	now := j.cfg.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	g.size += n
	g.end[w.batch.Stream] = w.end()
	g.span.add(w.batch.Stream, w.batch.Time)
	g.wrote = now
	j.advance(w)
	j.stats.Records++
	j.stats.WrittenBytes += uint64(n)
	j.dirty = true
}

// advance counts w as appended, unless it was already when it came to memory.
// Caller holds j.mu.
func (j *Journal) advance(w *waiting) {
	t := &j.total[w.batch.Stream]
	if e := w.end(); e.rows > t.rows {
		*t = e
	}
}

// ready makes sure that there is an active segment with room for n more octets.
func (j *Journal) ready(n int64) error {
	now := j.cfg.Now()
	j.abandon()
	if j.active != nil {
		g := j.into
		// A host with little traffic still needs segments that age can remove.
		if g.size == segmentHeaderSize || (g.size+n/4 <= j.cfg.SegmentBytes && now.Sub(g.began) < j.cfg.MaxAge/16) {
			return nil
		}
		if err := j.sealActive(); err != nil {
			j.log.Warn("journal: cannot finish a segment", "err", err)
		}
	}
	if err := j.begin(now); err != nil {
		return err
	}
	j.enforce()
	return nil
}

// begin creates the next segment.
func (j *Journal) begin(now time.Time) error {
	if err := j.settle(); err != nil {
		return err
	}
	j.mu.Lock()
	base := j.total
	for s, m := range j.mem {
		if len(m) > 0 { // numbered already, but not yet on disk
			base[s] = m[0].base
		}
	}
	j.mu.Unlock()
	seq := j.lastSeq + 1
	g := &segment{seq: seq, path: segmentPath(j.cfg.Dir, seq), size: segmentHeaderSize, base: base, end: base, wrote: now, began: now}
	f, err := os.OpenFile(g.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if errors.Is(err, os.ErrExist) {
		j.lastSeq = seq // somebody's: not this one, the next
	}
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	if _, err := f.WriteAt(putSegmentHeader(seq, now, base), 0); err != nil {
		f.Close()
		os.Remove(g.path)
		return fmt.Errorf("create segment: %w", err)
	}
	j.lastSeq, j.active, j.into = seq, f, g
	j.mu.Lock()
	j.segs = append(j.segs, g)
	j.mu.Unlock()
	if err := syncDir(j.cfg.Dir); err != nil {
		j.syncFailed(err)
	}
	return nil
}

// sealActive finishes the active segment.
func (j *Journal) sealActive() error {
	if j.active == nil {
		return nil
	}
	f, g := j.active, j.into
	j.active, j.dirty = nil, false
	sealed := *g // readers look at g.size
	err := sealed.seal(f)
	j.mu.Lock()
	g.size = sealed.size
	j.mu.Unlock()
	return errors.Join(err, f.Close())
}

func (j *Journal) sync() {
	j.dirty = false
	if j.active == nil {
		return
	}
	if err := unix.Fdatasync(int(j.active.Fd())); err != nil {
		j.syncFailed(err)
	}
}

// Sync forces what was appended to the disk, whatever the policy.
func (j *Journal) Sync() {
	j.write.Lock()
	defer j.write.Unlock()
	j.sync()
}

func (j *Journal) syncFailed(err error) {
	j.mu.Lock()
	j.stats.SyncErrors++
	j.mu.Unlock()
	j.trouble.Error("sync", "journal: cannot sync, rows may be lost in a power cut", "dir", j.cfg.Dir, "err", err)
}

// diskFailed counts, and where the disk is full makes room and reports true: the
// oldest segment goes. One for each failure, and never the last: when somebody
// else fills the disk, giving up all history would not help.
func (j *Journal) diskFailed(err error) bool {
	j.mu.Lock()
	j.stats.DiskErrors++
	n := len(j.segs)
	j.mu.Unlock()
	if (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && n > 1 {
		j.drop(&j.stats.DroppedFull, "the disk is full")
		return true
	}
	j.trouble.Error("write", "journal: cannot write, rows wait in memory", "dir", j.cfg.Dir, "err", err,
		"memory_limit_bytes", j.cfg.MemoryBytes)
	j.failed = j.cfg.Now()
	return false
}

// writeWaiting moves to disk what waits in memory; true: nothing waits any more.
func (j *Journal) writeWaiting() bool {
	for s := range j.mem {
		for {
			j.mu.Lock()
			if len(j.mem[s]) == 0 {
				j.mu.Unlock()
				break
			}
			w := j.mem[s][0]
			j.mu.Unlock()
			if !j.failed.IsZero() && !j.retry && j.cfg.Now().Sub(j.failed) < retryDisk {
				return false
			}
			if !j.writeRecord(&w) {
				return false
			}
			j.mu.Lock()
			j.popWaiting(sink.Stream(s))
			j.mu.Unlock()
		}
	}
	if !j.failed.IsZero() {
		j.failed = time.Time{}
		j.trouble.Forget()
		j.log.Info("journal: can write again", "dir", j.cfg.Dir)
	}
	return true
}

// popWaiting takes the oldest batch of a stream out of memory. Caller holds j.mu.
func (j *Journal) popWaiting(s sink.Stream) {
	m := j.mem[s]
	j.memBytes -= int64(len(m[0].batch.Lines))
	m[0] = waiting{}
	j.mem[s] = m[1:]
}

// remember keeps a batch in memory, and drops the oldest for it.
func (j *Journal) remember(w waiting) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := w.batch.Stream
	j.memSeq++
	w.seq = j.memSeq
	j.mem[s] = append(j.mem[s], w)
	j.memBytes += int64(len(w.batch.Lines))
	j.advance(&w)
	for j.memBytes > j.cfg.MemoryBytes {
		s := j.oldestWaiting()
		old := j.mem[s][0]
		if old.seq == j.memSeq {
			return // the one just come stays
		}
		j.stats.DroppedMemory += uint64(old.batch.Rows)
		for _, q := range j.queues {
			if q.stream == s && q.edge().rows >= old.base.rows {
				q.lose(old.end()) // others find the gap when they get there
			}
		}
		j.popWaiting(s)
	}
}

// oldestWaiting is the stream with the oldest batch in memory. Caller holds j.mu.
func (j *Journal) oldestWaiting() sink.Stream {
	var oldest sink.Stream
	for s := range j.mem {
		if len(j.mem[s]) > 0 && (len(j.mem[oldest]) == 0 || j.mem[s][0].seq < j.mem[oldest][0].seq) {
			oldest = sink.Stream(s)
		}
	}
	return oldest
}

// enforce removes segments that are too many or too old, leaving room for the
// one that is begun next; never the active one.
func (j *Journal) enforce() {
	for {
		j.mu.Lock()
		var size int64
		for _, g := range j.segs {
			size += g.size
		}
		n := len(j.segs)
		if j.active != nil {
			n--
		}
		var reason string
		var counter *uint64
		switch {
		case n < 1:
		case size+j.cfg.SegmentBytes > j.cfg.MaxBytes:
			reason, counter = "its size limit", &j.stats.DroppedSize
		case j.cfg.Now().Sub(j.segs[0].wrote) > j.cfg.MaxAge:
			reason, counter = "its age limit", &j.stats.DroppedAge
		}
		j.mu.Unlock()
		if counter == nil {
			return
		}
		j.drop(counter, reason)
	}
}

// drop removes the oldest segment, and counts for each queue what it loses.
func (j *Journal) drop(counter *uint64, reason string) {
	j.mu.Lock()
	g := j.segs[0]
	j.segs = j.segs[1:]
	*counter++
	var lost uint64
	for _, q := range j.queues {
		lost += q.lose(g.end[q.stream])
	}
	j.mu.Unlock()
	if err := os.Remove(g.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		j.log.Error("journal: cannot remove a segment", "file", g.path, "err", err)
	}
	if lost > 0 {
		j.log.Error("journal: oldest rows are given up undelivered", "reason", reason, "rows", lost, "file", g.path)
	} else {
		j.log.Debug("journal: oldest segment removed", "reason", reason, "file", g.path)
	}
}
