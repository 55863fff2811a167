package journal

import (
	"context"
	"fmt"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/weir-probe/weir/sink"
)

// place is how far a queue is in its stream: the rows before it, and where in
// the files it saw the last of them, which is only a hint.
type place struct {
	count
	segment uint64
	offset  int64
}

// Queue is the place of one sink in one stream; it implements sink.Queue. Take
// and Ack are for one goroutine, Depth for any.
type Queue struct {
	j      *Journal
	name   string
	stream sink.Stream
	path   string // of the cursor, "" = not kept
	saving sync.Mutex

	// of the goroutine that takes
	file  *os.File
	scan  scanner
	batch sink.Batch

	// under j.mu
	cur   place  // acknowledged
	taken place  // end of what was last taken
	skip  count  // given up: everything before it
	head  int64  // time of the oldest batch taken and not acknowledged; 0 = none
	lost  uint64 // rows

	// While Take reads, nobody but Take knows what it will come back with: what
	// goes meanwhile is noted here, and settled when that is known.
	reading bool
	gone    count
}

// Queue opens the place of a sink, named name, in a stream. A name that the
// journal does not know starts at its end: history is not sent to a new sink.
func (j *Journal) Queue(name string, stream sink.Stream) (*Queue, error) {
	if name == "" || stream >= sink.Streams {
		return nil, fmt.Errorf("open queue %q of stream %d: a sink needs a name and a known stream", name, stream)
	}
	q := &Queue{j: j, name: name, stream: stream}
	var known bool
	var err error
	if j.cfg.Dir != "" {
		q.path = cursorPath(j.cfg.Dir, name, stream)
		q.cur, known, err = readCursor(q.path, name, stream)
		if err != nil {
			// Rather twice than never: points are idempotent.
			j.log.Error("journal: place of a sink cannot be read, delivering all that is here again", "sink", name, "stream", stream, "err", err)
			known = true
		}
	}
	j.mu.Lock()
	for _, o := range j.queues {
		if o.name == name && o.stream == stream {
			j.mu.Unlock()
			return nil, fmt.Errorf("open queue: there are two sinks named %q", name)
		}
	}
	if !known {
		q.cur.count = j.total[stream]
		if n := len(j.segs); n > 0 {
			q.cur.segment, q.cur.offset = j.segs[n-1].seq, j.segs[n-1].size
		}
	}
	if err != nil {
		q.cur.count = j.oldest(stream)
	}
	q.taken = q.cur
	lost := q.lose(j.oldest(stream)) // past the cap since the place was kept, or removed
	j.queues = append(j.queues, q)
	j.mu.Unlock()
	if lost > 0 {
		j.log.Error("journal: rows are missing", "sink", name, "stream", stream, "rows", lost)
	}
	if !known {
		q.save(q.cur)
	}
	return q, nil
}

// oldest is where what is still here of a stream begins. Caller holds j.mu.
func (j *Journal) oldest(s sink.Stream) count {
	switch {
	case len(j.segs) > 0:
		return j.segs[0].base[s]
	case len(j.mem[s]) > 0:
		return j.mem[s][0].base
	}
	return j.total[s]
}

// edge is the end of what was delivered, is on its way, or is given up. Caller
// holds j.mu.
func (q *Queue) edge() count {
	e := q.cur.count
	for _, c := range [...]count{q.taken.count, q.skip} {
		if c.rows > e.rows {
			e = c
		}
	}
	return e
}

// lose gives up everything before end, and says how many rows that are. What is
// taken is not lost: who took it has it. Caller holds j.mu.
func (q *Queue) lose(end count) uint64 {
	if q.reading {
		if end.rows > q.gone.rows {
			q.gone = end
		}
		return 0
	}
	return q.loseNow(end)
}

func (q *Queue) loseNow(end count) uint64 {
	e := q.edge()
	if end.rows <= e.rows {
		return 0
	}
	q.skip = end
	q.lost += end.rows - e.rows
	return end.rows - e.rows
}

// Take waits for rows and returns the oldest that are not acknowledged, merged
// up to limit; valid until the next Take. Without Ack the same rows come again.
// Its error is ctx's, or os.ErrClosed when the journal is closed and empty.
func (q *Queue) Take(ctx context.Context, limit sink.Limit) (*sink.Batch, error) {
	for {
		q.j.mu.Lock()
		wake, closed := q.j.wake, q.j.closed
		pos := q.cur
		if q.skip.rows > pos.rows {
			pos.count = q.skip
		}
		q.taken, q.head, q.reading = pos, 0, true
		q.j.mu.Unlock()

		q.batch.Stream, q.batch.Rows, q.batch.Time, q.batch.Lines = q.stream, 0, 0, q.batch.Lines[:0]
		head, err := q.fill(&pos, limit)
		q.settle(pos, head)
		if err != nil {
			return nil, err
		}
		if q.batch.Rows > 0 {
			return &q.batch, nil
		}
		if closed {
			return nil, fmt.Errorf("take from journal: %w", os.ErrClosed)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-wake:
		}
	}
}

// settle ends a reading that came to pos.
func (q *Queue) settle(pos place, head int64) {
	q.j.mu.Lock()
	if q.batch.Rows > 0 {
		q.taken, q.head = pos, head
	} else {
		q.cur.segment, q.cur.offset = pos.segment, pos.offset // nothing of ours before it
	}
	q.reading = false
	lost := q.loseNow(q.gone)
	q.j.mu.Unlock()
	if lost > 0 {
		q.j.log.Error("journal: oldest rows are given up undelivered", "sink", q.name, "stream", q.stream, "rows", lost)
	}
}

// fill reads records from pos on, and returns the time of the first.
func (q *Queue) fill(pos *place, limit sink.Limit) (head int64, err error) {
	for {
		h, state, err := q.peek(pos)
		if err != nil {
			return head, err
		}
		if state == atEnd {
			return q.fillFromMemory(pos, limit, head), nil
		}
		if h.stream != q.stream || h.end().rows <= pos.rows {
			q.scan.pass(h)
			pos.offset = q.scan.off
			continue
		}
		if q.batch.Rows > 0 && (!limit.Fits(q.batch.Rows+int(h.rows), len(q.batch.Lines)+int(h.raw)) || h.base.rows > pos.rows) {
			return head, nil
		}
		q.gap(pos, h.base)
		lines, err := q.scan.appendLines(q.batch.Lines, h)
		if err != nil {
			if q.batch.Rows > 0 {
				return head, nil // what there is first; then this again
			}
			q.damaged(h, err)
			q.gap(pos, h.end())
			q.scan.pass(h)
			pos.offset = q.scan.off
			continue
		}
		if q.batch.Rows == 0 {
			head = h.time
		}
		q.batch.Lines = lines
		q.batch.Rows += int(h.rows)
		q.batch.Time = max(q.batch.Time, h.time)
		q.scan.pass(h)
		pos.count, pos.offset = h.end(), q.scan.off
	}
}

// gap counts the rows between pos and to as lost, and moves there.
func (q *Queue) gap(pos *place, to count) {
	if to.rows <= pos.rows {
		return
	}
	q.j.mu.Lock()
	lost := q.loseNow(to)
	q.j.mu.Unlock()
	if lost > 0 {
		q.j.log.Error("journal: rows are missing", "sink", q.name, "stream", q.stream,
			"segment", segmentPath(q.j.cfg.Dir, pos.segment), "offset", pos.offset, "rows", lost)
	}
	pos.count = to
}

func (q *Queue) damaged(h header, err error) {
	q.j.mu.Lock()
	q.j.stats.CorruptRecords++
	q.j.mu.Unlock()
	q.j.log.Error("journal: a record cannot be read, stepping over it", "err", err,
		"file", segmentPath(q.j.cfg.Dir, q.scan.segment), "offset", q.scan.off, "stream", h.stream, "rows", h.rows)
}

// fillFromMemory goes on where the disk ends.
func (q *Queue) fillFromMemory(pos *place, limit sink.Limit, head int64) int64 {
	for {
		q.j.mu.Lock()
		var w *waiting
		mem := q.j.mem[q.stream]
		if i := sort.Search(len(mem), func(i int) bool { return mem[i].end().rows > pos.rows }); i < len(mem) {
			w = &mem[i]
		}
		if w == nil || (q.batch.Rows > 0 && (w.base.rows > pos.rows ||
			!limit.Fits(q.batch.Rows+w.batch.Rows, len(q.batch.Lines)+len(w.batch.Lines)))) {
			q.j.mu.Unlock()
			return head
		}
		m := *w // its lines are never written to again
		q.j.mu.Unlock()
		q.gap(pos, m.base)
		if q.batch.Rows == 0 {
			head = m.batch.Time
		}
		q.batch.Lines = append(q.batch.Lines, m.batch.Lines...)
		q.batch.Rows += m.batch.Rows
		q.batch.Time = max(q.batch.Time, m.batch.Time)
		pos.count = m.end()
	}
}

// Ack says that what Take returned last is delivered, and keeps that on disk.
func (q *Queue) Ack() error {
	q.j.mu.Lock()
	q.cur = q.taken
	if q.skip.rows > q.cur.rows {
		q.cur.count = q.skip
	}
	q.head = 0
	cur := q.cur
	if q.j.cfg.Dir == "" {
		q.j.release()
	}
	q.j.mu.Unlock()
	return q.save(cur)
}

// Depth says what waits for this queue.
func (q *Queue) Depth() sink.Depth {
	q.j.mu.Lock()
	defer q.j.mu.Unlock()
	t := q.j.total[q.stream]
	from := q.cur.count
	if q.skip.rows > from.rows {
		from = q.skip
	}
	d := sink.Depth{Lost: q.lost}
	if t.rows > from.rows {
		d.Rows, d.Bytes = t.rows-from.rows, t.bytes-min(from.bytes, t.bytes)
		if q.head != 0 {
			d.Oldest = time.Unix(0, q.head)
		}
	}
	return d
}

// release drops from memory what every queue has delivered, down to a quarter
// of the limit that stays as history. Caller holds j.mu.
func (j *Journal) release() {
	for j.memBytes > j.cfg.MemoryBytes/4 {
		s := j.oldestWaiting()
		end := j.mem[s][0].end()
		for _, q := range j.queues {
			if q.stream == s && q.cur.rows < end.rows {
				return
			}
		}
		j.popWaiting(s)
	}
}

// Close gives the place free for another Queue of the same name; the cursor stays.
func (q *Queue) Close() error {
	q.j.mu.Lock()
	for i, o := range q.j.queues {
		if o == q {
			q.j.queues = append(q.j.queues[:i:i], q.j.queues[i+1:]...)
			q.j.stats.Lost += q.lost
			break
		}
	}
	q.j.mu.Unlock()
	q.scan.close()
	q.scan.zstd = nil
	if q.file == nil {
		return nil
	}
	f := q.file
	q.file = nil
	return f.Close()
}
